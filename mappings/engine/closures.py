"""The closures rows are made of: reading a field or part, making a value of it, putting it where it belongs."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mappings.engine.condition import Test
from mappings.engine.context import Context, Draft, business_id
from mappings.engine.errors import MappingLoadError, ValueFault
from mappings.engine.library import KeyFunction
from mappings.engine.protocol import TraceRow
from mappings.engine.rows import Row
from mappings.engine.source import Source, element, first_text, inner, parse_source, segment_field, split
from mappings.engine.tables import Table, Translation
from mappings.engine.target import Put, compile_target, copier, top_element

Convert = Callable[[Any, Context], Any]
RunRow = Callable[[Any, Context, dict[str, Any], str], bool]
"""(frame, context, target, raw text of the element the row reads) → whether it wrote."""
RunMap = Callable[[Any, Context, dict[str, Any]], None]

NULL = '""'
_MOST_CODES = 20_000
"""Codes remembered per site; a sender that makes up codes cannot fill the memory."""


def failing(text: str) -> Convert:
    """Stand where a function should be, and say why there is none. Raises MappingLoadError."""
    raise MappingLoadError(text)


class Step(NamedTuple):
    """A row, with what lets it be passed over without a call.

    ``element``: of a segment the number of the field it reads, 0 (the name, never empty) for none; of a data type the
    component's place, -1 for none. ``guard`` and ``allowed``: a field whose plain value decides that ``when`` fails.
    """

    element: int
    guard: int
    allowed: frozenset[str]
    run: RunRow


def all_rows(rows: list[Step], *, datatype: bool) -> RunMap:
    """Run a map's rows in order, passing over those whose element is absent."""

    def over_fields(frame: Any, context: Context, target: dict[str, Any]) -> None:
        fields = frame.fields
        count = len(fields)
        for number, guard, allowed, row in rows:
            if number < count and fields[number]:
                if guard:
                    text = fields[guard] if guard < count else ""
                    if text not in allowed and (not text or text.isalnum()):
                        continue
                row(frame, context, target, fields[number])

    def over_parts(frame: Any, context: Context, target: dict[str, Any]) -> None:
        count = len(frame)
        for place, _, _, row in rows:
            if place < 0:
                row(frame, context, target, "")
            elif place < count and frame[place]:
                row(frame, context, target, frame[place])

    return over_parts if datatype else over_fields


def remembered(convert: Convert) -> Convert:
    """Convert each code once per site: the same few codes come in every message. Text with escapes is not kept."""

    def look_up(text: str, context: Context) -> Any:
        codes = context.codes
        key = (convert, text, context.component, context.subcomponent)
        if key in codes:
            return codes[key]()
        before = context.warned
        value = convert(text, context)
        if context.warned == before and context.unescape(text) is text and len(codes) < _MOST_CODES:
            codes[key] = copier(value)
        return value

    return look_up


def conditional(test: Test, run: RunRow) -> RunRow:
    """Run the row only where its ``when`` holds."""
    return lambda frame, context, target, raw: test(frame, context) and run(frame, context, target, raw)


def field_row(row: Row, source: Source, own: str, convert: Convert) -> RunRow:
    """A row of a segment map: one field, first repetition or all; faults get their ERR-2 location here."""
    read = None if source.name == own else segment_field(source, own)
    write = _repetitions(source, convert, compile_target(row.to), every=row.list)
    clears = top_element(row.to) if row.null == "clear" else None

    def run(frame: Any, context: Context, target: dict[str, Any], raw: str) -> bool:
        if read is not None:
            raw = read(frame, context)
            if not raw:
                return False
        if raw == NULL:
            if clears:
                context.clears.append(clears)
            return False
        return write(raw, frame, context, target)

    return run


def _repetitions(
    source: Source, convert: Convert, put: Put, *, every: bool
) -> Callable[[str, Any, Context, dict[str, Any]], bool]:
    """Return what writes the first repetition of a field, or each."""
    narrow = inner(source)

    def write(raw: str, frame: Any, context: Context, target: dict[str, Any]) -> bool:
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

    return write


def _location(source: Source, frame: Any, repetition: int) -> str:
    position = frame.position if getattr(frame, "name", "") == source.name else 1
    parts = [source.name, position, source.field, repetition, source.component, source.subcomponent]
    return "^".join(str(part) for part in parts if part is not None)


def part_row(source: Source, convert: Convert, put: Put) -> RunRow:
    """A row of a data type map: one component or sub-component."""
    sub = element(source.component) if source.component else None

    def run(_: Any, context: Context, target: dict[str, Any], raw: str) -> bool:
        text = sub(split(raw, context.subcomponent)) if sub else raw
        if not text or text == NULL:
            return False
        value = convert(text, context)
        if value is None:
            return False
        put(target, value)
        return True

    return run


