"""read: the current version of one resource.

https://hl7.org/fhir/R4/http.html#read
"""

from typing import Protocol

from fhir_server.kernel.subject import Subject
from fhir_server.store.database import Database
from fhir_server.store.reader import Reader
from fhir_server.store.records import Stored


class HasReader(Protocol):
    """Anything to read from as some Subject: a transaction, or a plain reading connection."""

    @property
    def reader(self) -> Reader:
        """The reads."""
        ...


async def read_recorded(
    database: Database, subject: Subject, resource_type: str, id: str, *, request_id: str | None = None
) -> Stored:
    """Return the current version, as ``read``; that it was read is in the audit trail before this returns."""
    return await database.read_recorded(subject, resource_type, id, request_id=request_id)


async def read(tx: HasReader, resource_type: str, id: str) -> Stored:
    """Return the current version. Raises NotFound when absent or hidden, Gone when deleted."""
    return await tx.reader.read(resource_type, id)
