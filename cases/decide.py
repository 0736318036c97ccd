"""Decide what a case needs next: a pure function of its snapshot, its programme and the clock.

Each call returns the commands of one step; ``react`` applies them, looks again, and stops when nothing is decided.
So every rule here reads as one row of the workflow and needs to know nothing of the others.
docs/cases.md#decisions
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final

from cases import codes, tasks
from cases.calendar import promise, utc
from cases.candidates import next_candidate
from cases.decisions import (
    Adopt,
    AssignNumber,
    CompleteRecord,
    CompleteRequest,
    CreateTask,
    Decision,
    Deliver,
    Explain,
    FinaliseReport,
    Offer,
    Record,
    RequestImages,
    SetStatus,
)
from cases.eligibility import assess, find_intake, guidance
from cases.machine import State, state_of
from cases.manifest import is_mandatory, is_settled, row_of, satisfying
from cases.report_document import ReportIds
from cases.snapshot import Resource, Snapshot, canonical, reference, targets, values
from programmes.model import Programme

_eligibility = State("received", codes.ELIGIBILITY)
_awaiting = State("received", codes.AWAITING_INFORMATION)
_gathering = State("accepted", codes.RECORDS_GATHERING)
_paused = State("accepted", codes.AWAITING_INFORMATION)
_complete = State("accepted", codes.RECORDS_COMPLETE)
_offered = State("accepted", codes.OFFERED)
_review = State("in-progress", codes.IN_REVIEW)
_reoffered = State("in-progress", codes.OFFERED)
_signed = State("in-progress", codes.SIGNED)
_waiting: Final = frozenset({"requested", "received"})
_working: Final = frozenset({"accepted", "in-progress", "on-hold", "completed"})

Steps = Iterator[Decision]


def decide(snapshot: Snapshot, programme: Programme, now: datetime) -> tuple[Decision, ...]:
    """Return the next commands for the case, none when it waits for somebody."""
    if codes.kind_of(dict(snapshot.case)) != codes.CASE:
        return (Adopt(_id(snapshot.case), reference(snapshot.patient), programme.url),)
    if snapshot.state.closed:
        return tuple(_close(snapshot))
    if ended := (*_abort(snapshot), *_revoke(snapshot, now)):
        return ended
    step = _steps.get(snapshot.state)
    return tuple(step(snapshot, programme, now)) if step else ()


def _submitted(snapshot: Snapshot, programme: Programme, _now: datetime) -> Steps:
    if snapshot.request.get("status") != "active":
        words = "The ServiceRequest is not active; the case begins when it is."
        yield from _explain(snapshot, (codes.REASON_NOT_ACTIVE, words))
        return
    known = any(item.get("system") == programme.number_system for item in snapshot.request.get("identifier", ()))
    if not known:
        yield AssignNumber(str(snapshot.request["id"]))
    yield SetStatus(_id(snapshot.case), _eligibility, "receive")


def _assess(snapshot: Snapshot, programme: Programme, now: datetime) -> Steps:
    assessment = assess(snapshot, programme, now)
    result = guidance(assessment, snapshot, programme, utc(now))
    outcome, reason = assessment.outcome, assessment.reason
    state = {
        "eligible": _gathering,
        "waiting": _awaiting if snapshot.state == _eligibility else snapshot.state,
        "ineligible": State("rejected", codes.INELIGIBLE),
    }[outcome]
    if state == snapshot.state:
        yield from _explain(snapshot, reason)
        return
    yield Record(result)
    evidence = ((codes.OUTPUT_ELIGIBILITY, reference(result)),)
    yield SetStatus(_id(snapshot.case), state, "assess-eligibility", reason, evidence)


def _gather(snapshot: Snapshot, programme: Programme, now: datetime) -> Steps:
    """Ask for what the manifest lists, close what arrived, and see whether the patient is still eligible."""
    assessment = assess(snapshot, programme, now)
    if assessment.outcome != "eligible":
        result = guidance(assessment, snapshot, programme, utc(now))
        yield Record(result)
        evidence = ((codes.OUTPUT_ELIGIBILITY, reference(result)),)
        yield SetStatus(_id(snapshot.case), _paused, "pause", assessment.reason, evidence)
        return
    requests = {row_of(task): task for task in snapshot.of_kind(codes.RECORD_REQUEST)}
    missing = [row for row in programme.rows if row.id not in requests]
    for row in missing:
        yield CreateTask(tasks.record_request(row, snapshot, programme, utc(now)), "request-record")
    if any("ImagingStudy" in row.types and not satisfying(row, snapshot, programme) for row in missing):
        yield RequestImages(reference(snapshot.patient))
    arrived = tuple(_arrived(snapshot, programme))
    yield from arrived
    mandatory = [task for task in requests.values() if is_mandatory(task)]
    if not missing and not arrived and all(is_settled(task) for task in mandatory):
        yield SetStatus(
            _id(snapshot.case), _complete, "complete-records", promise=promise(now, programme.clock),
            because=tuple(output for task in mandatory for output in values(task, "output", codes.OUTPUT_RECORD)),
        )  # fmt: skip


def _arrived(snapshot: Snapshot, programme: Programme) -> Iterator[CompleteRecord]:
    for task in snapshot.of_kind(codes.RECORD_REQUEST):
        row = programme.row(row_of(task))
        if row is None or state_of(dict(task)).closed:
            continue
        if found := satisfying(row, snapshot, programme):
            yield CompleteRecord(_id(task), row.id, reference(found))


def _resume(snapshot: Snapshot, programme: Programme, now: datetime) -> Steps:
    """Go on when the data again allow it; a coordinator's own pause has a reason no rule gave, and stays."""
    assessment = assess(snapshot, programme, now)
    paused_by = codes.code_in(snapshot.case.get("statusReason"), codes.SO_REASON)
    if paused_by not in {rule.id for rule in programme.rules}:
        return
    if assessment.outcome == "eligible":
        result = guidance(assessment, snapshot, programme, utc(now))
        yield Record(result)
        evidence = ((codes.OUTPUT_ELIGIBILITY, reference(result)),)
        yield SetStatus(_id(snapshot.case), _gathering, "resume", outputs=evidence)
    else:
        yield from _explain(snapshot, assessment.reason)


