"""What a call gives: from its URL, from a Parameters resource, or from the one resource in its body.

https://hl7.org/fhir/R4/operations.html#request. Strict: what the operation does not take is refused, naming the
nearest it does.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from fhir_server.definitions import is_complex
from fhir_server.kernel.errors import InvalidRequest
from fhir_server.kernel.validation import validate
from fhir_server.kernel.validation_primitives import check_primitive
from fhir_server.operations.calls.operation import Inputs, Operation, Pair, Parameter

Json = dict[str, Any]
CURSOR = "_cursor"
_whole_numbers = frozenset({"integer", "positiveInt", "unsignedInt"})
_alike = {
    "uri": frozenset({"uri", "url", "canonical", "string"}),
    "code": frozenset({"code", "string"}),
    "integer": frozenset({"integer", "positiveInt", "unsignedInt"}),
    "positiveInt": frozenset({"integer", "positiveInt", "unsignedInt"}),
}
_longest_number = 10


class _Draft:
    """The inputs as they are read, one after the other."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.values: dict[str, list[Any]] = {}
        self.search: list[Pair] = []
        self.pairs: list[Pair] = []

    def parameter(self, name: str, at: str | None = None) -> Parameter | None:
        """Return the parameter; None when it is one to search by."""
        found = self.operation.parameter(name)
        if found is None and not self.operation.searches:
            known = [parameter.name for parameter in self.operation.parameters]
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"It takes: {', '.join(known) or 'none'}."
            raise InvalidRequest(f"${self.operation.name} has no parameter '{name}'. {hint}", expression=at)
        return found

    def add(self, parameter: Parameter, value: Any, at: str | None = None) -> None:
        """Add a value that has the parameter's type."""
        found = self.values.setdefault(parameter.name, [])
        if found and not parameter.many:
            raise InvalidRequest(f"'{parameter.name}' may be given once only.", expression=at)
        if not is_complex(parameter.type) and parameter.type != "Resource":
            expected = check_primitive[parameter.type](value)
            if expected:
                raise InvalidRequest(f"'{parameter.name}' must be {expected}.", expression=at)
            self.link(parameter.name, value)
        found.append(value)

    def add_search(self, name: str, value: Any) -> None:
        """Add a search parameter."""
        self.search.append((name, _text(value)))
        self.link(name, value)

    def link(self, name: str, value: Any) -> None:
        """Keep what a link to this call repeats."""
        if name != CURSOR:
            self.pairs.append((name, _text(value)))

    def inputs(self) -> Inputs:
        """Return what was read. Raises InvalidRequest when something is missing."""
        for parameter in self.operation.parameters:
            if parameter.required and parameter.name not in self.values:
                raise InvalidRequest(f"${self.operation.name} needs the parameter '{parameter.name}'.")
        values = {name: tuple(found) for name, found in self.values.items()}
        return Inputs(values, tuple(self.search), tuple(self.pairs))


def read_inputs(operation: Operation, pairs: Sequence[Pair], body: Json | None = None) -> Inputs:
    """Return the inputs in the pairs of a URL and in a body. Raises InvalidRequest."""
    draft = _Draft(operation)
    _read_pairs(draft, pairs)
    if body is not None:
        _read_body(draft, body)
    return draft.inputs()


def _read_pairs(draft: _Draft, pairs: Iterable[Pair]) -> None:
    for name, text in pairs:
        parameter = draft.parameter(name)
        if parameter is None:
            draft.add_search(name, text)
        else:
            draft.add(parameter, _value(parameter, text))


def _value(parameter: Parameter, text: str) -> Any:
    """Return the text of a URL as a value of the parameter's type."""
    if parameter.type == "Resource" or is_complex(parameter.type):
        raise InvalidRequest(f"'{parameter.name}' does not fit into a URL: POST a Parameters resource.")
    if parameter.type == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if parameter.type in _whole_numbers and len(text) <= _longest_number and text.isascii() and text.isdigit():
        return int(text)
    return text


def _read_body(draft: _Draft, body: Json) -> None:
    if body["resourceType"] == "Parameters":
        _read_parameters(draft, body)
        return
    takes = next((parameter for parameter in draft.operation.parameters if parameter.type == "Resource"), None)
    if takes is None:
        raise InvalidRequest(f"${draft.operation.name} takes a Parameters resource.", expression="resourceType")
    draft.add(takes, body)


def _read_parameters(draft: _Draft, body: Json) -> None:
    """Read every parameter; resources in them are not looked into."""
    _check(body)
    for index, entry in enumerate(body.get("parameter", ())):
        at = f"Parameters.parameter[{index}]"
        name = str(entry["name"])
        parameter = draft.parameter(name, f"{at}.name")
        kind, value = _content(entry)
        if parameter is None:
            if kind is None or is_complex(kind):
                raise InvalidRequest(f"'{name}' must be a text, as in a search.", expression=at)
            draft.add_search(name, value)
        elif kind != parameter.type and kind not in _alike.get(parameter.type, ()):
            wanted = "a resource" if parameter.type == "Resource" else f"of type {parameter.type}"
            raise InvalidRequest(f"'{name}' must be {wanted}.", expression=at)
        else:
            draft.add(parameter, value, at)


def _check(body: Json) -> None:
    """Raise InvalidRequest unless the Parameters resource is well formed around the resources in it."""
    entries = body.get("parameter")
    if isinstance(entries, list):
        body = {**body, "parameter": [_without_resource(entry) for entry in entries]}
    faults = tuple(issue for issue in validate(body) if issue.severity in ("fatal", "error"))
    if faults:
        raise InvalidRequest(issues=faults)


def _without_resource(entry: Any) -> Any:
    if not isinstance(entry, dict) or not isinstance(entry.get("resource"), dict):
        return entry
    return {"valueBoolean": True} | {name: value for name, value in entry.items() if name != "resource"}


def _content(entry: Json) -> tuple[str | None, Any]:
    """Return the type of what a parameter holds, and what it holds."""
    if "resource" in entry:
        return "Resource", entry["resource"]
    for name, value in entry.items():
        if name.startswith("value"):
            kind = name.removeprefix("value")
            return (kind if is_complex(kind) else kind[0].lower() + kind[1:]), value
    return None, None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
