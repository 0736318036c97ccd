"""The order of a search and where its next page begins.

https://hl7.org/fhir/R4/search.html#sort. Resources without the value come last, whatever the direction; the id breaks
ties, so that the order is total and a page begins right after the last one ended, whatever was written meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Numeric, Text, and_, func, literal, not_, or_, select

from fhir_server.kernel.search_query import SortKey
from fhir_server.store.sql import instant, unnested
from fhir_server.store.tables.resources import column_name


@dataclass(frozen=True, slots=True)
class Key:
    """One sort key as SQL; ``nullable`` tells whether a resource may lack it."""

    expression: ColumnElement[Any]
    descending: bool
    nullable: bool

    @property
    def order(self) -> ColumnElement[Any]:
        """The ORDER BY term. A key that is never null leaves NULLS out, so that an index gives the order."""
        ordered = self.expression.desc() if self.descending else self.expression.asc()
        return ordered.nulls_last() if self.nullable else ordered

    def bound(self, value: Any) -> ColumnElement[Any]:
        """Return a cursor's value as a bound one of the key's type."""
        if isinstance(self.expression.type, Numeric):
            return literal(Decimal(value), Numeric)
        if isinstance(self.expression.type, Text):
            return literal(value, Text(collation="C"))
        return instant(datetime.fromisoformat(value))

    def equals(self, value: Any) -> ColumnElement[bool]:
        """Return the condition that the key is as the cursor's."""
        return self.expression.is_(None) if value is None else self.expression == self.bound(value)

    def follows(self, value: Any) -> ColumnElement[bool] | None:
        """Return the condition that the key comes after the cursor's; None when nothing does."""
        if value is None:
            return None
        bound = self.bound(value)
        later = self.expression < bound if self.descending else self.expression > bound
        return or_(later, self.expression.is_(None)) if self.nullable else later

    def reaches(self, value: Any) -> ColumnElement[bool]:
        """Return what follows or equals: the bound that lets an index start at the right place."""
        bound = self.bound(value)
        return self.expression <= bound if self.descending else self.expression >= bound


def sort_key(table: FromClause, key: SortKey) -> Key:
    """Return the key of a ``_sort`` parameter; of several values the earliest counts, descending the latest."""
    parameter = key.parameter
    if parameter.code == "_id":
        return Key(table.c.id, key.descending, nullable=False)
    if parameter.code == "_lastUpdated":
        return Key(table.c.last_updated, key.descending, nullable=False)
    if parameter.type == "date":
        end = "_hi" if key.descending and parameter.multiple else "_lo"
        return Key(table.c[column_name(parameter, end)], key.descending, nullable=True)
    column = table.c[column_name(parameter)]
    if parameter.type in ("number", "quantity"):
        return Key(column[1], key.descending, nullable=True)
    return Key(_first_entry(column, parameter.type, descending=key.descending), key.descending, nullable=True)


def _first_entry(column: ColumnElement[Any], type: str, *, descending: bool) -> ColumnElement[Any]:
    entries = unnested(column)
    entry = entries.c.value
    chosen = {
        "string": not_(func.starts_with(entry, "=")),
        "token": func.starts_with(entry, "="),
        "reference": not_(func.starts_with(entry, "=")),
    }.get(type)
    end = func.max(entry.collate("C")) if descending else func.min(entry.collate("C"))
    statement = select(end).select_from(entries)
    if chosen is not None:
        statement = statement.where(chosen)
    return statement.scalar_subquery()


def after(keys: Sequence[Key], position: list[Any]) -> ColumnElement[bool]:
    """Return the condition that a row comes after the position, key by key."""
    alternatives = []
    for place, (key, value) in enumerate(zip(keys, position, strict=True)):
        follows = key.follows(value)
        if follows is not None:
            equal = [before.equals(position[at]) for at, before in enumerate(keys[:place])]
            alternatives.append(and_(*equal, follows))
    condition = or_(*alternatives)
    if position[0] is not None and not keys[0].nullable:
        return and_(keys[0].reaches(position[0]), condition)
    return condition


def position_value(value: Any) -> Any:
    """Return a sort value as it stands in a cursor."""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
