"""What the store hands out: stored versions and the pages and results made of them.

https://hl7.org/fhir/R4/http.html#versioning
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fhir_server.kernel import json

Method = Literal["create", "update", "delete"]
Outcome = Literal["created", "updated", "unchanged", "deleted", "existing"]


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of a resource. ``body`` is its exact JSON text, empty when this version is a deletion."""

    resource_type: str
    id: str
    version: int
    last_updated: datetime
    body: str
    method: Method

    @property
    def reference(self) -> str:
        """The relative reference, ``Type/id``."""
        return f"{self.resource_type}/{self.id}"

    @property
    def deleted(self) -> bool:
        """Whether this version is a deletion."""
        return self.method == "delete"

    def resource(self) -> dict[str, Any]:
        """Return the decoded resource, decimals exact."""
        resource: dict[str, Any] = json.decode_own(self.body)
        return resource


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a write made of the resource; ``existing`` means a conditional create matched one already there."""

    stored: Stored
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Versions of one resource, newest first; ``next`` is the ``before`` of the next page, None at the end."""

    entries: tuple[Stored, ...]
    total: int
    next: int | None


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of a search; ``next`` is the opaque cursor of the next page, ``total`` only when it was asked for."""

    matches: tuple[Stored, ...]
    included: tuple[Stored, ...]
    total: int | None
    next: str | None
