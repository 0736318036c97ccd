"""What the workflow refuses, whoever asks, and the ways out it offers instead."""

import asyncio
from itertools import product

import pytest

from cases import codes
from cases.delivery import hold
from cases.gather import SUBJECT
from fhir_server.kernel.errors import BusinessRule, Unprocessable

_lin, _cole, _adler, _rao = (
    "Practitioner/james-lin",
    "Practitioner/hannah-cole",
    "Practitioner/ruth-adler",
    "Practitioner/rao",
)


def _where(refusal):
    return refusal.value.issues[0].expression


async def _task(world, kind):
    (task,) = await world.find("Task", code=f"{codes.SO_TASK}|{kind}")
    return f"Task/{task['id']}"


async def _case(world):
    return f"Task/{(await world.case())['id']}"


async def test_a_case_cannot_be_created_halfway(world):
    for status in ("in-progress", "completed", "rejected", "failed"):
        with pytest.raises(BusinessRule) as refusal:
            await world.submit(status=status, code=codes.concept(codes.SO_TASK, codes.CASE))
        assert _where(refusal) == "Bundle.entry[2].resource.status"
    assert await world.find("ServiceRequest") == []


_no_rows = (
    ({"status": "completed"}, "Task.status"),
    ({"status": "in-progress", "businessStatus": codes.concept(codes.SO_STATUS, "in-review")}, "Task.status"),
    ({"businessStatus": codes.concept(codes.SO_STATUS, "signed")}, "Task.businessStatus"),
    ({"businessStatus": codes.concept(codes.SO_STATUS, "records-complete")}, "Task.businessStatus"),
    ({"code": codes.concept(codes.SO_TASK, codes.ABORT)}, "Task.code"),
    ({"focus": {"reference": "ServiceRequest/another"}}, "Task.focus"),
)


async def test_a_step_that_is_no_row_is_refused_for_everybody(world):
    await world.submit()
    before = await world.case()
    for by, (change, element) in product(("system", _adler, _rao), _no_rows):
        with pytest.raises(BusinessRule) as refusal:
            await world.change(await _case(world), by=by, **change)
        assert _where(refusal) == element, change
    assert await world.case() == before


async def test_a_specialist_decides_only_on_their_own_offer(world):
    await world.to_offer()
    review = await _task(world, codes.SPECIALIST_REVIEW)
    for by in (_cole, _rao):
        with pytest.raises(BusinessRule):
            await world.change(review, by=by, status="accepted")
    await world.change(review, by=_lin, status="accepted")
    await world.settle()
    assert await world.state() == "in-progress/in-review"


async def test_an_accepted_review_cannot_be_rejected_reopened_or_ended_without_an_opinion(world):
    review = await world.to_review()
    for status in ("completed", "rejected", "requested"):
        with pytest.raises(BusinessRule) as refusal:
            await world.change(f"Task/{review['id']}", by=_cole, status=status)
        assert _where(refusal) == "Task.status"


async def test_a_declined_offer_is_closed_for_good(world):
    await world.to_offer()
    review = await _task(world, codes.SPECIALIST_REVIEW)
    await world.change(review, by=_lin, status="rejected")
    with pytest.raises(BusinessRule):
        await world.change(review, by=_lin, status="accepted")
    with pytest.raises(BusinessRule):
        await world.change(review, by=_lin, description="edited")


async def test_a_task_of_a_case_is_never_deleted(world):
    await world.submit()
    task = await world.case()
    async with world.database.transaction(world.subject("system")) as tx:
        with pytest.raises(BusinessRule):
            await tx.writer.delete("Task", task["id"])


async def test_other_peoples_tasks_are_left_alone(world):
    task = {"resourceType": "Task", "id": "theirs", "status": "completed", "intent": "order"}
    await world.put(task)
    await world.put({**task, "status": "requested"})
    async with world.database.transaction(world.subject("system")) as tx:
        assert await tx.writer.delete("Task", "theirs")


async def test_a_coordinator_waives_a_record_with_a_reason_and_never_without(world):
    await world.arrive(*[item for item in world.records() if item["id"] != "ngs"])
    await world.submit()
    row = f"Task/{(await world.rows())['ngs-report']['id']}"
    with pytest.raises(BusinessRule):
        await world.change(row, by=_adler, status="cancelled")
    with pytest.raises(BusinessRule):
        await world.change(row, by=_lin, status="cancelled", statusReason={"text": "No tissue left"})
    await world.change(row, by=_adler, status="cancelled", statusReason={"text": "No tissue left"})
    await world.settle()
    assert await world.state() == "accepted/offered"


