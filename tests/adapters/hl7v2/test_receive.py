"""Intake on the real database: acknowledged means durable, a resend has no second effect, a failure stays visible."""

import asyncio

import psycopg
import pytest

from adapters.hl7v2 import replay
from adapters.hl7v2.ack import Acknowledgement
from adapters.hl7v2.lanes import Lanes
from adapters.hl7v2.peer import Peer
from adapters.hl7v2.receive import Intake
from adapters.hl7v2.sites import Sites
from fhir_server.kernel.errors import BusinessRule
from fhir_server.store.database import Database
from fhir_server.store.wiring import Wiring

PEER = Peer("127.0.0.1", 2575)


@pytest.fixture
def send(intake):
    async def one(raw: bytes) -> Acknowledgement:
        answer = Acknowledgement.parse(await intake.receive(raw, PEER) or b"")
        assert answer is not None
        return answer

    return one


@pytest.fixture
def find(database, everything):
    async def stored(type: str, **pairs) -> list[dict]:
        async with database.transaction(everything) as tx:
            return [found.resource() for found in await tx.reader.find(type, **pairs)]

    return stored


async def message_of(database, control_id: str):
    rows = [row for row in await replay.list_messages(database) if row.control_id == control_id]
    return (await replay.show(database, rows[0].id)).message


async def test_an_admission_is_acknowledged_and_stored_with_its_inbox_row_and_provenance(database, send, find, adt):
    assert await send(adt("R1", mrn="R1", visit="R1")) == Acknowledgement("AA", "R1", "")
    [patient] = await find("Patient", identifier="https://lakeside.example/mrn|R1")
    [encounter] = await find("Encounter", identifier="https://lakeside.example/visit|R1")
    assert encounter["subject"]["reference"] == f"Patient/{patient['id']}"
    message = await message_of(database, "R1")
    assert (message.status, message.site, message.raw) == ("processed", "lakeside", adt("R1", mrn="R1", visit="R1"))
    assert f"Patient/{patient['id']}/_history/1" in message.resources
    [provenance] = await find("Provenance", target=f"Patient/{patient['id']}")
    assert {target["reference"] for target in provenance["target"]} == set(message.resources)
    assert provenance["activity"]["coding"][0]["code"] == "A01"
    assert provenance["entity"][0]["what"]["identifier"]["value"] == str(message.id)
    assert provenance["agent"][0]["who"]["identifier"]["value"] == "LAKESIDE"


async def test_a_resend_gets_the_stored_acknowledgement_and_changes_nothing(database, intake, find, adt):
    raw = adt("R2", mrn="R2", visit="R2")
    first = await intake.receive(raw, PEER)
    later = raw.replace(b"HARBOR|20260302080000", b"HARBOR|20260302081500")
    assert await intake.receive(raw, PEER) == await intake.receive(later, PEER) == first
    [patient] = await find("Patient", identifier="https://lakeside.example/mrn|R2")
    assert patient["meta"]["versionId"] == "1"
    assert (await message_of(database, "R2")).resends == 2


async def test_the_same_message_on_many_connections_at_once_has_one_effect(database, intake, find, adt):
    raw = adt("R3", mrn="R3", visit="R3")
    answers = await asyncio.gather(*(intake.receive(raw, PEER) for _ in range(8)))
    assert len(set(answers)) == 1
    assert len(await find("Patient", identifier="https://lakeside.example/mrn|R3")) == 1
    assert (await message_of(database, "R3")).resends == 7


async def test_a_control_id_used_again_for_other_content_is_processed_with_a_warning(database, send, find, adt):
    await send(adt("R4", mrn="R4", visit="R4"))
    assert (await send(adt("R4", mrn="R4-other", visit="R4-other"))).code == "AA"
    assert len(await find("Patient", identifier="https://lakeside.example/mrn|R4-other")) == 1
    assert "MSH-10 was used before for other content" in (await message_of(database, "R4")).warnings


async def test_a_message_without_patient_id_is_answered_ae_with_the_place_and_kept(database, send, adt):
    answer = await send(adt("R5", mrn=""))
    assert (answer.code, answer.control_id) == ("AE", "R5")
    assert "PID^1^3 101^Required field missing^HL70357" in answer.text
    message = await message_of(database, "R5")
    assert (message.status, message.error_code, message.error_location) == ("failed", "101", "PID^1^3")
    assert message.resources == []


async def test_a_message_without_control_id_is_refused_and_kept(database, send, adt):
    answer = await send(adt("", mrn="R6"))
    assert (answer.code, answer.control_id) == ("AR", "")
    assert "MSH^1^10 101^" in answer.text
    message = await message_of(database, "")
    assert message.status == "refused"