def _match(snapshot: Snapshot, programme: Programme, now: datetime) -> Steps:
    yield from _arrived(snapshot, programme)
    open_review = _open_review(snapshot)
    if open_review is not None:
        yield SetStatus(_id(snapshot.case), _offered, "offer", because=(reference(open_review),))
    elif role := next_candidate(snapshot, programme):
        yield Offer(tasks.specialist_review(role, snapshot, programme, utc(now)), reference(role))
    else:
        words = "No specialist of the programme is left to ask. Name one, or cancel the case."
        yield from _explain(snapshot, (codes.REASON_NO_CANDIDATE, words))


def _await_answer(snapshot: Snapshot, programme: Programme, now: datetime) -> Steps:
    yield from _arrived(snapshot, programme)
    review = _current_review(snapshot)
    case = _id(snapshot.case)
    if review is not None:
        yield SetStatus(case, _review, "start-review", because=(reference(review),))
    elif _open_review(snapshot) is None and snapshot.state == _offered:
        yield SetStatus(case, _complete, "offer-declined", because=_declined(snapshot))
    elif _open_review(snapshot) is None:
        yield from _match_again(snapshot, programme, now)


def _match_again(snapshot: Snapshot, programme: Programme, now: datetime) -> Steps:
    if role := next_candidate(snapshot, programme):
        yield Offer(tasks.specialist_review(role, snapshot, programme, utc(now)), reference(role))
    else:
        words = "No specialist of the programme is left to ask. Name one, or end the case."
        yield from _explain(snapshot, (codes.REASON_NO_CANDIDATE, words))


def _in_review(snapshot: Snapshot, programme: Programme, _now: datetime) -> Steps:
    yield from _arrived(snapshot, programme)
    review = _current_review(snapshot)
    if review is None:
        yield SetStatus(_id(snapshot.case), _reoffered, "reassign", because=_declined(snapshot))
        return
    report = find_report(snapshot)
    answers = _answers(snapshot, programme)
    if report is not None:
        outputs = _results(report, answers)
        if review["status"] in ("accepted", "in-progress"):
            yield SetStatus(_id(review), State("completed"), "complete-review", outputs=outputs)
        yield SetStatus(_id(snapshot.case), _signed, "sign", outputs=outputs, because=(reference(review),))
        return
    intake = find_intake(snapshot, programme)
    if answers is not None and intake is not None:
        records = [
            output
            for task in snapshot.of_kind(codes.RECORD_REQUEST)
            for output in values(task, "output", codes.OUTPUT_RECORD)
        ]
        yield FinaliseReport(reference(answers), reference(intake), tuple(dict.fromkeys(records)))


def _deliver(snapshot: Snapshot, programme: Programme, now: datetime) -> Steps:
    report = find_report(snapshot)
    if report is None:
        return
    deliveries = {_id(task): task for task in snapshot.of_kind(codes.REPORT_DELIVERY)}
    wanted = [
        (recipient, tasks.report_delivery(recipient, reference(report), snapshot, programme, utc(now)))
        for recipient in programme.recipients
    ]
    for recipient, task in wanted:
        if task["id"] not in deliveries:
            yield CreateTask(task, "request-delivery", because=(reference(report),))
            person = tasks.recipient_of(recipient, snapshot)
            yield Deliver(task["id"], reference(report), person, recipient.channel)
    here = [deliveries[task["id"]] for _, task in wanted if task["id"] in deliveries]
    if len(here) == len(wanted) and tasks.are_delivered(here):
        because = tuple(reference(task) for task in here)
        yield SetStatus(_id(snapshot.case), State("completed", codes.DELIVERED), "deliver", because=because)


