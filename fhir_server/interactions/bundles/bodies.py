"""Stored bodies inside a Bundle: verbatim, or cut down by _summary and _elements.

https://hl7.org/fhir/R4/search.html#elements: a part of a resource carries the SUBSETTED tag; mandatory elements stay.
"""

from functools import cache
from typing import Any

from fhir_server.definitions.elements import json_elements
from fhir_server.kernel import json
from fhir_server.store.records import Stored

_subsetted = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
_always = frozenset({"resourceType", "id", "meta"})


def body_of(stored: Stored, *, summary: str | None = None, elements: tuple[str, ...] = ()) -> Any:
    """Return the body for encoding: the stored text untouched, or the wanted elements of it, tagged SUBSETTED."""
    if not elements and summary in (None, "false"):
        return json.verbatim(stored.body)
    resource = stored.resource()
    if elements:
        kept = _select(resource, frozenset(elements) | _mandatory(stored.resource_type))
    elif summary == "data":
        kept = {name: value for name, value in resource.items() if name != "text"}
    elif summary == "text":
        kept = _select(resource, _mandatory(stored.resource_type) | {"text"})
    else:
        kept = _select(resource, _summary(stored.resource_type))
    meta = kept.get("meta") or {}
    return {**kept, "meta": {**meta, "tag": [*meta.get("tag", ()), _subsetted]}}


def _select(resource: dict[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name in _always or name.lstrip("_") in wanted}


@cache
def _mandatory(resource_type: str) -> frozenset[str]:
    return frozenset(name for name, (element, _) in json_elements(resource_type).items() if element.min)


@cache
def _summary(resource_type: str) -> frozenset[str]:
    return frozenset(name for name, (element, _) in json_elements(resource_type).items() if element.summary)
