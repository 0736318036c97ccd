"""Check a resource's structure against the R4 element definitions, pointing at every fault.

https://hl7.org/fhir/R4/validation.html (structure, cardinality, value domains, required codes) and
https://hl7.org/fhir/R4/json.html.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple

import msgspec

from fhir_server.definitions import RESOURCE_TYPES, Element, elements, is_complex, json_elements
from fhir_server.definitions.elements import data_file
from fhir_server.kernel.errors import Issue
from fhir_server.kernel.validation_primitives import Check, check_primitive

MAX_ISSUES = 100
_deepest = 64
_listed_codes = 12
_element_name = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class _Slot(NamedTuple):
    """What may stand under one JSON key; ``check`` is None for types with elements of their own."""

    group: int
    many: bool
    type: str
    segment: str
    check: Check | None
    codes: frozenset[str]
    extends: bool = False


class _Path(NamedTuple):
    """A place in the resource, rendered only when there is something to say about it."""

    parent: "_Path | None"
    segment: str
    position: int | None
    depth: int

    def down(self, segment: str, position: int | None = None) -> "_Path":
        return _Path(self, segment, position, self.depth + 1)

    def __str__(self) -> str:
        own = self.segment if self.position is None else f"{self.segment}[{self.position}]"
        return own if self.parent is None else f"{self.parent}.{own}"


class _Shape(NamedTuple):
    """A type, ready to be checked against."""

    slots: Mapping[str, _Slot]
    required: tuple[tuple[int, str], ...]
    choices: Mapping[int, str]


@cache
def _codes() -> dict[str, frozenset[str]]:
    return msgspec.json.decode(data_file("codes.json.gz"), type=dict[str, frozenset[str]])


@cache
def _shape(type_name: str) -> _Shape:
    groups: dict[str, int] = {}
    slots: dict[str, _Slot] = {}
    for key, (element, code) in json_elements(type_name).items():
        group = groups.setdefault(element.name, len(groups))
        slots[key] = _slot(element, code, group)
        if slots[key].check is not None:
            slots[f"_{key}"] = slots[key]._replace(type="Element", check=None, codes=frozenset(), extends=True)
    found = elements(type_name)
    return _Shape(
        slots,
        tuple((groups[name], name.removesuffix("[x]")) for name in groups if found[name].min),
        {group: name.removesuffix("[x]") for name, group in groups.items() if found[name].choice},
    )


def _slot(element: Element, code: str, group: int) -> _Slot:
    segment = f"{element.name[:-3]}.ofType({code})" if element.choice else element.name
    codes = _codes().get(element.binding, frozenset()) if code == "code" else frozenset()
    return _Slot(group, element.many, code, segment, None if is_complex(code) else check_primitive[code], codes)


def walk(resource: dict[str, Any]) -> tuple[Issue, ...]:
    """Return every fault of the resource, at most MAX_ISSUES; empty means it is structurally valid R4."""
    walker = _Walker()
    walker.resource(resource, None)
    return tuple(walker.issues[:MAX_ISSUES])


class _Walker:
    """Walks one resource and collects issues."""

    def __init__(self) -> None:
        self.issues: list[Issue] = []

    def fault(self, code: str, path: _Path, diagnostics: str) -> None:
        if len(self.issues) < MAX_ISSUES:
            self.issues.append(Issue(code, diagnostics, str(path)))

    def resource(self, value: Any, path: _Path | None) -> None:
        stated = value.get("resourceType") if type(value) is dict else None
        if type(stated) is not str or stated not in RESOURCE_TYPES:
            at = path or _Path(None, "Resource", None, 0)
            self.fault("structure", at, "Must be an object with a resourceType of FHIR R4.")
            return
        at = path or _Path(None, stated, None, 0)
        self.object(value, stated, at, is_resource=True)
        if path is not None and path.segment == "contained" and "contained" in value:
            self.fault("invariant", at.down("contained"), "A contained resource cannot contain others (dom-2).")

    def object(self, value: Any, type_name: str, path: _Path, *, is_resource: bool = False) -> None:
        if type(value) is not dict:
            self.fault("structure", path, f"Must be a JSON object ({type_name}).")
        elif not value:
            self.fault("structure", path, "Must not be an empty object: leave the element out instead.")
        elif path.depth > _deepest:
            self.fault("too-long", path, f"Nested deeper than {_deepest} levels.")
        else:
            self.children(value, type_name, path, is_resource=is_resource)
            if type_name == "Extension":
                self.extension(value, path)

    def children(self, value: dict[str, Any], type_name: str, path: _Path, *, is_resource: bool) -> None:
        shape = _shape(type_name)
        present: dict[int, str] = {}
        for key, child in value.items():
            if len(self.issues) >= MAX_ISSUES:
                return
            slot = shape.slots.get(key)
            if slot is None:
                if not (is_resource and key == "resourceType"):
                    self.unknown(key, type_name, shape, path)
                continue
            if present.setdefault(slot.group, slot.segment) != slot.segment:
                self.fault("structure", path.down(shape.choices[slot.group]), "Only one type of a choice may be given.")
            self.element(value, key, child, slot, path)
        for group, name in shape.required:
            if group not in present:
                self.fault("required", path.down(name), f"{type_name}.{name} is required and missing.")

    def unknown(self, key: str, type_name: str, shape: _Shape, path: _Path) -> None:
        near = get_close_matches(key, shape.slots, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        named = bool(_element_name.fullmatch(key.removeprefix("_")))
        at = path.down(key) if named else path
        self.fault("structure", at, f"{type_name} has no element {f'{key!r}' if named else 'of this name'}.{hint}")

    def element(self, parent: dict[str, Any], key: str, value: Any, slot: _Slot, path: _Path) -> None:
        if not slot.many:
            self.item(value, slot, path, None)
        elif type(value) is not list:
            self.fault("structure", path.down(slot.segment), "Must be a JSON array, even for one item.")
        elif not value:
            self.fault(
                "structure", path.down(slot.segment), "Must not be an empty array: leave the element out instead."
            )
        else:
            twin = self.twin(parent, key, slot)
            for index, item in enumerate(value):
                if item is None and index < len(twin) and twin[index] is not None:
                    continue
                self.item(item, slot, path, index)

    def twin(self, parent: dict[str, Any], key: str, slot: _Slot) -> list[Any]:
        """Return the array of values for one of extensions and the other way round; nulls in one need the other."""
        if slot.check is None and not slot.extends:
            return []
        other = parent.get(key[1:] if slot.extends else f"_{key}")
        return other if type(other) is list else []

    def item(self, value: Any, slot: _Slot, path: _Path, index: int | None) -> None:
        if slot.check is not None:
            expected = "anything but null: leave the element out instead" if value is None else slot.check(value)
            if expected:
                self.fault("value", path.down(slot.segment, index), f"Must be {expected} ({slot.type}).")
            elif slot.codes and value not in slot.codes:
                self.fault("code-invalid", path.down(slot.segment, index), _code_hint(slot.codes))
        elif slot.type == "Resource":
            self.resource(value, path.down(slot.segment, index))
        else:
            self.object(value, slot.type, path.down(slot.segment, index))

    def extension(self, value: dict[str, Any], path: _Path) -> None:
        valued = any(key.startswith(("value", "_value")) for key in value)
        if valued == ("extension" in value):
            self.fault("invariant", path, "An extension has either a value or extensions, never both or none (ext-1).")


def _code_hint(codes: frozenset[str]) -> str:
    if len(codes) > _listed_codes:
        return f"Must be one of the {len(codes)} codes of the required value set."
    return f"Must be one of: {', '.join(sorted(codes))}."
