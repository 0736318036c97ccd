"""Merges of patients: who stays, who ends, what is held, and where later messages go."""

import pytest

from adapters.hl7v2.ack import Acknowledgement
from adapters.hl7v2.server import Peer
from fhir_server.kernel.subject import Subject

PEER = Peer("127.0.0.1", 2575)
MRN = "https://lakeside.example/mrn"


def a40(control_id, survivor, retired, *, event="A40", when="20260303080000"):
    return (
        f"MSH|^~\\&|EHR|LAKESIDE|KONSIL|HARBOR|{when}||ADT^{event}^ADT_A39|{control_id}|P|2.5.1\r"
        f"EVN|{event}|{when}\r"
        f"PID|1||{survivor}^^^LAKESIDE^MR||ALVAREZ^MARIA\r"
        f"MRG|{retired}^^^LAKESIDE^MR\r"
    ).encode()


@pytest.fixture
def ask(intake):
    async def each(raw: bytes) -> Acknowledgement:
        answer = Acknowledgement.parse(await intake.receive(raw, PEER) or b"")
        assert answer is not None
        return answer

    return each


@pytest.fixture
def patient(database, everything):
    async def one(mrn: str) -> dict:
        async with database.transaction(everything) as tx:
            [found] = await tx.reader.find("Patient", identifier=f"{MRN}|{mrn}")
            return found.resource()

    return one


async def test_a_merge_links_both_patients_and_ends_one_without_loss_of_demographics(ask, patient, adt):
    await ask(adt("M1-1", mrn="M1A", visit="M1A"))
    await ask(adt("M1-2", mrn="M1B", visit="M1B"))
    assert (await ask(a40("M1-3", "M1A", "M1B"))).code == "AA"
    survivor, retired = await patient("M1A"), await patient("M1B")
    assert survivor["link"] == [{"other": {"reference": f"Patient/{retired['id']}"}, "type": "replaces"}]
    assert retired["link"] == [{"other": {"reference": f"Patient/{survivor['id']}"}, "type": "replaced-by"}]
    assert (retired["active"], retired["identifier"][0]["use"]) == (False, "old")
    assert (survivor["birthDate"], survivor["gender"]) == ("1961-04-12", "female")
    assert retired["birthDate"] == "1961-04-12"


@pytest.mark.parametrize("event", ["A18", "A34", "A39"])
async def test_the_older_merge_events_do_the_same(ask, patient, adt, event):
    await ask(adt(f"M2-1{event}", mrn=f"M2A{event}", visit=f"M2A{event}"))
    assert (await ask(a40(f"M2-2{event}", f"M2A{event}", f"M2B{event}", event=event))).code == "AA"
    assert (await patient(f"M2B{event}"))["active"] is False


async def test_a_merge_sent_again_under_a_new_id_changes_nothing(ask, patient, adt):
    await ask(adt("M3-1", mrn="M3A", visit="M3A"))
    await ask(a40("M3-2", "M3A", "M3B"))
    before = await patient("M3A"), await patient("M3B")
    assert (await ask(a40("M3-3", "M3A", "M3B", when="20260303090000"))).code == "AA"
    assert (await patient("M3A"), await patient("M3B")) == before


async def test_a_patient_merged_into_themselves_is_refused(ask):
    answer = await ask(a40("M4-1", "M4", "M4"))
    assert (answer.code, "205" in answer.text) == ("AE", True)


async def test_a_merge_that_reverses_an_earlier_one_is_held(ask, patient):
    await ask(a40("M5-1", "M5A", "M5B"))
    answer = await ask(a40("M5-2", "M5B", "M5A"))
    assert (answer.code, "205" in answer.text) == ("AE", True)
    assert "active" not in await patient("M5A")


async def test_a_patient_who_ended_in_one_merge_cannot_end_in_another(ask):
    await ask(a40("M6-1", "M6A", "M6B"))
    answer = await ask(a40("M6-2", "M6C", "M6B"))
    assert (answer.code, "205" in answer.text) == ("AE", True)


async def test_messages_with_the_old_number_go_to_who_stayed_even_through_two_merges(
    database, everything, ask, patient, oru
):
    await ask(a40("M7-1", "M7B", "M7C"))
    await ask(a40("M7-2", "M7A", "M7B"))
    assert (await ask(oru("M7-3", mrn="M7C", filler="M7"))).code == "AA"
    survivor = await patient("M7A")
    async with database.transaction(everything) as tx:
        assert len(await tx.reader.find("DiagnosticReport", subject=f"Patient/{survivor['id']}")) == 1


async def test_a_new_number_stays_with_the_patient_who_had_the_old_one(ask, patient, adt):
    await ask(adt("M8-1", mrn="M8A", visit="M8A"))
    before = await patient("M8A")
    raw = a40("M8-2", "M8B", "M8A", event="A47").replace(b"ADT_A39", b"ADT_A30")
    assert (await ask(raw)).code == "AA"
    after = await patient("M8B")
    assert after["id"] == before["id"]
    assert [i["value"] for i in after["identifier"] if i.get("use") == "old"] == ["M8A"]


async def test_a_moved_visit_belongs_to_the_other_patient(database, everything, ask, patient, adt):
    await ask(adt("M9-1", mrn="M9A", visit="M9"))
    await ask(adt("M9-2", mrn="M9B", visit="M9-other"))
    raw = a40("M9-3", "M9B", "M9A", event="A45") + b"PV1|1|I" + b"|" * 17 + b"M9^^^LAKESIDE^VN\r"
    assert (await ask(raw)).code == "AA"
    async with database.transaction(everything) as tx:
        [visit] = await tx.reader.find("Encounter", identifier="https://lakeside.example/visit|M9")
    assert visit.resource()["subject"]["reference"] == f"Patient/{(await patient('M9B'))['id']}"


async def test_a_cancelled_discharge_opens_the_stay_again_and_a_cancelled_admission_ends_it(
    database, everything, ask, adt
):
    async def visit() -> dict:
        async with database.transaction(everything) as tx:
            [found] = await tx.reader.find("Encounter", identifier="https://lakeside.example/visit|M10")
            return found.resource()

    await ask(adt("M10-1", mrn="M10", visit="M10"))
    await ask(adt("M10-2", event="A03", mrn="M10", visit="M10", when="20260302090000", out="20260302090000"))
    assert (await visit())["status"] == "finished"
    await ask(adt("M10-3", event="A13", mrn="M10", visit="M10", when="20260302100000"))
    assert ((await visit())["status"], "end" in (await visit())["period"]) == ("in-progress", False)
    await ask(adt("M10-4", event="A11", mrn="M10", visit="M10", when="20260302110000"))
    assert (await visit())["status"] == "cancelled"


async def test_a_patient_known_under_another_id_ends_under_that_id(database, ask, patient):
    clerk = Subject.system("test", "system/Patient.crus")
    async with database.transaction(clerk) as tx:
        await tx.writer.update(
            {"resourceType": "Patient", "id": "m11", "identifier": [{"system": MRN, "value": "M11B"}]}
        )
    assert (await ask(a40("M11-1", "M11A", "M11B"))).code == "AA"
    assert (await patient("M11B"))["id"] == "m11"
