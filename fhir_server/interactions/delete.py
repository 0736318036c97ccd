"""delete, and conditional delete of one match.

https://hl7.org/fhir/R4/http.html#delete
"""

from collections.abc import Sequence

from fhir_server.interactions.update import condition, condition_key, match, version_of
from fhir_server.store.database import Transaction
from fhir_server.store.records import WriteResult


async def delete(tx: Transaction, resource_type: str, id: str, if_match: str | None = None) -> WriteResult | None:
    """Delete the resource; None when there was nothing to delete, which is no error."""
    return await tx.writer.delete(resource_type, id, if_match=version_of(if_match))


async def conditional_delete(
    tx: Transaction, resource_type: str, pairs: Sequence[tuple[str, str]], if_match: str | None = None
) -> WriteResult | None:
    """Delete the one resource that ``pairs`` finds; None when there is none; PreconditionFailed when several."""
    query = condition(resource_type, pairs)
    await tx.lock(condition_key(query))
    found = await match(tx, query)
    if found is None:
        return None
    return await tx.writer.delete(resource_type, found.id, if_match=version_of(if_match))
