"""What ``decide`` can ask for: commands in the imperative, carried out by cases/apply.py.

docs/cases.md#decisions
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cases.calendar import Promise
from cases.machine import State


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Move a Task to ``state``; ``reason`` is (so-reason code, words), ``outputs`` are (so-output code, reference)."""

    task: str
    state: State
    activity: str
    reason: tuple[str, str] | None = None
    outputs: tuple[tuple[str, str], ...] = ()
    because: tuple[str, ...] = ()
    promise: Promise | None = None


@dataclass(frozen=True, slots=True)
class Adopt:
    """Make a plain ``fulfill`` Task for a second opinion a case Task of ours, with its patient and input."""

    task: str
    patient: str
    programme: str


@dataclass(frozen=True, slots=True)
class AssignNumber:
    """Give the ServiceRequest the programme's case number (identifier of type FILL)."""

    request: str


@dataclass(frozen=True, slots=True)
class Record:
    """Write a resource the decision made in full, such as a GuidanceResponse; its id is deterministic."""

    resource: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class CreateTask:
    """Create a sub-Task the decision made in full; its id is deterministic."""

    resource: Mapping[str, Any] = field(hash=False)
    activity: str
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompleteRecord:
    """Close the record-request ``task`` of manifest row ``row`` with the resource that satisfies it."""

    task: str
    row: str
    resource: str


@dataclass(frozen=True, slots=True)
class Offer:
    """Create the specialist-review Task for the next candidate."""

    resource: Mapping[str, Any] = field(hash=False)
    candidate: str


@dataclass(frozen=True, slots=True)
class Explain:
    """Say on the case Task why it does not move, without moving it."""

    task: str
    reason: tuple[str, str]


@dataclass(frozen=True, slots=True)
class RequestImages:
    """Ask the imaging adapter for the patient's studies."""

    patient: str


@dataclass(frozen=True, slots=True)
class FinaliseReport:
    """Have the signed report made of the specialist's answers."""

    answers: str
    intake: str
    records: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send the report to a recipient over its channel."""

    task: str
    report: str
    recipient: str
    channel: str


@dataclass(frozen=True, slots=True)
class CompleteRequest:
    """Set the ServiceRequest to completed."""

    request: str


Decision = (
    SetStatus
    | Adopt
    | AssignNumber
    | Record
    | CreateTask
    | CompleteRecord
    | Offer
    | Explain
    | RequestImages
    | FinaliseReport
    | Deliver
    | CompleteRequest
)
