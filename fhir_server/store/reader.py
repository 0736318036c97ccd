"""Every read of resources: read, vread, history and search, with the Subject's access compiled into the SQL.

https://hl7.org/fhir/R4/http.html#read
"""

from typing import Any

from psycopg import AsyncConnection

from fhir_server.kernel.search_query import SearchQuery
from fhir_server.kernel.subject import Subject
from fhir_server.store.records import HistoryPage, SearchPage, Stored


class Reader:
    """Reads on one connection as one Subject; what the Subject may not see is as if it were absent."""

    def __init__(self, connection: AsyncConnection[Any], subject: Subject) -> None:
        self._connection = connection
        self.subject = subject

    async def read(self, type: str, id: str) -> Stored:
        """Return the current version. Raises NotFound (absent or hidden) or Gone."""
        raise NotImplementedError

    async def vread(self, type: str, id: str, version: str) -> Stored:
        """Return one version. Raises NotFound, or Gone when that version is a deletion."""
        raise NotImplementedError

    async def history(self, type: str, id: str, *, count: int = 50, before: int | None = None) -> HistoryPage:
        """Return the versions of a resource, newest first, those below ``before`` when it is given."""
        raise NotImplementedError

    async def search(self, query: SearchQuery) -> SearchPage:
        """Return one page of matches and what they include."""
        raise NotImplementedError

    async def find(self, type: str, **pairs: str) -> list[Stored]:
        """Return what matches, ``find("Patient", identifier="sys|val")``; ``_`` in a name stands for ``-``."""
        raise NotImplementedError
