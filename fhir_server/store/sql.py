"""Compose with SQLAlchemy Core, execute on psycopg: a composed statement as the text and values psycopg wants.

https://docs.sqlalchemy.org/en/20/faq/sqlexpressions.html#how-do-i-render-sql-expressions-as-strings
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from psycopg import AsyncConnection, AsyncCursor
from sqlalchemy import ColumnElement, FromClause, Text, bindparam, column, func, literal
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.expression import ClauseElement

from fhir_server.store.tables.resources import resource_table

_dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy publishes no types for dialects
ROOT = "r"  # the alias of the table a statement is about; one image of a resource can stand in for it


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text with named placeholders, and the values for them."""

    text: str
    values: dict[str, Any]

    async def execute(
        self, connection: AsyncConnection[Any], values: dict[str, Any] | None = None, *, prepare: bool | None = None
    ) -> AsyncCursor[Any]:
        """Run it; ``values`` are added to its own. ``prepare=False`` plans for these very values."""
        return await connection.execute(
            self.text.encode(), self.values if values is None else self.values | values, prepare=prepare
        )


def compiled(statement: ClauseElement) -> Statement:
    """Return the composed statement (or expression) as text and values."""
    made = statement.compile(dialect=_dialect)
    return Statement(str(made), made.params)


def root(resource_type: str) -> FromClause:
    """Return the type's table under the name every predicate of a statement's own table uses."""
    return resource_table(resource_type).alias(ROOT)


def text_array(values: Sequence[str]) -> ColumnElement[Any]:
    """Return the values as one bound ``text[]``."""
    return literal(list(values), ARRAY(Text))


def unnested(array: ColumnElement[Any]) -> FromClause:
    """Return the elements of an array column as rows with one column ``value``."""
    return func.unnest(array).table_valued(column("value", cast("ARRAY[Any]", array.type).item_type)).render_derived()


def listed(array: ColumnElement[Any]) -> FromClause:
    """Return the elements of a JSON array as rows with one column ``value``."""
    return func.jsonb_array_elements(array).table_valued(column("value", JSONB)).render_derived()


def instant(value: Any) -> ColumnElement[Any]:
    """Return the moment as a bound ``timestamptz``."""
    return literal(value, TIMESTAMP(timezone=True))


def given(name: str) -> ColumnElement[Any]:
    """Return a placeholder for a text that is only known when the statement runs."""
    return bindparam(name, type_=Text, required=False, value=None)
