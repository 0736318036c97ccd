"""R4 metadata generated from the specification: types, elements, search parameters, compartments."""

from fhir_server.definitions.elements import RESOURCE_TYPES, Element, elements, is_complex, json_elements
from fhir_server.definitions.expressions import TypedValue, compile_composite, compile_expression, yielded_types
from fhir_server.definitions.fhirpath import ExpressionError
from fhir_server.definitions.search_parameters import (
    SearchParameter,
    compartment_parameters,
    compartments,
    search_parameters,
)

__all__ = [
    "RESOURCE_TYPES",
    "Element",
    "ExpressionError",
    "SearchParameter",
    "TypedValue",
    "compartment_parameters",
    "compartments",
    "compile_composite",
    "compile_expression",
    "elements",
    "is_complex",
    "json_elements",
    "search_parameters",
    "yielded_types",
]
