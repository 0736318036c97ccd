"""Every read of resources: read, vread, history and search, with the Subject's access compiled into the SQL.

https://hl7.org/fhir/R4/http.html#read
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from fhir_server.kernel import json
from fhir_server.kernel.errors import Gone, NotFound
from fhir_server.kernel.references import is_id
from fhir_server.kernel.search_query import SearchQuery, parse_search
from fhir_server.kernel.subject import Subject
from fhir_server.store import compartments, labels, latest, searching, statements
from fhir_server.store.access import Grants, image_check, in_compartment
from fhir_server.store.history import ChangesPage, HistoryQuery, changes
from fhir_server.store.includes import included
from fhir_server.store.index import index_columns
from fhir_server.store.records import HistoryPage, Method, SearchPage, Stored
from fhir_server.store.sql import Statement

__all__ = ["HistoryPage", "Reader", "SearchPage", "Stored"]

_newest = 2**31 - 1
_all = 100_000
Row = tuple[int, datetime, Method, str]


async def _nothing() -> None:
    """There is nothing to write first."""


class Reader:
    """Reads on one connection as one Subject; what the Subject may not see is as if it were absent."""

    def __init__(
        self,
        connection: AsyncConnection[Any],
        subject: Subject,
        key: bytes,
        flush: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._connection = connection
        self._key = key
        self._flush = flush
        self.subject = subject

    async def read(self, type: str, id: str) -> Stored:
        """Return the current version. Raises NotFound (absent or hidden) or Gone."""
        stored = await self._current(type, id, self.subject.require(type, "r"))
        if stored.deleted:
            raise Gone(f"{type}/{id} was deleted.")
        return stored

    async def read_recorded(self, type: str, id: str, *, action: str, request_id: str | None) -> Stored:
        """Read, and write that into the audit trail in the same statement. Not for use inside a transaction."""
        grants = self.subject.require(type, "r")
        who = {"subject": self.subject.reference, "agent": self.subject.name}
        values = {**who, "action": action, "type": type, "request_id": request_id}
        stored = await self._one(type, id, statements.read_recorded(type, grants), values)
        if stored.deleted:
            raise Gone(f"{type}/{id} was deleted.")
        return stored

    async def _current(self, type: str, id: str, grants: Grants) -> Stored:
        return await self._one(type, id, statements.read_current(type, grants), {})

    async def _one(self, type: str, id: str, statement: Statement, values: dict[str, Any]) -> Stored:
        if not is_id(id):
            raise NotFound("What is no id is the id of nothing.")
        await self._flush()
        cursor = await statement.execute(self._connection, {**values, "id": id}, prepare=True)
        row: Row | None = await cursor.fetchone()
        if row is None:
            raise NotFound(f"{type}/{id} does not exist.")
        return _stored(type, id, row)

    async def vread(self, type: str, id: str, version: str) -> Stored:
        """Return one version; it is visible if it and the current one are. Raises NotFound, or Gone for a deletion."""
        grants = self.subject.require(type, "r")
        await self._current(type, id, grants)
        wanted = int(version) if version.isascii() and version.isdigit() and len(version) <= 9 else 0  # noqa: PLR2004 - int4
        rows = await self._versions(type, id, before=wanted + 1, count=1)
        if not rows or rows[0][0] != wanted or not await self._lets_through(type, rows[0], grants):
            raise NotFound(f"{type}/{id} has no version {version}.")
        stored = _stored(type, id, rows[0])
        if stored.deleted:
            raise Gone(f"Version {version} of {type}/{id} is its deletion.")
        return stored

    async def history(self, type: str, id: str, *, count: int = 50, before: int | None = None) -> HistoryPage:
        """Return the versions of a resource, newest first, those below ``before`` when it is given."""
        grants = self.subject.require(type, "r")
        await self._current(type, id, grants)
        rows = await self._versions(type, id, before=_newest, count=_all)
        shown = [_stored(type, id, row) for row in rows if await self._lets_through(type, row, grants)]
        wanted = [stored for stored in shown if before is None or stored.version < before]
        page = tuple(wanted[:count])
        return HistoryPage(page, len(shown), page[-1].version if page and len(wanted) > count else None)

    async def changes(self, asked: HistoryQuery) -> ChangesPage:
        """Return one page of what changed in some types, newest first."""
        await self._flush()
        return await changes(self._connection, self.subject, self._key, asked, self._lets_through)

    async def _versions(self, type: str, id: str, *, before: int, count: int) -> list[Any]:
        values = {"id": id, "version": before, "count": count}
        cursor = await statements.read_versions(type).execute(self._connection, values, prepare=True)
        return await cursor.fetchall()

    async def _lets_through(self, type: str, row: Any, grants: Grants) -> bool:
        """Ask the grants of a version that is no longer the current one, as if it were."""
        _, _, method, body, compartments = row
        decided = in_compartment(grants, {"compartments": compartments or ()})
        if decided is not None:
            return decided
        return method != "delete" and await self.lets_through(type, index_columns(json.decode_own(body)), grants)

    async def lets_through(self, type: str, columns: dict[str, Any], grants: Grants) -> bool:
        """Tell whether an image with these columns would be visible."""
        decided = in_compartment(grants, columns)
        if decided is None:
            await self._flush()
            image = {"image": json.encode_text(columns)}
            cursor = await image_check(type, grants).execute(self._connection, image, prepare=False)
            decided = await cursor.fetchone() is not None
        return decided

    async def search(self, query: SearchQuery) -> SearchPage:
        """Return one page of matches and what they include."""
        await self._flush()
        page = await searching.search(self._connection, self.subject, self._key, query)
        if not query.include and not query.revinclude:
            return page
        more = await included(self._connection, self.subject, query, page.matches)
        return SearchPage(page.matches, more, page.total, page.next)

    async def search_types(self, queries: Sequence[SearchQuery]) -> SearchPage:
        """Return one page of matches over several types, as ``parse_searches`` asks for them, and what they include."""
        await self._flush()
        page = await searching.search_types(self._connection, self.subject, self._key, queries)
        if not queries[0].include and not queries[0].revinclude:
            return page
        more = await included(self._connection, self.subject, queries[0], page.matches)
        return SearchPage(page.matches, more, page.total, page.next)

    async def by_id(self, ids: Mapping[str, Collection[str]], interaction: str = "r") -> dict[tuple[str, str], Stored]:
        """Return by (type, id) what there is of ``{type: ids}``; what is absent, hidden or deleted is left out."""
        await self._flush()
        return await compartments.by_id(self._connection, self.subject, ids, interaction)

    async def members(self, asked: compartments.Members) -> compartments.MembersPage:
        """Return one page of the keys of what lies in a compartment."""
        await self._flush()
        return await compartments.members(self._connection, self.subject, self._key, asked)

    async def latest(self, query: SearchQuery, most: int) -> list[Stored]:
        """Return the ``most`` newest Observations of each code among the matches, newest first."""
        await self._flush()
        ids = await latest.latest(self._connection, self.subject, query, most)
        found = await compartments.by_id(self._connection, self.subject, {"Observation": ids}, "s")
        return [found["Observation", id] for id in ids if ("Observation", id) in found]

    async def labels(self, types: Sequence[str]) -> labels.Labels:
        """Return the profiles, tags and security labels in use on resources of these types."""
        await self._flush()
        return await labels.labels(self._connection, self.subject, types)

    async def find(self, type: str, **pairs: str) -> list[Stored]:
        """Return what matches, ``find("Patient", identifier="sys|val")``; ``_`` in a name stands for ``-``."""
        named = [(name if name.startswith("_") else name.replace("_", "-"), value) for name, value in pairs.items()]
        return list((await self.search(parse_search(type, named))).matches)


def _stored(type: str, id: str, row: Any) -> Stored:
    version, last_updated, method, body = row[:4]
    return Stored(type, id, version, last_updated, body, method)
