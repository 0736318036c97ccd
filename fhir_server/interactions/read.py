"""read: the current version of one resource.

https://hl7.org/fhir/R4/http.html#read
"""

from typing import Protocol

from fhir_server.store.reader import Reader
from fhir_server.store.records import Stored


class HasReader(Protocol):
    """Anything to read from as some Subject: a transaction, or a plain reading connection."""

    @property
    def reader(self) -> Reader:
        """The reads."""
        ...


async def read(tx: HasReader, resource_type: str, id: str) -> Stored:
    """Return the current version. Raises NotFound when absent or hidden, Gone when deleted."""
    return await tx.reader.read(resource_type, id)