async def test_an_unknown_message_type_is_refused_and_kept(database, send, adt):
    answer = await send(adt("R7").replace(b"ADT^A01^ADT_A01", b"XYZ^Z99^XYZ_Z99"))
    assert answer.code == "AR"
    assert "200^Unsupported message type" in answer.text
    assert (await message_of(database, "R7")).status == "failed"


async def test_an_unknown_sender_is_refused_and_kept(database, send, adt):
    answer = await send(adt("R8", facility="ELSEWHERE"))
    assert answer.code == "AR"
    assert "MSH^1^3" in answer.text
    assert (await message_of(database, "R8")).site == ""


async def test_bytes_that_are_no_message_are_refused_and_kept(database, send):
    assert (await send(b"<ClinicalDocument/>")).code == "AR"
    assert 19 in [row.size_bytes for row in await replay.list_messages(database, status="refused")]


async def test_one_resource_that_is_refused_takes_all_of_its_message_with_it(database_url, database, site, find, oru):
    async def no_observations(change, _tx):
        if change.resource_type == "Observation":
            raise BusinessRule("Observations are refused here.")

    guarded = await Database.open(database_url, wiring=Wiring(guards=(no_observations,)))
    answer = Acknowledgement.parse(await Intake(guarded, Sites([site()])).receive(oru("R9", mrn="R9"), PEER) or b"")
    await guarded.close()
    assert answer is not None
    assert (answer.code, "Observations are refused here." in answer.text) == ("AE", True)
    assert await find("Patient", identifier="https://lakeside.example/mrn|R9") == []
    message = await message_of(database, "R9")
    assert (message.status, message.raw, message.resources) == ("failed", oru("R9", mrn="R9"), [])


async def test_a_failed_message_is_tried_again_when_it_comes_again(database, send, adt):
    raw = adt("R10", mrn="R10", visit="R10").replace(b"R10^^^LAKESIDE^MR", b"R10")
    first = await send(raw)
    again = await send(raw)
    assert (first.code, again.code) == ("AE", "AE")
    message = await message_of(database, "R10")
    assert (message.attempts, message.resends) == (2, 1)


async def test_messages_of_one_patient_on_many_connections_make_one_patient(send, find, adt, oru):
    raws = [adt(f"R11-{n}", mrn="R11", visit=f"R11-{n}") for n in range(6)]
    raws += [oru(f"R11-o{n}", mrn="R11", filler=f"R11-{n}") for n in range(6)]
    answers = await asyncio.gather(*(send(raw) for raw in raws))
    assert {answer.code for answer in answers} == {"AA"}
    assert len(await find("Patient", identifier="https://lakeside.example/mrn|R11")) == 1
    visits = ",".join(f"https://lakeside.example/visit|R11-{n}" for n in range(6))
    assert len(await find("Encounter", identifier=visits)) == 6


async def test_a_truncated_frame_is_kept_as_evidence_and_as_nothing_else(database, intake, find, adt):
    assert await intake.discard(adt("R12", mrn="R12")[:150], PEER, "partial") is None
    assert (await message_of(database, "R12")).status == "partial"
    assert await find("Patient", identifier="https://lakeside.example/mrn|R12") == []


async def test_a_frame_over_the_limit_is_answered_and_kept(database, intake, adt):
    answer = Acknowledgement.parse(await intake.discard(adt("R13"), PEER, "oversize") or b"")
    assert answer is not None
    assert (answer.code, answer.control_id) == ("AR", "R13")


@pytest.fixture
def picky_database(database_url):
    """A database that finds fault with patients called RXFAULT, as late as a row can be refused."""
    statement = """
        CREATE FUNCTION fhir.find_fault() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'data_exception'; END $$;
        CREATE TRIGGER picky BEFORE INSERT ON fhir.patient FOR EACH ROW
        WHEN (NEW.body LIKE '%RXFAULT%') EXECUTE FUNCTION fhir.find_fault();
    """
    with psycopg.connect(database_url) as connection:
        connection.execute(statement)
    yield
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP TRIGGER picky ON fhir.patient; DROP FUNCTION fhir.find_fault()")


@pytest.mark.parametrize("mode", ["original", "enhanced"])
async def test_a_row_the_database_refuses_fails_its_message_visibly(picky_database, database, site, adt, mode):
    sites, jobs = Sites([site(acknowledge=mode)]), []

    async def enqueue(_connection, _name, arguments, _lock):
        jobs.append(arguments["lane"])

    raw = adt(f"RX-{mode}", mrn=f"RX-{mode}", family="RXFAULT")
    await Intake(database, sites, enqueue=enqueue).receive(raw, PEER)
    for lane in jobs:
        await Lanes(database, sites).process(lane)
    [row] = [row for row in await replay.list_messages(database, count=500) if row.control_id == f"RX-{mode}"]
    assert (row.status, row.error_code) == ("failed", "207")
    assert "RXFAULT" not in row.error_text
