"""The state machine of a case and of its sub-Tasks: a table, and the diagram it prints of itself.

``python -m cases.machine`` prints the diagrams of docs/cases.md. A state of a case is Task.status with
Task.businessStatus; of every other kind Task.status alone. What is not a row is refused with 422.
https://hl7.org/fhir/R4/task.html#statemachine
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from cases import codes

SYSTEM: Final = "system"
PLACER: Final = "placer"
COORDINATOR: Final = "coordinator"
SPECIALIST: Final = "specialist"
ACTORS: Final = frozenset({SYSTEM, PLACER, COORDINATOR, SPECIALIST})

CLOSED: Final = frozenset({"completed", "rejected", "cancelled", "failed", "entered-in-error"})
_bare: Final = frozenset({"cancelled", "failed", "entered-in-error"})  # ends that need no businessStatus


@dataclass(frozen=True, slots=True, order=True)
class State:
    """Task.status, and Task.businessStatus where the kind uses it."""

    status: str
    business: str | None = None

    def __str__(self) -> str:
        return f"{self.status}/{self.business}" if self.business else self.status

    @property
    def closed(self) -> bool:
        """Whether the Task is over."""
        return self.status in CLOSED


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: ``source`` None is creation; ``needs`` names preconditions of cases/preconditions.py."""

    kind: str
    source: State | None
    target: State
    actors: frozenset[str]
    needs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}: {self.source or 'nothing'} -> {self.target}"


def _state(text: str) -> State:
    status, _, business = text.partition("/")
    return State(status, business or None)


def _rows(kind: str, table: tuple[tuple[str, str, str, str], ...]) -> Iterator[Transition]:
    """Unfold rows of (sources, target, actors, needs), words separated by spaces, ``-`` for creation."""
    for sources, target, actors, needs in table:
        for source in sources.split():
            yield Transition(
                kind=kind,
                source=None if source == "-" else _state(source),
                target=_state(target),
                actors=frozenset(actors.split()),
                needs=tuple(needs.split()),
            )


_early = (
    "draft/intake requested/submitted received/eligibility received/awaiting-information accepted/records-gathering "
    "accepted/awaiting-information accepted/records-complete accepted/offered"
)
_late = "in-progress/in-review in-progress/offered in-progress/signed"

_case = (
    ("-", "draft/intake", "placer coordinator system", "focus"),
    ("- draft/intake", "requested/submitted", "placer coordinator system", "focus"),
    ("requested/submitted", "received/eligibility", "system", ""),
    ("received/eligibility", "received/awaiting-information", "system coordinator", "reason"),
    ("received/eligibility received/awaiting-information", "accepted/records-gathering", "system", "eligible"),
    ("received/eligibility received/awaiting-information", "rejected/ineligible", "system coordinator", "reason"),
    ("accepted/records-gathering", "accepted/awaiting-information", "system coordinator", "reason"),
    ("accepted/awaiting-information", "accepted/records-gathering", "system coordinator", ""),
    ("accepted/records-gathering", "accepted/records-complete", "system coordinator", "records due"),
    ("accepted/records-complete", "accepted/offered", "system coordinator", "open-review"),
    ("accepted/offered", "accepted/records-complete", "system", ""),
    ("accepted/offered in-progress/offered", "in-progress/in-review", "system", "accepted-review"),
    ("in-progress/in-review", "in-progress/offered", "system coordinator", ""),
    ("in-progress/in-review", "in-progress/signed", "system", "report"),
    ("in-progress/signed", "completed/delivered", "system", "report delivered"),
    (_early, "cancelled", "placer coordinator system", ""),
    (_late, "cancelled", "coordinator system", "abort"),
    (f"{_early} {_late}", "failed", "coordinator system", "reason"),
    (f"{_early} {_late} completed/delivered rejected/ineligible cancelled", "entered-in-error", "coordinator", ""),
)

