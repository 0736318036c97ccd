"""Rows → closures: one per row, built once at load, so that a message only runs what it fills.

A compiled map takes (frame, context, target): the frame is a segment, or the split parts of a data type value.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mappings.engine.condition import Test, compile_condition
from mappings.engine.context import Context, Draft, business_id
from mappings.engine.errors import MappingLoadError, ValueFault
from mappings.engine.library import Library
from mappings.engine.protocol import TraceRow
from mappings.engine.rows import Row, RowMap
from mappings.engine.source import Read, Source, datatype_part, first_text, inner, parse_source, segment_field, split
from mappings.engine.tables import Table, Translation
from mappings.engine.target import compile_target, fresh, top_element

Convert = Callable[[Any, Context], Any]
RunRow = Callable[[Any, Context, dict[str, Any]], bool]
RunMap = Callable[[Any, Context, dict[str, Any]], None]

NULL = '""'


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
            rows: list[RunRow] = []
            self._compiled[address, level] = done = _all(rows)
            rows.extend(self._row(row, self._maps[address], level) for row in self._maps[address].rows)
        return done

    def _row(self, row: Row, row_map: RowMap, level: int) -> RunRow:
        try:
            run = self._constant(row) if row.source is None else self._reading(row, row_map, level)
            if row.when:
                run = _conditional(self._condition(row.when, row_map, level), run)
        except MappingLoadError as error:
            raise MappingLoadError(f"{row.address}: {error}") from error
        return _tracing(row, run, level) if self._traced else run

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
        value = row.value

        def run(_: Any, _context: Context, target: dict[str, Any]) -> bool:
            put(target, fresh(value))
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
            return _part_row(datatype_part(source), self._convert(row, part_level), compile_target(row.to))
        convert = self._convert(row, 1 if source.component is None else 2)
        return _field_row(row, source, row_map.reads, convert)

    def _reading_frame(self, row: Row, row_map: RowMap, source: Source, level: int) -> RunRow:
        put = compile_target(row.to)
        convert = self._frame_convert(row, level)
        if level or source.name == row_map.reads:
            return _frame_row(convert, put)
        return _siblings_row(source.name, convert, put, every=row.list)

    def _frame_convert(self, row: Row, level: int) -> Convert:
        """Return what makes a value of a whole frame: a frame function, an inner map, or a resource of its own."""
        if row.type is None:
            raise MappingLoadError("a row that reads a whole segment or value needs a type")
        if row.type in self._library.frames:
            return self._library.frames[row.type]
        address = self._address(row.type, level)
        return self._making(row, address, level) if row.make else _object(self.run_map(address, level))

    def _convert(self, row: Row, level: int) -> Convert:
        """Return what makes a FHIR value of raw text that sits at ``level``."""
        table = self._table(row.table)
        if row.type is None or row.type in ("Coding", "CodeableConcept"):
            if table is None:
                return self._library.values["ST"] if row.type is None else _fail(f"type {row.type} needs a table")
            return _translated(table, row.type or "code")
        if row.type in self._library.values:
            convert = self._library.values[row.type]
            return _code_after(convert, table) if table else convert
        frame = self._frame_convert(row, level)
        convert = _splitting(frame, level)
        return _with_translation(convert, table) if table else convert

    def _making(self, row: Row, address: str, level: int) -> Convert:
        key = self._library.key(row.key or "", row.address)
        return _resource(self.run_map(address, level), row.make or "", key, row.mode)

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


def _fail(text: str) -> Convert:
    raise MappingLoadError(text)


def _all(rows: list[RunRow]) -> RunMap:
    def run(frame: Any, context: Context, target: dict[str, Any]) -> None:
        for row in rows:
            row(frame, context, target)

    return run


def _conditional(test: Test, run: RunRow) -> RunRow:
    return lambda frame, context, target: test(frame, context) and run(frame, context, target)


def _field_row(row: Row, source: Source, own: str, convert: Convert) -> RunRow:
    """A row of a segment map: one field, first repetition or all; faults get their ERR-2 location here."""
    read = segment_field(source, own)
    narrow = inner(source)
    put = compile_target(row.to)
    every = row.list
    clears = top_element(row.to) if row.null == "clear" else None

    def run(frame: Any, context: Context, target: dict[str, Any]) -> bool:
        raw = read(frame, context)
        if not raw:
            return False
        if raw == NULL:
            if clears:
                context.clears.append(clears)
            return False
        wrote = False
        repetitions = raw.split(context.repetition) if context.repetition else [raw]
        for number, repetition in enumerate(repetitions, start=1):
            text = narrow(repetition, context) if narrow else repetition
            if text and text != NULL:
                try:
                    value = convert(text, context)
                except ValueFault as fault:
                    fault.location = fault.location or _location(source, frame, number)
                    raise
                if value is not None:
                    put(target, value)
                    wrote = True
            if not every:
                break
        return wrote

    return run


def _location(source: Source, frame: Any, repetition: int) -> str:
    position = frame.position if getattr(frame, "name", "") == source.name else 1
    parts = [source.name, position, source.field, repetition, source.component, source.subcomponent]
    return "^".join(str(part) for part in parts if part is not None)


def _part_row(read: Read, convert: Convert, put: Callable[[dict[str, Any], Any], None]) -> RunRow:
    def run(frame: Any, context: Context, target: dict[str, Any]) -> bool:
        text = read(frame, context)
        if not text or text == NULL:
            return False
        value = convert(text, context)
        if value is None:
            return False
        put(target, value)
        return True

    return run


def _frame_row(convert: Convert, put: Callable[[dict[str, Any], Any], None]) -> RunRow:
    def run(frame: Any, context: Context, target: dict[str, Any]) -> bool:
        value = convert(frame, context)
        if value is None:
            return False
        put(target, value)
        return True

    return run


def _siblings_row(name: str, convert: Convert, put: Callable[[dict[str, Any], Any], None], *, every: bool) -> RunRow:
    def run(_: Any, context: Context, target: dict[str, Any]) -> bool:
        wrote = False
        for segment in context.group.own(name):
            value = convert(segment, context)
            if value is not None:
                put(target, value)
                wrote = True
                if not every:
                    break
        return wrote

    return run


def _object(run: RunMap) -> Convert:
    def convert(frame: Any, context: Context) -> dict[str, Any] | None:
        target: dict[str, Any] = {}
        run(frame, context, target)
        return target or None

    return convert


def _splitting(convert: Convert, level: int) -> Convert:
    if level == 1:
        return lambda text, context: convert(split(text, context.component), context)
    return lambda text, context: convert(split(text, context.subcomponent), context)


def _resource(run: RunMap, resource_type: str, key: Any, mode: str) -> Convert:
    """Make a resource of its own and return the Reference to it; without a business key only its display."""

    def convert(frame: Any, context: Context) -> dict[str, Any] | None:
        resource: dict[str, Any] = {"resourceType": resource_type, "id": ""}
        run(frame, context, resource)
        found = key(resource, frame, context)
        shown = display_of(resource)
        if found is None:
            return {"display": shown} if shown else None
        resource["id"] = business_id(resource_type, found.text)
        draft = context.add(Draft(resource_type, resource, mode, found.match))
        return {"reference": draft.reference, "display": shown} if shown else {"reference": draft.reference}

    return convert


def display_of(resource: Mapping[str, Any]) -> str:
    """Return what a Reference to the resource shows: a person's text name, or the name."""
    name = resource.get("name")
    if isinstance(name, list):
        first = name[0] if name else {}
        parts = [*first.get("prefix", ()), *first.get("given", ()), first.get("family", ""), *first.get("suffix", ())]
        return str(first.get("text") or " ".join(part for part in parts if part))
    return name if isinstance(name, str) else ""


