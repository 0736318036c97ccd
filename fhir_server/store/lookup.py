"""Many resources of many types found in one round trip, by id or by identifier, for those who write messages.

https://hl7.org/fhir/R4/search.html#token. Access is compiled in as for every read; statements are composed once for
each set of types.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, FromClause, Text, any_, bindparam, literal, not_, select, union_all

from fhir_server.definitions import search_parameters
from fhir_server.kernel.subject import Subject
from fhir_server.store.access import Grants, visible
from fhir_server.store.database import Transaction
from fhir_server.store.entries import token_entry
from fhir_server.store.records import Stored
from fhir_server.store.sql import Statement, compiled
from fhir_server.store.tables.resources import column_name, resource_table

Wanted = tuple[tuple[str, Grants], ...]
Condition = Callable[[str, FromClause, ColumnElement[Any]], ColumnElement[bool]]


async def by_id(tx: Transaction, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Stored]:
    """Return the current versions of these (type, id) that the Subject may see, deletions too, by (type, id)."""
    ids: dict[str, list[str]] = {}
    for key in keys:
        ids.setdefault(key[0], []).append(key[1])
    found = await _run(tx, ids, _by_id(_wanted(tx.subject, ids, "r")))
    return {(stored.resource_type, stored.id): stored for stored in found}


async def by_identifier(tx: Transaction, tokens: Mapping[str, Iterable[tuple[str, str]]]) -> list[Stored]:
    """Return what has one of these identifiers, ``{"Patient": [(system, value), …], …}``, and the Subject may find."""
    entries = {name: [token_entry(*token) for token in wanted] for name, wanted in tokens.items()}
    return await _run(tx, entries, _by_identifier(_wanted(tx.subject, entries, "s")))


async def _run(tx: Transaction, values: Mapping[str, list[str]], statement: Statement | None) -> list[Stored]:
    if statement is None:
        return []
    await tx.writer.flush()
    named = {f"wanted_{name}": wanted for name, wanted in values.items()}
    cursor = await statement.execute(tx.connection, named, prepare=True)
    return [Stored(*row) for row in await cursor.fetchall()]


def _wanted(subject: Subject, types: Iterable[str], interaction: str) -> Wanted:
    return tuple((name, subject.require(name, interaction)) for name in sorted(types))


@lru_cache(maxsize=512)
def _by_id(wanted: Wanted) -> Statement | None:
    return _composed(wanted, lambda _, table, values: table.c.id == any_(values))


@lru_cache(maxsize=512)
def _by_identifier(wanted: Wanted) -> Statement | None:
    def condition(name: str, table: FromClause, values: ColumnElement[Any]) -> ColumnElement[bool]:
        identifier = table.c[column_name(search_parameters(name)["identifier"])]
        return identifier.op("&&", is_comparison=True)(values) & not_(table.c.deleted)

    return _composed(wanted, condition)


def _composed(wanted: Wanted, condition: Condition) -> Statement | None:
    """Return one statement over the tables of all types; each has its values in the array ``wanted_<Type>``."""
    parts = []
    for name, grants in wanted:
        table = resource_table(name)
        values = bindparam(f"wanted_{name}", type_=ARRAY(Text), value=None)
        columns = (table.c.id, table.c.version, table.c.last_updated, table.c.body, table.c.method)
        parts.append(
            select(literal(name, Text).label("resource_type"), *columns).where(
                condition(name, table, values), visible(grants, table, name)
            )
        )
    return compiled(union_all(*parts)) if parts else None
