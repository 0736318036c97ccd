"""$meta: the profiles, tags and security labels of a resource, of a type, or of the whole server.

https://hl7.org/fhir/R4/resource-operation-meta.html
"""

from typing import Any

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.operations.calls.metas import returned
from fhir_server.operations.calls.operation import Answer, Invocation, Operation, Reading
from fhir_server.store.reader import Reader


async def meta(reader: Reader, call: Invocation) -> Answer:
    """Return the Meta of one resource as it is, or what labels the Subject could search for, without display."""
    if call.resource_type is not None and call.id is not None:
        if call.version is not None:
            stored = await reader.vread(call.resource_type, call.id, call.version)
        else:
            stored = await reader.read(call.resource_type, call.id)
        return Answer(returned(stored.resource().get("meta", {})))
    types = [call.resource_type] if call.resource_type is not None else sorted(RESOURCE_TYPES)
    found = await reader.labels(types)
    summary: dict[str, Any] = {
        "profile": sorted(found.profile),
        "security": [_coding(*label) for label in sorted(found.security)],
        "tag": [_coding(*label) for label in sorted(found.tag)],
    }
    return Answer(returned({name: items for name, items in summary.items() if items}))


def _coding(system: str, code: str) -> dict[str, str]:
    return {"system": system, "code": code} if system else {"code": code}


OPERATION = Operation(
    name="meta",
    definition="http://hl7.org/fhir/OperationDefinition/Resource-meta",
    access={"system": "s", "type": "s", "instance": "r", "version": "r"},
    does=Reading(meta),
)
