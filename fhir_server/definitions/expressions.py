"""Compile search-parameter expressions into closures that pick typed values out of a resource.

https://hl7.org/fhir/R4/searchparameter-registry.html and http://hl7.org/fhirpath/N1/. Paths are resolved against the
element definitions once, at compile time; what runs per resource is dictionary look-ups.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple, Protocol

from fhir_server.definitions.elements import RESOURCE_TYPES, is_complex
from fhir_server.definitions.elements import elements as elements_of
from fhir_server.definitions.fhirpath import Binary, Call, Dot, ExpressionError, Index, Literal, Name, Node, parse

Json = dict[str, Any]
Filter = Callable[[list[Any], Json], list[Any]]
Test = Callable[[Any, Json], bool]
_reference = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?$")
_specialised = {
    "uri": frozenset({"canonical", "oid", "url", "uuid"}),
    "string": frozenset({"code", "id", "markdown"}),
    "integer": frozenset({"positiveint", "unsignedint"}),
    "quantity": frozenset({"age", "count", "distance", "duration"}),
}


class TypedValue(NamedTuple):
    """A JSON value with its FHIR type (``Quantity``, ``dateTime``, ``Observation.component``)."""

    value: Any
    type: str


class Evaluator(Protocol):
    """A compiled expression: give it the focus and, where that is not the resource itself, the resource."""

    def __call__(self, focus: Json, resource: Json | None = None, /) -> list[TypedValue]:
        """Return what the expression yields, in document order within each alternative; duplicates stay."""


class _Step(NamedTuple):
    """One look-up; an empty key stays where it is."""

    key: str
    many: bool
    filters: tuple[Filter, ...] = ()


class _Branch(NamedTuple):
    """A way through the definitions with one static type at its end; a choice makes one branch for each variant."""

    type: str
    steps: tuple[_Step, ...] = ()
    path: tuple[str, ...] = ()
    many: bool = False
    from_resource: bool = False
    binding: str = ""


@cache
def compile_expression(expression: str, resource_type: str) -> Evaluator:
    """Return the expression as a closure for a resource type, data type or backbone path.

    Raises ExpressionError when it cannot be parsed or names an element that type does not have.
    """
    return _compile(parse(expression), resource_type)


@cache
def yields_many(expression: str, resource_type: str) -> bool:
    """Tell whether the expression can yield more than one value for one resource."""
    node = parse(expression)
    if _is_condition(node):
        return False
    branches = _branches(node, (_Branch(resource_type),), resource_type)
    return any(branch.many for branch in branches) or len({branch.path for branch in branches}) > 1


@cache
def yielded_types(expression: str, resource_type: str) -> frozenset[tuple[str, str]]:
    """Return each type the expression can yield with the value set its code must be of, empty where none is."""
    node = parse(expression)
    if _is_condition(node):
        return frozenset({("boolean", "")})
    return frozenset(
        (branch.type, branch.binding) for branch in _branches(node, (_Branch(resource_type),), resource_type)
    )


@cache
def compile_composite(
    expression: str, components: tuple[str, ...], resource_type: str
) -> Callable[[Json], list[tuple[list[TypedValue], ...]]]:
    """Return a closure yielding, for each focus of a composite parameter, the values of each of its components."""
    focus = compile_expression(expression, resource_type)
    types = {branch.type for branch in _branches(parse(expression), (_Branch(resource_type),), resource_type)}
    parts = {code: tuple(compile_expression(component, code) for component in components) for code in types}

    def evaluate(resource: Json) -> list[tuple[list[TypedValue], ...]]:
        return [tuple(part(value, resource) for part in parts[code]) for value, code in focus(resource)]

    return evaluate


def _compile(node: Node, type_name: str) -> Evaluator:
    if _is_condition(node):
        condition = _condition(node, type_name)

        def decide(focus: Json, resource: Json | None = None, /) -> list[TypedValue]:
            return [TypedValue(condition(focus, focus if resource is None else resource), "boolean")]

        return decide
    walkers = tuple(_walkers(_branches(node, (_Branch(type_name),), type_name)))

    def evaluate(focus: Json, resource: Json | None = None, /) -> list[TypedValue]:
        found: list[TypedValue] = []
        for walk in walkers:
            walk(focus, focus if resource is None else resource, found)
        return found

    return evaluate


def _is_condition(node: Node) -> bool:
    match node:
        case Binary(operator):
            return operator in {"and", "or", "=", "!=", "is"}
        case Dot(_, Call("exists" | "empty")):
            return True
        case _:
            return False


def _branches(  # noqa: PLR0911 - one return for each form of a path
    node: Node, focus: tuple[_Branch, ...], root: str
) -> tuple[_Branch, ...]:
    """Return every way the node leads from the focus; ``root`` is the type the whole expression starts from."""
    match node:
        case Binary("|", left, right):
            return _branches(left, focus, root) + _branches(right, focus, root)
        case Binary("as", left, Name(code)):
            return _of_type(_branches(left, focus, root), code)
        case Dot(left, Call("as" | "ofType", (Name(code),))):
            return _of_type(_branches(left, focus, root), code)
        case Dot(left, Call("where", (condition,))):
            return tuple(_filtered(b, _where(condition, b.type)) for b in _branches(left, focus, root))
        case Dot(left, Call("extension", (Literal(str() as url),))):
            extensions = _branches(Dot(left, Name("extension")), focus, root)
            return tuple(_filtered(branch, _extension(url)) for branch in extensions)
        case Dot(left, right):
            return _branches(right, _branches(left, focus, root), "")
        case Index(left, position):
            branches = _branches(left, focus, root)
            return tuple(_filtered(branch, _at(position))._replace(many=False) for branch in branches)
        case Name(name):
            return _named(name, focus, root)
        case _:
            raise ExpressionError(f"A search parameter's path cannot contain {node}.")


def _named(name: str, focus: tuple[_Branch, ...], root: str) -> tuple[_Branch, ...]:
    if root and name == "%resource":
        return (_Branch(root.partition(".")[0], from_resource=True),)
    if root and (name == root or name in {"Resource", "DomainResource"}):
        return focus
    return tuple(child for branch in focus for child in _children(branch, name))


def _children(branch: _Branch, name: str) -> Iterable[_Branch]:
    element = elements_of(branch.type).get(name) if is_complex(branch.type) else None
    if element is None:
        raise ExpressionError(f"{branch.type} has no element {name}.")
    many = branch.many or element.many
    path = (*branch.path, element.name)
    for key, code in element.variants.items():
        steps = (*branch.steps, _Step(key, element.many))
        yield branch._replace(type=code, steps=steps, path=path, many=many, binding=element.binding)


def _of_type(branches: tuple[_Branch, ...], code: str) -> tuple[_Branch, ...]:
    found = []
    wanted = {code.lower(), *_specialised.get(code.lower(), ())}  # R4 writes both `as dateTime` and `as DateTime`
    for branch in branches:
        if branch.type.lower() in wanted:
            found.append(branch)
        elif branch.type == "Resource" and code in RESOURCE_TYPES:
            found.append(_filtered(branch, _resource_type(code))._replace(type=code))
    if not found:
        raise ExpressionError(f"None of {sorted({branch.type for branch in branches})} can be {code}.")
    return tuple(found)


def _filtered(branch: _Branch, narrow: Filter) -> _Branch:
    *before, last = branch.steps or (_Step("", many=False),)
    return branch._replace(steps=(*before, last._replace(filters=(*last.filters, narrow))))


def _at(position: int) -> Filter:
    return lambda values, _: values[position : position + 1]


def _resource_type(code: str) -> Filter:
    return lambda values, _: [value for value in values if value.get("resourceType") == code]


def _extension(url: str) -> Filter:
    return lambda values, _: [value for value in values if value.get("url") == url]


def _where(condition: Node, type_name: str) -> Filter:
    test = _condition(condition, type_name)
    return lambda values, resource: [value for value in values if test(value, resource)]


def _condition(node: Node, type_name: str) -> Test:
    match node:
        case Binary("and", left, right):
            first, second = _condition(left, type_name), _condition(right, type_name)
            return lambda focus, resource: first(focus, resource) and second(focus, resource)
        case Binary("or", left, right):
            first, second = _condition(left, type_name), _condition(right, type_name)
            return lambda focus, resource: first(focus, resource) or second(focus, resource)
        case Binary("is", Call("resolve"), Name(code)):
            return lambda focus, resource: _resolved_type(focus, resource) == code
        case Binary("=" | "!=" as operator, left, Literal(value)):
            picked, negate = _compile(left, type_name), operator == "!="
            return lambda focus, resource: _equals(picked(focus, resource), value) is not negate
        case Dot(left, Call("exists" | "empty" as function, ())):
            picked, expected = _compile(left, type_name), function == "exists"
            return lambda focus, resource: bool(picked(focus, resource)) is expected
        case _:
            raise ExpressionError(f"Not a condition we understand: {node}.")


def _equals(found: list[TypedValue], value: str | int | bool) -> bool:
    return len(found) == 1 and type(found[0].value) is type(value) and found[0].value == value


def _resolved_type(reference: Any, resource: Json) -> str | None:
    """Return the type a Reference points at, without reading the target."""
    if not isinstance(reference, dict):
        return None
    text = reference.get("reference")
    if isinstance(text, str):
        if text.startswith("#"):
            return _contained_type(text[1:], resource)
        found = _reference.search(text)
        if found and found[1] in RESOURCE_TYPES:
            return found[1]
    stated = reference.get("type")
    return stated if isinstance(stated, str) else None


def _contained_type(id: str, resource: Json) -> str | None:
    for contained in resource.get("contained", ()):
        if contained.get("id") == id:
            stated: str = contained["resourceType"]
            return stated
    return None


Walker = Callable[[Any, Json, list[TypedValue]], None]


def _walkers(branches: tuple[_Branch, ...]) -> Iterable[Walker]:
    """Yield one walker for each place in the resource; the variants of a choice share one."""
    groups: dict[tuple[bool, tuple[_Step, ...]], dict[str, str]] = {}
    for branch in branches:
        last = branch.steps[-1] if branch.steps else _Step("", many=False)
        if last.key and not last.many and not last.filters and branch.type != "Resource":
            groups.setdefault((branch.from_resource, branch.steps[:-1]), {})[last.key] = branch.type
        else:
            yield _end_walker(branch)
    for (from_resource, steps), variants in groups.items():
        yield _variant_walker(steps, variants, from_resource=from_resource)


def _end_walker(branch: _Branch) -> Walker:
    steps, code, from_resource = branch.steps, branch.type, branch.from_resource

    def walk(focus: Any, resource: Json, found: list[TypedValue]) -> None:
        found.extend(
            TypedValue(value, value["resourceType"] if code == "Resource" else code)
            for value in _follow(steps, resource if from_resource else focus, resource)
            if value is not None
        )

    return walk


def _variant_walker(steps: tuple[_Step, ...], variants: Mapping[str, str], *, from_resource: bool) -> Walker:
    pairs = tuple(variants.items())

    def walk(focus: Any, resource: Json, found: list[TypedValue]) -> None:
        for node in _follow(steps, resource if from_resource else focus, resource):
            for key, code in pairs:
                value = node.get(key)
                if value is not None:
                    found.append(TypedValue(value, code))

    return walk


def _follow(steps: tuple[_Step, ...], focus: Any, resource: Json) -> list[Any]:
    nodes = [focus]
    for key, many, filters in steps:
        if key:
            reached: list[Any] = []
            for node in nodes:
                value = node.get(key)
                if value is None:
                    continue
                if many:
                    reached.extend(value)
                else:
                    reached.append(value)
            nodes = reached
        for narrow in filters:
            nodes = narrow(nodes, resource)
        if not nodes:
            return nodes
    return nodes