def _close(snapshot: Snapshot) -> Steps:
    """After the end nothing stays open: sub-Tasks are cancelled, the request of a delivered case is completed."""
    for task in snapshot.tasks:
        if codes.kind_of(dict(task)) in codes.KINDS and not state_of(dict(task)).closed:
            reason = (codes.REASON_CASE_CLOSED, "The case is closed.")
            ended = State("completed" if task["status"] == "accepted" and _is_abort(task) else "cancelled")
            yield SetStatus(_id(task), ended, "close", reason)
    if snapshot.case["status"] == "completed" and snapshot.request.get("status") == "active":
        yield CompleteRequest(str(snapshot.request["id"]))


def _abort(snapshot: Snapshot) -> Steps:
    """A late cancellation the coordinator accepted ends the case; one that is only requested changes nothing."""
    if any(task["status"] in ("accepted", "completed") for task in snapshot.of_kind(codes.ABORT)):
        reason = (codes.CANCELLED, "Cancelled on request.")
        yield SetStatus(_id(snapshot.case), State("cancelled"), "cancel", reason)


def _revoke(snapshot: Snapshot, now: datetime) -> Steps:
    """A revoked request cancels the case; once work has started it asks a coordinator to."""
    if snapshot.request.get("status") not in ("revoked", "entered-in-error"):
        return
    if snapshot.state.status != "in-progress":
        yield SetStatus(_id(snapshot.case), State("cancelled"), "cancel", (codes.CANCELLED, "The request was revoked."))
    elif not snapshot.of_kind(codes.ABORT):
        yield CreateTask(tasks.abort(snapshot, utc(now)), "request-abort", because=(reference(snapshot.request),))


def _explain(snapshot: Snapshot, reason: tuple[str, str] | None) -> Iterator[Explain]:
    shown = snapshot.case.get("statusReason", {})
    if reason and (codes.code_in(shown, codes.SO_REASON), shown.get("text")) != reason:
        yield Explain(_id(snapshot.case), reason)


def find_report(snapshot: Snapshot) -> Resource | None:
    """Return the newest signed report on the case."""
    signed = [
        item
        for item in snapshot.evidence
        if item["resourceType"] == "DiagnosticReport"
        and reference(snapshot.request) in targets(item.get("basedOn"))
        and any(entry.get("system") == codes.SO_REPORT for entry in item.get("identifier", ()))
        and item.get("status") in ("final", "amended", "corrected", "appended")
    ]
    return max(signed, key=lambda item: (str(item.get("issued", "")), str(item["id"])), default=None)


def _results(report: Resource, answers: Resource | None) -> tuple[tuple[str, str], ...]:
    """Return what the review came to, as outputs: the report, its signed document, and the answers it is made of."""
    found = [(codes.OUTPUT_REPORT, reference(report))]
    ids = ReportIds.of(answers) if answers else None
    if answers is not None and ids is not None and ids.diagnostic_report == report["id"]:
        found += [(codes.OUTPUT_DOCUMENT, f"Bundle/{ids.document}"), (codes.OUTPUT_ANSWERS, reference(answers))]
    return tuple(found)


def _answers(snapshot: Snapshot, programme: Programme) -> Resource | None:
    found = [
        item
        for item in snapshot.responses
        if canonical(item) == programme.opinion
        and reference(snapshot.request) in targets(item.get("basedOn"))
        and item.get("status") in ("completed", "amended")
    ]
    return max(found, key=lambda item: (str(item.get("authored", "")), str(item["id"])), default=None)


def _open_review(snapshot: Snapshot) -> Resource | None:
    open_ones = _waiting | _working
    reviews = snapshot.of_kind(codes.SPECIALIST_REVIEW)
    return next((task for task in reviews if task["status"] in open_ones), None)


def _current_review(snapshot: Snapshot) -> Resource | None:
    return next((task for task in snapshot.of_kind(codes.SPECIALIST_REVIEW) if task["status"] in _working), None)


def _declined(snapshot: Snapshot) -> tuple[str, ...]:
    return tuple(reference(task) for task in snapshot.of_kind(codes.SPECIALIST_REVIEW)[-1:])


def _is_abort(task: Resource) -> bool:
    return codes.kind_of(dict(task)) == codes.ABORT


def _id(resource: Resource) -> str:
    return str(resource["id"])


_Step = Callable[[Snapshot, Programme, datetime], Steps]
_steps: Final[Mapping[State, _Step]] = {
    State("requested", codes.SUBMITTED): _submitted,
    _eligibility: _assess,
    _awaiting: _assess,
    _gathering: _gather,
    _paused: _resume,
    _complete: _match,
    _offered: _await_answer,
    _reoffered: _await_answer,
    _review: _in_review,
    _signed: _deliver,
}
