"""Provenance of every transition of a Task: which version, what was done, on what evidence, by whom.

https://hl7.org/fhir/R4/provenance.html
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid5

from cases import codes
from cases.snapshot import Resource, target

_namespace = UUID("a0f3c6e2-7b3d-5d1e-8f57-90a1b0c7d3e4")
_participant = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
SOFTWARE = {"identifier": {"system": f"{codes.BASE}/software", "value": "konsil-cases"}, "display": "Konsil"}


def provenance_id(task: str, version: int) -> str:
    """Return the id of the Provenance of one version of a Task: the same however often it is asked for."""
    return str(uuid5(_namespace, f"Task/{task}/_history/{version}"))


def transition(
    task: Resource, version: int, activity: str, *, now: str, because: Iterable[str] = (), who: Resource | None = None
) -> dict[str, Any]:
    """Return the Provenance of ``version`` of a Task; ``because`` are references to the evidence."""
    agent: dict[str, Any] = {
        "type": codes.concept(_participant, "performer" if who else "assembler"),
        "who": dict(who or SOFTWARE),
    }
    resource: dict[str, Any] = {
        "resourceType": "Provenance",
        "id": provenance_id(str(task["id"]), version),
        "target": [{"reference": f"Task/{task['id']}/_history/{version}"}],
        "occurredDateTime": now,
        "recorded": now,
        "activity": codes.concept(codes.SO_ACTIVITY, activity),
        "agent": [agent],
    }
    if "statusReason" in task:
        resource["reason"] = [task["statusReason"]]
    entity = [{"role": "source", "what": {"reference": item}} for item in dict.fromkeys(because)]
    if entity:
        resource["entity"] = entity
    return resource


def actor(task: Resource) -> Resource | None:
    """Return who moves a Task of this kind when it is not the workflow itself: the specialist, or who asked."""
    side = "owner" if codes.kind_of(dict(task)) == codes.SPECIALIST_REVIEW else "requester"
    found = task.get(side)
    return {"reference": target(found)} if target(found) else None
