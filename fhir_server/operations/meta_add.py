"""$meta-add: adds profiles, tags and security labels to a resource, as a new version of it.

https://hl7.org/fhir/R4/resource-operation-meta-add.html
"""

from fhir_server.operations.calls.metas import change_meta, united
from fhir_server.operations.calls.operation import Answer, Invocation, Operation, Parameter, Writing
from fhir_server.store.database import Transaction


async def meta_add(tx: Transaction, call: Invocation) -> Answer:
    """Return the Meta that the resource has now."""
    return await change_meta(tx, call, united)


OPERATION = Operation(
    name="meta-add",
    definition="http://hl7.org/fhir/OperationDefinition/Resource-meta-add",
    access={"instance": "ru"},
    parameters=(Parameter("meta", "Meta", required=True),),
    affects_state=True,
    does=Writing(meta_add),
)
