"""The guide's condition grammar: ``valued``, ``=``, ``in``, ``count``, ``length``, ``and``, ``or``, ``not``.

https://hl7.org/fhir/uv/v2mappings/mapping_guidelines.html (Computable ANTLR conditions). Examples:
``PV1-45 valued`` · ``not (PID-3.5 in [MR, PI])`` · ``length(PID-7) > 8`` · ``count(PID-3) >= 2``.
"""

import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mappings.engine.errors import MappingLoadError

if TYPE_CHECKING:
    from mappings.engine.context import Context

Test = Callable[[Any, "Context"], bool]
Read = Callable[[Any, "Context"], str]
"""Reads an operand: (frame, context) → text."""

_token = re.compile(r"\s*(\"[^\"]*\"|<=|>=|!=|[=<>()\[\],]|[^\s\"=<>!()\[\],]+)")
_comparisons: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compile_condition(text: str, operand: Callable[[str], Read], counter: Callable[[str], Read]) -> Test:
    """Return the test written as ``text``. ``operand`` and ``counter`` resolve a source to its text or whole field.

    Raises MappingLoadError on anything outside the grammar.
    """
    parser = _Parser(text, operand, counter)
    test = parser.disjunction()
    parser.end()
    return test


class _Parser:
    def __init__(self, text: str, operand: Callable[[str], Read], counter: Callable[[str], Read]) -> None:
        self._text = text
        self._tokens = _token.findall(text)
        self._at = 0
        self._operand = operand
        self._counter = counter

    def _fail(self) -> MappingLoadError:
        return MappingLoadError(f"condition {self._text!r} cannot be read at word {self._at + 1}")

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, expected: str = "") -> str:
        token = self._peek()
        if not token or (expected and token.lower() != expected):
            raise self._fail()
        self._at += 1
        return token

    def _accept(self, word: str) -> bool:
        if self._peek().lower() != word:
            return False
        self._at += 1
        return True

    def end(self) -> None:
        if self._peek():
            raise self._fail()

    def disjunction(self) -> Test:
        left = self._conjunction()
        while self._accept("or"):
            left = _either(left, self._conjunction())
        return left

    def _conjunction(self) -> Test:
        left = self._factor()
        while self._accept("and"):
            left = _both(left, self._factor())
        return left

    def _factor(self) -> Test:
        if self._accept("not"):
            return _negated(self._factor())
        if self._accept("("):
            inside = self.disjunction()
            self._take(")")
            return inside
        if self._peek().lower() in ("count", "length"):
            return self._measured(self._take().lower())
        return self._compared(self._operand(self._take()))

    def _measured(self, measure: str) -> Test:
        self._take("(")
        source = self._take()
        self._take(")")
        compare = _comparisons.get(self._take())
        limit = self._take()
        if compare is None or not limit.isdigit():
            raise self._fail()
        return (
            _count(self._counter(source), compare, int(limit))
            if measure == "count"
            else _length(self._operand(source), compare, int(limit))
        )

    def _compared(self, read: Read) -> Test:
        word = self._take().lower()
        if word == "valued":
            return lambda frame, context: bool(read(frame, context))
        if word == "not":
            return _negated(self._compared(read))
        if word == "in":
            return _member(read, frozenset(self._list()))
        if word not in ("=", "!="):
            raise self._fail()
        wanted = self._take().strip('"')
        if word == "=":
            return lambda frame, context: read(frame, context) == wanted
        return lambda frame, context: read(frame, context) != wanted

    def _list(self) -> list[str]:
        self._take("[")
        values = [self._take().strip('"')]
        while self._accept(","):
            values.append(self._take().strip('"'))
        self._take("]")
        return values


def _either(left: Test, right: Test) -> Test:
    return lambda frame, context: left(frame, context) or right(frame, context)


def _both(left: Test, right: Test) -> Test:
    return lambda frame, context: left(frame, context) and right(frame, context)


def _negated(test: Test) -> Test:
    return lambda frame, context: not test(frame, context)


def _member(read: Read, values: frozenset[str]) -> Test:
    return lambda frame, context: read(frame, context) in values


def _length(read: Read, compare: Callable[[Any, Any], bool], limit: int) -> Test:
    return lambda frame, context: compare(len(read(frame, context)), limit)


def _count(read: Read, compare: Callable[[Any, Any], bool], limit: int) -> Test:
    def test(frame: Any, context: "Context") -> bool:
        text = read(frame, context)
        number = (text.count(context.repetition) + 1 if context.repetition else 1) if text else 0
        return compare(number, limit)

    return test
