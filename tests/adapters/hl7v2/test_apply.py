"""What messages do to stored resources: identity, what overwrites what, and messages that come late."""

import pytest

from adapters.hl7v2.ack import Acknowledgement
from adapters.hl7v2.peer import Peer
from fhir_server.kernel.subject import Subject

PEER = Peer("127.0.0.1", 2575)
MRN, VISIT = "https://lakeside.example/mrn", "https://lakeside.example/visit"


@pytest.fixture
def send(intake):
    async def each(*raws: bytes) -> None:
        for raw in raws:
            answer = Acknowledgement.parse(await intake.receive(raw, PEER) or b"")
            assert answer is not None
            assert answer.code == "AA", answer

    return each


@pytest.fixture
def find(database, everything):
    async def stored(type: str, **pairs) -> list[dict]:
        async with database.transaction(everything) as tx:
            return [found.resource() for found in await tx.reader.find(type, **pairs)]

    return stored


async def test_demographics_overwrite_and_absent_fields_keep(send, find, adt):
    await send(adt("P1-1", mrn="P1", visit="P1", city="BOSTON"))
    await send(adt("P1-2", event="A08", mrn="P1", visit="P1", city="").replace(b"|F|", b"||"))
    [patient] = await find("Patient", identifier=f"{MRN}|P1")
    assert patient["gender"] == "female"


async def test_a_null_clears(send, find, adt):
    await send(adt("P2-1", mrn="P2", visit="P2"))
    await send(adt("P2-2", event="A08", mrn="P2", visit="P2").replace(b"|19610412|", b'|""|'))
    [patient] = await find("Patient", identifier=f"{MRN}|P2")
    assert "birthDate" not in patient


async def test_a_result_never_overwrites_demographics(send, find, adt, oru):
    await send(adt("P3-1", mrn="P3", visit="P3", family="ALVAREZ-RUIZ"), oru("P3-2", mrn="P3", filler="P3"))
    [patient] = await find("Patient", identifier=f"{MRN}|P3")
    assert (patient["name"][0]["family"], patient["meta"]["versionId"]) == ("ALVAREZ-RUIZ", "1")


async def test_a_patient_that_is_known_under_another_id_is_recognised_and_referred_to(database, send, find, oru):
    clerk = Subject.system("test", "system/Patient.crus")
    async with database.transaction(clerk) as tx:
        await tx.writer.update(
            {"resourceType": "Patient", "id": "maria", "identifier": [{"system": MRN, "value": "P4"}]}
        )
    await send(oru("P4", mrn="P4", filler="P4"))
    [report] = await find("DiagnosticReport", subject="Patient/maria")
    [observation] = await find("Observation", subject="Patient/maria")
    assert report["result"] == [{"reference": f"Observation/{observation['id']}"}]
    assert len(await find("Patient", identifier=f"{MRN}|P4")) == 1


async def test_identifiers_of_two_patients_hold_the_message(database, intake, find, adt):
    clerk = Subject.system("test", "system/Patient.crus")
    async with database.transaction(clerk) as tx:
        for name in ("one", "two"):
            await tx.writer.update(
                {"resourceType": "Patient", "id": name, "identifier": [{"system": MRN, "value": "P5"}]}
            )
    answer = Acknowledgement.parse(await intake.receive(adt("P5", mrn="P5", visit="P5"), PEER) or b"")
    assert answer is not None
    assert (answer.code, "205^Duplicate key identifier" in answer.text) == ("AE", True)
    assert await find("Encounter", identifier=f"{VISIT}|P5") == []


async def test_a_discharge_finishes_the_encounter_and_a_late_admission_does_not_reopen_it(send, find, adt):
    await send(
        adt("P6-3", event="A03", mrn="P6", visit="P6", when="20260302091000", out="20260302091000"),
        adt("P6-1", event="A01", mrn="P6", visit="P6", when="20260302080000"),
    )
    [encounter] = await find("Encounter", identifier=f"{VISIT}|P6")
    assert encounter["status"] == "finished"


async def test_a_discharge_that_an_update_overtook_still_finishes_the_encounter(send, find, adt):
    await send(
        adt("P12-1", event="A01", mrn="P12", visit="P12", when="20260302080000"),
        adt("P12-3", event="A08", mrn="P12", visit="P12", when="20260302100000"),
        adt("P12-2", event="A03", mrn="P12", visit="P12", when="20260302091000", out="20260302091000"),
    )
    [encounter] = await find("Encounter", identifier=f"{VISIT}|P12")
    assert encounter["status"] == "finished"


async def test_late_demographics_do_not_overwrite_newer_ones(send, find, adt):
    await send(
        adt("P7-2", event="A08", mrn="P7", visit="P7", when="20260302100000", city="PROVIDENCE"),
        adt("P7-1", event="A08", mrn="P7", visit="P7", when="20260302090000", city="BOSTON"),
    )
    [patient] = await find("Patient", identifier=f"{MRN}|P7")
    assert (patient["address"][0]["city"], patient["meta"]["versionId"]) == ("PROVIDENCE", "1")


async def test_a_final_result_is_not_replaced_by_a_late_preliminary_one(send, find, oru):
    await send(
        oru("P8-2", mrn="P8", filler="P8", status="F", value="0.8", when="20260302100000"),
        oru("P8-1", mrn="P8", filler="P8", status="P", value="9.9", when="20260302090000"),
    )
    [patient] = await find("Patient", identifier=f"{MRN}|P8")
    [report] = await find("DiagnosticReport", subject=f"Patient/{patient['id']}")
    [observation] = await find("Observation", subject=f"Patient/{patient['id']}")
    assert (report["status"], observation["status"]) == ("final", "final")
    assert str(observation["valueQuantity"]["value"]) == "0.8"


async def test_a_late_final_result_does_not_replace_a_corrected_one(send, find, oru):
    await send(
        oru("P9-2", mrn="P9", filler="P9", status="C", value="0.9", when="20260302100000"),
        oru("P9-1", mrn="P9", filler="P9", status="F", value="0.8", when="20260302090000"),
    )
    [patient] = await find("Patient", identifier=f"{MRN}|P9")
    [observation] = await find("Observation", subject=f"Patient/{patient['id']}")
    assert (observation["status"], str(observation["valueQuantity"]["value"])) == ("corrected", "0.9")


async def test_a_message_that_changes_nothing_makes_no_version_and_no_provenance(send, find, adt):
    await send(adt("P10-1", mrn="P10", visit="P10"), adt("P10-2", mrn="P10", visit="P10"))
    [patient] = await find("Patient", identifier=f"{MRN}|P10")
    assert patient["meta"]["versionId"] == "1"
    assert len(await find("Provenance", target=f"Patient/{patient['id']}")) == 1


async def test_the_raw_message_is_a_binary_of_the_patient_that_provenance_names(database, send, find, adt):
    await send(adt("P11", mrn="P11", visit="P11"))
    [patient] = await find("Patient", identifier=f"{MRN}|P11")
    [provenance] = await find("Provenance", target=f"Patient/{patient['id']}")
    reader = Subject("Patient/x", "patient", Subject.system("x", "system/*.rs").scopes)
    async with database.transaction(reader) as tx:
        binary = (await tx.reader.read(*provenance["entity"][0]["what"]["reference"].split("/"))).resource()
    assert binary["contentType"] == "x-application/hl7-v2+er7"
    assert binary["securityContext"]["reference"] == f"Patient/{patient['id']}"
