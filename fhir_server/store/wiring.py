"""What the composition root hands into the store: guards that can say no, and jobs that follow a write.

https://hl7.org/fhir/R4/http.html#rules (a server may refuse a write for business rules)
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection

from fhir_server.kernel.subject import Subject
from fhir_server.store.records import Method

if TYPE_CHECKING:
    from fhir_server.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Change:
    """One write as a guard sees it: ``old`` is None on create, ``new`` is None on delete."""

    old: dict[str, Any] | None
    new: dict[str, Any] | None
    subject: Subject
    method: Method
    resource_type: str
    id: str


Guard = Callable[[Change, "Transaction"], Awaitable[None]]
"""Raises a FhirError to refuse the change; runs inside the write's transaction."""

Enqueue = Callable[[AsyncConnection[Any], str, dict[str, Any], str | None], Awaitable[None]]
"""Puts a job (name, arguments, lock) on the given connection's transaction."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """Guards run inside every write; ``reactions`` names, by resource type, the jobs enqueued by it."""

    guards: tuple[Guard, ...] = ()
    reactions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    enqueue: Enqueue | None = None
