"""Rows → closures: one per row, built once at load, so that a message only runs what it fills.

A compiled map takes (frame, context, target): the frame is a segment, or the split parts of a data type value.
"""

import re
from collections.abc import Mapping
from typing import Any

from mappings.engine.closures import (
    Convert,
    RunMap,
    RunRow,
    Step,
    all_rows,
    as_object,
    code_after,
    conditional,
    failing,
    field_row,
    frame_row,
    part_row,
    remembered,
    resource,
    siblings_row,
    splitting,
    tracing,
    translated,
    with_translation,
)
from mappings.engine.condition import Test, compile_condition
from mappings.engine.context import Context
from mappings.engine.errors import MappingLoadError
from mappings.engine.library import Library
from mappings.engine.rows import Row, RowMap
from mappings.engine.source import Read, Source, datatype_part, first_text, parse_source, segment_field
from mappings.engine.tables import Table
from mappings.engine.target import compile_target, copier

_simple = re.compile(r"([A-Z][A-Z0-9]{2})-(\d+) (?:= (\w+)|in \[([\w, ]+)\])")
_valued = re.compile(r"([A-Z][A-Z0-9_]*)[-.](\d+)(?:\.\d+)* valued(?: and .+)?")
_SHARED = ("XCN.", "CNN.", "XON.", "PL.")
"""Data types of clinicians, organizations and places: the same few in message after message of a site."""
_CODES = "CWE."
"""Data type maps of this type are remembered: their values are codes, few and often repeated."""


class Compiler:
    """Compiles the maps of one message under one set of layers; ``traced`` closures also feed ``context.trace``."""

    def __init__(
        self, maps: Mapping[str, RowMap], tables: Mapping[str, Table], library: Library, *, traced: bool = False
    ) -> None:
        self._maps = maps
        self._tables = tables
        self._library = library
        self._traced = traced
        self._compiled: dict[tuple[str, int], RunMap] = {}

    def run_map(self, address: str, level: int = 0) -> RunMap:
        """Return the compiled map; ``level`` 0 is a segment, 1 a field's components, 2 sub-components."""
        done = self._compiled.get((address, level))
        if done is None:
            row_map = self._maps[address]
            rows: list[Step] = []
            self._compiled[address, level] = done = all_rows(rows, datatype=level > 0)
            rows.extend(
                Step(_element(row, row_map, level), *_guard(row, row_map, level), self._row(row, row_map, level))
                for row in row_map.rows
            )
        return done

    def _row(self, row: Row, row_map: RowMap, level: int) -> RunRow:
        try:
            run = self._constant(row) if row.source is None else self._reading(row, row_map, level)
            if row.when:
                run = conditional(self._condition(row.when, row_map, level), run)
        except MappingLoadError as error:
            raise MappingLoadError(f"{row.address}: {error}") from error
        return tracing(row, run, level) if self._traced else run

    def _condition(self, text: str, row_map: RowMap, level: int) -> Test:
        own = row_map.reads
        datatype = level > 0

        def operand(source: str) -> Read:
            return first_text(parse_source(source, datatype=datatype), own, datatype=datatype)

        def counter(source: str) -> Read:
            parsed = parse_source(source, datatype=datatype)
            return datatype_part(parsed) if datatype else segment_field(parsed, own)

        return compile_condition(text, operand, counter)

    def _constant(self, row: Row) -> RunRow:
        put = compile_target(row.to)
        copy = copier(row.value)

        def run(_frame: Any, _context: Context, target: dict[str, Any], _: str) -> bool:
            put(target, copy())
            return True

        return run

    def _reading(self, row: Row, row_map: RowMap, level: int) -> RunRow:
        source = parse_source(row.source or "", datatype=level > 0)
        if level and source.name != row_map.reads:
            raise MappingLoadError(f"a map of {row_map.reads} cannot read {row.source}")
        if source.field is None:
            return self._reading_frame(row, row_map, source, level)
        if level:
            part_level = level + (2 if source.component else 1)
            return part_row(source, self._convert(row, part_level), compile_target(row.to))
        convert = self._convert(row, 1 if source.component is None else 2)
        return field_row(row, source, row_map.reads, convert)

    def _reading_frame(self, row: Row, row_map: RowMap, source: Source, level: int) -> RunRow:
        put = compile_target(row.to)
        convert = self._frame_convert(row, level)
        if level or source.name == row_map.reads:
            return frame_row(convert, put)
        return siblings_row(source.name, convert, put, every=row.list, deep=row.deep)

    def _frame_convert(self, row: Row, level: int) -> Convert:
        """Return what makes a value of a whole frame: a frame function, an inner map, or a resource of its own."""
        if row.type is None:
            raise MappingLoadError("a row that reads a whole segment or value needs a type")
        if row.type in self._library.frames:
            return self._library.frames[row.type]
        address = self._address(row.type, level)
        return self._making(row, address, level) if row.make else as_object(self.run_map(address, level))

    def _convert(self, row: Row, level: int) -> Convert:
        """Return what makes a FHIR value of raw text that sits at ``level``."""
        table = self._table(row.table)
        if row.type is None or row.type in ("Coding", "CodeableConcept"):
            if table is None:
                return self._library.values["ST"] if row.type is None else failing(f"type {row.type} needs a table")
            return translated(table, row.type or "code")
        if row.type in self._library.values:
            convert = self._library.values[row.type]
            return code_after(convert, table) if table else convert
        frame = self._frame_convert(row, level)
        convert = splitting(frame, level)
        if table:
            convert = with_translation(convert, table)
        plain = row.type.startswith(_CODES) and not row.make
        return remembered(convert) if plain and not self._traced else convert

    def _making(self, row: Row, address: str, level: int) -> Convert:
        key = self._library.key(row.key or "", row.address)
        known = not self._traced and str(row.type).startswith(_SHARED)
        return resource(self.run_map(address, level), row.make or "", key, row.mode, known=known)

    def _address(self, name: str, level: int) -> str:
        address = f"{'datatypes' if level else 'segments'}/{name}"
        if address not in self._maps:
            raise MappingLoadError(f"there is neither a function nor a map {name!r}")
        return address

    def _table(self, name: str | None) -> Table | None:
        if name is None:
            return None
        if name not in self._tables:
            raise MappingLoadError(f"there is no table {name!r}")
        return self._tables[name]


def _element(row: Row, row_map: RowMap, level: int) -> int:
    """Return the element of the frame a row cannot do without, as ``all_rows`` counts it."""
    source = parse_source(row.source, datatype=level > 0) if row.source else None
    if source and source.field is not None and source.name == row_map.reads:
        return source.field - 1 if level else source.field
    return _asked_for(row, row_map, level)


def _asked_for(row: Row, row_map: RowMap, level: int) -> int:
    """Return the element a constant's or a whole segment's ``when`` begins by asking for, as ``all_rows`` counts it."""
    found = _valued.fullmatch(row.when or "")
    if found and found[1] == row_map.reads and " or " not in found[0]:
        return int(found[2]) - 1 if level else int(found[2])
    return -1 if level else 0


def _guard(row: Row, row_map: RowMap, level: int) -> tuple[int, frozenset[str]]:
    """Return the own field and the words a plain ``when`` asks for, so that most rows fail it without a call."""
    found = _simple.fullmatch(row.when or "")
    if level or not found or found[1] != row_map.reads:
        return 0, frozenset()
    return int(found[2]), frozenset(word.strip() for word in (found[3] or found[4]).split(","))
