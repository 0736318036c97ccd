"""Everything in a compartment, across its types: which resources those are, page by page, and resources by id.

https://hl7.org/fhir/R4/compartmentdefinition.html and https://hl7.org/fhir/R4/patient-operation-everything.html. The
Subject's access is compiled into every statement; a type it has no grant for adds nothing.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from psycopg import AsyncConnection
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    union_all,
)

from fhir_server.definitions import RESOURCE_TYPES, compartment_parameters, search_parameters
from fhir_server.kernel.instants import EARLIEST, LATEST
from fhir_server.kernel.search_query import SearchQuery
from fhir_server.kernel.subject import Subject
from fhir_server.store.access import Grants, unrestricted, visible
from fhir_server.store.cursors import sign, verify
from fhir_server.store.records import Stored
from fhir_server.store.sql import Statement, compiled, root, unnested
from fhir_server.store.tables.resources import column_name, instant, resource_table

Key = tuple[str, str]
_types_at_once = 8  # planning locks every index of every table it names: 66 tables have 1,500
_before_all = ""
_after_all = "~"  # sorts behind every character of an id
_people = frozenset({"Patient", "Person", "RelatedPerson"})
_care_dates = (
    "date", "occurrence", "period", "effective", "effective-time", "started", "onset-date", "collected",
    "whenhandedover", "start-date", "datetime", "event-date", "sent", "identified", "recorded", "created", "authored",
    "authoredon", "authored-on", "datewritten",
)  # fmt: skip
"""The date parameters that tell when care was given, the first a type has."""


@dataclass(frozen=True, slots=True)
class Members:
    """What of a compartment is asked for. ``id`` None: of every one of its kind that the Subject may search.

    ``since`` is the moment after which a resource was updated, ``care`` the span ``[start, end)`` of the care it is
    about, ``pairs`` what a cursor is bound to.
    """

    compartment: str
    id: str | None
    types: tuple[str, ...]
    count: int
    since: datetime | None = None
    care: tuple[datetime, datetime] | None = None
    cursor: str | None = None
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MembersPage:
    """The (type, id) of one page, and the cursor of the next."""

    keys: tuple[Key, ...]
    cursor: str | None


def compartment_types(compartment: str) -> tuple[str, ...]:
    """Return the types that can lie in a compartment, its own first, the others by name."""
    others = (name for name in sorted(RESOURCE_TYPES) if compartment_parameters(compartment, name))
    return (compartment, *(name for name in others if name != compartment))


async def members(connection: AsyncConnection[Any], subject: Subject, key: bytes, asked: Members) -> MembersPage:
    """Return one page of what lies in a compartment, type after type. Raises InvalidSearch for a foreign cursor."""
    bound = SearchQuery(asked.compartment, pairs=(("$everything", asked.id or ""), *asked.pairs))
    position: list[Any] = verify(key, bound, subject, asked.cursor) if asked.cursor else ["", ""]
    wanted = tuple((name, grants) for name in asked.types if (grants := subject.grants(name, "s")))
    place = next((at for at, (name, _) in enumerate(wanted) if name == position[0]), -1)
    found: list[Key] = []
    for start in range(0, len(wanted), _types_at_once):
        if start + _types_at_once > place and len(found) <= asked.count:
            some = wanted[start : start + _types_at_once]
            values = dict(_values(asked, some, place - start, position[1]), wanted_count=asked.count + 1)
            own = None if asked.id is not None else subject.grants(asked.compartment, "s")
            statement = _members(asked.compartment, some, own, dated=asked.care is not None)
            cursor = await statement.execute(connection, values, prepare=True)
            found += [(name, id) for _, name, id in await cursor.fetchall()]
    keys = tuple(found[: asked.count])
    more = len(found) > asked.count
    return MembersPage(keys, sign(key, bound, subject, list(keys[-1])) if more and keys else None)


def _values(asked: Members, types: tuple[tuple[str, Grants], ...], place: int, after: str) -> Iterator[tuple[str, Any]]:
    """Yield the values of a statement; every type begins after the id it got to, most at the beginning or the end."""
    yield "wanted_compartment", [f"{asked.compartment}/{asked.id}"]
    yield "wanted_since", asked.since or EARLIEST
    if asked.care is not None:
        yield "wanted_start", asked.care[0]
        yield "wanted_end", asked.care[1]
    for at, (name, _) in enumerate(types):
        yield f"after_{name}", _before_all if at > place else after if at == place else _after_all


@lru_cache(maxsize=256)
def _members(compartment: str, wanted: tuple[tuple[str, Grants], ...], own: Grants | None, *, dated: bool) -> Statement:
    """Return the statement for the keys of some types.

    ``own`` are the grants that choose the compartments; ``dated`` looks at when the care was.
    """
    parts = []
    for place, (name, grants) in enumerate(wanted):
        table = root(name)
        lies_in, scan = _lies_in(table, compartment, own)
        conditions = (lies_in, visible(grants, table, name), *(_care(table, name) if dated else ()))
        parts.append(_part(table, name, place, and_(*conditions), scan=scan))
    both = union_all(*parts).subquery()
    columns = (both.c.place, both.c.resource_type, both.c.id)
    return compiled(select(*columns).order_by(both.c.place, both.c.id).limit(_count))


_count = bindparam("wanted_count", type_=Integer, value=None)


def _part(table: FromClause, name: str, place: int, wanted: ColumnElement[bool], *, scan: bool) -> Select[Any]:
    ids = select(table.c.id).where(
        wanted,
        not_(table.c.deleted),
        table.c.last_updated > bindparam("wanted_since", type_=instant, value=None),
        table.c.id > bindparam(f"after_{name}", type_=Text, value=None),
    )
    # OFFSET 0 keeps the limit out of the plan: for a patient with few resources of a type, walking the whole primary
    # key would look cheap. Where the whole table is asked for, walking it is right.
    found = (ids.order_by(table.c.id).limit(_count) if scan else ids.offset(0)).subquery()
    columns = (literal(place, Integer).label("place"), literal(name, Text).label("resource_type"), found.c.id)
    ordered = select(*columns).order_by(found.c.id).limit(_count).subquery()
    return select(ordered.c.place, ordered.c.resource_type, ordered.c.id)


def _lies_in(table: FromClause, compartment: str, own: Grants | None) -> tuple[ColumnElement[bool], bool]:
    """Return the condition that a row lies in the compartments asked for, and whether that may be most rows."""
    if own is None:
        one = bindparam("wanted_compartment", type_=ARRAY(Text), value=None)
        return table.c.compartments.op("@>", is_comparison=True)(one), False
    prefix = f"{compartment}/"
    if unrestricted(own):
        entries = unnested(table.c.compartments)
        return exists(
            select(literal(1)).select_from(entries).where(func.starts_with(entries.c.value, literal(prefix, Text)))
        ), True
    others = resource_table(compartment).alias("own")
    theirs = select(literal(prefix, Text) + others.c.id).where(
        not_(others.c.deleted), visible(own, others, compartment)
    )
    found = func.array(theirs.scalar_subquery(), type_=ARRAY(Text))
    return table.c.compartments.op("&&", is_comparison=True)(found), False


def _care(table: FromClause, name: str) -> Iterator[ColumnElement[bool]]:
    """Yield the condition that the care a row is about was in the span; without a date nobody can say it was not."""
    parameters = search_parameters(name)
    begun = next((parameters[code] for code in _care_dates if code in parameters), None)
    if begun is None or name in _people:
        return
    start = bindparam("wanted_start", type_=instant, value=None)
    end = bindparam("wanted_end", type_=instant, value=None)
    first = table.c[column_name(begun, "_lo")]
    last: ColumnElement[Any] = table.c[column_name(begun, "_hi")]
    if name == "Condition":  # it lasts until it abates
        last = func.coalesce(table.c[column_name(parameters["abatement-date"], "_hi")], LATEST)
    yield or_(first.is_(None), and_(first < end, last > start))


async def by_id(
    connection: AsyncConnection[Any], subject: Subject, ids: Mapping[str, Collection[str]], interaction: str
) -> dict[Key, Stored]:
    """Return the current versions of these ids, by type, that are not deleted and that the Subject may touch."""
    found: dict[Key, Stored] = {}
    for name, some in ids.items():
        grants = subject.grants(name, interaction)
        if some and grants:
            cursor = await _by_id(name, grants).execute(connection, {"wanted": sorted(some)}, prepare=True)
            for id, version, at, body, method in await cursor.fetchall():
                found[name, id] = Stored(name, id, version, at, body, method)
    return found


@lru_cache(maxsize=512)
def _by_id(name: str, grants: Grants) -> Statement:
    table = root(name)
    columns = (table.c.id, table.c.version, table.c.last_updated, table.c.body, table.c.method)
    wanted = bindparam("wanted", type_=ARRAY(Text), value=None)
    return compiled(
        select(*columns).where(table.c.id == any_(wanted), not_(table.c.deleted), visible(grants, table, name))
    )
