"""The audit trail: append-only rows, durable before the response leaves.

https://hl7.org/fhir/R4/auditevent.html (the facts an AuditEvent is made of)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_server.kernel.subject import Subject


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One fact: ``action`` is a FHIR interaction (read, search …), ``outcome`` an HTTP status."""

    subject: Subject
    action: str
    outcome: int
    resource_type: str | None = None
    id: str | None = None
    version: int | None = None
    request_id: str | None = None
