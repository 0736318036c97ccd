"""$convert: a resource in one format, returned in another.

https://hl7.org/fhir/R4/resource-operation-convert.html. The formats are those of every request: Content-Type says what
comes in, Accept or ``_format`` what goes out.
"""

from fhir_server.kernel.errors import InvalidResource
from fhir_server.kernel.validation import validate
from fhir_server.operations.calls.operation import Answer, Invocation, Operation, Parameter, Reading
from fhir_server.store.reader import Reader


async def convert(_: Reader, call: Invocation) -> Answer:
    """Return the ``input`` as it is; nothing is stored.

    Raises InvalidResource: what R4 does not have has no form in the other format.
    """
    resource = call.inputs.one("input")
    faults = tuple(issue for issue in validate(resource) if issue.severity in ("fatal", "error"))
    if faults:
        raise InvalidResource(issues=faults)
    return Answer(resource)


OPERATION = Operation(
    name="convert",
    definition="http://hl7.org/fhir/OperationDefinition/Resource-convert",
    access={"system": "r"},
    does=Reading(convert),
    parameters=(Parameter("input", "Resource", required=True),),
)
