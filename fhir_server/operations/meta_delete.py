"""$meta-delete: takes profiles, tags and security labels from a resource, as a new version of it.

https://hl7.org/fhir/R4/resource-operation-meta-delete.html
"""

from fhir_server.operations.calls.metas import change_meta, without
from fhir_server.operations.calls.operation import Answer, Invocation, Operation, Parameter, Writing
from fhir_server.store.database import Transaction


async def meta_delete(tx: Transaction, call: Invocation) -> Answer:
    """Return the Meta that the resource has now."""
    return await change_meta(tx, call, without)


OPERATION = Operation(
    name="meta-delete",
    definition="http://hl7.org/fhir/OperationDefinition/Resource-meta-delete",
    access={"instance": "ru"},
    parameters=(Parameter("meta", "Meta", required=True),),
    affects_state=True,
    does=Writing(meta_delete),
)
