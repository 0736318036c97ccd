"""Units of the Unified Code for Units of Measure in base units, so that 5 mg and 0.005 g are one quantity.

https://ucum.org/ucum and https://hl7.org/fhir/R4/search.html#quantity. The table of units is ``data/ucum.csv``; amount
of substance and arbitrary units such as ``[iU]`` stay dimensions of their own, since nothing compares them with others.
"""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache, lru_cache

from fhir_server.definitions.elements import data_file

SYSTEM = "http://unitsofmeasure.org"
_prefixes = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
_temperatures = {  # the scales whose zero is elsewhere: K = (value + shift) * factor
    "Cel": (Fraction("273.15"), Fraction(1)),
    "[degF]": (Fraction("459.67"), Fraction(5, 9)),
    "[degRe]": (Fraction("218.52"), Fraction(5, 4)),
}
_token = re.compile(
    r"(?P<operator>[./()])"
    r"|(?P<ten>10[*^])(?P<power>[+-]?\d{1,3})?"
    r"|(?P<number>\d{1,12})"
    r"|(?P<symbol>(?:[A-Za-z%'_]|\[[^\[\]]+\])+)(?P<exponent>[+-]?\d{1,2})?"
    r"|(?P<annotation>\{[^{}]*\})",
    re.ASCII,
)
_longest_code = 100
_precise, _exact = Context(prec=30), Context(prec=90)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: base = (value + ``shift``) * ``factor`` / ``divisor``, in the base units ``dimension`` (``g.m-3``)."""

    factor: Decimal
    divisor: Decimal
    dimension: str
    shift: Decimal = Decimal(0)

    def to_base(self, value: Decimal) -> Decimal:
        """Return the value in base units, rounded to 30 digits."""
        return _precise.divide(_exact.multiply(_exact.add(value, self.shift), self.factor), self.divisor)


def _unit(factor: Fraction, dimension: str, shift: Fraction = Fraction(0)) -> Unit:
    scale = Decimal(shift.numerator) / Decimal(shift.denominator)
    return Unit(Decimal(factor.numerator), Decimal(factor.denominator), dimension, scale)


class _Unknown(ValueError):
    """The code is not UCUM, or names a unit that is not in the table."""


@dataclass(frozen=True, slots=True)
class _Product:
    factor: Fraction
    powers: tuple[tuple[str, int], ...] = ()

    def times(self, other: "_Product", sign: int) -> "_Product":
        powers = Counter(dict(self.powers))
        for base, power in other.powers:
            powers[base] += power * sign
        return _Product(self.factor * other.factor**sign, tuple(sorted((b, p) for b, p in powers.items() if p)))

    def power(self, exponent: int) -> "_Product":
        return _Product(self.factor**exponent, tuple((base, power * exponent) for base, power in self.powers))


_one = _Product(Fraction(1))


@lru_cache(maxsize=4096)
def unit(code: str) -> Unit | None:
    """Return the unit with this UCUM code; None when it is unknown."""
    if code in _temperatures:
        shift, factor = _temperatures[code]
        return _unit(factor, "K", shift)
    if not code or len(code) > _longest_code:
        return None
    try:
        product = _Parser(code).whole()
    except _Unknown:
        return None
    written = ".".join(f"{base}{power if power != 1 else ''}" for base, power in product.powers)
    return _unit(product.factor, written or "1")


class _Parser:
    """``term = ["/"] component {("." | "/") component}``, from left to right as UCUM has it."""

    def __init__(self, code: str) -> None:
        self.tokens: list[re.Match[str]] = []
        at = 0
        while at < len(code):
            found = _token.match(code, at)
            if found is None:
                raise _Unknown(code)
            self.tokens.append(found)
            at = found.end()
        self.at = 0

    def whole(self) -> _Product:
        product = self.term()
        if self.at < len(self.tokens):
            raise _Unknown
        return product

    def operator(self) -> str:
        return (self.tokens[self.at]["operator"] or "") if self.at < len(self.tokens) else ""

    def term(self) -> _Product:
        product, sign = _one, 1
        if self.operator() == "/":
            self.at, sign = self.at + 1, -1
        while True:
            product = product.times(self.component(), sign)
            operator = self.operator()
            if operator not in {".", "/"}:
                return product
            self.at, sign = self.at + 1, 1 if operator == "." else -1

    def component(self) -> _Product:
        if self.at == len(self.tokens):
            raise _Unknown
        token = self.tokens[self.at]
        self.at += 1
        if token["operator"] == "(":
            product = self.term()
            if self.operator() != ")":
                raise _Unknown
            self.at += 1
        elif token["operator"]:
            raise _Unknown
        else:
            product = _simple(token)
        if self.at < len(self.tokens) and self.tokens[self.at]["annotation"] and not token["annotation"]:
            self.at += 1
        return product


def _simple(token: "re.Match[str]") -> _Product:
    if token["annotation"]:
        return _one
    if token["ten"]:
        return _Product(Fraction(10) ** int(token["power"] or 1))
    if token["number"]:
        if int(token["number"]) == 0:
            raise _Unknown
        return _Product(Fraction(int(token["number"])))
    return _atom(token["symbol"]).power(int(token["exponent"] or 1))


@cache
def _table() -> dict[str, tuple[bool, Fraction, str]]:
    rows = csv.DictReader(io.StringIO(data_file("ucum.csv").decode()))
    return {row["symbol"]: (row["metric"] == "yes", Fraction(row["value"]), row["unit"]) for row in rows}


@cache
def _atom(symbol: str) -> _Product:
    """Return a unit of the table, perhaps with a prefix."""
    if symbol in _temperatures:
        raise _Unknown  # a scale with a zero of its own cannot be part of a product
    if symbol in _table():
        _, value, written = _table()[symbol]
        return _one.times(_Parser(written).whole(), 1).times(_Product(value), 1) if written else _base(symbol, value)
    for length in (2, 1):
        exponent, rest = _prefixes.get(symbol[:length]), symbol[length:]
        if exponent is not None and rest in _table() and _table()[rest][0]:
            return _atom(rest).times(_Product(Fraction(10) ** exponent), 1)
    raise _Unknown


def _base(symbol: str, value: Fraction) -> _Product:
    return _Product(value, ((symbol, 1),))
