"""update, update as create, and conditional update.

https://hl7.org/fhir/R4/http.html#update and #cond-update
"""

import re
from collections.abc import Sequence
from typing import Any

from fhir_server.interactions.create import require_type
from fhir_server.kernel.errors import Conflict, InvalidRequest, PreconditionFailed
from fhir_server.kernel.search_query import SearchQuery, parse_search
from fhir_server.store.database import Transaction
from fhir_server.store.failures import Collision
from fhir_server.store.records import Stored, WriteResult

_etag = re.compile(r'(?:W/)?"([^"]*)"')


async def update(  # noqa: PLR0917 - what a request says, in the order it says it
    tx: Transaction,
    resource_type: str,
    id: str,
    resource: dict[str, Any],
    if_match: str | None = None,
    if_none_match: str | None = None,
) -> WriteResult:
    """Make ``resource`` the current version of ``resource_type/id``; create it there when it is not.

    ``if_match`` is the If-Match header: PreconditionFailed unless it names the current version. ``if_none_match`` may
    be ``*``: PreconditionFailed when there is a current version.
    """
    require_type(resource, resource_type)
    if resource.get("id") != id:
        raise InvalidRequest(f"The body's id must be the one in the URL: {id}.", expression=f"{resource_type}.id")
    if if_none_match is not None:
        return await _create_only(tx, resource, if_none_match)
    return await tx.writer.update(resource, if_match=version_of(if_match))


async def _create_only(tx: Transaction, resource: dict[str, Any], if_none_match: str) -> WriteResult:
    """Create under the id given; two requests for one id cannot both do it, since the writer locks the row."""
    if if_none_match.strip() != "*":
        raise InvalidRequest("An update takes If-None-Match: * only; to update one version, send If-Match.")
    try:
        return await tx.writer.create(resource, id=resource["id"])
    except Collision:
        raise
    except Conflict as error:
        raise PreconditionFailed("If-None-Match: * was sent, and the resource exists already.") from error


async def conditional_update(
    tx: Transaction,
    resource_type: str,
    pairs: Sequence[tuple[str, str]],
    resource: dict[str, Any],
    if_match: str | None = None,
) -> WriteResult:
    """Update the one resource that ``pairs`` finds; create when there is none; PreconditionFailed when several."""
    require_type(resource, resource_type)
    query = condition(resource_type, pairs)
    await tx.lock(condition_key(query))
    found = await match(tx, query)
    if found is not None:
        if resource.get("id", found.id) != found.id:
            raise InvalidRequest(
                "The body's id is not that of the resource the condition finds.", expression=f"{resource_type}.id"
            )
        return await tx.writer.update({**resource, "id": found.id}, if_match=version_of(if_match))
    if "id" in resource:
        return await tx.writer.update(resource, if_match=version_of(if_match))
    return await tx.writer.create(resource)


def condition(resource_type: str, pairs: Sequence[tuple[str, str]]) -> SearchQuery:
    """Return the search of a conditional interaction: always strict, never empty."""
    query = parse_search(resource_type, pairs)
    if not query.criteria:
        raise InvalidRequest("A conditional interaction needs at least one search parameter in the URL.")
    return query


def condition_key(query: SearchQuery) -> str:
    """Return the lock key under which writers of one condition wait for each other, the same as the writer takes."""
    return f"{query.resource_type}?" + "&".join(sorted(f"{name}={value}" for name, value in query.pairs))


async def match(tx: Transaction, query: SearchQuery) -> Stored | None:
    """Return the only visible match, None when there is none. Raises PreconditionFailed when there are more."""
    found = (await tx.reader.search(query)).matches
    if len(found) > 1:
        raise PreconditionFailed(f"The condition on {query.resource_type} matches more than one resource.")
    return found[0] if found else None


def version_of(if_match: str | None) -> int | None:
    """Return the version an If-Match header names (``W/"3"`` → 3), None without a header.

    A tag this server never gave names no version: PreconditionFailed, as for an old one.
    """
    if if_match is None:
        return None
    found = _etag.fullmatch(if_match.strip())
    text = found[1] if found else if_match.strip()
    if not text.isascii() or not text.isdigit() or len(text) > 18:  # noqa: PLR2004 - what a bigint holds
        raise PreconditionFailed('If-Match names no version of this resource; send the ETag last read, e.g. W/"3".')
    return int(text)
