"""``_filter``: an expression with and, or, not and parentheses, as a tree of conditions.

https://hl7.org/fhir/R4/search_filter.html. Operators are evaluated from left to right; each comparison becomes the
condition that a plain search parameter would be.
"""

import re
from dataclasses import replace

from fhir_server.kernel import json
from fhir_server.kernel.errors import FhirError, InvalidSearch
from fhir_server.kernel.search_criteria import AllOf, AnyOf, Criterion, Node, Not, Written, parse_criterion
from fhir_server.kernel.search_values import DateValue

_token = re.compile(r'\s*(?:(?P<bracket>[()])|(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[^\s()"]+))', re.DOTALL)
_prefixes = frozenset({"gt", "lt", "ge", "le", "ap", "sa", "eb"})
_modified = {"in": "in", "ss": "below", "sb": "above"}
_of_strings = {"eq": "equals", "co": "contains", "sw": None, "ew": "ends"}
_operators = _prefixes | {"eq", "ne", "co", "sw", "ew", "pr", "po", "ss", "sb", "in", "re"}
_ordered = frozenset({"date", "number", "quantity"})
_most_tokens = 400
_deepest = 20


def parse_filter(resource_type: str, text: str, base_url: str = "") -> Node:
    """Return the expression. Raises InvalidSearch that names the place, never a value."""
    parser = _Parser(resource_type, text, base_url)
    node = parser.expression(0)
    if parser.at < len(parser.tokens):
        raise parser.fault("'and', 'or' or the end")
    return node


class _Parser:
    """Recursive descent over a list of (kind, text)."""

    def __init__(self, resource_type: str, text: str, base_url: str) -> None:
        self.resource_type = resource_type
        self.base_url = base_url
        self.tokens: list[tuple[str, str]] = []
        self.at = 0
        position, written = 0, text.rstrip()
        while position < len(written):
            found = _token.match(written, position)
            if found is None or found.lastgroup is None or len(self.tokens) == _most_tokens:
                raise InvalidSearch(f"'_filter' cannot be read from character {position + 1} on.")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()

    def fault(self, expected: str) -> InvalidSearch:
        return InvalidSearch(f"'_filter': {expected} is expected as part {self.at + 1} of the expression.")

    def peek(self) -> str:
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        return "" if kind == "string" else text

    def take(self, kind: str, expected: str) -> str:
        if self.at == len(self.tokens) or self.tokens[self.at][0] != kind:
            raise self.fault(expected)
        self.at += 1
        return self.tokens[self.at - 1][1]

    def bracket(self, which: str) -> None:
        if self.take("bracket", f"'{which}'") != which:
            self.at -= 1
            raise self.fault(f"'{which}'")

    def expression(self, depth: int) -> Node:
        if depth > _deepest:
            raise InvalidSearch(f"'_filter' is nested more than {_deepest} deep.")
        node = self.term(depth)
        while (operator := self.peek()) in {"and", "or"}:
            self.at += 1
            parts = (node, self.term(depth))
            node = AllOf(parts) if operator == "and" else AnyOf(parts)
        return node

    def term(self, depth: int) -> Node:
        if self.peek() == "not":
            self.at += 1
            return Not(self.nested(depth))
        if self.peek() == "(":
            return self.nested(depth)
        return self.comparison()

    def nested(self, depth: int) -> Node:
        self.bracket("(")
        node = self.expression(depth + 1)
        self.bracket(")")
        return node

    def comparison(self) -> Node:
        path = self.take("word", "a search parameter")
        if "[" in path:
            raise InvalidSearch("'_filter': conditions in brackets are not supported; use a composite parameter.")
        operator = self.take("word", "an operator")
        if operator not in _operators:
            self.at -= 1
            raise self.fault(f"one of the operators {', '.join(sorted(_operators))}")
        if self.at == len(self.tokens) or self.tokens[self.at][0] == "bracket":
            raise self.fault("a value")
        kind, text = self.tokens[self.at]
        self.at += 1
        return self.compared(path, operator, _decoded(text) if kind == "string" else text)

    def compared(self, path: str, operator: str, value: str) -> Node:
        if operator == "pr":
            if value not in {"true", "false"}:
                raise InvalidSearch("'_filter': 'pr' is followed by true or false.")
            return self.criterion(f"{path}:missing", "false" if value == "true" else "true")
        if operator == "ne":
            return AllOf((self.criterion(f"{path}:missing", "false"), Not(self.compared(path, "eq", value))))
        if operator in _modified:
            return self.criterion(f"{path}:{_modified[operator]}", _escaped(value))
        return self.by_type(path, operator, value)

    def by_type(self, path: str, operator: str, value: str) -> Node:
        """Return the comparison; what the operator means depends on the parameter's type."""
        node = self.criterion(path, _escaped(value))
        type = _end(node).parameter.type
        if operator in _of_strings and type == "string":
            return _with_modifier(node, _of_strings[operator])
        if operator in _prefixes and type in _ordered:
            return self.criterion(path, operator + _escaped(value))
        if operator == "po" and type == "date":
            return _overlapping(node)
        if operator == "eq" or (operator == "re" and type == "reference"):
            return node
        raise InvalidSearch(f"'_filter': '{operator}' cannot be asked of '{path}' ({type}).")

    def criterion(self, name: str, value: str) -> Criterion:
        return parse_criterion(self.resource_type, name, Written(value, self.base_url))


def _decoded(text: str) -> str:
    try:
        decoded = json.decode(text)
    except FhirError as error:
        raise InvalidSearch("'_filter' holds a string that is no JSON string.") from error
    return str(decoded)


def _escaped(value: str) -> str:
    r"""Return the value as one of a plain parameter: it is a single one, so ``,`` and ``$`` stand for themselves."""
    return re.sub(r"([\\,$])", r"\\\1", value)


def _end(criterion: Criterion) -> Criterion:
    return criterion if criterion.chain is None else _end(criterion.chain)


def _with_modifier(criterion: Criterion, modifier: str | None) -> Criterion:
    if criterion.chain is not None:
        return replace(criterion, chain=_with_modifier(criterion.chain, modifier))
    return replace(criterion, modifier=modifier)


def _overlapping(criterion: Criterion) -> Criterion:
    if criterion.chain is not None:
        return replace(criterion, chain=_overlapping(criterion.chain))
    dates = (value for value in criterion.values if isinstance(value, DateValue))
    return replace(criterion, values=tuple(replace(date, prefix="po") for date in dates))
