"""What a resource puts into the search columns of its table, and the compartments it lies in.

https://hl7.org/fhir/R4/search.html and https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from fhir_server.definitions import (
    SearchParameter,
    TypedValue,
    compartment_parameters,
    compartments,
    compile_expression,
)
from fhir_server.store import entries, places, ranges
from fhir_server.store.composites import Plan, composite_plan, fill_composites
from fhir_server.store.full_text import narrative
from fhir_server.store.tables.resources import column_name, indexed_parameters

Json = dict[str, Any]
Columns = dict[str, Any]
Fill = Callable[[list[TypedValue], Columns], None]
_arrays = {
    "token": entries.tokens,
    "string": entries.strings,
    "reference": entries.references,
    "uri": entries.uris,
    "special": places.positions,
}


def index_columns(resource: Json) -> Columns:
    """Return the columns of the resource that hold something, values as JSON; ``compartments`` among them."""
    resource_type = resource["resourceType"]
    columns: Columns = {"id": resource["id"]} if "id" in resource else {}
    values: dict[str, list[TypedValue]] = {}
    for code, evaluate, fill in _plan(resource_type):
        found = evaluate(resource)
        if found:
            values[code] = found
            fill(found, columns)
    fill_composites(_composites(resource_type), resource, values, columns)
    text = narrative(resource)
    if text:
        columns["narrative"] = text
    lies_in = _compartments(resource, columns)
    if lies_in:
        columns["compartments"] = lies_in
    return columns


@cache
def _plan(resource_type: str) -> tuple[tuple[str, Callable[[Json], list[TypedValue]], Fill], ...]:
    return tuple(
        (parameter.code, compile_expression(parameter.expression, resource_type), _filler(parameter))
        for parameter in indexed_parameters(resource_type)
    )


@cache
def _composites(resource_type: str) -> Plan:
    return composite_plan(resource_type, _filler)


def _filler(parameter: SearchParameter) -> Fill:
    column = column_name(parameter)
    if parameter.type == "date":
        return lambda values, columns: _fill_date(values, columns, column, multiple=parameter.multiple)
    if parameter.type == "quantity":
        return lambda values, columns: _fill_quantity(values, columns, column)
    collect: Callable[[list[TypedValue]], list[Any]] = _arrays.get(parameter.type, ranges.numbers)

    def fill(values: list[TypedValue], columns: Columns) -> None:
        found = collect(values)
        if found:
            columns[column] = found

    return fill


def _fill_date(values: list[TypedValue], columns: Columns, column: str, *, multiple: bool) -> None:
    spans = ranges.spans(values)
    if not spans:
        return
    columns[column + "_lo"] = min(low for low, _ in spans).isoformat()
    columns[column + "_hi"] = max(high for _, high in spans).isoformat()
    if multiple:
        columns[column + "_all"] = [f"[{low.isoformat()},{high.isoformat()})" for low, high in spans]


def _fill_quantity(values: list[TypedValue], columns: Columns, column: str) -> None:
    found = ranges.quantities(values)
    if found:
        columns[column] = [number(amount.low) for amount in found]
        columns[column + "_unit"] = [amount.unit for amount in found]
        if any(amount.high != amount.low for amount in found):
            columns[column + "_hi"] = [number(amount.high) for amount in found]


def number(value: Decimal) -> Decimal | str:
    """Return the number as JSON can hold it: infinity is a text to JSON, and a number again to PostgreSQL."""
    return value if value.is_finite() else str(value)


@cache
def _links(resource_type: str) -> tuple[tuple[str, tuple[str, ...], bool], ...]:
    """Return for each compartment the columns that link the type into it, and whether it is its own."""
    by_code = {parameter.code: column_name(parameter) for parameter in indexed_parameters(resource_type)}
    found = []
    for compartment in compartments():
        codes = compartment_parameters(compartment, resource_type)
        columns = tuple(by_code[code] for code in codes if code in by_code)
        if codes or compartment == resource_type:
            found.append((compartment + "/", columns, compartment == resource_type))
    return tuple(found)


def _compartments(resource: Json, columns: Columns) -> list[str]:
    """Return the compartments as references, ``Patient/1``; a Binary lies in that of its securityContext."""
    lies_in: dict[str, None] = {}
    for prefix, links, own in _links(resource["resourceType"]):
        if own and "id" in resource:
            lies_in[prefix + resource["id"]] = None
        for column in links:
            lies_in.update(dict.fromkeys(entry for entry in columns.get(column, ()) if entry.startswith(prefix)))
    if resource["resourceType"] == "Binary":
        context = (resource.get("securityContext") or {}).get("reference", "")
        prefixes = tuple(f"{compartment}/" for compartment in compartments())
        if isinstance(context, str) and context.startswith(prefixes):
            lies_in[context] = None
    return list(lies_in)
