"""What changed in a type or in all of them: versions across resources, newest first, page by page.

https://hl7.org/fhir/R4/http.html#history. A version is listed if the Subject may see the resource as it is now, which
is asked in the SQL, and that version, which is asked of each row.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    bindparam,
    collate,
    func,
    literal,
    select,
    tuple_,
    union_all,
)

from fhir_server.kernel.instants import EARLIEST, LATEST
from fhir_server.kernel.search_query import SearchQuery
from fhir_server.kernel.subject import Subject
from fhir_server.store.access import Grants, unrestricted, visible
from fhir_server.store.cursors import sign, verify
from fhir_server.store.records import Stored
from fhir_server.store.sql import Statement, compiled, root
from fhir_server.store.tables.journal import history
from fhir_server.store.tables.resources import instant

LetsThrough = Callable[[str, Any, Grants], Awaitable[bool]]
_types_at_once = 8  # planning locks every index of every table it names
_last = (LATEST, "~", "~", 2**31 - 1)  # sorts behind every version


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which versions: of these types, made from ``since`` on, current at some time of ``at`` (``[low, high)``).

    ``pairs`` is what a cursor is bound to.
    """

    types: tuple[str, ...]
    count: int = 50
    since: datetime = EARLIEST
    at: tuple[datetime, datetime] | None = None
    cursor: str | None = None
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """Versions of many resources, newest first; ``next`` is the cursor of the next page."""

    entries: tuple[Stored, ...]
    next: str | None


class _Row(NamedTuple):
    last_updated: datetime
    resource_type: str
    id: str
    version: int
    method: Any
    body: str
    compartments: list[str] | None

    @property
    def key(self) -> tuple[datetime, str, str, int]:
        return self[:4]


async def changes(
    connection: AsyncConnection[Any], subject: Subject, key: bytes, asked: HistoryQuery, lets_through: LetsThrough
) -> ChangesPage:
    """Return one page. Raises InvalidSearch for a cursor of another query or Subject."""
    grants = {name: found for name in asked.types if (found := subject.grants(name, "r"))}
    bound = SearchQuery("_history", pairs=(("types", ",".join(asked.types)), *asked.pairs))
    after = _position(verify(key, bound, subject, asked.cursor)) if asked.cursor else _last
    kept: list[_Row] = []
    more = True
    while more and len(kept) <= asked.count:
        rows = await _rows(connection, grants, asked, after)
        more = len(rows) > asked.count
        seen = [await lets_through(row.resource_type, _version_row(row), grants[row.resource_type]) for row in rows]
        kept += [row for row, shown in zip(rows, seen, strict=True) if shown]
        after = rows[-1].key if rows else after
    page = kept[: asked.count]
    following = sign(key, bound, subject, _rendered(page[-1])) if page and len(kept) > asked.count else None
    return ChangesPage(tuple(_stored(row) for row in page), following)


async def _rows(
    connection: AsyncConnection[Any], grants: dict[str, Grants], asked: HistoryQuery, after: tuple[Any, ...]
) -> list[_Row]:
    """Return ``count`` + 1 rows after a position, of all types."""
    low, high = asked.at or (EARLIEST, LATEST)
    values = {"since": asked.since, "low": low, "high": high, "count": asked.count + 1}
    values |= dict(zip(("after_at", "after_type", "after_id", "after_version"), after, strict=True))
    found: list[_Row] = []
    wanted = sorted(grants.items())
    for start in range(0, len(wanted), _types_at_once):
        some = tuple(wanted[start : start + _types_at_once])
        statement = _statement(some, at=asked.at is not None)
        cursor = await statement.execute(connection, values, prepare=True)
        found += [_Row(*row) for row in await cursor.fetchall()]
    return sorted(found, key=lambda row: row.key, reverse=True)[: asked.count + 1]


@lru_cache(maxsize=256)
def _statement(wanted: tuple[tuple[str, Grants], ...], *, at: bool) -> Statement:
    parts = []
    for name, grants in wanted:
        current = root(name)
        parts.append(_part(name, current, visible(grants, current, name), None))
        older = _part(name, history, history.c.resource_type == literal(name, Text), current if at else None)
        if not unrestricted(grants):
            seen = select(literal(1)).select_from(current).where(current.c.id == history.c.id)
            older = older.where(seen.where(visible(grants, current, name)).exists())
        parts.append(older)
    every = union_all(*(select(part.order_by(*_order(part)).limit(_count).subquery()) for part in parts)).subquery()
    return compiled(select(every).order_by(*_order(every)).limit(_count))


def _part(name: str, table: FromClause, condition: ColumnElement[bool], successor: FromClause | None) -> Select[Any]:
    """Select the versions of one type in the current table, or in the history when ``successor`` may follow them."""
    named = collate(literal(name, Text), "C")
    columns = (table.c.last_updated, named.label("resource_type"), table.c.id, table.c.version)
    position = (_given("after_at", instant), _given("after_type", Text), _given("after_id", Text), _after_version)
    part = select(*columns, table.c.method, table.c.body, table.c.compartments).where(
        condition,
        table.c.last_updated >= _given("since", instant),
        table.c.last_updated < _given("high", instant),
        table.c.last_updated <= _given("after_at", instant),
        tuple_(table.c.last_updated, named, table.c.id, table.c.version) < tuple_(*position),
    )
    return part if successor is None else part.where(_ended(table, successor) > _given("low", instant))


def _ended(table: FromClause, successor: FromClause) -> ColumnElement[datetime]:
    """Return when a superseded version stopped being the current one: when the next was made."""
    following = history.alias("following")
    kept = select(following.c.last_updated).where(
        following.c.resource_type == table.c.resource_type,
        following.c.id == table.c.id,
        following.c.version == table.c.version + 1,
    )
    current = select(successor.c.last_updated).where(successor.c.id == table.c.id)
    return func.coalesce(kept.scalar_subquery(), current.scalar_subquery())


def _order(table: Any) -> list[ColumnElement[Any]]:
    columns = table.selected_columns if isinstance(table, Select) else table.c
    return [columns[name].desc() for name in ("last_updated", "resource_type", "id", "version")]


def _given(name: str, type_: Any) -> ColumnElement[Any]:
    return bindparam(name, type_=type_, value=None)


_count = bindparam("count", type_=Integer, value=None)
_after_version = bindparam("after_version", type_=Integer, value=None)


def _version_row(row: _Row) -> tuple[Any, ...]:
    return row.version, row.last_updated, row.method, row.body, row.compartments


def _stored(row: _Row) -> Stored:
    return Stored(row.resource_type, row.id, row.version, row.last_updated, row.body, row.method)


def _rendered(row: _Row) -> list[Any]:
    return [row.last_updated.isoformat(), row.resource_type, row.id, row.version]


def _position(rendered: list[Any]) -> tuple[Any, ...]:
    return (datetime.fromisoformat(rendered[0]), *rendered[1:])
