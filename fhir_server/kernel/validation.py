"""Validate a resource on write. https://hl7.org/fhir/R4/validation.html."""

from typing import Any

from fhir_server.kernel.errors import Issue
from fhir_server.kernel.validation_walker import walk


def validate(resource: dict[str, Any]) -> tuple[Issue, ...]:
    """Return every fault with its FHIRPath; empty means valid. No diagnostics ever repeats a value."""
    return walk(resource)
