"""capabilities: what this server does, generated from the definitions.

https://hl7.org/fhir/R4/http.html#capabilities
"""

import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any

from fhir_server.definitions import RESOURCE_TYPES, SearchParameter, search_parameters

FHIR_VERSION = "4.0.1"
TYPE_INTERACTIONS = ("read", "vread", "create", "update", "patch", "delete", "history-instance", "search-type")
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
        "format": ["application/fhir+json", "json"],
        "patchFormat": ["application/json-patch+json"],
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
        "interaction": [{"code": "transaction"}, {"code": "batch"}],
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
        "conditionalRead": "not-match",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "searchParam": [_parameter(parameter) for parameter in search_parameters(resource_type).values()],
    }


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
