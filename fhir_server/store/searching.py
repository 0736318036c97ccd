"""One page of a search: conditions, order, keyset, count.

https://hl7.org/fhir/R4/search.html
"""

from typing import Any

from psycopg import AsyncConnection
from sqlalchemy import ColumnElement, FromClause, Select, func, not_, select, true

from fhir_server.kernel.search_query import SearchQuery
from fhir_server.kernel.subject import Subject
from fhir_server.store.access import reach_of, visible
from fhir_server.store.criteria import condition
from fhir_server.store.cursors import sign, verify
from fhir_server.store.records import SearchPage, Stored
from fhir_server.store.sorting import Key, after, position_value, sort_key
from fhir_server.store.sql import compiled, root

_own_columns = 5


async def search(connection: AsyncConnection[Any], subject: Subject, key: bytes, query: SearchQuery) -> SearchPage:
    """Return one page. Raises Forbidden without a search scope, InvalidSearch for what cannot be searched."""
    table = root(query.resource_type)
    where = _conditions(table, subject, query)
    counted = query.total == "accurate" or query.summary == "count" or query.count == 0
    total = await _count(connection, table, where) if counted else None
    if query.summary == "count" or query.count == 0:
        return SearchPage((), (), total, None)
    keys = [sort_key(table, sort) for sort in query.sort]
    keys.append(Key(table.c.id, descending=False, nullable=False))
    position = verify(key, query, subject, query.cursor) if query.cursor else None
    rows = await _page(connection, table, where, keys, position, query.count + 1)
    matches = tuple(_stored(query.resource_type, row) for row in rows[: query.count])
    if len(rows) <= query.count:
        return SearchPage(matches, (), total, None)
    last = [position_value(value) for value in rows[query.count - 1][_own_columns:]]
    return SearchPage(matches, (), total, sign(key, query, subject, last))


def _conditions(table: FromClause, subject: Subject, query: SearchQuery) -> list[ColumnElement[bool]]:
    resource_type = query.resource_type
    grants = subject.require(resource_type, "s")
    wanted = [condition(criterion, table, resource_type, reach_of(subject)) for criterion in query.criteria]
    return [not_(table.c.deleted), visible(grants, table, resource_type), *wanted]


async def _count(connection: AsyncConnection[Any], table: FromClause, where: list[ColumnElement[bool]]) -> int:
    statement = compiled(select(func.count()).select_from(table).where(*where))
    found = await (await statement.execute(connection, prepare=False)).fetchone()
    return int(found[0]) if found else 0


async def _page(
    connection: AsyncConnection[Any],
    table: FromClause,
    where: list[ColumnElement[bool]],
    keys: list[Key],
    position: list[Any] | None,
    limit: int,
) -> list[Any]:
    """Return the rows after the position: first those that have the first sort value, then those that lack it.

    Two statements, since an index gives the order of each part and of no statement over both.
    """
    first, rest = keys[0], keys[1:]
    if not first.nullable:
        return await _rows(connection, table, where, keys, position, limit)
    rows: list[Any] = []
    if position is None or position[0] is not None:
        present = Key(first.expression, first.descending, nullable=False)
        having = [*where, first.expression.is_not(None)]
        rows = await _rows(connection, table, having, [present, *rest], position, limit)
        position = None
    if len(rows) < limit:
        lacking = [*where, first.expression.is_(None)]
        left = position[1:] if position else None
        found = await _rows(connection, table, lacking, rest, left, limit - len(rows))
        rows += [(*row[:_own_columns], None, *row[_own_columns:]) for row in found]
    return rows


async def _rows(
    connection: AsyncConnection[Any],
    table: FromClause,
    where: list[ColumnElement[bool]],
    keys: list[Key],
    position: list[Any] | None,
    limit: int,
) -> list[Any]:
    statement = compiled(_statement(table, where, keys, position, limit))
    return await (await statement.execute(connection, prepare=False)).fetchall()


def _statement(
    table: FromClause, where: list[ColumnElement[bool]], keys: list[Key], position: list[Any] | None, limit: int
) -> Select[Any]:
    own = (table.c.id, table.c.version, table.c.last_updated, table.c.method, table.c.body)
    begins = true() if position is None else after(keys, position)
    shown = (key.expression.label(f"key_{place}") for place, key in enumerate(keys))
    return select(*own, *shown).where(*where, begins).order_by(*(key.order for key in keys)).limit(limit)


def _stored(resource_type: str, row: Any) -> Stored:
    id, version, last_updated, method, body = row[:_own_columns]
    return Stored(resource_type, id, version, last_updated, body, method)