async def test_a_record_request_is_completed_by_hand_only_with_what_satisfies_it(world):
    await world.submit()
    row = f"Task/{(await world.rows())['slides']['id']}"
    with pytest.raises(BusinessRule):
        await world.change(row, by=_adler, status="completed")
    kind = codes.concept(codes.SO_OUTPUT, codes.OUTPUT_RECORD)
    given = [{"type": kind, "valueReference": {"reference": "Specimen/block"}}]
    await world.change(row, by=_adler, status="completed", output=given)
    assert (await world.rows())["slides"]["status"] == "completed"


async def test_an_opinion_that_leaves_something_open_is_refused(world):
    await world.to_review()
    for missing in ("answer-1", "answer-2", "outcome", "diagnosis", "plan"):
        items = [item for item in world.opinion()["item"] if item["linkId"] != missing]
        with pytest.raises(Unprocessable) as refusal:
            await world.answer(item=items)
        assert missing in refusal.value.issues[0].diagnostics
    assert await world.state() == "in-progress/in-review"
    assert await world.find("DiagnosticReport", identifier=f"{codes.SO_REPORT}|") == []


async def test_a_draft_opinion_may_leave_everything_open(world):
    await world.to_review()
    await world.answer(status="in-progress", item=world.opinion()["item"][:1])
    assert await world.state() == "in-progress/in-review"


async def test_only_the_specialist_who_accepted_may_write_the_opinion(world):
    await world.to_review()
    for by, author in ((_lin, _lin), (_rao, _cole)):
        with pytest.raises(BusinessRule):
            await world.answer(by=by, author={"reference": author})


async def test_an_opinion_before_the_review_is_accepted_is_refused(world):
    await world.to_offer()
    with pytest.raises(BusinessRule) as refusal:
        await world.answer(by=_lin, author={"reference": _lin})
    assert _where(refusal) == "QuestionnaireResponse.status"


async def test_what_is_signed_cannot_change(world):
    await world.to_signed()
    (report,) = await world.find("DiagnosticReport", identifier=f"{codes.SO_REPORT}|")
    provenances = await world.find("Provenance", target=f"DiagnosticReport/{report['id']}")
    (signature,) = [item for item in provenances if "signature" in item]
    signed = [target["reference"] for target in signature["target"]]
    assert {reference.partition("/")[0] for reference in signed} == {"DiagnosticReport", "Bundle", "Composition"}
    for reference in (*signed, f"Provenance/{signature['id']}"):
        before = await world.read(reference)
        with pytest.raises(BusinessRule):
            await world.put({**before, "language": "de"})
        async with world.database.transaction(world.subject("system")) as tx:
            with pytest.raises(BusinessRule):
                await tx.writer.delete(before["resourceType"], before["id"])
        assert await world.read(reference) == before


async def test_nobody_but_the_workflow_writes_a_report_of_a_case(world):
    await world.to_review()
    request = (await world.case())["focus"]
    forged = {
        "resourceType": "DiagnosticReport",
        "id": "forged",
        "identifier": [{"system": codes.SO_REPORT, "value": "SO-2026-000001.1"}],
        "status": "final",
        "basedOn": [request],
        "code": codes.concept(*codes.CONSULT_NOTE),
        "subject": {"reference": "Patient/alvarez"},
    }
    with pytest.raises(BusinessRule):
        await world.put(forged)


async def test_who_asked_may_cancel_until_the_work_begins(world):
    await world.to_offer()
    await world.change(await _case(world), by=_rao, status="cancelled", statusReason={"text": "Plans changed"})
    await world.settle()
    assert {task["status"] for task in await world.find("Task")} == {"cancelled", "completed"}


async def test_after_that_an_abort_is_asked_for_and_a_coordinator_decides(world):
    await world.to_review()
    case = await _case(world)
    for by in (_rao, _adler):
        with pytest.raises(BusinessRule):
            await world.change(case, by=by, status="cancelled")
    abort = {
        "resourceType": "Task",
        "id": "abort",
        "status": "requested",
        "intent": "order",
        "code": codes.concept(codes.SO_TASK, codes.ABORT),
        "partOf": [{"reference": case}],
        "for": {"reference": "Patient/alvarez"},
        "requester": {"reference": _rao},
    }
    await world.put(abort, by=_rao)
    await world.settle()
    assert await world.state() == "in-progress/in-review"
    with pytest.raises(BusinessRule):
        await world.put({**abort, "status": "accepted"}, by=_rao)
    await world.put({**abort, "status": "accepted"}, by=_adler)
    await world.settle()
    assert (await world.case())["status"] == "cancelled"
    assert (await world.read("Task/abort"))["status"] == "completed"


