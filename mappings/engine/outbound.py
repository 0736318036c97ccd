"""FHIR → HL7 v2: a message file lists segments and, for each field, where its value comes from and of which type it is.

``{id, to: PID-3, from: patient.identifier, type: CX, list: true, when: …}``; paths walk plain resources. The result is
nested lists (fields → repetitions → components → sub-components); whoever knows the delimiters escapes and joins them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mappings.engine.errors import MappingLoadError

Component = str | list[str]
Repetition = list[Component]
Field = list[Repetition]


class Outgoing(Protocol):
    """What a type function may ask for: the receiver's name for an identifier system."""

    def authority(self, system: str) -> list[str]:
        """Return an HD: namespace id, universal id, universal id type."""
        ...


Write = Callable[[Any, Outgoing], Repetition | None]
"""A FHIR value → the components of one repetition, None for nothing."""

_row_words = {"id", "to", "from", "value", "type", "list", "where"}
_segment_words = {"segment", "each", "rows", "when"}


@dataclass(frozen=True, slots=True)
class OutRow:
    """One field of an outgoing segment."""

    id: str
    number: int
    path: tuple[str, ...]
    value: str | None
    write: Write
    every: bool
    where: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class OutSegment:
    """One segment, or one for ``each`` entry of a list; left out when the path ``when`` is empty."""

    name: str
    each: str | None
    when: tuple[str, ...]
    rows: tuple[OutRow, ...]


@dataclass(frozen=True, slots=True)
class OutMessage:
    """A compiled outgoing message."""

    segments: tuple[OutSegment, ...]

    def fields(self, data: Mapping[str, Any], outgoing: Outgoing) -> Iterator[tuple[str, dict[int, Field]]]:
        """Return (segment name, field number → field) for each segment, in order."""
        counts: dict[str, int] = {}
        for segment in self.segments:
            entries: Sequence[Any] = data.get(segment.each, ()) if segment.each else (None,)
            for entry in entries:
                if segment.when and not _found(data, segment.when):
                    continue
                counts[segment.name] = counts.get(segment.name, 0) + 1
                here = {**data, "each": entry, "set_id": str(counts[segment.name])}
                fields = {row.number: _field(row, here, outgoing) for row in segment.rows}
                yield segment.name, {number: field for number, field in fields.items() if field}


def compile_outbound(name: str, spec: Any, types: Mapping[str, Write]) -> OutMessage:
    """Return the message written as YAML. Raises MappingLoadError naming the row that is wrong."""
    segments = []
    for item in spec:
        unknown = item.keys() - _segment_words
        if unknown or "segment" not in item:
            raise MappingLoadError(f"outbound/{name}: a segment needs its name, and knows no {sorted(unknown)}")
        rows = tuple(_row(f"outbound/{name}", item["segment"], row, types) for row in item.get("rows", ()))
        when = tuple(str(item["when"]).split(".")) if "when" in item else ()
        segments.append(OutSegment(item["segment"], item.get("each"), when, rows))
    return OutMessage(tuple(segments))


def _row(where: str, segment: str, spec: Mapping[str, Any], types: Mapping[str, Write]) -> OutRow:
    address = f"{where}/{spec.get('id')}"
    name, _, number = str(spec.get("to")).partition("-")
    if spec.keys() - _row_words or name != segment or not number.isdigit() or ("from" in spec) == ("value" in spec):
        raise MappingLoadError(f"{address}: needs to: {segment}-n, and either from or value")
    kind = spec.get("type", "ST")
    if kind not in types:
        raise MappingLoadError(f"{address}: there is no type {kind!r}")
    condition = spec.get("where")
    return OutRow(
        id=str(spec["id"]),
        number=int(number),
        path=tuple(str(spec.get("from", "")).split(".")),
        value=str(spec["value"]) if "value" in spec else None,
        write=types[kind],
        every=bool(spec.get("list")),
        where=(condition["path"], str(condition["is"])) if condition else None,
    )


def _field(row: OutRow, data: Mapping[str, Any], outgoing: Outgoing) -> Field:
    if row.value is not None:
        return [list(row.value.split("^"))]
    values = [value for value in _found(data, row.path) if row.where is None or _is(value, row.where)]
    repetitions = [written for value in values if (written := row.write(value, outgoing))]
    return repetitions if row.every else repetitions[:1]


def _is(value: Any, where: tuple[str, str]) -> bool:
    return where[1] in (str(found) for found in _found(value, tuple(where[0].split("."))))


def _found(value: Any, path: tuple[str, ...]) -> list[Any]:
    values = [value]
    for step in path:
        inner = [item.get(step) for item in values if isinstance(item, Mapping)]
        values = [part for item in inner for part in (item if isinstance(item, list) else [item]) if part is not None]
    return values
