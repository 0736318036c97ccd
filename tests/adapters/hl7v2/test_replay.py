"""Replay: a failed message is processed from its bytes once the cause is gone, and shown as far as it can be read."""

import pytest

from adapters.hl7v2 import replay
from adapters.hl7v2.peer import Peer
from adapters.hl7v2.receive import Intake
from adapters.hl7v2.sites import Sites
from fhir_server.kernel.errors import NotFound, Unprocessable

PEER = Peer("127.0.0.1", 2575)


async def row_of(database, control_id: str):
    return next(row for row in await replay.list_messages(database, count=500) if row.control_id == control_id)


async def test_a_message_that_failed_for_the_sites_configuration_is_replayed_after_the_fix(
    database, site, site_settings, adt
):
    raw = adt("Y1", mrn="Y1", visit="Y1").replace(b"Y1^^^LAKESIDE^MR", b"Y1^^^^MR")
    await Intake(database, Sites([site()])).receive(raw, PEER)
    row = await row_of(database, "Y1")
    assert (row.status, row.error_code) == ("failed", "101")
    assert (await replay.replay(database, Sites([site()]), row.id)).status == "failed"
    mapping = site_settings["mapping"]
    authorities = {**mapping["authorities"], "": {"MR": "https://lakeside.example/mrn"}}
    fixed = Sites([site(mapping={**mapping, "authorities": authorities})])
    assert (await replay.replay(database, fixed, row.id)).status == "processed"
    message = (await replay.show(database, row.id)).message
    assert (message.status, message.error_code, message.attempts) == ("processed", "", 3)
    assert any(reference.startswith("Patient/") for reference in message.resources)


async def test_a_message_no_site_claimed_is_replayed_for_the_site_that_claims_it_now(database, site, adt):
    raw = adt("Y2", mrn="Y2", visit="Y2", facility="ANNEX")
    await Intake(database, Sites([site()])).receive(raw, PEER)
    row = await row_of(database, "Y2")
    with pytest.raises(Unprocessable, match="belongs to no site"):
        await replay.replay(database, Sites([site()]), row.id)
    annexed = site(senders=[{"application": "*", "facility": "*"}])
    outcome = await replay.replay(database, Sites([annexed]), row.id)
    assert outcome.status == "processed"
    assert any(reference.startswith("Patient/") for reference in outcome.resources)
    assert (await row_of(database, "Y2")).site == "lakeside"


async def test_replaying_a_processed_message_changes_nothing(database, intake, site, adt):
    await intake.receive(adt("Y3", mrn="Y3", visit="Y3"), PEER)
    row = await row_of(database, "Y3")
    outcome = await replay.replay(database, Sites([site()]), row.id)
    assert (outcome.status, outcome.resources) == ("processed", ())


async def test_a_message_that_was_cut_off_is_never_replayed(database, intake, site, adt):
    await intake.discard(adt("Y4", mrn="Y4")[:200], PEER, "partial")
    with pytest.raises(Unprocessable, match="partial"):
        await replay.replay(database, Sites([site()]), (await row_of(database, "Y4")).id)


async def test_an_unknown_message_is_not_found(database, site):
    with pytest.raises(NotFound):
        await replay.replay(database, Sites([site()]), 10**9)


async def test_a_message_is_shown_field_by_field_with_what_it_wrote(database, intake, adt):
    await intake.receive(adt("Y5", mrn="Y5", visit="Y5"), PEER)
    shown = await replay.show(database, (await row_of(database, "Y5")).id)
    segments = dict(shown.segments)
    assert dict(segments["PID"])[3] == "Y5^^^LAKESIDE^MR"
    assert dict(segments["MSH"])[10] == "Y5"
    assert any(reference.startswith("Encounter/") for reference in shown.message.resources)


async def test_bytes_that_are_no_message_are_shown_as_they_are(database, intake):
    await intake.receive(b"<ClinicalDocument id='Y6'/>", PEER)
    row = (await replay.list_messages(database, status="refused"))[0]
    assert (await replay.show(database, row.id)).segments == (("?", ((0, "<ClinicalDocument id='Y6'/>"),)),)


async def test_messages_are_listed_by_status_site_and_type(database, intake, adt, oru):
    await intake.receive(adt("Y7-1", mrn="Y7", visit="Y7"), PEER)
    await intake.receive(oru("Y7-2", mrn="Y7", filler="Y7"), PEER)
    await intake.receive(adt("Y7-3", mrn=""), PEER)

    async def ids(**chosen) -> set[str]:
        rows = await replay.list_messages(database, count=500, **chosen)
        return {row.control_id for row in rows if row.control_id.startswith("Y7")}

    assert await ids(type="ADT") == {"Y7-1", "Y7-3"}
    assert await ids(type="ORU^R01", site="lakeside") == {"Y7-2"}
    assert await ids(status="failed") == {"Y7-3"}
    assert await ids(site="elsewhere") == set()


async def test_a_held_message_is_left_out_until_it_is_replayed_by_itself(database, intake, site, adt):
    await intake.receive(adt("Y8", mrn=""), PEER)
    row = await row_of(database, "Y8")
    await replay.hold(database, row.id)
    assert await intake.receive(adt("Y8", mrn=""), PEER)
    assert (await row_of(database, "Y8")).status == "held", "a resend gets the stored answer and nothing else"
    assert (await replay.replay(database, Sites([site()]), row.id)).status == "failed"
    with pytest.raises(Unprocessable, match="neither"):
        await replay.pass_over(database, (await processed(database, intake, adt, "Y8b")).id)


async def processed(database, intake, adt, control_id: str):
    await intake.receive(adt(control_id, mrn=control_id), PEER)
    return await row_of(database, control_id)


async def test_an_edited_copy_is_taken_as_new_and_the_original_stays_as_evidence(database, intake, adt):
    await intake.receive(adt("Y9", mrn=""), PEER)
    row = await row_of(database, "Y9")
    assert (await replay.edit_as_new(database, intake, row.id, adt("Y9-edited", mrn=""))).code == "AE"
    assert (await row_of(database, "Y9")).status == "failed"
    assert (await replay.edit_as_new(database, intake, row.id, adt("Y9-edited2", mrn="Y9"))).code == "AA"
    message = (await replay.show(database, row.id)).message
    assert (message.status, message.raw, message.warnings[-1]) == (
        "passed", adt("Y9", mrn=""), "edited and taken again as Y9-edited2",
    )  # fmt: skip
    with pytest.raises(Unprocessable):
        await replay.edit_as_new(database, intake, row.id, adt("Y9-edited3", mrn="Y9"))


async def test_messages_are_listed_by_error_place_range_and_patient(database, intake, adt):
    for n in range(3):
        await intake.receive(adt(f"Y10-{n}", mrn="" if n else "Y10"), PEER)
    rows = [await row_of(database, f"Y10-{n}") for n in range(3)]
    found = await replay.list_messages(database, error="101", location="PID^1^3", first=rows[1].id, before=rows[2].id)
    assert [row.control_id for row in found] == ["Y10-1"]
    found = await replay.list_messages(database, patients=["https://lakeside.example/mrn|Y10"])
    assert [row.control_id for row in found] == ["Y10-0"]
