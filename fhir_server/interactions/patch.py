"""patch: with JSON Patch, FHIRPath Patch or JSON Merge Patch, and conditional patch.

https://hl7.org/fhir/R4/http.html#patch
"""

from collections.abc import Sequence

from fhir_server.interactions.patches import Patch
from fhir_server.interactions.update import condition, condition_key, match, version_of
from fhir_server.kernel.errors import Conflict, NotFound, PreconditionFailed, Unprocessable
from fhir_server.store.database import Transaction
from fhir_server.store.records import WriteResult


async def patch(
    tx: Transaction, resource_type: str, id: str, change: Patch, if_match: str | None = None
) -> WriteResult:
    """Apply a patch to the current version. Raises NotFound, Gone, Unprocessable (the patch does not fit)."""
    current = await tx.reader.read(resource_type, id)
    patched = change(current.resource())
    if not isinstance(patched, dict) or patched.get("resourceType") != resource_type or patched.get("id") != id:
        raise Unprocessable("A patch may not change resourceType or id.")
    asked = version_of(if_match)
    try:
        return await tx.writer.update(patched, if_match=current.version if asked is None else asked)
    except PreconditionFailed as error:
        if asked is not None:
            raise
        raise Conflict("The resource changed while it was being patched; try again.") from error


async def conditional_patch(
    tx: Transaction, resource_type: str, pairs: Sequence[tuple[str, str]], change: Patch, if_match: str | None = None
) -> WriteResult:
    """Patch the one resource that ``pairs`` finds. Raises NotFound without one, PreconditionFailed with several."""
    query = condition(resource_type, pairs)
    await tx.lock(condition_key(query))
    found = await match(tx, query)
    if found is None:
        raise NotFound(f"The condition matches no {resource_type}.")
    return await patch(tx, resource_type, found.id, change, if_match)
