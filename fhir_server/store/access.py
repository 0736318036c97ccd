"""What a Subject may touch, compiled into the SQL; what cannot be compiled is denied.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#finer-grained-resource-constraints-using-search-parameters
"""

from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from sqlalchemy import ColumnElement, FromClause, and_, literal, or_, select, true

from fhir_server.kernel.errors import Forbidden, InvalidSearch
from fhir_server.kernel.search_query import Criterion, parse_search
from fhir_server.kernel.subject import Grant, Subject
from fhir_server.store.criteria import Reach, condition
from fhir_server.store.sql import ROOT, Statement, compiled, root, text_array

Grants = tuple[Grant, ...]


def unrestricted(grants: Grants) -> bool:
    """Tell whether the grants let every resource of the type through."""
    return any(grant.compartment is None and grant.query is None for grant in grants)


def visible(grants: Grants, table: FromClause, resource_type: str) -> ColumnElement[bool]:
    """Return the condition that a row is let through by one of the grants."""
    if unrestricted(grants):
        return true()
    return or_(*(_let_through(grant, table, resource_type) for grant in grants))


def reach_of(subject: Subject) -> Reach:
    """Return what chains and ``_has`` of this Subject may look at: what it could search for itself."""
    return lambda resource_type, table: visible(subject.require(resource_type, "s"), table, resource_type)


def _let_through(grant: Grant, table: FromClause, resource_type: str) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = []
    if grant.compartment is not None:
        conditions.append(table.c.compartments.op("@>", is_comparison=True)(text_array([grant.compartment])))
    if grant.query is not None:
        criteria = _narrowing(resource_type, grant.query)
        conditions += [condition(criterion, table, resource_type, _whole_table) for criterion in criteria]
    return and_(*conditions)


def _whole_table(_resource_type: str, _table: FromClause) -> ColumnElement[bool]:
    """What a scope's own query may look at: whoever granted it vouches for it."""
    return true()


@lru_cache(maxsize=256)
def _narrowing(resource_type: str, query: str) -> tuple[Criterion, ...]:
    try:
        criteria = parse_search(resource_type, parse_qsl(query, keep_blank_values=True, strict_parsing=True)).criteria
    except (InvalidSearch, ValueError) as error:
        raise Forbidden(f"A scope for {resource_type} narrows by a search this server does not know.") from error
    if not criteria:
        raise Forbidden(f"A scope for {resource_type} narrows by nothing.")
    return criteria


@lru_cache(maxsize=512)
def image_check(resource_type: str, grants: Grants) -> Statement:
    """Return the statement that finds a row if an image, not (yet) stored, would be let through.

    Its value ``image`` is the row as JSON; the same conditions are asked of it as of a stored row.
    """
    table = root(resource_type)
    stored = compiled(select(literal(1)).select_from(table).where(visible(grants, table, resource_type)))
    name = f"fhir.{resource_type.lower()}"
    image = f"jsonb_populate_record(NULL::{name}, %(image)s::jsonb) AS {ROOT}"
    return Statement(stored.text.replace(f"{name} AS {ROOT}", image, 1), stored.values)


def in_compartment(grants: Grants, columns: dict[str, Any]) -> bool | None:
    """Tell whether the columns of an image are let through; None when that takes asking the database."""
    if unrestricted(grants):
        return True
    lies_in = columns.get("compartments", ())
    possible = [grant for grant in grants if grant.compartment is None or grant.compartment in lies_in]
    if any(grant.query is None for grant in possible):
        return True
    return None if possible else False
