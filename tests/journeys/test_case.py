"""The walk of one case through the FHIR API and its jobs, told as a story."""

import pytest

from cases import codes
from fhir_server.kernel.errors import BusinessRule


def _codes(resources, element="statusReason"):
    return [codes.code_in(item.get(element), codes.SO_REASON) for item in resources]


async def test_a_case_goes_from_request_to_delivered_report(world):
    await _waits_in_hospital_and_is_accepted_after_it(world)
    await _last_record_starts_the_clock(world)
    await _lin_declines_and_cole_accepts(world)
    report = await _opinion_becomes_the_signed_report(world)
    await _report_is_delivered(world, report)


async def _waits_in_hospital_and_is_accepted_after_it(world):
    await world.put(world.stay("in-progress"))  # ADT^A01
    await world.arrive(*[item for item in world.records() if item["id"] != "ngs"])
    await world.submit()
    assert await world.state() == "received/awaiting-information"
    await world.arrive(world.stay("finished"))  # ADT^A03
    assert await world.state() == "accepted/records-gathering"
    done = {name for name, task in (await world.rows()).items() if task["status"] == "completed"}
    assert done == {"pathology-report", "ct-chest", "consult-note"}


async def _last_record_starts_the_clock(world):
    await world.arrive(*[item for item in world.records() if item["id"] == "ngs"])  # ORU^R01
    ngs = (await world.rows())["ngs-report"]
    assert ngs["status"] == "completed"
    assert ngs["output"][0]["valueReference"] == {"reference": "DiagnosticReport/ngs"}
    promised = (await world.case())["restriction"]
    assert promised["period"] == {"start": "2026-03-04T14:00:00-05:00", "end": "2026-03-11T17:00:00-04:00"}
    assert promised["extension"][0]["valueDateTime"] == "2026-03-13T17:00:00-04:00"
    assert await world.state() == "accepted/offered"


async def _lin_declines_and_cole_accepts(world):
    lin = await world.review_of("harbor-james-lin")
    await world.change(f"Task/{lin['id']}", by="Practitioner/james-lin", status="rejected")
    await world.settle()
    assert await world.state() == "accepted/offered"
    cole = await world.review_of("harbor-hannah-cole")
    await world.change(f"Task/{cole['id']}", by="Practitioner/hannah-cole", status="accepted")
    await world.settle()
    assert await world.state() == "in-progress/in-review"


async def _opinion_becomes_the_signed_report(world):
    await world.answer()
    assert await world.state() == "in-progress/signed"
    (report,) = await world.find("DiagnosticReport", identifier=f"{codes.SO_REPORT}|")
    assert report["status"] == "final"
    assert codes.code_in(report["conclusionCode"][0], codes.SO_OUTCOME) == codes.DIFFERENT_PLAN
    review = await world.review_of("harbor-hannah-cole")
    assert review["status"] == "completed"
    given = {codes.code_in(item["type"], codes.SO_OUTPUT): item["valueReference"] for item in review["output"]}
    assert given["report"] == {"reference": f"DiagnosticReport/{report['id']}"}
    assert given["answers"] == {"reference": "QuestionnaireResponse/opinion"}
    assert (await world.read(given["document"]["reference"]))["type"] == "document"
    return f"DiagnosticReport/{report['id']}"


async def _report_is_delivered(world, report):
    (delivery,) = await world.find("Task", code=f"{codes.SO_TASK}|{codes.REPORT_DELIVERY}")
    wanted = {"report": report, "recipient": "Practitioner/rao", "task": f"Task/{delivery['id']}"}
    assert world.sent[-1] == ("hl7v2.deliver", wanted)
    await world.prove_delivery()
    assert await world.state() == "completed/delivered"
    request = await world.read((await world.case())["focus"]["reference"])
    assert request["status"] == "completed"
    assert {"system": codes.HARBOR_CASE, "value": "SO-2026-000001"}.items() <= request["identifier"][0].items()
    open_tasks = [task for task in await world.find("Task") if task["status"] in ("requested", "accepted")]
    assert open_tasks == []


