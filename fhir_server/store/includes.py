"""``_include`` and ``_revinclude``: what the matches refer to, and what refers to them.

https://hl7.org/fhir/R4/search.html#include. The Subject's access holds for every row included: a type it may not read
adds nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from psycopg import AsyncConnection
from sqlalchemy import ColumnElement, FromClause, Select, any_, not_, select, true

from fhir_server.definitions import RESOURCE_TYPES, SearchParameter
from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.search_query import Include, SearchQuery
from fhir_server.kernel.subject import Subject
from fhir_server.store.access import visible
from fhir_server.store.records import Stored
from fhir_server.store.sql import compiled, root, text_array, unnested
from fhir_server.store.tables.resources import column_name, indexed_parameters

MOST_INCLUDED = 2000
_most_rounds = 5
Ids = dict[str, set[str]]


async def included(
    connection: AsyncConnection[Any], subject: Subject, query: SearchQuery, matches: Sequence[Stored]
) -> tuple[Stored, ...]:
    """Return what the matches include, each resource once. Raises InvalidSearch when it is too much for one page."""
    known = {stored.reference for stored in matches}
    found: list[Stored] = []
    fresh: Sequence[Stored] = matches
    for again in (False, *(True,) * _most_rounds):
        forward = [include for include in query.include if include.iterate or not again]
        backward = [include for include in query.revinclude if include.iterate or not again]
        if not fresh or not (forward or backward):
            break
        ids = _by_type(fresh)
        more = [
            *await _forward(connection, subject, ids, forward),
            *await _backward(connection, subject, ids, backward),
        ]
        fresh = list({stored.reference: stored for stored in more if stored.reference not in known}.values())
        known.update(stored.reference for stored in fresh)
        found += fresh
        if len(found) > MOST_INCLUDED:
            raise InvalidSearch(f"_include and _revinclude find more than {MOST_INCLUDED}. Ask for a smaller _count.")
    return tuple(found)


def _by_type(stored: Iterable[Stored]) -> Ids:
    ids: Ids = defaultdict(set)
    for one in stored:
        ids[one.resource_type].add(one.id)
    return ids


def _parameters(include: Include) -> list[SearchParameter]:
    if include.parameter is not None:
        return [include.parameter]
    return [parameter for parameter in indexed_parameters(include.source) if parameter.type == "reference"]


async def _forward(
    connection: AsyncConnection[Any], subject: Subject, ids: Ids, includes: Sequence[Include]
) -> list[Stored]:
    wanted: Ids = defaultdict(set)
    for include in includes:
        if not ids.get(include.source):
            continue
        for parameter in _parameters(include):
            for reference in await _references(connection, include.source, ids[include.source], parameter):
                target, _, target_id = reference.partition("/")
                if target in RESOURCE_TYPES and include.target in (None, target):
                    wanted[target].add(target_id)
    found: list[Stored] = []
    for target, some in wanted.items():
        found += await _rows(connection, subject, target, partial(_is_one_of, ids=sorted(some)))
    return found


async def _references(
    connection: AsyncConnection[Any], type: str, ids: set[str], parameter: SearchParameter
) -> list[str]:
    table = root(type)
    entries = unnested(table.c[column_name(parameter)])
    relative = entries.c.value.regexp_match("^[A-Z][A-Za-z]+/[A-Za-z0-9.-]+$")
    statement = (
        select(entries.c.value)
        .select_from(table.join(entries, true()))
        .where(table.c.id == any_(text_array([*ids])), relative)
        .distinct()
    )
    cursor = await compiled(statement).execute(connection, prepare=False)
    return [row[0] for row in await cursor.fetchall()]


async def _backward(
    connection: AsyncConnection[Any], subject: Subject, ids: Ids, includes: Sequence[Include]
) -> list[Stored]:
    found: list[Stored] = []
    for include in includes:
        targets = [f"{name}/{one}" for name in ids if include.target in (None, name) for one in sorted(ids[name])]
        for parameter in _parameters(include):
            if targets:
                wanted = partial(_refers_to, column=column_name(parameter), targets=targets)
                found += await _rows(connection, subject, include.source, wanted)
    return found


def _is_one_of(table: FromClause, ids: Sequence[str]) -> ColumnElement[bool]:
    return table.c.id == any_(text_array(ids))


def _refers_to(table: FromClause, column: str, targets: Sequence[str]) -> ColumnElement[bool]:
    return table.c[column].op("&&", is_comparison=True)(text_array(targets))


async def _rows(
    connection: AsyncConnection[Any], subject: Subject, type: str, wanted: Callable[[FromClause], ColumnElement[bool]]
) -> list[Stored]:
    grants = subject.grants(type, "r")
    if not grants:
        return []
    table = root(type)
    statement: Select[Any] = (
        select(table.c.id, table.c.version, table.c.last_updated, table.c.method, table.c.body)
        .where(not_(table.c.deleted), visible(grants, table, type), wanted(table))
        .order_by(table.c.id)
        .limit(MOST_INCLUDED + 1)
    )
    cursor = await compiled(statement).execute(connection, prepare=False)
    rows = await cursor.fetchall()
    return [Stored(type, key, version, at, body, method) for key, version, at, method, body in rows]