def _lookup(table: Table, code: str, context: Context) -> Translation | None:
    found = table.rows.get(code) or table.rows.get(code.upper()) or table.rows.get("*")
    if found is None:
        context.warn(f"a code is not in table {table.name}")
    return found


def _translated(table: Table, kind: str) -> Convert:
    def convert(text: str, context: Context) -> Any:
        code = context.plain(text)
        found = _lookup(table, code, context) if code else None
        if kind == "code":
            return found.code or None if found else None
        coding = found.coding() if found else {"system": table.system, "code": code} if code and table.system else None
        if coding is None:
            return {"text": code} if code and kind == "CodeableConcept" else None
        return coding if kind == "Coding" else {"coding": [coding]}

    return convert


def _code_after(convert: Convert, table: Table) -> Convert:
    def both(text: str, context: Context) -> Any:
        code = convert(text, context)
        found = _lookup(table, code, context) if code else None
        return found.code or None if found else None

    return both


def _with_translation(convert: Convert, table: Table) -> Convert:
    """Keep the original coding and put the translated one before it."""

    def both(text: str, context: Context) -> Any:
        concept = convert(text, context)
        if not concept:
            return concept
        for coding in concept.get("coding", ()):
            found = table.rows.get(coding.get("code", ""))
            if found is not None:
                if found.coding().items() <= coding.items():
                    return concept
                return {**concept, "coding": [found.coding(), *concept["coding"]]}
        context.warn(f"a code is not in table {table.name}")
        return concept

    return both


def _tracing(row: Row, run: RunRow, level: int) -> RunRow:
    """Record what the row wrote, unless rows inside it recorded the parts themselves."""
    path = row.to.replace("[]", "")

    def traced(frame: Any, context: Context, target: dict[str, Any]) -> bool:
        if context.trace is None:
            return run(frame, context, target)
        before = len(context.trace)
        context.trail.append(path)
        wrote = run(frame, context, target)
        if wrote and len(context.trace) == before:
            value = _shown(row, frame, context, level)
            where = ".".join(context.trail)
            context.trace.append(TraceRow(row.source or "constant", value, row.address, row.layer, where))
        context.trail.pop()
        return wrote

    return traced


def _shown(row: Row, frame: Any, context: Context, level: int) -> str:
    if row.source is None:
        return str(row.value)
    source = parse_source(row.source, datatype=level > 0)
    if source.field is None:
        return "(whole)"
    name = getattr(frame, "name", source.name)
    return first_text(source, name, datatype=level > 0)(frame, context)
