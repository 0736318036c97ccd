"""Audit facts of a transaction or batch: each entry that read something, or was refused.

https://hl7.org/fhir/R4/security.html#audit. Entries that wrote are in the trail already, by the write itself.
"""

from collections.abc import Iterator
from typing import Any

from fhir_server.interactions.bundles.entries import Entry, parse_entry
from fhir_server.kernel.errors import InvalidRequest
from fhir_server.kernel.subject import Subject
from fhir_server.store.audit import AuditRow

_refusals = (401, 403)
_actions = {1: "search-type", 2: "read", 3: "history-instance", 4: "vread"}
_writes = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def audit_rows(subject: Subject, request_id: str, bundle: dict[str, Any], answer: dict[str, Any]) -> Iterator[AuditRow]:
    """Yield the facts to record about the reads and refusals in ``answer``."""
    for index, response in enumerate(answer.get("entry", ())):
        status = int(response["response"]["status"][:3])
        try:
            entry = parse_entry(index, bundle["entry"][index])
        except InvalidRequest:
            continue  # it asked for nothing that could be read or refused
        if entry.operation is not None and status not in _refusals:
            continue  # the call is in the trail already
        if entry.method in ("GET", "HEAD") or status in _refusals:
            yield AuditRow(subject, _action(entry), status, entry.resource_type, _id(entry), request_id=request_id)


def _id(entry: Entry) -> str | None:
    return None if entry.id == entry.operation else entry.id


def _action(entry: Entry) -> str:
    return entry.operation or _writes.get(entry.method) or _actions.get(len(entry.segments), "unknown")