async def test_images_are_asked_for_once_when_none_are_here(world):
    await world.submit()
    await world.arrive(*world.records())
    assert [item for item in world.sent if item[0] == "images.request"] == [
        ("images.request", {"patient": "Patient/alvarez"})
    ]


async def test_records_that_were_there_before_close_their_rows_at_once(world):
    await world.to_offer()
    rows = await world.rows()
    assert rows["pathology-report"]["output"][0]["valueReference"] == {"reference": "DiagnosticReport/pathology"}
    assert rows["slides"]["status"] == "requested"
    assert await world.state() == "accepted/offered"


async def test_every_transition_has_its_provenance_with_the_evidence(world):
    await world.to_signed()
    await world.prove_delivery()
    for task in await world.find("Task"):
        found = await world.find("Provenance", target=f"Task/{task['id']}")
        versions = {item["target"][0]["reference"].rpartition("/")[2] for item in found}
        assert "1" in versions, task["code"]
        assert task["meta"]["versionId"] in versions, task["code"]
    row = (await world.rows())["ngs-report"]
    (received,) = [
        item
        for item in await world.find("Provenance", target=f"Task/{row['id']}")
        if codes.code_in(item["activity"], codes.SO_ACTIVITY) == "receive-record"
    ]
    assert received["entity"] == [{"role": "source", "what": {"reference": "DiagnosticReport/ngs"}}]


async def test_the_specialists_own_step_is_attested_in_their_name(world):
    review = await world.to_review()
    accepted = [
        item
        for item in await world.find("Provenance", target=f"Task/{review['id']}")
        if codes.code_in(item["activity"], codes.SO_ACTIVITY) == "set-accepted"
    ]
    assert accepted[0]["agent"][0]["who"] == {"reference": "PractitionerRole/harbor-hannah-cole"}


async def test_running_every_job_again_changes_nothing(world):
    await world.to_signed()
    await world.prove_delivery()
    before = await _everything(world)
    world.waiting.extend(item for item in list(world.done) if item[0] == "cases.react")
    sent = len(world.sent)
    await world.settle()
    assert await _everything(world) == before
    assert len(world.sent) == sent


async def test_a_delivery_proven_twice_is_proven_once(world):
    await world.to_signed()
    await world.prove_delivery()
    (delivery,) = await world.find("Task", code=f"{codes.SO_TASK}|{codes.REPORT_DELIVERY}")
    await world.prove_delivery()
    assert await world.versions(f"Task/{delivery['id']}") == int(delivery["meta"]["versionId"])


async def test_a_resent_record_changes_nothing(world):
    await world.to_offer()
    before = await _everything(world)
    await world.arrive(*world.records())
    assert await _everything(world) == before


async def test_an_arriving_record_does_not_close_the_row_of_another_patient(world):
    await world.submit()
    other = {"resourceType": "Patient", "id": "other", "gender": "female", "birthDate": "1961-04-12"}
    await world.arrive(other, *({**item, "subject": {"reference": "Patient/other"}} for item in world.records()))
    assert {task["status"] for task in (await world.rows()).values()} == {"requested"}


async def test_two_cases_get_two_numbers(world):
    await world.submit()
    await world.submit()
    found = await world.find("ServiceRequest", identifier=f"{codes.HARBOR_CASE}|")
    assert sorted(item["identifier"][0]["value"] for item in found) == ["SO-2026-000001", "SO-2026-000002"]


async def test_loading_the_programme_again_writes_no_new_version(world):
    from programmes.load import LOADER, load  # noqa: PLC0415 - what this test is about

    async with world.database.transaction(LOADER) as tx:
        results = await load(tx, "harbor")
    assert {result.outcome for result in results} == {"unchanged"}


