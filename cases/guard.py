"""What the workflow refuses inside the write: illegal Task transitions, incomplete opinions, changes of signed reports.

Every refusal is a BusinessRule (422) whose expression points at the element, except an unfinished opinion, which lists
each missing answer. https://hl7.org/fhir/R4/task.html#statemachine
"""

from typing import Any, Final

from cases import codes, gather, report_answers
from cases.actors import identities, roles_of
from cases.eligibility import find_intake
from cases.machine import PLACER, State, Transition, find, state_of, targets
from cases.preconditions import PRECONDITIONS
from cases.snapshot import Resource, Snapshot, canonical, reference, target
from cases.snapshot import targets as references
from fhir_server.kernel.errors import BusinessRule
from fhir_server.store.database import Change, Guard, Transaction
from fhir_server.store.reader import Reader
from programmes.model import InvalidProgramme, Programme, is_programme

_fixed = ("focus", "partOf", "for", "basedOn")
_may_repoint = (gather.SUBJECT, gather.MERGE_SUBJECT)
_signed_types = frozenset({"DiagnosticReport", "Composition", "Bundle", "Provenance"})
_reviewing = frozenset({"accepted", "in-progress"})


async def guard_task(change: Change, tx: Transaction) -> None:
    """Refuse a write of one of our Tasks that is no row of the machine, or whose precondition does not hold."""
    if change.resource_type != "Task":
        return
    kind = codes.kind_of(change.old) or codes.kind_of(change.new)
    if kind is None or kind not in codes.KINDS:
        return
    if change.new is None:
        raise BusinessRule("A Task of a case is part of its record; set it to entered-in-error instead of deleting it.")
    source = state_of(change.old) if change.old and codes.kind_of(change.old) else None
    _keep_identity(change, source)
    goal = state_of(change.new)
    if source == goal:
        _refuse_if_closed(change, source)
        return
    row = find(kind, source, goal)
    if row is None:
        raise _illegal(kind, source, goal)
    reader = gather.system_reader(tx)
    await _check_actor(row, change, change.new, reader)
    for name in row.needs:
        missing = await PRECONDITIONS[name](change.new, reader)
        if missing:
            raise BusinessRule(f"The Task cannot become {goal}: {missing}", expression=_element(source, goal))


def _keep_identity(change: Change, source: State | None) -> None:
    """A Task stays what it is, and of whom; only the workflow itself may re-point it."""
    if source is None or change.old is None or change.new is None or change.subject in _may_repoint:
        return
    if codes.kind_of(change.old) != codes.kind_of(change.new):
        raise BusinessRule("The kind of a Task of a case cannot change.", expression="Task.code")
    for element in _fixed:
        if change.old.get(element) != change.new.get(element):
            raise BusinessRule(f"Task.{element} cannot change once it is set.", expression=f"Task.{element}")


def _refuse_if_closed(change: Change, state: State) -> None:
    if state.closed and _content(change.old) != _content(change.new):
        raise BusinessRule(f"The Task is closed ({state}) and cannot be edited.", expression="Task.status")


def _content(resource: Resource | None) -> dict[str, Any]:
    return {name: value for name, value in (resource or {}).items() if name != "meta"}


def _illegal(kind: str, source: State | None, goal: State) -> BusinessRule:
    allowed = ", ".join(str(state) for state in targets(kind, source)) or "nothing: it is closed"
    origin = f"from {source}" if source else "when it is created"
    words = f"A {kind} Task cannot become {goal} {origin}. Allowed: {allowed}."
    return BusinessRule(words, expression=_element(source, goal))


def _element(source: State | None, goal: State) -> str:
    return "Task.businessStatus" if source and source.status == goal.status else "Task.status"


async def _check_actor(row: Transition, change: Change, task: Resource, reader: Reader) -> None:
    roles = await roles_of(change.subject, change.old or task, reader)
    if row.source is None and row.kind in (codes.CASE, codes.ABORT):
        roles |= {PLACER}  # whoever may create a Task here may ask on behalf of the one it names as requester
    if not row.actors & roles:
        who = " or ".join(sorted(row.actors))
        raise BusinessRule(
            f"Only {who} may set this Task to {row.target}.", expression=_element(row.source, row.target)
        )


