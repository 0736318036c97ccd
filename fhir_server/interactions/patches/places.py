"""Where in a resource a FHIRPath leads: the part of FHIRPath that can be written to.

https://hl7.org/fhir/R4/fhirpatch.html ("the FHIRPath must resolve to an element") and
http://hl7.org/fhirpath/N1/: paths, indexers, ``where`` with ``=``, ``!=``, ``and``, ``or``, ``exists``, ``empty`` and
``not``, ``first``, ``last``, ``ofType``, ``as`` and ``extension``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fhir_server.definitions import ExpressionError, elements, is_complex
from fhir_server.definitions.fhirpath import Binary, Call, Dot, Index, Literal, Name, Node, parse
from fhir_server.kernel.errors import InvalidRequest

_longest = 2000


@dataclass(frozen=True, slots=True)
class Place:
    """A value in the resource: under ``name`` of ``parent``, an ``owner`` type, at ``index`` if that is a list."""

    value: Any
    type: str
    parent: dict[str, Any] | None = None
    owner: str = ""
    name: str = ""
    index: int | None = None


def read_path(expression: Any) -> Node:
    """Return the parsed path. Raises InvalidRequest."""
    if not isinstance(expression, str) or not expression or len(expression) > _longest:
        raise InvalidRequest("A path is a FHIRPath such as Patient.name[0].given.")
    try:
        return parse(expression)
    except ExpressionError as error:
        raise InvalidRequest("The path is no FHIRPath, such as Patient.name[0].given.") from error


def find(node: Node, resource: dict[str, Any]) -> list[Place]:
    """Return every place the path leads to. Raises InvalidRequest for what a patch cannot follow."""
    root = Place(resource, resource["resourceType"])
    return _follow(node, [root], root)


def _follow(node: Node, focus: list[Place], root: Place) -> list[Place]:
    match node:
        case Name(text) if text in {root.type, "Resource", "DomainResource"} and focus == [root]:
            return focus
        case Name(text):
            return [child for place in focus for child in children(place, text)]
        case Dot(left, right):
            return _follow(right, _follow(left, focus, root), root)
        case Index(left, position):
            return _follow(left, focus, root)[position : position + 1]
        case Call(function, arguments) if function in _functions:
            return _functions[function](focus, arguments, root)
        case Binary("as", left, Name(type_name)):
            return [place for place in _follow(left, focus, root) if place.type == type_name]
        case _:
            raise InvalidRequest("A patch follows names, indexes, where(), first(), last() and ofType() only.")


def children(place: Place, name: str) -> list[Place]:
    """Return what stands under an element's name. Raises InvalidRequest when the type has no such element."""
    if place.type == "Resource":
        place = Place(place.value, place.value.get("resourceType", ""))
    known = elements(place.type) if is_complex(place.type) else {}
    if name not in known or name.endswith("[x]"):
        raise InvalidRequest(f"The path names an element that {place.type} does not have.")
    found: list[Place] = []
    for key, code in known[name].variants.items():
        value, beside = place.value.get(key), place.value.get(f"_{key}")
        if isinstance(value, list) or isinstance(beside, list):
            count = max(len(value or ()), len(beside or ()))
            items = [*(value or ()), *[None] * (count - len(value or ()))]
            found += [Place(item, code, place.value, place.type, key, index) for index, item in enumerate(items)]
        elif value is not None or beside is not None:
            found.append(Place(value, code, place.value, place.type, key))
    return found


def _where(focus: list[Place], arguments: tuple[Node, ...], root: Place) -> list[Place]:
    if len(arguments) != 1:
        raise InvalidRequest("where() takes one condition.")
    return [place for place in focus if _holds(arguments[0], place, root)]


def _holds(node: Node, place: Place, root: Place) -> bool:  # noqa: PLR0911 - one return for each kind of condition
    match node:
        case Binary("and", left, right):
            return _holds(left, place, root) and _holds(right, place, root)
        case Binary("or", left, right):
            return _holds(left, place, root) or _holds(right, place, root)
        case Binary("=", left, right):
            return _same(_values(left, place, root), _values(right, place, root))
        case Binary("!=", left, right):
            one, other = _values(left, place, root), _values(right, place, root)
            return bool(one and other) and not _same(one, other)
        case Dot(left, Call("exists", ())):
            return bool(_values(left, place, root))
        case Dot(left, Call("empty", ())):
            return not _values(left, place, root)
        case Dot(left, Call("not", ())):
            return not _holds(left, place, root)
        case _:
            return _values(node, place, root) == [True]


def _values(node: Node, place: Place, root: Place) -> list[Any]:
    if isinstance(node, Literal):
        return [node.value]
    return [found.value for found in _follow(node, [place], root)]


def _same(one: list[Any], other: list[Any]) -> bool:
    """Compare as FHIRPath does; nothing is equal to nothing, and true is not 1."""
    pairs = zip(one, other, strict=False)
    return bool(one) and len(one) == len(other) and all(type(a) is type(b) and a == b for a, b in pairs)


def _type(focus: list[Place], arguments: tuple[Node, ...], _: Place) -> list[Place]:
    wanted = arguments[0].text if len(arguments) == 1 and isinstance(arguments[0], Name) else ""
    return [place for place in focus if place.type == wanted]


def _extension(focus: list[Place], arguments: tuple[Node, ...], _: Place) -> list[Place]:
    url = arguments[0].value if len(arguments) == 1 and isinstance(arguments[0], Literal) else None
    found = [child for place in focus if isinstance(place.value, dict) for child in children(place, "extension")]
    return [place for place in found if place.value.get("url") == url]


_functions: dict[str, Callable[[list[Place], tuple[Node, ...], Place], list[Place]]] = {
    "where": _where,
    "first": lambda focus, _arguments, _root: focus[:1],
    "last": lambda focus, _arguments, _root: focus[-1:],
    "ofType": _type,
    "extension": _extension,
}
