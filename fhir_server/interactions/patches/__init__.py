"""The three languages a patch may be written in, and the choice between them by media type.

https://hl7.org/fhir/R4/http.html#patch
"""

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Any

from fhir_server.interactions.patches import fhirpath_patch, json_patch, merge_patch
from fhir_server.kernel import json
from fhir_server.kernel.errors import InvalidRequest

Json = dict[str, Any]
Patch = Callable[[Json], Any]
"""A resource → the patched one. It may change the resource it is given. Raises InvalidRequest or Unprocessable."""

MEDIA_TYPES = (json_patch.MEDIA_TYPE, merge_patch.MEDIA_TYPE)
"""The media types of patches that are no resources; a FHIRPath Patch is a Parameters resource, JSON or XML."""


def parse_patch(media_type: str, body: bytes) -> Patch:
    """Return the patch in a body that is no resource. Raises InvalidRequest."""
    content = json.decode(body)
    return partial(json_patch.apply if media_type == json_patch.MEDIA_TYPE else merge_patch.apply, patch=content)


def resource_patch(resource: Json) -> Patch:
    """Return the patch a resource stands for: a Parameters is one itself, a Binary carries one as its data.

    That is how a patch travels in a Bundle. Raises InvalidRequest.
    """
    if resource.get("resourceType") == "Parameters":
        return partial(fhirpath_patch.apply, patch=resource)
    media_type = resource.get("contentType")
    if resource.get("resourceType") != "Binary" or media_type not in MEDIA_TYPES:
        raise InvalidRequest(
            f"A patch is a Parameters resource, or a Binary whose contentType is {' or '.join(MEDIA_TYPES)}."
        )
    try:
        return parse_patch(media_type, base64.b64decode(resource.get("data", ""), validate=True))
    except (binascii.Error, TypeError, ValueError) as error:
        raise InvalidRequest("Binary.data is not base64.", expression="Binary.data") from error
