"""Referrals are answered by RRI and open a case; what has no mapping is answered by the site's policy."""

import pytest

from adapters.hl7v2.ack import Acknowledgement
from adapters.hl7v2.lanes import Lanes
from adapters.hl7v2.receive import Intake
from adapters.hl7v2.server import Peer
from adapters.hl7v2.sites import Sites, site_from
from adapters.hl7v2.tokenizer import Message
from cases import gather

PEER = Peer("127.0.0.1", 2575)
REF = (
    "MSH|^~\\&|EHR|LAKESIDE|KONSIL|HARBOR|20260302080000||REF^I12^REF_I12|{id}|P|2.5.1{msh}\r"
    "RF1|A|R|MED|SO^Second Opinion^HL70282||{id}^LAKESIDE|20260302\r"
    "PRD|RP|RAO^ANIL|||||1234567893^NPI\r"
    "PID|1||{id}^^^LAKESIDE^MR||ALVAREZ^MARIA\r"
    "DG1|1||C34.11^Lung cancer^I10C||20260301|W\r"
)
DFT = (
    "MSH|^~\\&|EHR|LAKESIDE|KONSIL|HARBOR|20260302080000||DFT^P03^DFT_P03|{id}|P|2.5.1\r"
    "PID|1||{id}^^^LAKESIDE^MR||ALVAREZ^MARIA\rFT1|1|||20260302||CG|99213\r"
)


async def test_a_referral_is_answered_by_rri_with_its_providers_patient_and_a_pending_status(intake):
    answer = await intake.receive(REF.format(id="R1", msh="").encode(), PEER)
    assert answer is not None
    assert Acknowledgement.parse(answer).code == "AA"
    message = Message.parse(answer)
    assert message.get("MSH-9") == "RRI^I12^RRI_I12"
    assert [segment.name for segment in message.segments] == ["MSH", "MSA", "RF1", "PRD", "PID"]
    assert (message.get("RF1-1.1"), message.get("RF1-6.1"), message.get("MSA-2")) == ("P", "R1", "R1")


async def test_a_referral_for_a_second_opinion_opens_a_case(database, intake, everything):
    await intake.receive(REF.format(id="R2", msh="").encode(), PEER)
    async with database.transaction(everything) as tx:
        [patient] = await tx.reader.find("Patient", identifier="https://lakeside.example/mrn|R2")
    async with database.transaction(gather.SUBJECT) as tx:
        [case] = await gather.case_tasks(tx.reader, f"Patient/{patient.id}")
        snapshot = await gather.snapshot(tx.reader, case)
    assert snapshot is not None
    assert snapshot.request["status"] == "active"
    assert snapshot.request["requester"]["reference"].startswith("Practitioner/")


async def test_a_referral_that_fails_is_answered_by_an_ack_with_err(intake):
    broken = REF.format(id="R3", msh="").replace("R3^^^LAKESIDE^MR", "").encode()
    message = Message.parse(await intake.receive(broken, PEER) or b"")
    assert (message.get("MSH-9.1"), message.get("MSA-1")) == ("ACK", "AE")


async def test_what_has_no_mapping_is_refused_and_kept(intake):
    answer = Acknowledgement.parse(await intake.receive(DFT.format(id="D1").encode(), PEER) or b"")
    assert (answer.code, "200" in answer.text) == ("AR", True)


@pytest.mark.parametrize("listed", ["DFT", "DFT^P03", "*"])
async def test_a_site_may_have_types_without_mapping_stored_and_answered_aa(
    database, site_settings, everything, listed
):
    mapping = {**site_settings["mapping"], "store_only": [listed]}
    intake = Intake(database, Sites([site_from("lakeside", {**site_settings, "mapping": mapping})]))
    id = f"D2{listed[-1]}"
    answer = Acknowledgement.parse(await intake.receive(DFT.format(id=id).encode(), PEER) or b"")
    assert answer.code == "AA"
    async with database.transaction(everything) as tx:
        assert await tx.reader.find("Patient", identifier=f"https://lakeside.example/mrn|{id}") == []


async def test_store_only_never_bypasses_a_mapping_that_is_there(database, site_settings, adt, everything):
    mapping = {**site_settings["mapping"], "store_only": ["*"]}
    intake = Intake(database, Sites([site_from("lakeside", {**site_settings, "mapping": mapping})]))
    await intake.receive(adt("D3", mrn="D3", visit="D3"), PEER)
    async with database.transaction(everything) as tx:
        assert len(await tx.reader.find("Patient", identifier="https://lakeside.example/mrn|D3")) == 1


async def test_lanes_answer_a_deferred_referral_by_rri_too(database, site_settings):
    queued = []
    destinations = {"ehr": {"host": "127.0.0.1", "port": 1}}
    settings = {**site_settings, "destinations": destinations, "application_acknowledgements": "ehr"}
    sites = Sites([site_from("lakeside", settings)])

    async def enqueue(_connection, _name, arguments, _lock):
        queued.append(arguments["lane"])

    raw = REF.format(id="R4", msh="|||AL|AL").encode()
    answer = Acknowledgement.parse(await Intake(database, sites, enqueue=enqueue).receive(raw, PEER) or b"")
    assert answer.code == "CA"
    await Lanes(database, sites).process(queued[0])
    async with database.connection() as connection:
        cursor = await connection.execute("SELECT raw FROM fhir.outbound_message ORDER BY id DESC LIMIT 1")
        [sent] = await cursor.fetchone()
    assert Message.parse(bytes(sent)).get("MSH-9.1") == "RRI"
