"""FHIRPath Patch: operations in a Parameters resource, each on the element its path leads to.

https://hl7.org/fhir/R4/fhirpatch.html
"""

from collections.abc import Callable
from typing import Any

from fhir_server.definitions import elements, is_complex
from fhir_server.definitions.fhirpath import Dot, Name
from fhir_server.interactions.patches.places import Place, children, find, read_path
from fhir_server.kernel.errors import InvalidRequest, Unprocessable

Json = dict[str, Any]


class _Operation:
    """One parameter ``operation`` and the parts of it."""

    def __init__(self, parameter: Any, place: str) -> None:
        self.place = place
        parts = parameter.get("part") if isinstance(parameter, dict) else None
        if not isinstance(parts, list) or parameter.get("name") != "operation":
            raise InvalidRequest("Every parameter is called operation and has parts.", expression=place)
        self.parts: dict[str, Json] = {}
        for part in parts:
            if not isinstance(part, dict) or not isinstance(part.get("name"), str) or part["name"] in self.parts:
                raise InvalidRequest("Every part has a name, and occurs once.", expression=place)
            self.parts[part["name"]] = part

    def text(self, name: str) -> str:
        """Return a part that is a code or string."""
        part = self.parts.get(name, {})
        found = next((part[key] for key in ("valueString", "valueCode") if key in part), None)
        if not isinstance(found, str):
            raise InvalidRequest(f"An operation needs the part '{name}' as a string.", expression=self.place)
        return found

    def whole(self, name: str) -> int:
        """Return a part that is an integer."""
        found = self.parts.get(name, {}).get("valueInteger")
        if type(found) is not int or found < 0:
            raise InvalidRequest(f"This operation needs the part '{name}' as an integer from 0.", expression=self.place)
        return found

    def value(self) -> Json:
        """Return the part ``value``."""
        if "value" not in self.parts:
            raise InvalidRequest("This operation needs the part 'value'.", expression=self.place)
        return self.parts["value"]

    def one(self, resource: Json) -> Place:
        """Return the only place the path leads to."""
        found = find(read_path(self.text("path")), resource)
        if len(found) != 1:
            raise self.misfit(f"the path leads to {len(found) or 'no'} elements, not one")
        return found[0]

    def misfit(self, why: str) -> Unprocessable:
        """Return the error that the operation does not fit the resource."""
        return Unprocessable(f"The operation does not fit the resource: {why}.", expression=self.place)


def apply(resource: Json, *, patch: Json) -> Json:
    """Return ``resource``, changed in place, with the operations applied in order.

    Raises InvalidRequest or Unprocessable pointing at ``Parameters.parameter[i]``.
    """
    parameters = patch.get("parameter")
    if not isinstance(parameters, list) or not parameters:
        raise InvalidRequest("A FHIRPath Patch has at least one operation.", expression="Parameters.parameter")
    for index, parameter in enumerate(parameters):
        operation = _Operation(parameter, f"Parameters.parameter[{index}]")
        kind = operation.text("type")
        if kind not in _kinds:
            raise InvalidRequest(f"type is one of {', '.join(_kinds)}.", expression=operation.place)
        _kinds[kind](resource, operation)
    return resource


def _add(resource: Json, operation: _Operation) -> None:
    owner, name = operation.one(resource), operation.text("name")
    if not isinstance(owner.value, dict):
        raise operation.misfit("the path leads to a value, which has no elements")
    present = children(owner, name)
    key, value, many = _given(owner, name, operation)
    if present and not many:
        raise operation.misfit("the element is there already; use replace")
    _put(owner.value, key, len(present) if many else None, value)


def _insert(resource: Json, operation: _Operation) -> None:
    owner, name = _list_of(resource, operation)
    key, value, many = _given(owner, name, operation)
    at = operation.whole("index")
    if not many or at > len(children(owner, name)):
        raise operation.misfit("the path is no list, or the index is behind its end")
    _put(owner.value, key, at, value)


def _list_of(resource: Json, operation: _Operation) -> tuple[Place, str]:
    """Return the element that has the list a path leads to, and the list's name; the list may be empty."""
    node = read_path(operation.text("path"))
    if not isinstance(node, Dot) or not isinstance(node.right, Name):
        raise operation.misfit("the path of a list ends with its name")
    owners = find(node.left, resource)
    if len(owners) != 1 or not isinstance(owners[0].value, dict):
        raise operation.misfit("the list is not in exactly one element")
    return owners[0], node.right.text