def frame_row(convert: Convert, put: Put) -> RunRow:
    """A row that reads its whole segment or value."""

    def run(frame: Any, context: Context, target: dict[str, Any], _: str) -> bool:
        value = convert(frame, context)
        if value is None:
            return False
        put(target, value)
        return True

    return run


def siblings_row(name: str, convert: Convert, put: Put, *, every: bool, deep: bool) -> RunRow:
    """A row that reads other segments of the same group (``deep``: and of groups within it): the first, or each."""

    def run(_frame: Any, context: Context, target: dict[str, Any], _: str) -> bool:
        wrote = False
        group = context.group
        for segment in [found for found, _ in group.walk(name)] if deep else group.own(name):
            value = convert(segment, context)
            if value is not None:
                put(target, value)
                wrote = True
                if not every:
                    break
        return wrote

    return run


def as_object(run: RunMap) -> Convert:
    """Make a FHIR object with a map; None when nothing was in it."""

    def convert(frame: Any, context: Context) -> dict[str, Any] | None:
        target: dict[str, Any] = {}
        run(frame, context, target)
        return target or None

    return convert


def splitting(convert: Convert, level: int) -> Convert:
    """Split text into the parts of its level before converting."""
    if level == 1:
        return lambda text, context: convert(split(text, context.component), context)
    return lambda text, context: convert(split(text, context.subcomponent), context)


def resource(run: RunMap, resource_type: str, key: KeyFunction, mode: str, *, known: bool = False) -> Convert:
    """Make a resource of its own and return the Reference to it; without a business key only its display.

    The same clinician stands in many fields of one message: each is made once; ``known``: once per site, for what
    depends on its own field alone.
    """

    def convert(frame: Any, context: Context) -> dict[str, Any] | None:
        seen = (run, tuple(frame) if isinstance(frame, list) else frame)
        if seen not in context.memo:
            context.memo[seen] = again(seen, frame, context) if known else make(frame, context)
        found: dict[str, Any] | None = context.memo[seen]
        return dict(found) if found else None

    def again(seen: Any, frame: Any, context: Context) -> dict[str, Any] | None:
        place = (*seen, context.subcomponent)
        if place in context.codes:
            reference, copies = context.codes[place]
            for copy, match in copies:
                context.add(Draft(resource_type, copy(), mode, match))
            return dict(reference) if reference else None
        before, warned = len(context.drafts), context.warned
        reference = make(frame, context)
        added = list(context.drafts.values())[before:]
        plain = context.warned == warned and all(context.unescape(part) is part for part in frame)
        if plain and len(added) == 1 and len(context.codes) < _MOST_CODES:
            context.codes[place] = reference, [(copier(dict(draft.resource)), draft.match) for draft in added]
        return reference

    def make(frame: Any, context: Context) -> dict[str, Any] | None:
        made: dict[str, Any] = {"resourceType": resource_type, "id": ""}
        run(frame, context, made)
        found = key(made, frame, context)
        shown = display_of(made)
        if found is None:
            return {"display": shown} if shown else None
        made["id"] = business_id(resource_type, found.text)
        reference = {"reference": context.add(Draft(resource_type, made, mode, found.match)).reference}
        return {**reference, "display": shown} if shown else reference

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


def translated(table: Table, kind: str) -> Convert:
    """Translate a code to a code, Coding or CodeableConcept of the table."""

    def convert(text: str, context: Context) -> Any:
        code = text if text.isalnum() else context.plain(text)
        found = _lookup(table, code, context) if code else None
        if kind == "code":
            return found.code or None if found else None
        if found:
            return found.coding() if kind == "Coding" else {"coding": [found.coding()]}
        if not code:
            return None
        if table.system:
            coding = {"system": table.system, "code": code}
            return coding if kind == "Coding" else {"coding": [coding]}
        return {"text": code} if kind == "CodeableConcept" else None

    return convert


def code_after(convert: Convert, table: Table) -> Convert:
    """Translate what a function returned."""

    def both(text: str, context: Context) -> Any:
        code = convert(text, context)
        found = _lookup(table, code, context) if code else None
        return found.code or None if found else None

    return both


def with_translation(convert: Convert, table: Table) -> Convert:
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


def tracing(row: Row, run: RunRow, level: int) -> RunRow:
    """Record what the row wrote, unless rows inside it recorded the parts themselves."""
    path = row.to.replace("[]", "")

    def traced(frame: Any, context: Context, target: dict[str, Any], raw: str) -> bool:
        if context.trace is None:
            return run(frame, context, target, raw)
        before = len(context.trace)
        context.trail.append(path)
        wrote = run(frame, context, target, raw)
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
