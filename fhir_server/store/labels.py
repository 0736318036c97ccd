"""The profiles, tags and security labels in use, for ``$meta`` of a type or of the whole server.

https://hl7.org/fhir/R4/resource-operation-meta.html. They come from the search columns: system and code, no display.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from psycopg import AsyncConnection
from sqlalchemy import Select, Text, literal, not_, select, true, union_all

from fhir_server.definitions import search_parameters
from fhir_server.kernel.subject import Subject
from fhir_server.store.access import Grants, visible
from fhir_server.store.sql import Statement, compiled, root, unnested
from fhir_server.store.tables.resources import column_name

_parameters = {"profile": "_profile", "tag": "_tag", "security": "_security"}
_types_at_once = 8  # as in compartments


@dataclass(slots=True)
class Labels:
    """Profiles as canonicals, tags and security labels as (system, code); the system may be empty."""

    profile: set[str] = field(default_factory=set)
    tag: set[tuple[str, str]] = field(default_factory=set)
    security: set[tuple[str, str]] = field(default_factory=set)


async def labels(connection: AsyncConnection[Any], subject: Subject, types: Sequence[str]) -> Labels:
    """Return what labels the resources of these types have, as far as the Subject may search them."""
    wanted = tuple((name, grants) for name in types if (grants := subject.grants(name, "s")))
    found = Labels()
    for start in range(0, len(wanted), _types_at_once):
        cursor = await _labels(wanted[start : start + _types_at_once]).execute(connection, prepare=False)
        for kind, entry in await cursor.fetchall():
            _add(found, kind, entry)
    return found


def _add(found: Labels, kind: str, entry: str) -> None:
    """Take up a search entry: of a token that which has both system and code."""
    if kind == "profile":
        found.profile.add(entry)
        return
    system, bar, code = entry.partition("|")
    if bar and code and not system.startswith(("=", "~")):
        (found.tag if kind == "tag" else found.security).add((system, code))


@lru_cache(maxsize=256)
def _labels(wanted: tuple[tuple[str, Grants], ...]) -> Statement:
    parts = [_part(name, grants, kind) for name, grants in wanted for kind in _parameters]
    return compiled(union_all(*parts))


def _part(name: str, grants: Grants, kind: str) -> Select[Any]:
    table = root(name)
    column = table.c[column_name(search_parameters(name)[_parameters[kind]])]
    entries = unnested(column)
    return (
        select(literal(kind, Text), entries.c.value)
        .select_from(table.join(entries, true()))
        .where(column.is_not(None), not_(table.c.deleted), visible(grants, table, name))
        .distinct()
    )
