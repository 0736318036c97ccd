"""Search criteria as SQL conditions on a resource table.

https://hl7.org/fhir/R4/search.html#modifiers
"""

from collections.abc import Callable, Sequence
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
from fhir_server.kernel.search_criteria import HAS, AllOf, AnyOf, Criterion, Node, Not
from fhir_server.kernel.search_values import (
    CompositeValue,
    DateValue,
    MissingValue,
    NearValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
)
from fhir_server.store import asked, comparisons, composites
from fhir_server.store.entries import bounded, token_entry
from fhir_server.store.full_text import in_content, in_narrative
from fhir_server.store.places import near
from fhir_server.store.sql import text_array, unnested
from fhir_server.store.tables.resources import column_name, resource_table

Condition = ColumnElement[bool]
Reach = Callable[[str, FromClause], Condition]
"""Which rows of another type's table a criterion may look at: (type, table) to condition."""


def condition(criterion: Criterion, table: FromClause, resource_type: str, reach: Reach) -> Condition:
    """Return the criterion as a condition on ``table``. Raises InvalidSearch for what cannot be searched."""
    if criterion.filter is not None:
        return _filter(criterion.filter, table, resource_type, reach)
    if criterion.parameter is HAS:
        return _has(criterion, table, resource_type, reach)
    if criterion.parameter.code == "_list":
        return _listed(criterion, table, resource_type, reach)
    if criterion.chain is not None:
        return _chain(criterion, table, reach)
    if isinstance(criterion.values[0], MissingValue):
        missing = cast("tuple[MissingValue, ...]", criterion.values)
        return or_(*(_missing(table, criterion.parameter, resource_type, value) for value in missing))
    return _compared(criterion, table, resource_type)


def _filter(node: Node, table: FromClause, resource_type: str, reach: Reach) -> Condition:
    match node:
        case AllOf(parts):
            return and_(*(_filter(part, table, resource_type, reach) for part in parts))
        case AnyOf(parts):
            return or_(*(_filter(part, table, resource_type, reach) for part in parts))
        case Not(part):
            return _filter(part, table, resource_type, reach).is_not(True)
        case _:
            return condition(node, table, resource_type, reach)


def _compared(criterion: Criterion, table: FromClause, resource_type: str) -> Condition:
    if criterion.parameter.code == "_id":
        return _id(table, criterion)
    if criterion.parameter.code == "_lastUpdated":
        dates = cast("tuple[DateValue, ...]", criterion.values)
        return or_(*(comparisons.compare_moment(table.c.last_updated, value) for value in dates))
    if criterion.parameter.type == "token":
        return _token(criterion, table, resource_type)
    if criterion.parameter.type == "composite":
        return _composite(criterion, table, resource_type)
    if criterion.parameter.type == "special":
        return _special[criterion.parameter.code](criterion, table)
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


def _missing(table: FromClause, parameter: SearchParameter, resource_type: str, value: MissingValue) -> Condition:
    if parameter.code in ("_id", "_lastUpdated"):
        return literal(not value.missing)
    if parameter.type == "composite":
        missing = composites.is_missing(table, parameter, resource_type)
        return missing if value.missing else not_(missing)
    column = table.c[composites.present_column(parameter)]
    return column.is_(None) if value.missing else column.is_not(None)


def _composite(criterion: Criterion, table: FromClause, resource_type: str) -> Condition:
    """Narrow by the columns of the components, then ask whether it is one part that fulfils them all."""
    parameters = composites.components(criterion.parameter, resource_type)
    return or_(
        *(
            and_(
                *(
                    _compared(Criterion(one, values=(part,)), table, resource_type)
                    for one, part in zip(parameters, value.parts, strict=True)
                ),
                composites.in_one_part(table, criterion.parameter, resource_type, value),
            )
            for value in cast("tuple[CompositeValue, ...]", criterion.values)
        )
    )


def _overlaps(column: ColumnElement[Any], entries: Sequence[str]) -> Condition:
    return column.op("&&", is_comparison=True)(text_array(list(dict.fromkeys(entries))))


def _some(column: ColumnElement[Any], test: Callable[[ColumnElement[Any]], Condition]) -> Condition:
    entries = unnested(column)
    return exists(select(literal(1)).select_from(entries).where(test(entries.c.value)))


