"""Search criteria as SQL conditions on a resource table.

https://hl7.org/fhir/R4/search.html#modifiers
"""

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Text,
    and_,
    any_,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY

from fhir_server.definitions import SearchParameter
from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.search_query import HAS, Criterion
from fhir_server.kernel.search_values import (
    DateValue,
    MissingValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    SearchValue,
    StringValue,
    TokenValue,
    TypedIdentifierValue,
    UriValue,
)
from fhir_server.store import comparisons
from fhir_server.store.entries import LONGEST_STRING, bounded, fold, of_type_entry, token_entry
from fhir_server.store.sql import text_array, unnested
from fhir_server.store.tables.resources import column_name, resource_table

Condition = ColumnElement[bool]
Reach = Callable[[str, FromClause], Condition]
"""Which rows of another type's table a criterion may look at: (type, table) to condition."""


def condition(criterion: Criterion, table: FromClause, resource_type: str, reach: Reach) -> Condition:
    """Return the criterion as a condition on ``table``. Raises InvalidSearch for what cannot be searched."""
    if criterion.parameter is HAS:
        return _has(criterion, table, resource_type, reach)
    if criterion.chain is not None:
        return _chain(criterion, table, reach)
    first = criterion.values[0]
    if isinstance(first, MissingValue):
        return or_(*(_missing(table, criterion.parameter, cast("MissingValue", value)) for value in criterion.values))
    if criterion.parameter.code == "_id":
        return _id(table, criterion)
    if criterion.parameter.code == "_lastUpdated":
        dates = cast("tuple[DateValue, ...]", criterion.values)
        return or_(*(comparisons.compare_moment(table.c.last_updated, value) for value in dates))
    search = _by_type.get(criterion.parameter.type)
    if search is None:
        raise _unsupported(criterion)
    return search(criterion, table)


def _unsupported(criterion: Criterion) -> InvalidSearch:
    modifier = f":{criterion.modifier}" if criterion.modifier else ""
    return InvalidSearch(f"Searching by '{criterion.parameter.code}{modifier}' is not supported.")


def _id(table: FromClause, criterion: Criterion) -> Condition:
    ids = [value.code or "" for value in cast("tuple[TokenValue, ...]", criterion.values)]
    found = table.c.id == any_(text_array(ids))
    return not_(found) if criterion.modifier == "not" else found


def _missing(table: FromClause, parameter: SearchParameter, value: MissingValue) -> Condition:
    if parameter.code in ("_id", "_lastUpdated"):
        return literal(not value.missing)
    if parameter.type in ("composite", "special"):
        raise InvalidSearch(f"Searching by '{parameter.code}:missing' is not supported.")
    column = table.c[column_name(parameter, "_lo" if parameter.type == "date" else "")]
    return column.is_(None) if value.missing else column.is_not(None)


def _overlaps(column: ColumnElement[Any], entries: list[str]) -> Condition:
    return column.op("&&", is_comparison=True)(text_array(list(dict.fromkeys(entries))))


def _some(column: ColumnElement[Any], test: Callable[[ColumnElement[Any]], Condition]) -> Condition:
    entries = unnested(column)
    return exists(select(literal(1)).select_from(entries).where(test(entries.c.value)))


def _token(criterion: Criterion, table: FromClause) -> Condition:
    column = table.c[column_name(criterion.parameter)]
    if criterion.modifier in (None, "not", "of-type"):
        found = _overlaps(column, [_token_value(value) for value in criterion.values])
        return found.is_not(True) if criterion.modifier == "not" else found
    if criterion.modifier == "text":
        texts = cast("tuple[StringValue, ...]", criterion.values)
        return or_(*(_some(column, _begins("~" + _folded(criterion, value))) for value in texts))
    raise _unsupported(criterion)


def _token_value(value: SearchValue) -> str:
    if isinstance(value, TypedIdentifierValue):
        return of_type_entry(value.system, value.code, value.value)
    token = cast("TokenValue", value)
    return token_entry(token.system, token.code)


def _begins(prefix: str) -> Callable[[ColumnElement[Any]], Condition]:
    return lambda entry: func.starts_with(entry, literal(prefix, Text))


def _folded(criterion: Criterion, value: StringValue) -> str:
    folded = fold(value.text)
    if len(folded) > LONGEST_STRING:
        raise InvalidSearch(f"The value of '{criterion.parameter.code}' is longer than {LONGEST_STRING} characters.")
    return folded


