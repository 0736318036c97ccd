"""JSON Merge Patch: what the patch names replaces what was there, null removes it, lists are replaced whole.

https://datatracker.ietf.org/doc/html/rfc7396
"""

from typing import Any

from fhir_server.kernel.errors import InvalidRequest

MEDIA_TYPE = "application/merge-patch+json"


def apply(resource: dict[str, Any], *, patch: Any) -> Any:
    """Return the merged resource. Raises InvalidRequest unless the patch is an object."""
    if not isinstance(patch, dict):
        raise InvalidRequest("A merge patch of a resource is a JSON object.")
    return _merged(resource, patch)


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    kept = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = _merged(kept.get(name), value)
    return kept
