"""Date, number and quantity comparisons with the specification's range semantics, as SQL.

https://hl7.org/fhir/R4/search.html#prefix. A searched value is the range ``[low, high)``; so is a stored date.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Numeric, Text, and_, column, exists, func, literal, or_, select, true

from fhir_server.definitions import SearchParameter
from fhir_server.kernel.search_values import DateValue, NumberValue, QuantityValue
from fhir_server.store.sql import instant, unnested
from fhir_server.store.tables.resources import column_name

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
}
_of_number: dict[str, Callable[[Any, Any, Any, Any], Condition]] = {
    "eq": lambda n, _value, low, high: and_(n >= low, n < high),
    "ne": lambda n, _value, low, high: or_(n < low, n >= high),
    "gt": lambda n, value, _low, _high: n > value,
    "lt": lambda n, value, _low, _high: n < value,
    "ge": lambda n, value, _low, _high: n >= value,
    "le": lambda n, value, _low, _high: n <= value,
    "sa": lambda n, _value, _low, high: n >= high,
    "eb": lambda n, _value, low, _high: n < low,
    "ap": lambda n, _value, low, high: and_(n >= low, n < high),
}


def compare_moment(at: ColumnElement[Any], value: DateValue) -> Condition:
    """Return the comparison of ``_lastUpdated``."""
    return _of_moment[value.prefix](at, instant(value.low), instant(value.high))


def compare_date(table: FromClause, parameter: SearchParameter, value: DateValue) -> Condition:
    """Return the comparison with a date column; several values are compared one by one behind their envelope."""
    lo, hi = table.c[column_name(parameter, "_lo")], table.c[column_name(parameter, "_hi")]
    low, high = instant(value.low), instant(value.high)
    if not parameter.multiple:
        return _of_range[value.prefix](lo, hi, low, high)
    spans = unnested(table.c[column_name(parameter, "_all")])
    one = _of_range[value.prefix](func.lower(spans.c.value), func.upper(spans.c.value), low, high)
    some = exists(select(literal(1)).select_from(spans).where(one))
    return and_(_of_envelope[value.prefix](lo, hi, low, high), some)


def compare_number(table: FromClause, parameter: SearchParameter, value: NumberValue) -> Condition:
    """Return the comparison with a number column."""
    numbers = table.c[column_name(parameter)]
    if not parameter.multiple:
        return _compare(numbers[1], value)
    each = unnested(numbers)
    return exists(select(literal(1)).select_from(each).where(_compare(each.c.value, value)))


def compare_quantity(table: FromClause, parameter: SearchParameter, value: QuantityValue) -> Condition:
    """Return the comparison with a quantity column: number, and unit where one is asked for."""
    numbers, units = table.c[column_name(parameter)], table.c[column_name(parameter, "_unit")]
    if not parameter.multiple:
        return and_(_compare(numbers[1], value), _has_unit(units[1], value))
    each = func.unnest(numbers, units).table_valued(column("number", Numeric), column("unit", Text)).render_derived()
    fits = and_(_compare(each.c.number, value), _has_unit(each.c.unit, value))
    return exists(select(literal(1)).select_from(each).where(fits))


def _compare(number: ColumnElement[Any], value: NumberValue | QuantityValue) -> Condition:
    bound = (literal(part, Numeric) for part in (value.value, value.low, value.high))
    return _of_number[value.prefix](number, *bound)


def _has_unit(unit: ColumnElement[Any], value: QuantityValue) -> Condition:
    """Compare with ``system|code|unit``; without a system the code may also be the unit as it is displayed."""
    if value.system is not None:
        wanted = f"{value.system}|{value.code}|" if value.code else f"{value.system}|"
        return func.starts_with(unit, literal(wanted, Text))
    if value.code is not None:
        code = literal(value.code, Text)
        return or_(func.split_part(unit, "|", 2) == code, func.split_part(unit, "|", 3) == code)
    return true()
