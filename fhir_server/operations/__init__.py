"""The FHIR operations ($name), one file for each, and the table of them.

https://hl7.org/fhir/R4/operations.html
"""

from difflib import get_close_matches

from fhir_server.kernel.errors import NotFound
from fhir_server.operations import convert, document, everything, lastn, meta, meta_add, meta_delete, validate
from fhir_server.operations.calls.operation import Level, Operation

OPERATIONS: tuple[Operation, ...] = (
    convert.OPERATION,
    document.OPERATION,
    everything.ENCOUNTER,
    everything.PATIENT,
    lastn.OPERATION,
    meta.OPERATION,
    meta_add.OPERATION,
    meta_delete.OPERATION,
    validate.OPERATION,
)
"""Every operation this server offers: routes, access and the CapabilityStatement are made from it."""


def find(name: str, resource_type: str | None, level: Level) -> Operation:
    """Return the operation called ``name`` for a type (None: the system) at a level. Raises NotFound."""
    offered = [operation for operation in OPERATIONS if operation.offered_for(resource_type, level)]
    for operation in offered:
        if operation.name == name:
            return operation
    where = f"{resource_type or 'The system'} has no operation of this name on {level} level."
    near = get_close_matches(name, sorted({operation.name for operation in offered}), n=1)
    raise NotFound(f"{where} Did you mean ${near[0]}?" if near else where)


def offered(resource_type: str | None) -> list[dict[str, str]]:
    """Return the ``operation`` entries of a CapabilityStatement for a type; None is for ``rest.operation``."""
    levels: tuple[Level, ...] = ("system",) if resource_type is None else ("type", "instance")
    return [
        {"name": operation.name, "definition": operation.definition}
        for operation in OPERATIONS
        if any(operation.offered_for(resource_type, level) for level in levels)
    ]