async def test_a_specialist_who_drops_out_is_replaced_without_losing_the_due_date(world):
    await world.to_offer()
    lin = await world.review_of("harbor-james-lin")
    await world.change(f"Task/{lin['id']}", by=_lin, status="accepted")
    await world.settle()
    due = (await world.case())["restriction"]
    await world.change(f"Task/{lin['id']}", by=_lin, status="failed", statusReason={"text": "Ill"})
    await world.settle()
    assert await world.state() == "in-progress/offered"
    cole = await world.review_of("harbor-hannah-cole")
    assert cole["status"] == "requested"
    assert (await world.case())["restriction"] == due == cole["restriction"]


async def test_when_everybody_declined_the_case_says_so_and_the_coordinator_names_one(world):
    await world.to_offer()
    for role, by in (("harbor-james-lin", _lin), ("harbor-hannah-cole", _cole)):
        review = await world.review_of(role)
        await world.change(f"Task/{review['id']}", by=by, status="rejected")
        await world.settle()
    case = await world.case()
    assert await world.state() == "accepted/records-complete"
    assert codes.code_in(case["statusReason"], codes.SO_REASON) == codes.REASON_NO_CANDIDATE
    second = await world.review_of("harbor-hannah-cole")
    named = {key: value for key, value in second.items() if key not in ("id", "meta", "statusReason")}
    await world.put({**named, "id": "named", "status": "requested"}, by=_adler)
    await world.settle()
    assert await world.state() == "accepted/offered"


async def test_a_refused_delivery_waits_for_a_person_who_may_confirm_it(world):
    await world.to_signed()
    delivery = await _task(world, codes.REPORT_DELIVERY)
    async with world.database.transaction(SUBJECT) as tx:
        await hold(tx, delivery, "lakeside/results answered AR; a person decides.", world.now)
    await world.settle()
    assert await world.state() == "in-progress/signed"
    with pytest.raises(BusinessRule):
        await world.change(delivery, by=_adler, status="completed")
    kind = codes.concept(codes.SO_OUTPUT, codes.OUTPUT_PROOF)
    proof = [{"type": kind, "valueString": "Confirmed by telephone"}]
    await world.change(delivery, by=_adler, status="completed", output=proof)
    await world.settle()
    assert await world.state() == "completed/delivered"


async def test_two_workers_on_one_patient_do_the_work_once(world):
    await world.arrive(*world.records())
    async with world.database.transaction(world.subject(_rao)) as tx:
        await tx.writer.create(_order())
    (order,) = await world.find("ServiceRequest")
    task = {
        "resourceType": "Task",
        "id": "twice",
        "status": "requested",
        "intent": "order",
        "code": codes.concept(codes.SO_TASK, codes.CASE),
        "focus": {"reference": f"ServiceRequest/{order['id']}"},
        "for": {"reference": "Patient/alvarez"},
    }
    await world.put(world.consent() | {"id": "consent"})
    await world.put(task)
    world.waiting.clear()
    await asyncio.gather(*(world.reactor.react("Task", "twice", 1) for _ in range(4)))
    found = await world.find("ServiceRequest", identifier=f"{codes.HARBOR_CASE}|")
    assert [item["identifier"][0]["value"] for item in found] == ["SO-2026-000001"]
    assert await world.state() == "received/awaiting-information"  # no question was asked
    assert len(await world.find("GuidanceResponse")) == 1


def _order():
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/alvarez"},
        "requester": {"reference": _rao},
    }


async def test_revoking_the_order_ends_the_case_early_and_asks_later(world):
    await world.to_review()
    request = (await world.case())["focus"]["reference"]
    await world.change(request, by=_rao, status="revoked")
    await world.settle()
    assert await world.state() == "in-progress/in-review"
    abort = await _task(world, codes.ABORT)
    await world.change(abort, by=_adler, status="rejected", statusReason={"text": "The opinion is nearly written"})
    await world.settle()
    assert await world.state() == "in-progress/in-review"
    await world.answer()
    assert await world.state() == "in-progress/signed"
