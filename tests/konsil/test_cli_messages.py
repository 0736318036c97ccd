"""``konsil messages`` as an operator runs it, on messages a real intake received."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.hl7v2 import delivery
from adapters.hl7v2.peer import Peer
from adapters.hl7v2.receive import Intake
from adapters.hl7v2.sites import load_sites
from fhir_server.store import outbox
from fhir_server.store.database import Database
from konsil.cli_messages import app

ROOT = Path(__file__).parents[2]
GOOD = (ROOT / "sites/lakeside/tests/admission.hl7").read_bytes()
BAD = GOOD.replace(b"LKS-A01-1", b"LKS-BAD").replace(b"00483921^^^LAKESIDE^MR", b"")


@pytest.fixture
def messages(monkeypatch, database_url):
    monkeypatch.setenv("KONSIL_DATABASE_URL", database_url)
    monkeypatch.setenv("KONSIL_SITES_DIR", str(ROOT / "sites"))
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def ids(database_url) -> list[int]:
    """Receive a good and a bad message, again and again the same; return their rows' ids."""

    async def receive() -> list[int]:
        database = await Database.open(database_url)
        intake = Intake(database, load_sites(ROOT / "sites"))
        for raw in (GOOD, BAD):
            await intake.receive(raw, Peer("127.0.0.1", 2575))
        async with database.transaction(delivery.SUBJECT) as tx:
            cursor = await tx.connection.execute("SELECT id FROM fhir.inbound_message ORDER BY id")
            found = [row[0] for row in await cursor.fetchall()]
        await database.close()
        return found

    return asyncio.run(receive())


def test_list_shows_status_place_and_text_and_no_patient_data(messages, ids):
    done = messages("list", "--status", "failed")
    assert done.exit_code == 0
    [line] = done.output.splitlines()
    assert (str(ids[1]) in line, "LKS-BAD" in line, "101 PID^1^3" in line, "ALVAREZ" in line) == (
        True,
        True,
        True,
        False,
    )


def test_show_prints_segments_error_and_what_was_written(messages, ids):
    good, bad = messages("show", ids[0]), messages("show", ids[1])
    assert "PID-3    00483921^^^LAKESIDE^MR" in good.output
    assert "wrote Patient/" in good.output
    assert "error 101 at PID^1^3" in bad.output
    assert "wrote nothing" in bad.output


def test_show_raw_gives_the_bytes_back(messages, ids):
    assert messages("show", ids[0], "--raw").stdout_bytes == GOOD


def test_replay_of_what_fails_again_says_so_and_ends_with_one(messages, ids):
    done = messages("replay", "--failed", "--site", "lakeside", "--type", "ADT")
    assert (done.exit_code, f"{ids[1]} failed 101 PID^1^3" in done.output) == (1, True)


def test_replay_of_a_processed_message_changes_nothing(messages, ids):
    done = messages("replay", ids[0])
    assert (done.exit_code, done.output) == (0, f"{ids[0]} processed nothing new\n")


def test_a_failed_delivery_is_listed_and_sent_again(messages, database_url):
    async def fail() -> int:
        database = await Database.open(database_url)
        async with database.transaction(delivery.SUBJECT) as tx:
            number = await delivery.enqueue_outbound(tx, "lakeside/report", "CLI-1", GOOD, "Task/1")
            row = await outbox.get(tx.connection, number)
            await tx.connection.execute("UPDATE fhir.outbound_message SET status = 'failed' WHERE id = %s", (number,))
        await database.close()
        assert row is not None
        return row.id

    number = asyncio.run(fail())
    assert "CLI-1" in messages("outbox", "--status", "failed").output
    assert messages("resend", number).exit_code == 0
    assert messages("resend", number).exit_code == 1
    assert messages("outbox", "--status", "failed").output == ""


def test_everything_that_failed_with_an_error_is_replayed_and_nothing_else(messages, ids):
    assert messages("replay", "--failed", "--error", "205").output == ""
    done = messages("replay", "--failed", "--error", "101", "--location", "PID^1^3", "--from", ids[1], "--to", ids[1])
    assert (done.exit_code, done.output.startswith(f"{ids[1]} failed")) == (1, True)
    assert isinstance(messages("replay").exception, RuntimeError)


def test_a_failed_message_is_held_edited_and_accounted_for(messages, ids, tmp_path):
    assert messages("hold", ids[1]).exit_code == 0
    assert [str(ids[1]) in messages("list", "--status", status).output for status in ("held", "failed")] == [
        True,
        False,
    ]
    (tmp_path / "mended.hl7").write_bytes(GOOD.replace(b"LKS-A01-1", b"LKS-MENDED"))
    done = messages("edit-as-new", ids[1], "--file", tmp_path / "mended.hl7")
    assert (done.exit_code, "MSA|AA|LKS-MENDED" in done.output) == (0, True)
    assert "passed" in messages("list", "--status", "passed").output
    done = messages("check")
    assert (done.exit_code, done.output) == (
        0, "received 3 = done 2 + waiting 0 + quarantined 1 + refused 0; stranded 0\n",
    )  # fmt: skip


def test_an_outgoing_message_is_held_and_skipped(messages, database_url):
    async def queued() -> int:
        database = await Database.open(database_url)
        async with database.transaction(delivery.SUBJECT) as tx:
            id = await delivery.enqueue_outbound(tx, "lakeside/report", "CLI-HOLD", GOOD, "Task/1")
        await database.close()
        return id

    id = asyncio.run(queued())
    assert messages("hold", "--out", id).exit_code == 0
    assert "CLI-HOLD" in messages("outbox", "--status", "held").output
    assert messages("skip", id).exit_code == 0
    assert isinstance(messages("skip", id).exception, RuntimeError)
    assert "CLI-HOLD" in messages("outbox", "--status", "failed").output