def _token(criterion: Criterion, table: FromClause, resource_type: str) -> Condition:
    column = table.c[column_name(criterion.parameter)]
    if criterion.modifier == "text":
        texts = cast("tuple[StringValue, ...]", criterion.values)
        return or_(*(_some(column, _begins("~" + asked.folded(criterion.parameter, value))) for value in texts))
    wanted = asked.token(criterion.parameter, resource_type, criterion.modifier, criterion.values)
    found = or_(
        _overlaps(column, wanted.entries),
        *(_some(column, _begins(prefix)) for prefix in wanted.prefixes),
    )
    return found.is_not(True) if criterion.modifier in ("not", "not-in") else found


def _begins(prefix: str) -> Callable[[ColumnElement[Any]], Condition]:
    return lambda entry: func.starts_with(entry, literal(prefix, Text))


def _string(criterion: Criterion, table: FromClause) -> Condition:
    column = table.c[column_name(criterion.parameter)]
    values = cast("tuple[StringValue, ...]", criterion.values)
    texts = [asked.folded(criterion.parameter, value) for value in values if criterion.modifier != "exact"]
    if criterion.modifier == "contains":
        return or_(false(), *(_some(column, _contains(text.strip())) for text in texts if text.strip()))
    if criterion.modifier == "ends":
        return or_(false(), *(_some(column, _ends(text)) for text in texts if text.strip()))
    if criterion.modifier == "exact":
        lexemes = [_lexeme(bounded("=" + value.text)) for value in values]
    elif criterion.modifier == "equals":
        lexemes = [_lexeme(text) for text in texts if text.strip()]
    else:
        lexemes = [_lexeme(text) + ":*" for text in texts if text.strip()]
    if not lexemes:
        return false()
    wanted = sql_cast(literal(" | ".join(lexemes), Text), TSQUERY)
    return func.array_to_tsvector(column).op("@@", is_comparison=True)(wanted)


def _contains(part: str) -> Callable[[ColumnElement[Any]], Condition]:
    wanted = literal(part, Text)
    return lambda entry: and_(not_(func.starts_with(entry, "=")), func.strpos(entry, wanted) > 0)


def _ends(part: str) -> Callable[[ColumnElement[Any]], Condition]:
    return lambda entry: and_(not_(func.starts_with(entry, "=")), func.right(entry, len(part)) == literal(part, Text))


def _lexeme(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _reference(criterion: Criterion, table: FromClause) -> Condition:
    column = table.c[column_name(criterion.parameter)]
    if criterion.modifier == "identifier":
        tokens = cast("tuple[TokenValue, ...]", criterion.values)
        return _overlaps(column, ["#" + token_entry(value.system, value.code) for value in tokens])
    if criterion.modifier in ("above", "below"):
        raise _unsupported(criterion)
    values = cast("tuple[ReferenceValue, ...]", criterion.values)
    return _overlaps(column, [asked.reference(value, criterion.parameter) for value in values])


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


def _listed(criterion: Criterion, table: FromClause, resource_type: str, reach: Reach) -> Condition:
    """Return the condition that a List holds the row; the List has to be one the Subject may search."""
    lists = resource_table("List").alias()
    ids = [value.id for value in cast("tuple[ReferenceValue, ...]", criterion.values) if value.id]
    prefix = f"{resource_type}/"
    entries = unnested(lists.c.p_item)
    members = (
        select(func.substr(entries.c.value, len(prefix) + 1))
        .select_from(lists.join(entries, true()))
        .where(
            lists.c.id == any_(text_array(ids)),
            not_(lists.c.deleted),
            reach("List", lists),
            func.starts_with(entries.c.value, literal(prefix, Text)),
        )
    )
    return table.c.id == any_(func.array(members.scalar_subquery(), type_=ARRAY(Text)))


_special: dict[str, Callable[[Criterion, FromClause], Condition]] = {
    "near": lambda criterion, table: near(table, cast("tuple[NearValue, ...]", criterion.values)),
    "_text": lambda criterion, table: in_narrative(table, cast("tuple[StringValue, ...]", criterion.values)),
    "_content": lambda criterion, table: in_content(table, cast("tuple[StringValue, ...]", criterion.values)),
}
_by_type: dict[str, Callable[[Criterion, FromClause], Condition]] = {
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