@pytest.mark.parametrize(
    ("address", "state"),
    [({"state": "MA", "country": "US"}, "rejected/ineligible"), ({"city": "?"}, "received/awaiting-information")],
)
async def test_residence_decides_eligibility(world, address, state):
    await world.change("Patient/alvarez", by="system", address=[{"use": "home", **address}])
    await world.submit()
    assert await world.state() == state
    case = await world.case()
    (guidance,) = await world.find("GuidanceResponse", patient="alvarez")
    assert case["output"][0]["valueReference"]["reference"] == f"GuidanceResponse/{guidance['id']}"
    assert _codes([case]) == ["residence"]


async def test_an_address_that_arrives_later_lets_the_case_go_on(world):
    await world.change("Patient/alvarez", by="system", address=[{"use": "home", "city": "?"}])
    await world.submit()
    assert await world.state() == "received/awaiting-information"
    await world.change("Patient/alvarez", by="system", address=[{"use": "home", "state": "RI"}])  # ADT^A08
    await world.settle()
    assert await world.state() == "accepted/records-gathering"


async def test_a_minor_is_refused(world):
    await world.change("Patient/alvarez", by="system", birthDate="2015-01-01")
    await world.submit()
    assert await world.state() == "rejected/ineligible"


async def test_without_consent_the_case_waits_for_it(world):
    await world.submit(with_consent=False)
    assert (await world.state(), _codes([await world.case()])) == ("received/awaiting-information", ["consent"])
    await world.arrive({**world.consent(), "id": "late"})
    assert await world.state() == "accepted/records-gathering"


async def test_an_admission_pauses_the_gathering_and_the_discharge_resumes_it(world):
    await world.submit()
    await world.arrive(world.stay("in-progress"))
    assert await world.state() == "accepted/awaiting-information"
    await world.arrive(*world.records())
    assert (await world.rows())["ngs-report"]["status"] == "requested"
    await world.arrive(world.stay("finished"))
    assert await world.state() == "accepted/offered"


async def _everything(world):
    types = ("Task", "Provenance", "GuidanceResponse", "DiagnosticReport", "ServiceRequest", "Bundle", "Composition")
    return {f"{kind}/{item['id']}": item["meta"]["versionId"] for kind in types for item in await world.find(kind)}


async def test_a_request_sent_piece_by_piece_is_taken_up_when_it_is_whole(world):
    entries = request_of(world)
    task = {**entries["Task"], "id": "late", "focus": {"reference": "ServiceRequest/order"}}
    del task["for"]
    await world.arrive(task)
    assert (await world.read("Task/late"))["status"] == "requested"
    order = {"reference": "ServiceRequest/order"}
    await world.arrive(
        {**entries["ServiceRequest"], "id": "order"},
        {**entries["QuestionnaireResponse"], "id": "intake", "basedOn": [order]},
        {**entries["Consent"], "id": "consent"},
    )
    await world.change("Task/late", by="system", description="Please hurry")
    await world.settle()
    assert await world.state() == "accepted/records-gathering"
    assert (await world.case())["for"] == {"reference": "Patient/alvarez"}


def request_of(world):
    return {entry["resource"]["resourceType"]: entry["resource"] for entry in world.bundle()["entry"]}


async def test_a_plan_that_cannot_be_read_as_a_programme_is_refused(world):
    plan = await world.read("PlanDefinition/harbor-second-opinion")
    broken = {**plan, "action": plan["action"][:1]}
    with pytest.raises(BusinessRule) as refusal:
        await world.put(broken)
    assert "'review'" in refusal.value.issues[0].diagnostics
    await world.put({**broken, "id": "another", "extension": [{"url": "urn:x:y", "valueString": "no programme"}]})


async def test_a_case_nobody_can_place_says_so(world):
    await world.change("PlanDefinition/harbor-second-opinion", by="system", status="retired")
    await world.submit(code=codes.concept(codes.SO_TASK, codes.CASE))
    assert await world.state() == "requested"
    assert _codes([await world.case()]) == [codes.REASON_NO_PROGRAMME]
