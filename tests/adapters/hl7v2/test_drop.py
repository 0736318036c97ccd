"""Messages as files in a site's folder, against the real intake and database."""

import os

import pytest

from adapters.hl7v2.ack import Acknowledgement
from adapters.hl7v2.drop import Drop
from adapters.hl7v2.receive import Intake
from adapters.hl7v2.replay import list_messages
from adapters.hl7v2.sites import Sites
from fhir_server.store.database import Database


@pytest.fixture
def drop(intake, tmp_path):
    return Drop(intake, "lakeside", tmp_path, limit_bytes=1_000_000)


async def twice(drop) -> None:
    """A file is taken at the second look that finds it as it was."""
    await drop.look()
    await drop.look()


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.glob("*")) if folder.exists() else []


def code(folder, name: str) -> str:
    return Acknowledgement.parse((folder / f"{name}.ack").read_bytes()).code


async def test_a_file_becomes_a_stored_message_and_is_moved_with_its_acknowledgement(drop, database, tmp_path, adt):
    (tmp_path / "a.hl7").write_bytes(adt("DF1", mrn="DF1"))
    await twice(drop)
    assert names(tmp_path / "done") == ["a.hl7", "a.hl7.ack"]
    assert code(tmp_path / "done", "a.hl7") == "AA"
    [row] = [row for row in await list_messages(database) if row.control_id == "DF1"]
    assert (row.status, row.site) == ("processed", "lakeside")


async def test_a_file_that_still_grows_is_left_alone(drop, tmp_path, adt):
    whole = adt("DF2", mrn="DF2")
    path = tmp_path / "b.hl7"
    path.write_bytes(whole[:50])
    await drop.look()
    path.write_bytes(whole)
    await drop.look()
    assert path.exists()
    await drop.look()
    assert names(tmp_path / "done") == ["b.hl7", "b.hl7.ack"]


async def test_names_of_unfinished_files_are_left_alone(drop, tmp_path, adt):
    for name in (".c.hl7", "c.hl7.tmp", "c.hl7.part"):
        (tmp_path / name).write_bytes(adt("DF3", mrn="DF3"))
    await twice(drop)
    assert names(tmp_path) == [".c.hl7", "c.hl7.part", "c.hl7.tmp"]


async def test_what_cannot_be_mapped_goes_to_failed_with_its_reason(drop, tmp_path, adt):
    (tmp_path / "d.hl7").write_bytes(adt("DF4", mrn=""))
    (tmp_path / "empty.hl7").write_bytes(b"\r\n")
    await twice(drop)
    assert names(tmp_path / "failed") == ["d.hl7", "d.hl7.ack", "empty.hl7", "empty.hl7.ack"]
    assert code(tmp_path / "failed", "d.hl7") == "AE"


async def test_a_batch_is_taken_message_by_message_with_mllp_framing_or_without(drop, database, tmp_path, adt):
    batch = b"FHS|^~\\&|EHR\rBHS|^~\\&|EHR\r" + adt("DF5a", mrn="DF5") + adt("DF5b", mrn="DF5") + b"BTS|2\rFTS|1\r"
    (tmp_path / "e.hl7").write_bytes(b"\x0b" + batch + b"\x1c\r")
    await twice(drop)
    assert (tmp_path / "done" / "e.hl7.ack").read_bytes().count(b"MSA|AA|DF5") == 2
    assert sum(row.control_id.startswith("DF5") for row in await list_messages(database)) == 2


async def test_a_file_taken_before_a_crash_and_found_again_has_one_effect(drop, database, tmp_path, adt):
    for _ in range(2):
        (tmp_path / "f.hl7").write_bytes(adt("DF6", mrn="DF6"))
        await twice(drop)
    assert len(names(tmp_path / "done")) == 4
    [row] = [row for row in await list_messages(database) if row.control_id == "DF6"]
    assert row.resends == 1


async def test_a_file_of_another_sites_sender_is_refused(drop, tmp_path, adt):
    (tmp_path / "g.hl7").write_bytes(adt("DF7", facility="HILLSIDE"))
    await twice(drop)
    assert code(tmp_path / "failed", "g.hl7") == "AR"


async def test_a_file_over_the_limit_is_refused_without_being_read_whole(intake, database, tmp_path, adt):
    (tmp_path / "h.hl7").write_bytes(adt("DF8") + b"Z" * 2000)
    await twice(Drop(intake, "lakeside", tmp_path, limit_bytes=1000))
    assert code(tmp_path / "failed", "h.hl7") == "AR"


async def test_oldest_files_are_taken_first(drop, database, tmp_path, adt):
    for name, when in (("z.hl7", 1_000), ("a.hl7", 2_000)):
        (tmp_path / name).write_bytes(adt(f"DF9{name[0]}", mrn="DF9"))
        os.utime(tmp_path / name, (when, when))
    await twice(drop)
    assert [row.control_id for row in await list_messages(database)][:2] == ["DF9a", "DF9z"]


async def test_while_the_database_is_away_a_file_stays_where_it_is(database_url, site, tmp_path, adt):
    database = await Database.open(database_url)
    drop = Drop(Intake(database, Sites([site()])), "lakeside", tmp_path, limit_bytes=1_000_000)
    await database.close()
    (tmp_path / "i.hl7").write_bytes(adt("DF10", mrn="DF10"))
    await twice(drop)
    assert names(tmp_path) == ["i.hl7"]
