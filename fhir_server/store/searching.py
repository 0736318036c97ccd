"""One page of a search: conditions, order, keyset, count.

https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg import AsyncConnection
from sqlalchemy import ColumnElement, FromClause, Select, func, not_, select, true

from fhir_server.kernel.search_query import SearchQuery
from fhir_server.kernel.subject import Subject
from fhir_server.store.access import reach_of, unrestricted, visible
from fhir_server.store.criteria import condition
from fhir_server.store.cursors import sign, verify
from fhir_server.store.records import SearchPage, Stored
from fhir_server.store.sorting import Key, after, position_value, sort_key
from fhir_server.store.sql import Statement, compiled, root, text_array

_own_columns = 5


@dataclass(frozen=True, slots=True)
class _Asked:
    """A search as SQL: the table, what its rows must fulfil, and their order, which ends with the id."""

    table: FromClause
    where: tuple[ColumnElement[bool], ...]
    keys: tuple[Key, ...]


async def search(connection: AsyncConnection[Any], subject: Subject, key: bytes, query: SearchQuery) -> SearchPage:
    """Return one page. Raises Forbidden without a search scope, InvalidSearch for what cannot be searched."""
    asked = _asked(subject, query)
    total = await _total(connection, subject, asked, query)
    if query.summary == "count" or query.count == 0:
        return SearchPage((), (), total, None)
    position = verify(key, query, subject, query.cursor) if query.cursor else None
    rows = await _page(connection, asked, position, query.count + 1)
    matches = tuple(_stored(query.resource_type, row) for row in rows[: query.count])
    if len(rows) <= query.count:
        return SearchPage(matches, (), total, None)
    last = [position_value(value) for value in rows[query.count - 1][_own_columns:]]
    return SearchPage(matches, (), total, sign(key, query, subject, last))


async def search_types(
    connection: AsyncConnection[Any], subject: Subject, key: bytes, queries: Sequence[SearchQuery]
) -> SearchPage:
    """Return one page over several types, which come one after the other; the queries differ in their type only.

    Types the Subject may not search are left out, unless ``_type`` names them: then it raises Forbidden.
    """
    named = any(name == "_type" for name, _ in queries[0].pairs)
    open_to = [query for query in queries if named or subject.grants(query.resource_type, "s")]
    first = queries[0]
    bound = replace(first, resource_type=f"{first.compartment or ''}/*")
    total: int | None = None
    if first.total != "none" or first.summary == "count" or first.count == 0:
        counts = [await search(connection, subject, key, replace(query, cursor=None, count=0)) for query in open_to]
        total = sum(page.total or 0 for page in counts)
    if first.summary == "count" or first.count == 0:
        return SearchPage((), (), total, None)
    place, inner = verify(key, bound, subject, first.cursor) if first.cursor else ("", None)
    matches: list[Stored] = []
    for query in open_to:
        if query.resource_type < place:
            continue
        room = first.count - len(matches)
        begins = inner if query.resource_type == place else None
        wanted = replace(query, cursor=begins, count=max(room, 1), total="none")
        page = await search(connection, subject, key, wanted)
        if room == 0 and page.matches:
            return SearchPage(tuple(matches), (), total, sign(key, bound, subject, [query.resource_type, None]))
        matches += page.matches
        if page.next is not None:
            return SearchPage(tuple(matches), (), total, sign(key, bound, subject, [query.resource_type, page.next]))
    return SearchPage(tuple(matches), (), total, None)


def _asked(subject: Subject, query: SearchQuery) -> _Asked:
    resource_type = query.resource_type
    table = root(resource_type)
    grants = subject.require(resource_type, "s")
    wanted = (condition(criterion, table, resource_type, reach_of(subject)) for criterion in query.criteria)
    where = [not_(table.c.deleted), visible(grants, table, resource_type), *wanted]
    if query.compartment is not None:
        where.append(table.c.compartments.op("@>", is_comparison=True)(text_array([query.compartment])))
    keys = (*(sort_key(table, sort) for sort in query.sort), Key(table.c.id, descending=False, nullable=False))
    return _Asked(table, tuple(where), keys)


async def _total(connection: AsyncConnection[Any], subject: Subject, asked: _Asked, query: SearchQuery) -> int | None:
    """Return how many match, None when nobody asked.

    An estimate is the planner's, which knows the whole table: who may not see all of it gets the accurate figure.
    """
    if query.total == "none" and query.summary != "count" and query.count != 0:
        return None
    if query.total == "estimate" and unrestricted(subject.require(query.resource_type, "s")):
        return await _estimate(connection, asked)
    statement = compiled(select(func.count()).select_from(asked.table).where(*asked.where))
    found = await (await statement.execute(connection, prepare=False)).fetchone()
    return int(found[0]) if found else 0


async def _estimate(connection: AsyncConnection[Any], asked: _Asked) -> int:
    matching = compiled(select(asked.table.c.id).where(*asked.where))
    statement = Statement(f"EXPLAIN (FORMAT JSON) {matching.text}", matching.values)
    found = await (await statement.execute(connection, prepare=False)).fetchone()
    return int(found[0][0]["Plan"]["Plan Rows"]) if found else 0


async def _page(connection: AsyncConnection[Any], asked: _Asked, position: list[Any] | None, limit: int) -> list[Any]:
    """Return the rows after the position: first those that have the first sort value, then those that lack it.

    Two statements, since an index gives the order of each part and of no statement over both.
    """
    first, *rest = asked.keys
    if not first.nullable:
        return await _rows(connection, asked, position, limit)
    rows: list[Any] = []
    if position is None or position[0] is not None:
        present = Key(first.expression, first.descending, nullable=False)
        having = replace(asked, where=(*asked.where, first.expression.is_not(None)), keys=(present, *rest))
        rows = await _rows(connection, having, position, limit)
        position = None
    if len(rows) < limit:
        lacking = replace(asked, where=(*asked.where, first.expression.is_(None)), keys=tuple(rest))
        found = await _rows(connection, lacking, position[1:] if position else None, limit - len(rows))
        rows += [(*row[:_own_columns], None, *row[_own_columns:]) for row in found]
    return rows


async def _rows(connection: AsyncConnection[Any], asked: _Asked, position: list[Any] | None, limit: int) -> list[Any]:
    statement = compiled(_statement(asked, position, limit))
    return await (await statement.execute(connection, prepare=False)).fetchall()


def _statement(asked: _Asked, position: list[Any] | None, limit: int) -> Select[Any]:
    table, keys = asked.table, asked.keys
    own = (table.c.id, table.c.version, table.c.last_updated, table.c.method, table.c.body)
    begins = true() if position is None else after(keys, position)
    shown = (key.expression.label(f"key_{place}") for place, key in enumerate(keys))
    return select(*own, *shown).where(*asked.where, begins).order_by(*(key.order for key in keys)).limit(limit)


def _stored(resource_type: str, row: Any) -> Stored:
    key, version, last_updated, method, body = row[:_own_columns]
    return Stored(resource_type, key, version, last_updated, body, method)
