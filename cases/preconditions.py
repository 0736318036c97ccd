"""The preconditions the machine's rows name: each a function of the Task as it would be, and of what is stored.

Raises nothing: a precondition returns what is missing, in words for the caller, or None when it holds.
docs/cases.md#preconditions
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from cases import codes, gather
from cases.eligibility import outcome_of
from cases.manifest import is_mandatory, is_settled, row_of
from cases.snapshot import Resource, canonical, reference, target, values
from cases.tasks import are_delivered
from fhir_server.store.reader import Reader

Missing = str | None
Precondition = Callable[[Resource, Reader], Awaitable[Missing]]

_signed = frozenset({"final", "amended", "corrected", "appended"})


async def _focus(task: Resource, _reader: Reader) -> Missing:
    held = target(task.get("focus")).startswith("ServiceRequest/") and target(task.get("for")).startswith("Patient/")
    return None if held else "Task.focus must reference the ServiceRequest and Task.for the Patient."


async def _reason(task: Resource, _reader: Reader) -> Missing:
    reason = task.get("statusReason", {})
    return None if reason.get("text") or reason.get("coding") else "Task.statusReason must say why."


async def _eligible(task: Resource, reader: Reader) -> Missing:
    found = tuple(values(task, "output", codes.OUTPUT_ELIGIBILITY))
    response = await gather.read(reader, found[-1]) if found else None
    held = response is not None and outcome_of(response) == "eligible"
    return None if held else "The last eligibility assessment in Task.output must say eligible."


async def _records(task: Resource, reader: Reader) -> Missing:
    requests = await _of_kind(task, codes.RECORD_REQUEST, reader)
    missing = [row_of(item) for item in requests if is_mandatory(item) and not is_settled(item)]
    if not requests:
        return "The record manifest has not been requested yet."
    return f"Mandatory records are neither here nor waived: {', '.join(sorted(missing))}." if missing else None


async def _due(task: Resource, _reader: Reader) -> Missing:
    held = task.get("restriction", {}).get("period", {}).get("end")
    return None if held else "Task.restriction.period.end must say when the report is due."


async def _open_review(task: Resource, reader: Reader) -> Missing:
    wanted = {"requested", "received", "accepted", "in-progress"}
    return await _some_review(task, reader, wanted, "No specialist has been asked.")


async def _accepted_review(task: Resource, reader: Reader) -> Missing:
    wanted = {"accepted", "in-progress", "on-hold", "completed"}
    return await _some_review(task, reader, wanted, "No specialist has accepted the review.")


async def _some_review(task: Resource, reader: Reader, wanted: set[str], words: str) -> Missing:
    reviews = await _of_kind(task, codes.SPECIALIST_REVIEW, reader)
    return None if any(item["status"] in wanted for item in reviews) else words


async def _report(task: Resource, reader: Reader) -> Missing:
    for found in values(task, "output", codes.OUTPUT_REPORT):
        report = await gather.read(reader, found)
        if report and report.get("status") in _signed:
            return None
    return "Task.output must reference the signed report."


async def _delivered(task: Resource, reader: Reader) -> Missing:
    deliveries = await _of_kind(task, codes.REPORT_DELIVERY, reader)
    return None if are_delivered(deliveries) else "The report has not been proven delivered to every recipient."


async def _abort(task: Resource, reader: Reader) -> Missing:
    requests = await _of_kind(task, codes.ABORT, reader)
    held = any(item["status"] in ("accepted", "completed") for item in requests)
    return None if held else "Work has started: ask with an abort Task (partOf this Task), which a coordinator accepts."


async def _requirement(task: Resource, _reader: Reader) -> Missing:
    held = row_of(task) and task.get("partOf")
    return None if held else "A record request needs partOf and the so-requirement extension."


async def _output(task: Resource, _reader: Reader) -> Missing:
    held = any("valueReference" in item for item in task.get("output", ()))
    return None if held else "Task.output must reference what satisfies the request."


async def _owner(task: Resource, _reader: Reader) -> Missing:
    held = task.get("partOf") and target(task.get("owner")).startswith(("PractitionerRole/", "Practitioner/"))
    return None if held else "A review needs partOf, and the specialist who is asked as Task.owner."


async def _parent(task: Resource, _reader: Reader) -> Missing:
    return None if task.get("partOf") else "Task.partOf must reference the case Task."


async def _recipient(task: Resource, _reader: Reader) -> Missing:
    held = task.get("partOf") and task.get("restriction", {}).get("recipient")
    return None if held else "A delivery needs partOf and Task.restriction.recipient."


async def _answered(task: Resource, reader: Reader) -> Missing:
    given = [target(item.get("valueReference")) for item in task.get("output", ())]
    if any(item.startswith(("QuestionnaireResponse/", "DiagnosticReport/")) for item in given):
        return None
    case = await gather.read(reader, target(next(iter(task.get("partOf", ())), None)))
    request = await gather.read(reader, target(task.get("focus")))
    programme = await gather.programme_of(reader, case, request) if case and request else None
    if programme is not None and request is not None:
        written = await gather.find(reader, "QuestionnaireResponse", based_on=reference(request), status="completed")
        if any(canonical(item) == programme.opinion for item in written):
            return None
    return "The opinion with an answer to every question must be there first (Task.output, or based on the request)."


async def _proof(task: Resource, _reader: Reader) -> Missing:
    wanted = (codes.SO_OUTPUT, codes.OUTPUT_PROOF)
    held = any(codes.has_code(item.get("type"), wanted) for item in task.get("output", ()))
    return None if held else "Task.output must carry the proof of delivery."


async def _of_kind(case: Resource, kind: str, reader: Reader) -> tuple[Resource, ...]:
    return await gather.find(reader, "Task", part_of=reference(case), code=f"{codes.SO_TASK}|{kind}")


PRECONDITIONS: Final[Mapping[str, Precondition]] = {
    "focus": _focus,
    "reason": _reason,
    "eligible": _eligible,
    "records": _records,
    "due": _due,
    "open-review": _open_review,
    "accepted-review": _accepted_review,
    "report": _report,
    "delivered": _delivered,
    "abort": _abort,
    "requirement": _requirement,
    "output": _output,
    "owner": _owner,
    "parent": _parent,
    "recipient": _recipient,
    "answered": _answered,
    "proof": _proof,
}