async def guard_opinion(change: Change, tx: Transaction) -> None:
    """Refuse a specialist's finished opinion that leaves a question open, or comes from nobody who was asked."""
    new = change.new
    if change.resource_type != "QuestionnaireResponse" or new is None or "questionnaire" not in new:
        return
    if new.get("status") not in ("completed", "amended"):
        return
    reader = gather.system_reader(tx)
    snapshot = await _case_of_opinion(new, reader)
    if snapshot is None:
        return
    programme = await gather.programme_of(reader, snapshot.case, snapshot.request)
    if programme is None or canonical(new) != programme.opinion:
        return
    await _check_author(change, new, snapshot, reader)
    intake = find_intake(snapshot, programme)
    report_answers.opinion(new, intake or {})


async def _case_of_opinion(response: Resource, reader: Reader) -> Snapshot | None:
    for ref in references(response.get("basedOn")):
        cases = await gather.find(reader, "Task", focus=ref, code=f"{codes.SO_TASK}|{codes.CASE}")
        if cases:
            case = max(cases, key=lambda item: codes.business_status(item) == codes.IN_REVIEW)
            return await gather.snapshot(reader, case)
    return None


async def _check_author(change: Change, response: Resource, snapshot: Snapshot, reader: Reader) -> None:
    root = "QuestionnaireResponse"
    if snapshot.state.business != codes.IN_REVIEW:
        raise BusinessRule(f"The case is {snapshot.state}: nobody is reviewing it.", expression=f"{root}.status")
    reviews = [task for task in snapshot.of_kind(codes.SPECIALIST_REVIEW) if task["status"] in _reviewing]
    owners = {target(task.get("owner")) for task in reviews}
    for owner in tuple(owners):
        owners.add(target((await gather.read(reader, owner) or {}).get("practitioner")))
    if target(response.get("author")) not in owners - {""}:
        words = "The author must be the specialist who accepted the review."
        raise BusinessRule(words, expression=f"{root}.author")
    if change.subject.reference != "system" and not owners & await identities(change.subject, reader):
        raise BusinessRule("Only the specialist who accepted the review may write the opinion.", expression=root)


async def guard_report(change: Change, tx: Transaction) -> None:
    """Keep signed reports as they were signed, and let nobody but the workflow write one."""
    if change.resource_type not in _signed_types or change.subject == gather.SUBJECT:
        return
    if change.resource_type == "DiagnosticReport" and _is_report(change.new) and not _is_report(change.old):
        words = "Reports of a case are made from the specialist's answers; write those instead."
        raise BusinessRule(words, expression="DiagnosticReport.identifier")
    if change.old is None or not await _is_signed(change.old, gather.system_reader(tx)):
        return
    if _content(change.old) != _content(change.new):
        words = f"This {change.resource_type} is signed and cannot change; a correction is a new, signed version."
        raise BusinessRule(words, expression=change.resource_type)


def _is_report(resource: Resource | None) -> bool:
    return any(item.get("system") == codes.SO_REPORT for item in (resource or {}).get("identifier", ()))


async def _is_signed(resource: Resource, reader: Reader) -> bool:
    if resource["resourceType"] == "Provenance":
        return bool(resource.get("signature"))
    if resource["resourceType"] == "Bundle" and resource.get("type") != "document":
        return False
    found = await gather.find(reader, "Provenance", target=reference(resource))
    return any(item.get("signature") for item in found)


async def guard_programme(change: Change, _tx: Transaction) -> None:
    """Refuse a PlanDefinition that means to be a programme and cannot be read as one: no case could run by it."""
    if change.resource_type == "PlanDefinition" and change.new is not None and is_programme(change.new):
        try:
            Programme.from_plan(change.new)
        except InvalidProgramme as error:
            raise BusinessRule(str(error), expression="PlanDefinition") from error


GUARDS: Final[tuple[Guard, ...]] = (guard_task, guard_opinion, guard_report, guard_programme)
"""For the root's Wiring."""
