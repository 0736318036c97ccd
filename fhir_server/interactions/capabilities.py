"""capabilities: what this server does, generated from the definitions.

https://hl7.org/fhir/R4/http.html#capabilities
"""

import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any

from fhir_server.definitions import RESOURCE_TYPES, SearchParameter, search_parameters
from fhir_server.interactions.patches import MEDIA_TYPES
from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.search_query import parse_search

FHIR_VERSION = "4.0.1"
TYPE_INTERACTIONS = (
    "read",
    "vread",
    "create",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "search-type",
)
SYSTEM_INTERACTIONS = ("transaction", "batch", "history-system", "search-system")
FORMATS = ("application/fhir+json", "json", "application/fhir+xml", "xml")
PATCH_FORMATS = (*MEDIA_TYPES, "application/fhir+json", "application/fhir+xml")
_place = "0|0|1|km"  # a value of Location.near, the only special parameter R4 has
_smart = "http://terminology.hl7.org/CodeSystem/restful-security-service"


Operations = Callable[[str | None], list[dict[str, str]]]
"""The operations offered for a type, those of the system for None: name and definition of each."""


def _no_operations(_: str | None) -> list[dict[str, str]]:
    return []


def capability_statement(
    base_url: str,
    *,
    interactions: Sequence[str] = TYPE_INTERACTIONS,
    operations: Operations = _no_operations,
    date: str = "2026-01-01",
) -> dict[str, Any]:
    """Return the CapabilityStatement; every resource type has the same ``interactions``, those that have a route."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        "software": {"name": "Konsil", "version": _version()},
        "implementation": {"description": "Konsil FHIR server", "url": base_url},
        "fhirVersion": FHIR_VERSION,
        "format": list(FORMATS),
        "patchFormat": list(PATCH_FORMATS),
        "rest": [_rest(interactions, operations)],
    }


def _rest(interactions: Sequence[str], operations: Operations) -> dict[str, Any]:
    return {
        "mode": "server",
        "security": {
            "service": [{"coding": [{"system": _smart, "code": "SMART-on-FHIR"}]}],
            "description": "Bearer tokens with SMART v2 scopes.",
        },
        "resource": [
            _resource(resource_type, interactions) | _offered(operations(resource_type))
            for resource_type in sorted(RESOURCE_TYPES)
        ],
        "interaction": [{"code": code} for code in SYSTEM_INTERACTIONS],
        **_offered(operations(None)),
    }


def _offered(operations: list[dict[str, str]]) -> dict[str, Any]:
    return {"operation": operations} if operations else {}


def _resource(resource_type: str, interactions: Sequence[str]) -> dict[str, Any]:
    return {
        "type": resource_type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{resource_type}",
        "interaction": [{"code": code} for code in interactions],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        **_searches(resource_type),
    }


def _searches(resource_type: str) -> dict[str, Any]:
    known = [one for one in search_parameters(resource_type).values() if _is_understood(one, resource_type)]
    includes = [f"{resource_type}:{parameter.code}" for parameter in known if parameter.type == "reference"]
    included = {"searchInclude": includes} if includes else {}
    return {**included, "searchParam": [_parameter(parameter) for parameter in known]}


def _is_understood(parameter: SearchParameter, resource_type: str) -> bool:
    """Tell whether a search takes the parameter; those of type special each need code of their own."""
    if parameter.type != "special":
        return True
    try:
        parse_search(resource_type, [(parameter.code, _place)])
    except InvalidSearch:
        return False
    return True


def _parameter(parameter: SearchParameter) -> dict[str, Any]:
    rendered = {"name": parameter.code, "type": parameter.type}
    if parameter.url:
        rendered["definition"] = parameter.url
    return rendered


def _version() -> str:
    try:
        return importlib.metadata.version("konsil")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
