"""What ``decide`` looks at: every resource of one case and of its patient, as plain dicts, at one moment.

https://hl7.org/fhir/R4/task.html
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cases import codes
from cases.machine import State, state_of

Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One case. ``evidence`` is everything of the patient that might satisfy a manifest row."""

    case: Resource
    request: Resource
    patient: Resource
    tasks: tuple[Resource, ...] = ()
    encounters: tuple[Resource, ...] = ()
    consents: tuple[Resource, ...] = ()
    responses: tuple[Resource, ...] = ()
    guidance: tuple[Resource, ...] = ()
    evidence: tuple[Resource, ...] = ()
    roles: tuple[Resource, ...] = ()

    @property
    def state(self) -> State:
        """The state of the case Task."""
        return state_of(dict(self.case))

    def of_kind(self, kind: str) -> tuple[Resource, ...]:
        """Return the sub-Tasks of a kind, oldest first."""
        found = [task for task in self.tasks if codes.kind_of(dict(task)) == kind]
        return tuple(sorted(found, key=lambda task: (str(task.get("authoredOn", "")), str(task.get("id")))))


def reference(resource: Resource) -> str:
    """Return the relative reference of a resource, ``Type/id``."""
    return f"{resource['resourceType']}/{resource['id']}"


def target(element: Resource | None) -> str:
    """Return ``Type/id`` of a Reference element, without version; empty when it has none."""
    return str((element or {}).get("reference", "")).partition("/_history/")[0]


def targets(elements: Sequence[Resource] | None) -> tuple[str, ...]:
    """Return ``Type/id`` of each Reference element."""
    return tuple(target(element) for element in elements or ())


def values(task: Resource, side: str, code: str) -> Iterator[str]:
    """Yield the references under Task.``side`` (input or output) whose type carries the so-output ``code``."""
    for item in task.get(side, ()):
        if codes.code_in(item.get("type"), codes.SO_OUTPUT) == code and "valueReference" in item:
            yield target(item["valueReference"])


def canonical(response: Resource) -> str:
    """Return the Questionnaire a response answers, without its version."""
    return str(response.get("questionnaire", "")).partition("|")[0]
