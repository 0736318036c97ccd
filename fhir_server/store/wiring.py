"""What the composition root hands into the store: guards that can say no, and jobs that follow a write.

https://hl7.org/fhir/R4/http.html#rules (a server may refuse a write for business rules)
"""

import hashlib
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
class Condition:
    """When a reaction to ``types`` is needed: the patient has a ``resource_type`` (Task …) with one of ``codes``.

    The job must take the advisory lock ``lock`` + ``Patient/id`` before it reads: see fhir_server/store/reactions.py.
    """

    types: frozenset[str]
    resource_type: str
    codes: tuple[tuple[str, str], ...]
    lock: str


def lock_number(name: str) -> int:
    """Return the number PostgreSQL knows an advisory lock by."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)


@dataclass(frozen=True, slots=True)
class Wiring:
    """Guards run inside every write; ``reactions`` names, by resource type, the jobs enqueued by it.

    ``conditions`` names, by job, when that is needed; jobs without one always are.
    """

    guards: tuple[Guard, ...] = ()
    reactions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    enqueue: Enqueue | None = None
    conditions: Mapping[str, Condition] = field(default_factory=dict)