def _delete(resource: Json, operation: _Operation) -> None:
    found = find(read_path(operation.text("path")), resource)
    if len(found) > 1:
        raise operation.misfit("the path leads to more than one element")
    if found:
        _take(found[0], operation)


def _replace(resource: Json, operation: _Operation) -> None:
    place = operation.one(resource)
    if place.parent is None:
        raise operation.misfit("the whole resource cannot be replaced")
    owner = Place(place.parent, place.owner)
    name = next(e.name.removesuffix("[x]") for e in elements(owner.type).values() if place.name in e.variants)
    key, value, many = _given(owner, name, operation)
    _take(place, operation)
    _put(owner.value, key, place.index if many else None, value)


def _move(resource: Json, operation: _Operation) -> None:
    owner, name = _list_of(resource, operation)
    items = children(owner, name)
    source, destination = operation.whole("source"), operation.whole("destination")
    if max(source, destination) >= len(items) or items[source].index is None:
        raise operation.misfit("source or destination is behind the end of the list")
    place = items[source]
    beside = place.parent.get(f"_{place.name}") if place.parent else None
    extra = beside[source] if isinstance(beside, list) and source < len(beside) else None
    _take(place, operation)
    _put(owner.value, place.name, destination, (place.value, extra))


_kinds: dict[str, Callable[[Json, _Operation], None]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}


def _given(owner: Place, name: str, operation: _Operation) -> tuple[str, tuple[Any, Any], bool]:
    """Return the JSON name for the value given, value and extras, and whether the element is a list."""
    type_name = owner.value.get("resourceType", owner.type) if owner.type == "Resource" else owner.type
    element = elements(type_name)[name]
    part = operation.value()
    suffix, value, extra = _content(part)
    if element.choice:
        key = f"{name}{suffix}"
        if key not in element.variants:
            raise operation.misfit(f"{name}[x] cannot be of this type")
    else:
        key = name
    if not suffix:
        code = element.variants[key]
        if not is_complex(code) and code != "Resource":
            raise operation.misfit("the value of a primitive element is given as value[x]")
        value = part["resource"] if "resource" in part else _built(part, code, operation)
    return key, (value, extra), element.many


def _content(part: Json) -> tuple[str, Any, Any]:
    """Return type suffix (``Quantity``), value and extras of a part; no suffix when it has none."""
    for key in part:
        name = key.removeprefix("_")
        if name.startswith("value"):
            return name[5:], part.get(name), part.get(f"_{name}")
    return "", None, None


def _built(part: Json, type_name: str, operation: _Operation) -> Json:
    """Return the object that nested parts describe: one part for each element, repeated for lists."""
    made: Json = {}
    parts = part.get("part")
    if not isinstance(parts, list) or not parts:
        raise InvalidRequest("The part 'value' has neither value[x] nor parts.", expression=operation.place)
    for inner in parts:
        name = inner.get("name") if isinstance(inner, dict) else None
        if not isinstance(name, str) or name not in elements(type_name) or name.endswith("[x]"):
            raise operation.misfit(f"{type_name} has no element of the name a part gives")
        nested = _Operation({"name": "operation", "part": [inner | {"name": "value"}]}, operation.place)
        key, value, many = _given(Place(made, type_name), name, nested)
        _put(made, key, len(made.get(key, ())) if many else None, value)
    return made


def _put(parent: Json, key: str, index: int | None, given: tuple[Any, Any]) -> None:
    """Set or insert a value, and beside it what a primitive carries under ``_key``."""
    for name, value in ((key, given[0]), (f"_{key}", given[1])):
        if index is None:
            if value is not None:
                parent[name] = value
        elif value is not None or name in parent:
            items = parent.setdefault(name, [])
            items += [None] * (index - len(items))
            items.insert(index, value)
    _tidy(parent, key)


def _take(place: Place, operation: _Operation) -> None:
    if place.parent is None:
        raise operation.misfit("the whole resource cannot be removed")
    for name in (place.name, f"_{place.name}"):
        if place.index is None:
            place.parent.pop(name, None)
        elif place.index < len(place.parent.get(name, ())):
            del place.parent[name][place.index]
    _tidy(place.parent, place.name)


def _tidy(parent: Json, key: str) -> None:
    """Leave out a list that holds nothing any more, and keep values and what is beside them equally long."""
    names = (key, f"_{key}")
    for name in names:
        items = parent.get(name)
        if isinstance(items, list) and all(item is None for item in items):
            del parent[name]
    lists = [parent[name] for name in names if isinstance(parent.get(name), list)]
    for items in lists:
        items.extend([None] * (max(map(len, lists)) - len(items)))
