"""The walk of one case through the FHIR API and its jobs, told as a story."""

import pytest

from cases import codes


def _codes(resources, element="statusReason"):
    return [codes.code_in(item.get(element), codes.SO_REASON) for item in resources]


async def test_a_case_goes_from_request_to_delivered_report(world):
    await world.put(world.stay("in-progress"))  # ADT^A01
    await world.arrive(*[item for item in world.records() if item["id"] != "ngs"])
    await world.submit()
    assert await world.state() == "received/awaiting-information"

    await world.arrive(world.stay("finished"))  # ADT^A03
    assert await world.state() == "accepted/records-gathering"
    rows = await world.rows()
    done = {name for name, task in rows.items() if task["status"] == "completed"}
    assert done == {"pathology-report", "ct-chest", "consult-note"}

    await world.arrive(*[item for item in world.records() if item["id"] == "ngs"])  # ORU^R01
    ngs = (await world.rows())["ngs-report"]
    assert ngs["status"] == "completed"
    assert ngs["output"][0]["valueReference"] == {"reference": "DiagnosticReport/ngs"}
    case = await world.case()
    assert case["restriction"]["period"] == {"start": "2026-03-04T14:00:00-05:00", "end": "2026-03-11T17:00:00-04:00"}
    assert case["restriction"]["extension"][0]["valueDateTime"] == "2026-03-13T17:00:00-04:00"
    assert await world.state() == "accepted/offered"

    lin = await world.review_of("harbor-james-lin")
    await world.change(f"Task/{lin['id']}", by="Practitioner/james-lin", status="rejected")
    await world.settle()
    assert await world.state() == "accepted/offered"
    cole = await world.review_of("harbor-hannah-cole")
    await world.change(f"Task/{cole['id']}", by="Practitioner/hannah-cole", status="accepted")
    await world.settle()
    assert await world.state() == "in-progress/in-review"

    await world.answer()
    assert await world.state() == "in-progress/signed"
    (report,) = await world.find("DiagnosticReport", identifier=f"{codes.SO_REPORT}|")
    assert report["status"] == "final"
    assert codes.code_in(report["conclusionCode"][0], codes.SO_OUTCOME) == codes.DIFFERENT_PLAN
    assert (await world.review_of("harbor-hannah-cole"))["status"] == "completed"
    (delivery,) = await world.find("Task", code=f"{codes.SO_TASK}|{codes.REPORT_DELIVERY}")
    assert world.sent[-1] == (
        "hl7v2.deliver",
        {
            "report": f"DiagnosticReport/{report['id']}",
            "recipient": "Practitioner/rao",
            "task": f"Task/{delivery['id']}",
        },
    )

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
        first = "2" if codes.kind_of(task) == codes.CASE else "1"  # a plain Task is the case's from its adoption on
        assert first in versions, task["code"]
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
