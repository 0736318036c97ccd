"""Parse the part of FHIRPath that search parameters are written in.

https://hl7.org/fhir/R4/fhirpath.html and http://hl7.org/fhirpath/N1/#grammar: paths, ``as``, ``is``, ``|``, ``and``,
``or``, ``=``, ``!=``, indexers, functions, string, number and boolean literals, ``%resource``.
"""

import re
from dataclasses import dataclass

_token = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<name>%?[A-Za-z_][A-Za-z0-9_]*|`[^`]+`)|(?P<symbol>!=|[.()|=\[\],]))"
)
_escape = re.compile(r"\\(.)")
_precedence = ({"or"}, {"and"}, {"=", "!="}, {"|"}, {"is", "as"})


class ExpressionError(ValueError):
    """The expression is not FHIRPath we understand, or names an element the type does not have."""


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier: an element of the focus, or at the start of a path the type itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number or boolean literal."""

    value: str | int | bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function invocation such as ``where(…)``."""

    function: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Dot:
    """``left.right``: the right side evaluated on the left one's items."""

    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Index:
    """``left[position]``."""

    left: "Node"
    position: int


@dataclass(frozen=True, slots=True)
class Binary:
    """An infix operator: ``|``, ``as``, ``is``, ``=``, ``!=``, ``and``, ``or``."""

    operator: str
    left: "Node"
    right: "Node"


Node = Name | Literal | Call | Dot | Index | Binary


def parse(expression: str) -> Node:
    """Return the expression's tree. Raises ExpressionError with the place of the fault."""
    parser = _Parser(expression)
    node = parser.binary(0)
    if parser.position < len(parser.tokens):
        raise parser.fault()
    return node


def alternatives(node: Node) -> list[Node]:
    """Return the sides of a union, left to right; the node itself if it is none."""
    if isinstance(node, Binary) and node.operator == "|":
        return alternatives(node.left) + alternatives(node.right)
    return [node]


def root_name(node: Node) -> str | None:
    """Return the identifier the node's path starts with."""
    match node:
        case Name(text):
            return text
        case Dot(left) | Index(left) | Binary(left=left):
            return root_name(left)
        case _:
            return None


def render(node: Node) -> str:  # noqa: PLR0911 - one return for each kind of node
    """Return the node as FHIRPath text again."""
    match node:
        case Name(text):
            return text
        case Literal(bool() as value):
            return str(value).lower()
        case Literal(str() as value):
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case Literal(value):
            return str(value)
        case Call(function, arguments):
            return f"{function}({', '.join(map(render, arguments))})"
        case Dot(left, right):
            return f"{_operand(left)}.{render(right)}"
        case Index(left, position):
            return f"{_operand(left)}[{position}]"
        case Binary(operator, left, right):
            return f"{_operand(left)} {operator} {_operand(right)}"


def _operand(node: Node) -> str:
    return f"({render(node)})" if isinstance(node, Binary) else render(node)


class _Parser:
    """Precedence climbing over a list of tokens."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens: list[tuple[str, str]] = []
        self.position = 0
        at = 0
        text = expression.rstrip()
        while at < len(text):
            found = _token.match(text, at)
            if not found or not found.lastgroup:
                raise ExpressionError(f"Unexpected text at {at} in '{expression}'.")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()

    def fault(self) -> ExpressionError:
        seen = self.tokens[self.position][1] if self.position < len(self.tokens) else "the end"
        return ExpressionError(f"Unexpected {seen} (token {self.position + 1}) in '{self.expression}'.")

    def peek(self) -> str:
        if self.position == len(self.tokens):
            return ""
        kind, text = self.tokens[self.position]
        return text if kind in {"symbol", "name"} else ""

    def take(self, text: str) -> None:
        if self.peek() != text:
            raise self.fault()
        self.position += 1

    def binary(self, level: int) -> Node:
        if level == len(_precedence):
            return self.path()
        node = self.binary(level + 1)
        while (operator := self.peek()) in _precedence[level]:
            self.position += 1
            node = Binary(operator, node, self.binary(level + 1))
        return node

    def path(self) -> Node:
        node = self.term()
        while (symbol := self.peek()) in {".", "["}:
            self.position += 1
            if symbol == ".":
                node = Dot(node, self.invocation())
            else:
                node = Index(node, self.integer())
                self.take("]")
        return node

    def term(self) -> Node:
        if self.position == len(self.tokens):
            raise self.fault()
        kind, text = self.tokens[self.position]
        if text == "(":
            self.position += 1
            node = self.binary(0)
            self.take(")")
            return node
        if kind == "string":
            self.position += 1
            return Literal(_escape.sub(r"\1", text[1:-1]))
        if kind == "number":
            return Literal(self.integer())
        if text in {"true", "false"}:
            self.position += 1
            return Literal(text == "true")
        return self.invocation()

    def integer(self) -> int:
        if self.position == len(self.tokens) or not self.tokens[self.position][1].isdecimal():
            raise self.fault()
        self.position += 1
        return int(self.tokens[self.position - 1][1])

    def invocation(self) -> Node:
        if self.position == len(self.tokens) or self.tokens[self.position][0] != "name":
            raise self.fault()
        name = self.tokens[self.position][1].strip("`")
        self.position += 1
        if self.peek() != "(":
            return Name(name)
        self.position += 1
        arguments: list[Node] = []
        while self.peek() != ")":
            if arguments:
                self.take(",")
            arguments.append(self.binary(0))
        self.position += 1
        return Call(name, tuple(arguments))
