"""What dates and quantities put into their search columns.

https://hl7.org/fhir/R4/search.html#date and https://hl7.org/fhir/R4/search.html#quantity
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from fhir_server.definitions import TypedValue, ucum
from fhir_server.kernel.instants import EARLIEST, LATEST, date_range

Json = dict[str, Any]
_dates = frozenset({"date", "dateTime", "instant"})  # a choice may also hold a string such as "childhood"
_most_digits = 1000
Span = tuple[datetime, datetime]
_infinity = Decimal("Infinity")
_currencies = "urn:iso:std:iso:4217"


def spans(values: list[TypedValue]) -> list[Span]:
    """Return the half-open UTC span of each date, dateTime, instant, Period and Timing."""
    return [span for value, kind in values for span in _spans(value, kind)]


def _spans(value: Any, type: str) -> Iterator[Span]:
    if type in _dates:
        yield date_range(value)
    elif type == "Period":
        yield from _period(value)
    elif type == "Timing":
        events = [date_range(event) for event in value.get("event", ()) if isinstance(event, str)]
        if events:
            yield min(low for low, _ in events), max(high for _, high in events)
        yield from _period((value.get("repeat") or {}).get("boundsPeriod") or {})


def _period(value: Json) -> Iterator[Span]:
    start, end = value.get("start"), value.get("end")
    if start or end:
        low, high = date_range(start)[0] if start else EARLIEST, date_range(end)[1] if end else LATEST
        yield min(low, high), max(low, high)


def numbers(values: list[TypedValue]) -> list[Decimal]:
    """Return the numbers of a number parameter."""
    return [Decimal(value) for value, _ in values if _is_number(value)]


def _is_number(value: Any) -> bool:
    """Tell whether PostgreSQL can hold the number; one with more than 1,000 digits is stored but not searchable."""
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        return False
    return abs(Decimal(value).adjusted()) < _most_digits


class Amount(NamedTuple):
    """An entry of a quantity column: from ``low`` to ``high``, and the unit it is in.

    As it was written the unit is ``system|code|unit``; in base units of UCUM it is their dimension after ``~``.
    """

    low: Decimal
    high: Decimal
    unit: str


def quantities(values: list[TypedValue]) -> list[Amount]:
    """Return each quantity as it was written, then each once more in base units where its unit is one of UCUM.

    A column of one quantity thus has what was written first, what it is in base units second.
    """
    written = [found for value, kind in values if (found := _quantity(value, kind)) is not None]
    in_base = (_in_base(amount) for amount in written)
    return written + [amount for amount in in_base if amount is not None]


def base_unit(unit: str) -> str:
    """Return what entries in base units of this dimension have as their unit."""
    return f"~{unit}"


def _quantity(value: Any, type: str) -> Amount | None:
    if not isinstance(value, dict):
        return None
    if type == "SampledData":
        return _quantity(value.get("origin"), "Quantity")
    if type == "Range":
        return _range(_quantity(value.get("low"), "Quantity"), _quantity(value.get("high"), "Quantity"))
    if not _is_number(value.get("value")):
        return None
    number = Decimal(value["value"])
    if type == "Money":
        currency = value.get("currency", "")
        return Amount(number, number, f"{_currencies}|{currency}|{currency}")
    return Amount(number, number, f"{value.get('system', '')}|{value.get('code', '')}|{value.get('unit', '')}")


def _range(low: Amount | None, high: Amount | None) -> Amount | None:
    """Return the range; an end that is missing is open. The unit is that of the first end that is there."""
    if low is None or high is None:
        there = low or high
        return there and Amount(low.low if low else -_infinity, high.high if high else _infinity, there.unit)
    return Amount(min(low.low, high.high), max(low.low, high.high), low.unit)


@lru_cache(maxsize=1024)
def _in_base(amount: Amount) -> Amount | None:
    """Return the amount in base units. Kept for a while: an Observation's value is one of several parameters."""
    system, code, _ = amount.unit.split("|", 2)
    unit = ucum.unit(code) if system == ucum.SYSTEM else None
    if unit is None:
        return None
    low = amount.low if amount.low.is_infinite() else unit.to_base(amount.low)
    if amount.high == amount.low:
        return Amount(low, low, base_unit(unit.dimension))
    high = amount.high if amount.high.is_infinite() else unit.to_base(amount.high)
    return Amount(low, high, base_unit(unit.dimension))
