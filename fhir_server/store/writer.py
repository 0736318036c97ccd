"""THE write path: every create, update and delete of a resource, by whoever, goes through here.

https://hl7.org/fhir/R4/http.html#create
"""

from typing import TYPE_CHECKING, Any

from fhir_server.kernel.search_query import SearchQuery
from fhir_server.store.records import WriteResult
from fhir_server.store.wiring import Wiring

if TYPE_CHECKING:
    from fhir_server.store.database import Transaction


class Writer:
    """Writes in one transaction as its Subject."""

    def __init__(self, transaction: "Transaction", wiring: Wiring) -> None:
        self._transaction = transaction
        self._wiring = wiring

    async def create(
        self, resource: dict[str, Any], *, id: str | None = None, if_none_exist: SearchQuery | None = None
    ) -> WriteResult:
        """Store a new resource. Raises InvalidResource, Forbidden, Conflict (id taken), PreconditionFailed (many match)."""
        raise NotImplementedError

    async def update(self, resource: dict[str, Any], *, if_match: int | None = None) -> WriteResult:
        """Store ``resource`` under its id, creating it if need be; identical content makes no new version."""
        raise NotImplementedError

    async def delete(self, type: str, id: str, *, if_match: int | None = None) -> WriteResult | None:
        """Delete a resource; None when there was nothing to delete."""
        raise NotImplementedError
