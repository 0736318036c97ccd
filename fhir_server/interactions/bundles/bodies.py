"""Stored bodies as they are asked for: verbatim, or cut down by _summary and _elements.

https://hl7.org/fhir/R4/search.html#summary and #elements: a part of a resource carries the SUBSETTED tag; mandatory
elements stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from fhir_server.definitions import elements as elements_of
from fhir_server.definitions import is_complex, json_elements
from fhir_server.kernel import json
from fhir_server.kernel.errors import InvalidRequest
from fhir_server.store.records import Stored

_subsetted = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
_always = frozenset({"resourceType", "id", "meta"})
_summaries = ("true", "text", "data", "false")


@dataclass(frozen=True, slots=True)
class View:
    """How much of each resource is wanted; without arguments all of it."""

    summary: str | None = None
    elements: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is cut."""
        return not self.elements and self.summary in (None, "false")


def parse_view(resource_type: str | None, pairs: Sequence[tuple[str, str]], *, lenient: bool = False) -> View:
    """Return what ``_summary`` and ``_elements`` of a read ask for; ``resource_type`` None means of any type.

    Raises InvalidRequest for anything else in the address, unless ``lenient``.
    """
    summary, wanted = None, []
    for name, text in pairs:
        if name == "_summary":
            if text not in _summaries:
                raise InvalidRequest(f"_summary must be one of {', '.join(_summaries)} here.")
            summary = text
        elif name == "_elements":
            wanted += text.split(",")
        elif not lenient:
            raise InvalidRequest("A read takes _summary, _elements, _format and _pretty only.")
    if resource_type is not None:
        _check_elements(resource_type, wanted)
    return View(summary, tuple(dict.fromkeys(wanted)))


def _check_elements(resource_type: str, wanted: Sequence[str]) -> None:
    known = elements_of(resource_type)
    for name in wanted:
        if name not in known or name.endswith("[x]"):
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise InvalidRequest(f"_elements: {resource_type} has no element of this name.{hint}")


def body_of(stored: Stored, *, summary: str | None = None, elements: tuple[str, ...] = ()) -> Any:
    """Return the body for encoding: the stored text untouched, or the wanted elements of it, tagged SUBSETTED."""
    if View(summary, elements).whole:
        return json.verbatim(stored.body)
    resource = stored.resource()
    if elements:
        kept = _select(resource, frozenset(elements) | _mandatory(stored.resource_type))
    elif summary == "data":
        kept = {name: value for name, value in resource.items() if name != "text"}
    elif summary == "text":
        kept = _select(resource, _mandatory(stored.resource_type) | {"text"})
    else:
        own = {name: resource[name] for name in _always if name in resource}
        kept = own | _summarised(resource, stored.resource_type)
    meta = kept.get("meta") or {}
    ordered = {name: kept[name] for name in resource if name in kept}
    return {**ordered, "meta": {**meta, "tag": [*meta.get("tag", ()), _subsetted]}}


def _select(resource: dict[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    names = _definition_names(resource["resourceType"])
    return {
        name: value
        for name, value in resource.items()
        if name in _always or names.get(name.removeprefix("_"), "") in wanted
    }


def _summarised(value: dict[str, Any], type_name: str) -> dict[str, Any]:
    """Return the elements that are in a summary or mandatory, all the way down; ``meta`` stays whole."""
    known = json_elements(type_name)
    kept: dict[str, Any] = {}
    for name, item in value.items():
        element, code = known.get(name.removeprefix("_"), (None, ""))
        if element is None or not (element.summary or element.min):
            continue
        cut = item if name.startswith("_") or code == "Meta" else _summarised_item(item, code)
        if cut not in ({}, []):
            kept[name] = cut
    return kept


def _summarised_item(item: Any, code: str) -> Any:
    if isinstance(item, list):
        return [cut for cut in (_summarised_item(one, code) for one in item) if cut != {}]
    if not isinstance(item, dict) or not is_complex(code):
        return item
    return _summarised(item, code)


@cache
def _definition_names(resource_type: str) -> dict[str, str]:
    """Return by JSON name what an element is called in _elements: ``valueQuantity`` is ``value``."""
    return {name: element.name.removesuffix("[x]") for name, (element, _) in json_elements(resource_type).items()}


@cache
def _mandatory(resource_type: str) -> frozenset[str]:
    found = json_elements(resource_type).values()
    return frozenset(element.name.removesuffix("[x]") for element, _ in found if element.min)
