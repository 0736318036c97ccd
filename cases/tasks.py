"""Build the sub-Tasks of a case in full, with ids that are the same however often they are built. Pure.

https://hl7.org/fhir/R4/task.html
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid5

from cases import codes
from cases.manifest import is_settled
from cases.snapshot import Resource, Snapshot, reference, target
from programmes.model import Programme, Recipient, Row

_namespace = UUID("0d2a8c9e-5a1c-5c55-9a7d-52c7c2f6b1aa")


def record_request(row: Row, snapshot: Snapshot, programme: Programme, now: str) -> dict[str, Any]:
    """Return the request for one row of the manifest, addressed to whoever asked for the opinion."""
    task = _sub_task(codes.RECORD_REQUEST, row.id, snapshot, now)
    task["extension"] = [
        {"url": codes.SO_REQUIREMENT, "valueCode": row.id},
        {"url": codes.SO_MANDATORY, "valueBoolean": row.mandatory},
    ]
    task["code"]["text"] = row.title
    task["description"] = row.description or row.title
    task["requester"] = {"reference": programme.organization}
    if owner := target(snapshot.request.get("requester")) or target(snapshot.case.get("requester")):
        task["owner"] = {"reference": owner}
    return task


def specialist_review(role: Resource, snapshot: Snapshot, programme: Programme, now: str) -> dict[str, Any]:
    """Return the offer to one specialist: the case's due date, its intake and the records that arrived."""
    task = _sub_task(codes.SPECIALIST_REVIEW, reference(role), snapshot, now)
    task["code"]["text"] = "Specialist review"
    task["description"] = "Review of the records and written opinion on the questions asked"
    task["requester"] = {"reference": programme.organization}
    task["owner"] = {"reference": reference(role)}
    if "restriction" in snapshot.case:
        task["restriction"] = snapshot.case["restriction"]
    records = [
        {"type": codes.concept(codes.SO_OUTPUT, codes.OUTPUT_RECORD), "valueReference": item["valueReference"]}
        for sub in snapshot.of_kind(codes.RECORD_REQUEST)
        for item in sub.get("output", ())
        if "valueReference" in item
    ]
    if entries := [*snapshot.case.get("input", ()), *records]:
        task["input"] = entries
    return task


def report_delivery(
    recipient: Recipient, report: str, snapshot: Snapshot, programme: Programme, now: str
) -> dict[str, Any]:
    """Return the delivery of ``report`` to one recipient over its channel."""
    person = recipient_of(recipient, snapshot)
    task = _sub_task(codes.REPORT_DELIVERY, f"{recipient.id}#{report}", snapshot, now)
    task["extension"] = [
        {
            "url": codes.SO_RECIPIENT,
            "extension": [
                {"url": "id", "valueCode": recipient.id},
                {"url": "channel", "valueCode": recipient.channel},
            ],
        }
    ]
    task["code"]["text"] = "Delivery of the report"
    task["requester"] = {"reference": programme.organization}
    task["restriction"] = {"recipient": [{"reference": person}]}
    task["input"] = [
        {"type": codes.concept(codes.SO_OUTPUT, codes.OUTPUT_REPORT), "valueReference": {"reference": report}}
    ]
    return task


def recipient_of(recipient: Recipient, snapshot: Snapshot) -> str:
    """Return the reference of the person who plays the recipient's role on this case."""
    if recipient.role == "patient":
        return reference(snapshot.patient)
    asked = target(snapshot.request.get("requester")) or target(snapshot.case.get("requester"))
    return asked or reference(snapshot.patient)


def abort(snapshot: Snapshot, now: str) -> dict[str, Any]:
    """Return the question to the coordinator whether work that has started shall end."""
    task = _sub_task(codes.ABORT, "revoked", snapshot, now)
    task["description"] = "The ServiceRequest was revoked while the review was under way"
    if requester := target(snapshot.request.get("requester")):
        task["requester"] = {"reference": requester}
    return task


def are_delivered(deliveries: Iterable[Resource]) -> bool:
    """Tell whether every delivery is proven; one may be given up with a reason, as long as another is proven."""
    found = tuple(deliveries)
    return all(is_settled(task) for task in found) and any(task["status"] == "completed" for task in found)


def _sub_task(kind: str, key: str, snapshot: Snapshot, now: str) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "id": str(uuid5(_namespace, f"{reference(snapshot.case)}#{kind}#{key}")),
        "basedOn": [{"reference": reference(snapshot.request)}],
        "partOf": [{"reference": reference(snapshot.case)}],
        "status": "requested",
        "intent": "order",
        "priority": snapshot.request.get("priority") or snapshot.case.get("priority") or "routine",
        "code": codes.concept(codes.SO_TASK, kind),
        "focus": {"reference": reference(snapshot.request)},
        "for": {"reference": reference(snapshot.patient)},
        "authoredOn": now,
        "lastModified": now,
    }
