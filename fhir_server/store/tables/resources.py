"""One table for each resource type: the current version, its exact body, and a column for each search parameter.

https://hl7.org/fhir/R4/search.html#table. A column is named ``p_`` and the parameter's own column name, so that none
collides with ours. Indexes are partial: a parameter no resource uses costs nothing.
"""

from collections.abc import Iterator
from functools import cache

from sqlalchemy import Boolean, Column, Integer, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, TSTZRANGE

from fhir_server.definitions import RESOURCE_TYPES, SearchParameter, search_parameters
from fhir_server.store.tables import metadata

instant = TIMESTAMP(timezone=True)
texts = ARRAY(Text)
_own_columns = {"_id", "_lastUpdated"}
_text_arrays = {"token", "string", "reference", "uri"}


def indexed_parameters(resource_type: str) -> tuple[SearchParameter, ...]:
    """Return the parameters that have columns of their own: all but _id, _lastUpdated and composite ones."""
    return tuple(
        parameter
        for parameter in search_parameters(resource_type).values()
        if parameter.code not in _own_columns and parameter.type != "composite"
    )


def composite_parameters(resource_type: str) -> tuple[SearchParameter, ...]:
    """Return the composite parameters, whose columns only say what those of their components do not."""
    return tuple(parameter for parameter in search_parameters(resource_type).values() if parameter.type == "composite")


def column_name(parameter: SearchParameter, suffix: str = "") -> str:
    """Return the column of a parameter; dates have ``_lo`` ``_hi`` ``_all``, quantities ``_unit`` beside the value.

    A quantity that may be a Range has ``_hi`` too, filled where one is.
    """
    return f"p_{parameter.column}{suffix}"


def may_be_range(parameter: SearchParameter) -> bool:
    """Tell whether a quantity parameter can meet a Range."""
    return "Range" in parameter.expression


def _columns(parameter: SearchParameter) -> Iterator[Column[object]]:
    if parameter.type in _text_arrays:
        yield Column(column_name(parameter), texts)
    elif parameter.type == "date":
        yield Column(column_name(parameter, "_lo"), instant)
        yield Column(column_name(parameter, "_hi"), instant)
        if parameter.multiple:
            yield Column(column_name(parameter, "_all"), ARRAY(TSTZRANGE))
    else:
        yield Column(column_name(parameter), ARRAY(Numeric))
        if parameter.type == "quantity":
            yield Column(column_name(parameter, "_unit"), texts)
            if may_be_range(parameter):
                yield Column(column_name(parameter, "_hi"), ARRAY(Numeric))


@cache
def resource_table(resource_type: str) -> Table:
    """Return the table of a resource type, ``fhir.patient`` for Patient."""
    columns = [column for parameter in indexed_parameters(resource_type) for column in _columns(parameter)]
    columns += [Column(column_name(parameter), JSONB) for parameter in composite_parameters(resource_type)]
    return Table(
        resource_type.lower(),
        metadata,
        Column("id", Text(collation="C"), primary_key=True),
        Column("version", Integer, nullable=False),
        Column("last_updated", instant, nullable=False),
        Column("deleted", Boolean, nullable=False),
        Column("method", Text, nullable=False),
        Column("body", Text, nullable=False),
        Column("compartments", texts),
        Column("narrative", Text),
        *columns,
        schema="fhir",
    )


def resource_tables() -> list[Table]:
    """Return the tables of every resource type."""
    return [resource_table(resource_type) for resource_type in sorted(RESOURCE_TYPES)]


def _index(table: str, column: str, using: str, suffix: str = "") -> str:
    name = f"{table}_{column}"[:58]  # PostgreSQL cuts names at 63 bytes
    return f"CREATE INDEX {name}_idx ON fhir.{table} USING {using} WHERE {column}{suffix} IS NOT NULL;"


def _base_index(table: str, column: str) -> str:
    """Return the index over quantities in base units."""
    return f"CREATE INDEX {table[:24]}_{column[:32]}_base ON fhir.{table} (({column}[2])) WHERE {column} IS NOT NULL;"


def index_statements(resource_type: str) -> Iterator[str]:
    """Return the CREATE INDEX statements of a type's table.

    Written as text since SQLAlchemy has no words for them that are shorter: GIN over the entries, over the lexemes
    for prefix search, b-trees over the two ends of a date.
    """
    table = resource_type.lower()
    # With ``deleted`` in it, this index alone answers how many resources there are.
    yield f"CREATE INDEX {table}_last_updated_idx ON fhir.{table} (last_updated) INCLUDE (deleted);"
    yield _index(table, "compartments", "gin (compartments)")
    yield _index(table, "narrative", "gin (to_tsvector('simple', narrative))")
    for parameter in indexed_parameters(resource_type):
        column = column_name(parameter)
        if parameter.type == "string":
            yield _index(table, column, f"gin (array_to_tsvector({column}))")
        elif parameter.type in _text_arrays:
            yield _index(table, column, f"gin ({column})")
        elif parameter.type == "date":
            yield _index(table, column + "_lo", f"btree ({column}_lo)")
            yield _index(table, column + "_hi", f"btree ({column}_hi)")
        elif not parameter.multiple:
            yield _index(table, column, f"btree (({column}[1]))")
            if parameter.type == "quantity":
                yield _base_index(table, column)
