"""A second validator nobody here wrote: the R4B models of ``fhir.resources``, for where time does not matter.

``konsil validate`` and the tests ask it; writes do not (docs/decisions/0014). https://github.com/nazrulworld/fhir.resources
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from fhir_server.kernel.errors import Issue


def model_issues(resource: Mapping[str, Any]) -> tuple[Issue, ...] | None:
    """Return what the model of the resource's type finds, None when there is no model of that type.

    Texts are the model's own kind of fault, never a value of the resource.
    """
    from fhir.resources.R4B import get_fhir_model_class  # noqa: PLC0415 - loading models takes long and much memory

    try:
        model = get_fhir_model_class(str(resource.get("resourceType")))
    except ValueError:  # how the package says that it has no such model
        return None
    try:
        model.model_validate(resource)
    except ValidationError as error:
        return tuple(_issues(str(resource["resourceType"]), error))
    return ()


def _issues(resource_type: str, error: ValidationError) -> Iterator[Issue]:
    for fault in error.errors(include_input=False, include_context=False, include_url=False):
        path = resource_type
        for part in fault["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f".{part}"
        yield Issue("structure", f"The fhir.resources model finds: {fault['type'].replace('_', ' ')}.", path)
