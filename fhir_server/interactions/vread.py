"""vread: one named version of one resource.

https://hl7.org/fhir/R4/http.html#vread
"""

from fhir_server.interactions.read import HasReader
from fhir_server.store.records import Stored


async def vread(tx: HasReader, resource_type: str, id: str, version: str) -> Stored:
    """Return that version. Raises NotFound when absent or hidden, Gone when that version is the deletion."""
    return await tx.reader.vread(resource_type, id, version)
