"""The newest Observations of each code.

https://hl7.org/fhir/R4/observation-operation-lastn.html
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from sqlalchemy import JSON, Text, cast, not_, select

from fhir_server.definitions import search_parameters
from fhir_server.kernel import json
from fhir_server.kernel.search_query import SearchQuery, SortKey
from fhir_server.kernel.subject import Subject
from fhir_server.store.access import reach_of, visible
from fhir_server.store.criteria import condition
from fhir_server.store.sorting import sort_key
from fhir_server.store.sql import compiled, root

_type = "Observation"
Candidate = tuple[str, datetime | None, str | None, str | None]
"""Id, effective time, subject and code, the last two as JSON."""


async def latest(connection: AsyncConnection[Any], subject: Subject, query: SearchQuery, most: int) -> list[str]:
    """Return the ids of the ``most`` newest matches of each code, newest first; what ties with the last one as well.

    Raises Forbidden, InvalidSearch. Observations without a time come after all others.
    """
    table = root(_type)
    grants = subject.require(_type, "s")
    wanted = (condition(criterion, table, _type, reach_of(subject)) for criterion in query.criteria)
    when = sort_key(table, SortKey(search_parameters(_type)["date"], descending=True))
    body = cast(table.c.body, JSON)
    columns = (table.c.id, when.expression, cast(body["subject"], Text), cast(body["code"], Text))
    statement = (
        select(*columns)
        .where(not_(table.c.deleted), visible(grants, table, _type), *wanted)
        .order_by(when.order, table.c.id)
    )
    cursor = await compiled(statement).execute(connection, prepare=False)
    return newest(await cursor.fetchall(), most)


def newest(candidates: Sequence[Candidate], most: int) -> list[str]:
    """Return the ids of the ``most`` first of each group of equivalent codes, and those that tie with the last."""
    groups = _groups((subject, code) for _, _, subject, code in candidates)
    taken: Counter[str] = Counter()
    last: dict[str, datetime | None] = {}
    found = []
    for (id, when, *_), group in zip(candidates, groups, strict=True):
        if taken[group] < most or (when is not None and when == last[group]):
            taken[group] += 1
            last[group] = when
            found.append(id)
    return found


def _groups(codes: Iterable[tuple[str | None, str | None]]) -> list[str]:
    """Return the group of each (subject, code).

    Codes of a subject that share a coding are one, and so are those that share one with them.
    """
    leaders: dict[str, str] = {}

    def leader(name: str) -> str:
        while leaders.setdefault(name, name) != name:
            leaders[name] = name = leaders[leaders[name]]
        return name

    firsts = []
    for subject, code in codes:
        first, *others = (f"{subject} {name}" for name in _names(json.decode(code) if code else {}))
        for other in others:
            leaders[leader(other)] = leader(first)
        firsts.append(first)
    return [leader(first) for first in firsts]


def _names(code: dict[str, Any]) -> list[str]:
    """Return what a code is known by: its codings, or when it has none its text."""
    codings = [f"{coding.get('system', '')}|{coding['code']}" for coding in code.get("coding", ()) if "code" in coding]
    return codings or [f"~{code.get('text', '')}"]