_record_request = (
    ("- received in-progress", "requested", "coordinator system", "requirement"),
    ("-", "completed", "system", "requirement output"),
    ("requested", "received", "coordinator system placer", ""),
    ("requested received", "in-progress", "coordinator system placer", ""),
    ("requested received in-progress", "completed", "coordinator system", "output"),
    ("requested received in-progress", "cancelled", "coordinator system", "reason"),
)

_specialist_review = (
    ("-", "requested", "coordinator system", "owner"),
    ("requested", "received", "specialist system", ""),
    ("requested received", "accepted", "specialist", ""),
    ("requested received", "in-progress", "specialist", ""),
    ("requested received", "rejected", "specialist", ""),
    ("accepted", "in-progress", "specialist system", ""),
    ("in-progress", "on-hold", "specialist coordinator", "reason"),
    ("on-hold", "in-progress", "specialist coordinator", ""),
    ("accepted in-progress", "completed", "specialist system", "answered"),
    ("requested received accepted in-progress on-hold", "cancelled", "coordinator system", "reason"),
    ("accepted in-progress on-hold", "failed", "specialist coordinator", "reason"),
)

_report_delivery = (
    ("-", "requested", "system", "recipient"),
    ("requested on-hold", "in-progress", "system", ""),
    ("requested in-progress", "on-hold", "system", "reason"),
    ("on-hold", "requested", "coordinator system", ""),
    ("requested in-progress", "completed", "system", "proof"),
    ("on-hold", "completed", "coordinator system", "proof"),
    ("requested in-progress on-hold", "cancelled", "coordinator system", "reason"),
)

_abort = (
    ("-", "requested", "placer coordinator system", "parent"),
    ("requested", "accepted", "coordinator system", ""),
    ("requested", "rejected", "coordinator system", "reason"),
    ("accepted", "completed", "system", ""),
    ("requested", "cancelled", "placer coordinator system", ""),
)

TABLE: Final[tuple[Transition, ...]] = (
    *_rows(codes.CASE, _case),
    *_rows(codes.RECORD_REQUEST, _record_request),
    *_rows(codes.SPECIALIST_REVIEW, _specialist_review),
    *_rows(codes.REPORT_DELIVERY, _report_delivery),
    *_rows(codes.ABORT, _abort),
)

_index: Final = {(row.kind, row.source, row.target): row for row in TABLE}


def state_of(task: dict[str, Any]) -> State:
    """Return the state of a Task of ours; a submitted case without businessStatus counts as ``submitted``."""
    status = str(task.get("status"))
    if codes.kind_of(task) != codes.CASE or status in _bare:
        return State(status)
    business = codes.business_status(task)
    if business is None:
        business = {"requested": codes.SUBMITTED, "draft": codes.INTAKE}.get(status)
    return State(status, business)


def find(kind: str, source: State | None, target: State) -> Transition | None:
    """Return the row that allows the step, None when there is none."""
    return _index.get((kind, source, target))


def states(kind: str) -> tuple[State, ...]:
    """Return every state of a kind, in the order of the table."""
    found = [state for row in TABLE if row.kind == kind for state in (row.source, row.target) if state is not None]
    return tuple(dict.fromkeys(found))


def targets(kind: str, source: State | None) -> tuple[State, ...]:
    """Return the states that may follow ``source``."""
    return tuple(row.target for row in TABLE if row.kind == kind and row.source == source)


def diagram(kind: str) -> str:
    """Return the machine of one kind as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for row in TABLE:
        if row.kind == kind:
            source = _node(row.source) if row.source else "[*]"
            lines.append(f"    {source} --> {_node(row.target)}: {', '.join(sorted(row.actors))}")
    lines.extend(f"    {_node(state)} --> [*]" for state in states(kind) if state.closed and not targets(kind, state))
    return "\n".join(lines)


def _node(state: State) -> str:
    return str(state).replace("/", "_").replace("-", "_")


def main() -> None:
    """Print the diagram of every kind, each in a fence for docs/cases.md."""
    for kind in codes.KINDS:
        print(f"### {kind}\n\n```mermaid\n{diagram(kind)}\n```\n")  # noqa: T201 - printing is this command's purpose


if __name__ == "__main__":
    main()
