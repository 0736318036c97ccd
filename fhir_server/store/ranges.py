"""What dates and quantities put into their search columns.

https://hl7.org/fhir/R4/search.html#date and https://hl7.org/fhir/R4/search.html#quantity
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from fhir_server.definitions import TypedValue
from fhir_server.kernel.instants import EARLIEST, LATEST, date_range

Json = dict[str, Any]
_dates = frozenset({"date", "dateTime", "instant"})  # a choice may also hold a string such as "childhood"
_most_digits = 1000
Span = tuple[datetime, datetime]
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


def quantities(values: list[TypedValue]) -> list[tuple[Decimal, str]]:
    """Return each quantity's value with its unit as ``system|code|unit``."""
    return [quantity for value, kind in values for quantity in _quantity(value, kind)]


def _quantity(value: Any, type: str) -> Iterator[tuple[Decimal, str]]:
    if not isinstance(value, dict):
        return
    if type == "SampledData":
        yield from _quantity(value.get("origin"), "Quantity")
    elif type == "Range":
        yield from _quantity(value.get("low"), "Quantity")
        yield from _quantity(value.get("high"), "Quantity")
    elif _is_number(value.get("value")):
        if type == "Money":
            yield Decimal(value["value"]), f"{_currencies}|{value.get('currency', '')}|{value.get('currency', '')}"
        else:
            yield Decimal(value["value"]), f"{value.get('system', '')}|{value.get('code', '')}|{value.get('unit', '')}"
