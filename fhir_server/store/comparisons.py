"""Date, number and quantity comparisons with the specification's range semantics, as SQL.

https://hl7.org/fhir/R4/search.html#prefix. A searched value is the range ``[low, high)``; so is a stored date.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Numeric, Text, and_, column, exists, func, literal, or_, select

from fhir_server.definitions import SearchParameter, ucum
from fhir_server.kernel.search_values import DateValue, NumberValue, QuantityValue
from fhir_server.store.ranges import base_unit
from fhir_server.store.sql import instant, unnested
from fhir_server.store.tables.resources import column_name, may_be_range

Condition = ColumnElement[bool]
Ends = Callable[[Any, Any, Any, Any], Condition]  # (stored low, stored high, searched low, searched high)

_of_range: dict[str, Ends] = {
    # Each is the plain definition, turned so that its first term is one that an index on that end can answer.
    "eq": lambda lo, hi, low, high: and_(lo >= low, lo < high, hi <= high),
    "ne": lambda lo, hi, low, high: or_(lo < low, hi > high),
    "gt": lambda _lo, hi, _low, high: hi > high,
    "lt": lambda lo, _hi, low, _high: lo < low,
    "ge": lambda lo, hi, low, high: and_(hi > low, or_(hi > high, lo >= low)),
    "le": lambda lo, hi, low, high: and_(lo < high, or_(lo < low, hi <= high)),
    "sa": lambda lo, _hi, _low, high: lo >= high,
    "eb": lambda _lo, hi, low, _high: hi <= low,
    "ap": lambda lo, hi, low, high: and_(lo < high, hi > low),
    "po": lambda lo, hi, low, high: and_(lo < high, hi > low),
}
_of_envelope: dict[str, Ends] = {
    # What the envelope of several ranges must fulfil for one of them to match.
    "eq": _of_range["ap"],
    "ne": lambda lo, hi, low, high: or_(lo < low, hi > high, _of_range["ap"](lo, hi, low, high)),
    "gt": _of_range["gt"],
    "lt": _of_range["lt"],
    "ge": lambda _lo, hi, low, _high: hi > low,
    "le": lambda lo, _hi, _low, high: lo < high,
    "sa": _of_range["gt"],
    "eb": _of_range["lt"],
    "ap": _of_range["ap"],
    "po": _of_range["po"],
}
_of_moment: dict[str, Callable[[Any, Any, Any], Condition]] = {
    # A moment known to the millisecond is a range of one millisecond; on that grid these are the definitions above.
    "eq": lambda at, low, high: and_(at >= low, at < high),
    "ne": lambda at, low, high: or_(at < low, at >= high),
    "gt": lambda at, _low, high: at >= high,
    "lt": lambda at, low, _high: at < low,
    "ge": lambda at, low, _high: at >= low,
    "le": lambda at, _low, high: at < high,
    "sa": lambda at, _low, high: at >= high,
    "eb": lambda at, low, _high: at < low,
    "ap": lambda at, low, high: and_(at >= low, at < high),
    "po": lambda at, low, high: and_(at >= low, at < high),
}
_of_number: dict[str, Callable[[Any, Any, Any], Condition]] = {
    # A stored number is exact, a stored Range is from its low to its high, both included. Only eq, ne and ap look at
    # the precision a number was searched with: it is the range [low, high). The others compare with its exact value.
    "eq": lambda lo, hi, asked: and_(lo >= asked.low, hi < asked.high),
    "ne": lambda lo, hi, asked: or_(lo < asked.low, hi >= asked.high),
    "gt": lambda _lo, hi, asked: hi > asked.value,
    "lt": lambda lo, _hi, asked: lo < asked.value,
    "ge": lambda _lo, hi, asked: hi >= asked.value,
    "le": lambda lo, _hi, asked: lo <= asked.value,
    "sa": lambda lo, _hi, asked: lo > asked.value,
    "eb": lambda _lo, hi, asked: hi < asked.value,
    "ap": lambda lo, hi, asked: and_(lo < asked.high, hi >= asked.low),
}


@dataclass(frozen=True, slots=True)
class _Number:
    """A searched number, bound."""

    value: ColumnElement[Any]
    low: ColumnElement[Any]
    high: ColumnElement[Any]


def compare_moment(at: ColumnElement[Any], value: DateValue) -> Condition:
    """Return the comparison of ``_lastUpdated``."""
    return _of_moment[value.prefix](at, instant(value.low), instant(value.high))


def compare_span(lo: ColumnElement[Any], hi: ColumnElement[Any], value: DateValue) -> Condition:
    """Return the comparison of one stored span of time, ``[lo, hi)``."""
    return _of_range[value.prefix](lo, hi, instant(value.low), instant(value.high))


def compare_date(table: FromClause, parameter: SearchParameter, value: DateValue) -> Condition:
    """Return the comparison with a date column; several values are compared one by one behind their envelope."""
    lo, hi = table.c[column_name(parameter, "_lo")], table.c[column_name(parameter, "_hi")]
    if not parameter.multiple:
        return compare_span(lo, hi, value)
    spans = unnested(table.c[column_name(parameter, "_all")])
    one = compare_span(func.lower(spans.c.value), func.upper(spans.c.value), value)
    some = exists(select(literal(1)).select_from(spans).where(one))
    return and_(_of_envelope[value.prefix](lo, hi, instant(value.low), instant(value.high)), some)


def compare_one_number(number: ColumnElement[Any], value: NumberValue) -> Condition:
    """Return the comparison of one stored number."""
    return _compare(number, number, value)


def compare_number(table: FromClause, parameter: SearchParameter, value: NumberValue) -> Condition:
    """Return the comparison with a number column."""
    numbers = table.c[column_name(parameter)]
    if not parameter.multiple:
        return compare_one_number(numbers[1], value)
    each = unnested(numbers)
    return exists(select(literal(1)).select_from(each).where(compare_one_number(each.c.value, value)))


def compare_amount(
    low: ColumnElement[Any], high: ColumnElement[Any], unit: ColumnElement[Any], value: QuantityValue
) -> Condition:
    """Return the comparison of one entry of a quantity column: as it was written, or in base units."""
    in_base = _in_base(value)
    if in_base is not None:
        return and_(unit == literal(in_base.code, Text), _compare(low, high, in_base))
    return and_(_has_unit(unit, value), _compare(low, high, value))


def compare_quantity(table: FromClause, parameter: SearchParameter, value: QuantityValue) -> Condition:
    """Return the comparison with a quantity column. A column of one quantity has it in base units second."""
    numbers, units = table.c[column_name(parameter)], table.c[column_name(parameter, "_unit")]
    highs = table.c[column_name(parameter, "_hi")] if may_be_range(parameter) else None
    if not parameter.multiple:
        place = 1 if _in_base(value) is None else 2
        high = numbers[place] if highs is None else func.coalesce(highs[place], numbers[place])
        return compare_amount(numbers[place], high, units[place], value)
    arrays = (numbers, units) if highs is None else (numbers, units, highs)
    names = (column("number", Numeric), column("unit", Text), column("high", Numeric))[: len(arrays)]
    each = func.unnest(*arrays).table_valued(*names).render_derived()
    high = each.c.number if highs is None else func.coalesce(each.c.high, each.c.number)
    return exists(select(literal(1)).select_from(each).where(compare_amount(each.c.number, high, each.c.unit, value)))


def _in_base(value: QuantityValue) -> QuantityValue | None:
    """Return what is searched in base units, their dimension as its code; None when the unit is not one of UCUM."""
    unit = ucum.unit(value.code) if value.system == ucum.SYSTEM and value.code else None
    if unit is None:
        return None
    number, low, high = (unit.to_base(part) for part in (value.value, value.low, value.high))
    return QuantityValue(value.prefix, number, low, high, None, base_unit(unit.dimension))


def _compare(low: ColumnElement[Any], high: ColumnElement[Any], value: NumberValue | QuantityValue) -> Condition:
    asked = _Number(*(literal(part, Numeric) for part in (value.value, value.low, value.high)))
    return _of_number[value.prefix](low, high, asked)


def _has_unit(unit: ColumnElement[Any], value: QuantityValue) -> Condition:
    """Compare with ``system|code|unit``; without a system the code may also be the unit as it is displayed."""
    if value.system is not None:
        wanted = f"{value.system}|{value.code}|" if value.code else f"{value.system}|"
        return func.starts_with(unit, literal(wanted, Text))
    if value.code is not None:
        code = literal(value.code, Text)
        return or_(func.split_part(unit, "|", 2) == code, func.split_part(unit, "|", 3) == code)
    return func.strpos(unit, "|") > 0
