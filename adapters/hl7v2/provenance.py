"""Provenance of what a message wrote, and the Binary that keeps the message's bytes.

https://hl7.org/fhir/R4/provenance.html; target, entity, agent and activity as in the v2-to-FHIR guide:
https://hl7.org/fhir/uv/v2mappings/STU1/
"""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from adapters.hl7v2.header import Header

INBOX_SYSTEM = "https://konsil.example/fhir/sid/hl7v2-inbox"
MAPPING_URL = "https://konsil.example/fhir/hl7v2-mapping"
CONTENT_TYPE = "x-application/hl7-v2+er7"
_EVENT_SYSTEM = "http://terminology.hl7.org/CodeSystem/v2-0003"
_AGENT_SYSTEM = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_NAMESPACE = UUID("5b1f7c62-6f0e-5e0a-9a53-3f4f3f9e2c11")
_EMBED_LIMIT = 1024 * 1024


def message_binary(site: str, message_id: int, raw: bytes, patient: str | None) -> dict[str, Any] | None:
    """Return the Binary of a message, readable by who may read the patient.

    None above 1 MiB: such a message is an attachment with a header, the attachment is a resource of its own already,
    and the inbox row, named by ``Provenance.entity.what.identifier``, keeps every byte in any case.
    """
    if len(raw) > _EMBED_LIMIT:
        return None
    binary: dict[str, Any] = {
        "resourceType": "Binary",
        "id": str(uuid5(_NAMESPACE, f"{site}/{message_id}")),
        "contentType": CONTENT_TYPE,
        "data": base64.b64encode(raw).decode(),
    }
    if patient:
        binary["securityContext"] = {"reference": patient}
    return binary


def provenance(
    header: Header,
    *,
    site: str,
    namespace: str,
    message_id: int,
    targets: Sequence[str],
    binary: dict[str, Any] | None,
    occurred_at: datetime | None,
    mapping: str,
) -> dict[str, Any]:
    """Return the Provenance of everything one message wrote; ``targets`` are ``Type/id/_history/version``."""
    what: dict[str, Any] = {"identifier": {"system": INBOX_SYSTEM, "value": str(message_id)}}
    if binary:
        what["reference"] = f"Binary/{binary['id']}"
    found: dict[str, Any] = {
        "resourceType": "Provenance",
        "target": [{"reference": target} for target in targets],
        "recorded": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "policy": [f"{MAPPING_URL}/{site}/{mapping or 'base'}"],
        "activity": _activity(header),
        "agent": [_agent("author", namespace, header.facility or header.application or site)],
        "entity": [{"role": "source", "what": what}],
    }
    if occurred_at:
        found["occurredDateTime"] = occurred_at.isoformat()
    return found


def _activity(header: Header) -> dict[str, Any]:
    activity: dict[str, Any] = {"text": header.message_type}
    if header.event:
        activity["coding"] = [{"system": _EVENT_SYSTEM, "code": header.event}]
    return activity


def _agent(role: str, namespace: str, name: str) -> dict[str, Any]:
    return {
        "type": {"coding": [{"system": _AGENT_SYSTEM, "code": role}]},
        "who": {"identifier": {"system": f"{namespace}/facility", "value": name}, "display": name},
    }
