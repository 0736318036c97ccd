"""Subjects and small resources of the store's tests."""

from typing import Any

import pytest

from fhir_server.kernel import json
from fhir_server.kernel.search_query import parse_search
from fhir_server.kernel.subject import Subject
from fhir_server.store.database import Database
from fhir_server.store.records import SearchPage, Stored


@pytest.fixture
def everyone() -> Subject:
    """A Subject that may do everything."""
    return Subject.system("tests", "system/*.cruds")


class Shelf:
    """Writes and searches in one line each, every call a transaction of its own."""

    def __init__(self, database: Database, subject: Subject) -> None:
        self.database = database
        self.subject = subject

    def of(self, subject: Subject) -> "Shelf":
        return Shelf(self.database, subject)

    async def create(self, resource: dict[str, Any] | str, id: str | None = None) -> Stored:
        given = json.decode(resource) if isinstance(resource, str) else resource
        async with self.database.transaction(self.subject) as tx:
            return (await tx.writer.create(given, id=id)).stored

    async def update(self, resource: dict[str, Any], if_match: int | None = None) -> Stored:
        async with self.database.transaction(self.subject) as tx:
            return (await tx.writer.update(resource, if_match=if_match)).stored

    async def delete(self, type: str, id: str) -> None:
        async with self.database.transaction(self.subject) as tx:
            await tx.writer.delete(type, id)

    async def read(self, type: str, id: str) -> Stored:
        async with self.database.reading(self.subject) as reader:
            return await reader.read(type, id)

    async def page(self, type: str, *pairs: tuple[str, str]) -> SearchPage:
        async with self.database.reading(self.subject) as reader:
            return await reader.search(parse_search(type, pairs))

    async def search(self, type: str, *pairs: tuple[str, str]) -> list[str]:
        """Return the ids of the matches, in order."""
        return [stored.id for stored in (await self.page(type, *pairs)).matches]


@pytest.fixture
def shelf(database, everyone) -> Shelf:
    return Shelf(database, everyone)
