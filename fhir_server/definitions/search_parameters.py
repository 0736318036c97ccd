"""The R4 search parameters and compartments of each resource type.

https://hl7.org/fhir/R4/searchparameter-registry.html and https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import msgspec

from fhir_server.definitions.elements import RESOURCE_TYPES, data_file


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """A search parameter as it applies to one resource type.

    ``expression`` is cut to the type's own part; ``targets`` are the types a reference may point at; ``multiple``
    tells whether the expression can yield more than one value; ``column`` is lower case, unique within the type and
    needs no quoting in SQL; ``components`` are (expression, parameter code) of a composite.
    """

    code: str
    type: str
    url: str
    expression: str
    targets: tuple[str, ...] = ()
    multiple: bool = False
    column: str = ""
    components: tuple[tuple[str, str], ...] = ()


@cache
def _all_search_parameters() -> dict[str, tuple[SearchParameter, ...]]:
    return msgspec.json.decode(data_file("search_parameters.json.gz"), type=dict[str, tuple[SearchParameter, ...]])


@cache
def search_parameters(resource_type: str) -> Mapping[str, SearchParameter]:
    """Return the type's search parameters by code, those of every resource (``_id`` …) first.

    Raises KeyError for a type R4 does not have.
    """
    return {parameter.code: parameter for parameter in _all_search_parameters()[resource_type]}


@cache
def _all_compartments() -> dict[str, dict[str, tuple[str, ...]]]:
    return msgspec.json.decode(data_file("compartments.json"), type=dict[str, dict[str, tuple[str, ...]]])


def compartments() -> tuple[str, ...]:
    """Return the types that have a compartment: Device, Encounter, Patient, Practitioner, RelatedPerson."""
    return tuple(_all_compartments())


def compartment_parameters(compartment: str, resource_type: str) -> tuple[str, ...]:
    """Return the codes of the parameters that link a type into a compartment; ``("{def}",)`` for the type itself.

    Empty means the type is never in that compartment. Raises KeyError for a compartment or type R4 does not have.
    """
    if resource_type not in RESOURCE_TYPES:
        raise KeyError(resource_type)
    return _all_compartments()[compartment].get(resource_type, ())