def _string(criterion: Criterion, table: FromClause) -> Condition:
    column = table.c[column_name(criterion.parameter)]
    values = cast("tuple[StringValue, ...]", criterion.values)
    if criterion.modifier == "contains":
        parts = [folded for value in values if (folded := _folded(criterion, value).strip())]
        return or_(false(), *(_some(column, _contains(part)) for part in parts))
    if criterion.modifier == "exact":
        lexemes = [_lexeme(bounded("=" + value.text)) for value in values]
    else:
        lexemes = [_lexeme(folded) + ":*" for value in values if (folded := _folded(criterion, value)).strip()]
    if not lexemes:
        return false()
    wanted = sql_cast(literal(" | ".join(lexemes), Text), TSQUERY)
    return func.array_to_tsvector(column).op("@@", is_comparison=True)(wanted)


def _contains(part: str) -> Callable[[ColumnElement[Any]], Condition]:
    wanted = literal(part, Text)
    return lambda entry: and_(not_(func.starts_with(entry, "=")), func.strpos(entry, wanted) > 0)


def _lexeme(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _reference(criterion: Criterion, table: FromClause) -> Condition:
    column = table.c[column_name(criterion.parameter)]
    if criterion.modifier == "identifier":
        return _overlaps(column, ["#" + _token_value(value) for value in criterion.values])
    if criterion.modifier in ("above", "below"):
        raise _unsupported(criterion)
    values = cast("tuple[ReferenceValue, ...]", criterion.values)
    return _overlaps(column, [_reference_entry(value, criterion.parameter) for value in values])


def _reference_entry(value: ReferenceValue, parameter: SearchParameter) -> str:
    if value.id is None:
        return bounded(value.url or "")
    only = parameter.targets[0] if len(parameter.targets) == 1 else None
    target = value.type or only
    return f"{target}/{value.id}" if target else f"={value.id}"


def _uri(criterion: Criterion, table: FromClause) -> Condition:
    column = table.c[column_name(criterion.parameter)]
    uris = [value.uri for value in cast("tuple[UriValue, ...]", criterion.values)]
    if criterion.modifier == "below":
        return or_(*(_some(column, _below(uri)) for uri in uris))
    if criterion.modifier == "above":
        return _overlaps(column, [bounded(above) for uri in uris for above in _above(uri)])
    return _overlaps(column, [bounded(uri) for uri in uris])


def _below(uri: str) -> Callable[[ColumnElement[Any]], Condition]:
    base = uri.rstrip("/")
    return lambda entry: or_(entry == literal(base, Text), func.starts_with(entry, literal(base + "/", Text)))


def _above(uri: str) -> list[str]:
    parts = uri.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _date(criterion: Criterion, table: FromClause) -> Condition:
    values = cast("tuple[DateValue, ...]", criterion.values)
    return or_(*(comparisons.compare_date(table, criterion.parameter, value) for value in values))


def _number(criterion: Criterion, table: FromClause) -> Condition:
    values = cast("tuple[NumberValue, ...]", criterion.values)
    return or_(*(comparisons.compare_number(table, criterion.parameter, value) for value in values))


def _quantity(criterion: Criterion, table: FromClause) -> Condition:
    values = cast("tuple[QuantityValue, ...]", criterion.values)
    return or_(*(comparisons.compare_quantity(table, criterion.parameter, value) for value in values))


_by_type: dict[str, Callable[[Criterion, FromClause], Condition]] = {
    "token": _token,
    "string": _string,
    "reference": _reference,
    "uri": _uri,
    "date": _date,
    "number": _number,
    "quantity": _quantity,
}


def _joined(criterion: Criterion, reach: Reach) -> tuple[FromClause, Condition]:
    """Return the other type's table and what its rows must fulfil: the chained criterion, and be visible."""
    if criterion.chain is None or criterion.chain_type is None:
        raise _unsupported(criterion)
    other = resource_table(criterion.chain_type).alias()
    wanted = condition(criterion.chain, other, criterion.chain_type, reach)
    return other, and_(not_(other.c.deleted), reach(criterion.chain_type, other), wanted)


def _chain(criterion: Criterion, table: FromClause, reach: Reach) -> Condition:
    other, wanted = _joined(criterion, reach)
    references = select(literal(f"{criterion.chain_type}/", Text) + other.c.id).where(wanted)
    found = func.array(references.scalar_subquery(), type_=ARRAY(Text))
    return table.c[column_name(criterion.parameter)].op("&&", is_comparison=True)(found)


def _has(criterion: Criterion, table: FromClause, resource_type: str, reach: Reach) -> Condition:
    if criterion.link is None:
        raise _unsupported(criterion)
    other, wanted = _joined(criterion, reach)
    prefix = f"{resource_type}/"
    entries = unnested(other.c[column_name(criterion.link)])
    ids = (
        select(func.substr(entries.c.value, len(prefix) + 1))
        .select_from(other.join(entries, true()))
        .where(wanted, func.starts_with(entries.c.value, literal(prefix, Text)))
    )
    return table.c.id == any_(func.array(ids.scalar_subquery(), type_=ARRAY(Text)))
