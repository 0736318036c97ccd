"""Composite parameters: their components have to be fulfilled by one and the same part of a resource.

https://hl7.org/fhir/R4/search.html#composite. Where the columns of the components already say what a composite says,
as for an Observation without components, its own column stays empty; else it lists, part by part, the entries of each
component. A search narrows by the components' columns and their indexes, then looks at the list where there is one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import ColumnElement, FromClause, Numeric, Text, and_, exists, func, literal, or_, select
from sqlalchemy import cast as sql_cast

from fhir_server.definitions import SearchParameter, TypedValue, compile_composite, search_parameters
from fhir_server.kernel.search_values import (
    CompositeValue,
    DateValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    SearchValue,
    StringValue,
    UriValue,
)
from fhir_server.store import asked, comparisons
from fhir_server.store.entries import bounded
from fhir_server.store.sql import listed, text_array
from fhir_server.store.tables.resources import column_name, composite_parameters, instant

Json = dict[str, Any]
Columns = dict[str, Any]
Fill = Callable[[list[TypedValue], Columns], None]
Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class _Component:
    """A component: the parameter it is, and how its values become columns."""

    parameter: SearchParameter
    fill: Fill
    present: str

    def columns(self, values: list[TypedValue]) -> Columns:
        found: Columns = {}
        self.fill(values, found)
        return found


@cache
def components(composite: SearchParameter, resource_type: str) -> tuple[SearchParameter, ...]:
    """Return the parameters a composite is made of."""
    known = search_parameters(resource_type)
    return tuple(known[code] for _, code in composite.components)


def present_column(parameter: SearchParameter) -> str:
    """Return the column that is not null where a resource has a value of the parameter."""
    return column_name(parameter, "_lo" if parameter.type == "date" else "")


Plan = tuple[tuple[str, Callable[[Json], list[tuple[list[TypedValue], ...]]], tuple[_Component, ...]], ...]


def composite_plan(resource_type: str, filler: Callable[[SearchParameter], Fill]) -> Plan:
    """Return what ``fill_composites`` needs to know of a type."""
    found = []
    for composite in composite_parameters(resource_type):
        expressions = tuple(expression for expression, _ in composite.components)
        evaluate = compile_composite(composite.expression, expressions, resource_type)
        parts = tuple(_Component(one, filler(one), present_column(one)) for one in components(composite, resource_type))
        found.append((column_name(composite), evaluate, parts))
    return tuple(found)


def fill_composites(plan: Plan, resource: Json, values: Mapping[str, list[TypedValue]], columns: Columns) -> None:
    """Add the columns of the composites that say more than those of their components.

    ``values`` are those of each parameter, by code, that has any; ``columns`` have been made from them.
    """
    for column, evaluate, parts in plan:
        if any(part.parameter.code not in values for part in parts):
            continue
        groups = evaluate(resource)
        if len(groups) == 1 and all(
            found == values[part.parameter.code] for part, found in zip(parts, groups[0], strict=True)
        ):
            continue
        columns[column] = [listed for group in groups if (listed := _listed_group(parts, group))]


def _listed_group(parts: tuple[_Component, ...], group: tuple[list[TypedValue], ...]) -> list[list[Any]]:
    """Return the entries of each component; none when one of them has no value here."""
    filled = [part.columns(found) for part, found in zip(parts, group, strict=True)]
    if any(part.present not in columns for part, columns in zip(parts, filled, strict=True)):
        return []
    return [_listed(part.parameter, columns) for part, columns in zip(parts, filled, strict=True)]


def _listed(parameter: SearchParameter, columns: Columns) -> list[Any]:
    """Return the entries of a component: texts, numbers, [low, high] of a date, [low, high, unit] of a quantity."""
    name = column_name(parameter)
    if parameter.type == "date":
        return [[columns[f"{name}_lo"], columns[f"{name}_hi"]]]
    if parameter.type != "quantity":
        return list(columns[name])
    highs: list[Any] = columns.get(f"{name}_hi") or columns[name]
    return [list(amount) for amount in zip(columns[name], highs, columns[f"{name}_unit"], strict=True)]


def in_one_part(table: FromClause, composite: SearchParameter, resource_type: str, value: CompositeValue) -> Condition:
    """Return the condition that one part fulfils every component, given that the components' columns do."""
    column = table.c[column_name(composite)]
    groups = listed(column)
    tests = [
        _test(groups.c.value[place], parameter, resource_type, part)
        for place, (parameter, part) in enumerate(zip(components(composite, resource_type), value.parts, strict=True))
    ]
    return or_(column.is_(None), exists(select(literal(1)).select_from(groups).where(and_(*tests))))


def is_missing(table: FromClause, composite: SearchParameter, resource_type: str) -> Condition:
    """Return the condition that no part has a value for every component."""
    column = table.c[column_name(composite)]
    lacking = (table.c[present_column(one)].is_(None) for one in components(composite, resource_type))
    return or_(*lacking, and_(column.is_not(None), func.jsonb_array_length(column) == 0))


def _test(entries: ColumnElement[Any], parameter: SearchParameter, resource_type: str, value: SearchValue) -> Condition:
    """Return the condition that one of the listed entries of a component is as asked."""
    match value:
        case StringValue():
            begins = literal(asked.folded(parameter, value), Text)
            return _some(entries, lambda entry: func.starts_with(_text(entry), begins))
        case DateValue():
            return _some(entries, lambda span: comparisons.compare_span(_moment(span[0]), _moment(span[1]), value))
        case NumberValue():
            return _some(entries, lambda number: comparisons.compare_one_number(_number(number), value))
        case QuantityValue():
            return _some(
                entries,
                lambda one: comparisons.compare_amount(_number(one[0]), _number(one[1]), _text(one[2]), value),
            )
        case _:
            return entries.op("?|", is_comparison=True)(text_array(_asked(parameter, resource_type, value)))


def _asked(parameter: SearchParameter, resource_type: str, value: SearchValue) -> tuple[str, ...]:
    if parameter.type == "reference":
        return (asked.reference(cast("ReferenceValue", value), parameter),)
    if parameter.type == "uri":
        return (bounded(cast("UriValue", value).uri),)
    return asked.token(parameter, resource_type, None, (value,)).entries


def _some(entries: ColumnElement[Any], test: Callable[[ColumnElement[Any]], Condition]) -> Condition:
    each = listed(entries)
    return exists(select(literal(1)).select_from(each).where(test(each.c.value)))


def _text(entry: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a JSON text or number as plain text."""
    return entry.op("#>>", return_type=Text())(text_array(()))


def _number(entry: ColumnElement[Any]) -> ColumnElement[Any]:
    return sql_cast(_text(entry), Numeric)


def _moment(entry: ColumnElement[Any]) -> ColumnElement[Any]:
    return sql_cast(_text(entry), instant)
