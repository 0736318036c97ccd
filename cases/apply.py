"""Carry out decisions through the writer: one function for each command, a Provenance for each transition.

docs/cases.md#decisions
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cases import codes, decisions, gather, report, report_people
from cases.calendar import Promise, instant, utc
from cases.machine import State
from cases.provenance import actor, transition
from cases.signature import Signer
from cases.snapshot import target
from fhir_server.kernel.errors import NotFound
from fhir_server.kernel.search_query import parse_search
from fhir_server.store.database import Transaction
from fhir_server.store.wiring import Enqueue
from programmes.model import Programme

DISCOVER_IMAGES: Final = "images.request"
_filler = codes.concept("http://terminology.hl7.org/CodeSystem/v2-0203", "FILL", "Filler Identifier")


@dataclass(frozen=True, slots=True)
class Application:
    """Where decisions are applied: one transaction, one programme, one moment, and what reaches outside."""

    tx: Transaction
    programme: Programme
    now: datetime
    signer: Signer
    base_url: str
    enqueue: Enqueue


async def apply(command: decisions.Decision, at: Application) -> None:
    """Carry out one command."""
    await _handlers[type(command)](command, at)


async def _set_status(command: decisions.SetStatus, at: Application) -> None:
    stored = await at.tx.reader.read("Task", command.task)
    task = moved(stored.resource(), command, at.now)
    result = await at.tx.writer.update(task, if_match=stored.version)
    because = (*command.because, *(reference for _, reference in command.outputs))
    await _record_transition(task, result.stored.version, command.activity, because, at)


def moved(task: dict[str, Any], command: decisions.SetStatus, now: datetime) -> dict[str, Any]:
    """Return the Task as it stands after the command."""
    state: State = command.state
    task = task | {"status": state.status, "lastModified": utc(now)}
    if state.business:
        task["businessStatus"] = codes.concept(codes.SO_STATUS, state.business)
    elif codes.kind_of(task) == codes.CASE:
        task["businessStatus"] = codes.concept(codes.SO_STATUS, state.status)
    task.pop("statusReason", None)
    if command.reason:
        task["statusReason"] = codes.concept(codes.SO_REASON, command.reason[0]) | {"text": command.reason[1]}
    if command.outputs:
        task["output"] = [*task.get("output", ()), *(output(*item) for item in command.outputs)]
    if command.promise:
        task["restriction"] = task.get("restriction", {}) | _restriction(command.promise)
    return task


def output(code: str, reference: str) -> dict[str, Any]:
    """Return one Task.output with a reference."""
    return {"type": codes.concept(codes.SO_OUTPUT, code), "valueReference": {"reference": reference}}


def _restriction(promise: Promise) -> dict[str, Any]:
    return {
        "extension": [{"url": codes.SO_LIMIT, "valueDateTime": instant(promise.limit)}],
        "period": {"start": instant(promise.start), "end": instant(promise.due)},
    }


async def _record_transition(
    task: Mapping[str, Any], version: int, activity: str, because: tuple[str, ...], at: Application
) -> None:
    await at.tx.writer.update(transition(task, version, activity, now=utc(at.now), because=because))


async def _adopt(command: decisions.Adopt, at: Application) -> None:
    stored = await at.tx.reader.read("Task", command.task)
    task = stored.resource()
    submitted = transition(task, stored.version, "submit", now=utc(at.now), who=actor(task))
    await at.tx.writer.update(submitted)
    task["code"] = task["code"] | {
        "coding": [*task["code"].get("coding", ()), {"system": codes.SO_TASK, "code": codes.CASE}]
    }
    task["businessStatus"] = codes.concept(codes.SO_STATUS, codes.SUBMITTED)
    task.setdefault("instantiatesCanonical", command.programme)
    task.setdefault("for", {"reference": command.patient})
    result = await at.tx.writer.update(task, if_match=stored.version)
    await _record_transition(task, result.stored.version, "adopt", (target(task.get("focus")),), at)


async def _assign_number(command: decisions.AssignNumber, at: Application) -> None:
    stored = await at.tx.reader.read("ServiceRequest", command.request)
    request = stored.resource()
    number = {
        "type": _filler,
        "system": at.programme.number_system,
        "value": await _next_number(at),
        "assigner": {"reference": at.programme.organization},
    }
    request["identifier"] = [*request.get("identifier", ()), number]
    await at.tx.writer.update(request, if_match=stored.version)


async def _next_number(at: Application) -> str:
    """Return the next free case number of the year; the lock makes numbers unique and, but for deletions, dense."""
    system = at.programme.number_system
    await at.tx.lock(f"case-number:{system}")
    query = parse_search("ServiceRequest", [("identifier", f"{system}|"), ("_total", "accurate"), ("_count", "0")])
    count = (await at.tx.reader.search(query)).total or 0
    year = at.now.astimezone(at.programme.clock.zone).year
    while True:
        count += 1
        number = f"{at.programme.number_prefix}-{year}-{count:06}"
        if not await gather.find(at.tx.reader, "ServiceRequest", identifier=f"{system}|{number}"):
            return number


async def _record(command: decisions.Record, at: Application) -> None:
    await at.tx.writer.update(dict(command.resource))


async def _create_task(command: decisions.CreateTask | decisions.Offer, at: Application) -> None:
    task = dict(command.resource)
    result = await at.tx.writer.update(task)
    activity, because = ("offer-review", ()) if isinstance(command, decisions.Offer) else _why(command)
    await _record_transition(task, result.stored.version, activity, because, at)


def _why(command: decisions.CreateTask) -> tuple[str, tuple[str, ...]]:
    return command.activity, command.because


async def _complete_record(command: decisions.CompleteRecord, at: Application) -> None:
    outputs = ((codes.OUTPUT_RECORD, command.resource),)
    await _set_status(decisions.SetStatus(command.task, State("completed"), "receive-record", outputs=outputs), at)


async def _explain(command: decisions.Explain, at: Application) -> None:
    await explain(at.tx, command, at.now)


async def explain(tx: Transaction, command: decisions.Explain, now: datetime) -> None:
    """Write the reason on the Task; its state stays."""
    stored = await tx.reader.read("Task", command.task)
    task = stored.resource() | {"lastModified": utc(now)}
    task["statusReason"] = codes.concept(codes.SO_REASON, command.reason[0]) | {"text": command.reason[1]}
    await tx.writer.update(task, if_match=stored.version)


async def _request_images(command: decisions.RequestImages, at: Application) -> None:
    await at.enqueue(at.tx.connection, DISCOVER_IMAGES, {"patient": command.patient}, command.patient)


async def _finalise_report(command: decisions.FinaliseReport, at: Application) -> None:
    organization = await _need(at.programme.organization, at)
    await report.finalise(
        at.tx,
        answers=await _need(command.answers, at),
        intake=await _need(command.intake, at),
        records=command.records,
        programme=report_people.letterhead(
            organization, name=at.programme.title, time_zone=str(at.programme.clock.zone)
        ),
        signer=at.signer,
        base_url=at.base_url,
    )


async def _need(reference: str, at: Application) -> dict[str, Any]:
    found = await gather.read(at.tx.reader, reference)
    if found is None:
        raise NotFound(f"{reference} is needed for the report and cannot be read.")
    return found


async def _deliver(command: decisions.Deliver, at: Application) -> None:
    arguments = {"report": command.report, "recipient": command.recipient, "task": f"Task/{command.task}"}
    await at.enqueue(at.tx.connection, f"{command.channel}.deliver", arguments, None)


async def _complete_request(command: decisions.CompleteRequest, at: Application) -> None:
    stored = await at.tx.reader.read("ServiceRequest", command.request)
    await at.tx.writer.update(stored.resource() | {"status": "completed"}, if_match=stored.version)


_handlers: Final[Mapping[type, Callable[[Any, Application], Awaitable[None]]]] = {
    decisions.SetStatus: _set_status,
    decisions.Adopt: _adopt,
    decisions.AssignNumber: _assign_number,
    decisions.Record: _record,
    decisions.CreateTask: _create_task,
    decisions.Offer: _create_task,
    decisions.CompleteRecord: _complete_record,
    decisions.Explain: _explain,
    decisions.RequestImages: _request_images,
    decisions.FinaliseReport: _finalise_report,
    decisions.Deliver: _deliver,
    decisions.CompleteRequest: _complete_request,
}
