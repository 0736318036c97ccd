"""create, and conditional create.

https://hl7.org/fhir/R4/http.html#create and #ccreate
"""

from typing import Any

from fhir_server.interactions.bundles.addresses import parse_query
from fhir_server.kernel.errors import InvalidRequest
from fhir_server.kernel.search_query import SearchQuery, parse_search
from fhir_server.store.database import Transaction
from fhir_server.store.records import WriteResult


async def create(
    tx: Transaction,
    resource: dict[str, Any],
    if_none_exist: str | None = None,
    *,
    resource_type: str | None = None,
    id: str | None = None,
) -> WriteResult:
    """Store ``resource`` under a new id, whatever id it carries.

    ``if_none_exist`` is the query of the If-None-Exist header: one match → outcome ``existing`` and nothing written,
    more → PreconditionFailed. ``resource_type`` is the type in the URL, when there is one; ``id`` the id
    made for it beforehand by ``new_id`` (a transaction needs it for links).
    """
    require_type(resource, resource_type)
    condition = create_condition(resource["resourceType"], if_none_exist) if if_none_exist is not None else None
    return await tx.writer.create(resource, id=id, fresh=True, if_none_exist=condition)


def create_condition(resource_type: str, if_none_exist: str) -> SearchQuery:
    """Return the strict search an If-None-Exist header stands for; an empty one would match everything: refused."""
    text = if_none_exist.removeprefix(f"{resource_type}?").removeprefix("?")
    query = parse_search(resource_type, parse_query(text))
    if not query.criteria:
        raise InvalidRequest("If-None-Exist needs at least one search parameter, e.g. identifier=system|value.")
    return query


def require_type(resource: dict[str, Any], resource_type: str | None) -> None:
    """Raise InvalidRequest unless the body's resourceType is the one in the URL."""
    if resource_type is not None and resource["resourceType"] != resource_type:
        raise InvalidRequest(
            f"The body is a {resource['resourceType']}, the URL says {resource_type}. Make them the same.",
            expression="resourceType",
        )
