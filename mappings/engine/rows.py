"""Mapping rows as they stand in YAML, and the maps they make up.

A row: ``{id, from, to, type, table, value, when, list, deep, null, make, key}``. Row ids are the
guide's; a row's address is ``folder/map/id``, such as ``segments/PID.Patient/pid3``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mappings.engine.errors import MappingLoadError

_words = {
    "id", "ig", "from", "to", "type", "table", "value", "when", "list", "deep", "null", "make", "key", "mode", "note",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``source`` is YAML's ``from``; ``spec`` the row as written, for the hash and for patches."""

    id: str
    source: str | None
    to: str
    type: str | None
    table: str | None
    value: Any
    when: str | None
    list: bool
    deep: bool
    null: str
    make: str | None
    key: str | None
    mode: str
    layer: str
    address: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RowMap:
    """A map: ``PID.Patient`` reads segment PID and writes Patient; in folder ``datatypes`` the left is a data type."""

    folder: str
    name: str
    rows: tuple[Row, ...]

    @property
    def reads(self) -> str:
        """The segment or data type it reads."""
        return self.name.split(".")[0]

    @property
    def writes(self) -> str:
        """The resource or data type it writes."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def address(self) -> str:
        """``folder/name``."""
        return f"{self.folder}/{self.name}"


def parse_map(folder: str, name: str, specs: Any, layer: str = "base") -> RowMap:
    """Return the map written as a YAML list. Raises MappingLoadError on unknown words or a repeated id."""
    if not isinstance(specs, list):
        raise MappingLoadError(f"{folder}/{name}: a map is a list of rows")
    rows = tuple(parse_row(spec, f"{folder}/{name}", layer) for spec in specs)
    _unique(rows)
    return RowMap(folder, name, rows)


def parse_row(spec: Any, map_address: str, layer: str) -> Row:
    """Return one row. Raises MappingLoadError naming the row and the word that is wrong."""
    if isinstance(spec, dict) and None in spec:  # YAML reads the word `null` as no value
        spec = {"null" if word is None else word: value for word, value in spec.items()}
    if not isinstance(spec, dict) or not isinstance(spec.get("id"), str) or not isinstance(spec.get("to"), str):
        raise MappingLoadError(f"{map_address}: a row needs an id and a to, both text: {spec!r}")
    address = f"{map_address}/{spec['id']}"
    unknown = spec.keys() - _words
    if unknown:
        raise MappingLoadError(f"{address}: unknown word {min(unknown)!r}")
    if ("value" in spec) == ("from" in spec):
        raise MappingLoadError(f"{address}: a row has either from or value")
    return Row(
        id=spec["id"],
        source=spec.get("from"),
        to=spec["to"],
        type=spec.get("type"),
        table=str(spec["table"]) if "table" in spec else None,
        value=spec.get("value"),
        when=spec.get("when"),
        list=bool(spec.get("list")),
        deep=bool(spec.get("deep")),
        null=spec.get("null", "clear"),
        make=spec.get("make"),
        key=spec.get("key"),
        mode=spec.get("mode", "ensure"),
        layer=layer,
        address=address,
        spec=spec,
    )


def with_rows(row_map: RowMap, rows: Iterable[Row]) -> RowMap:
    """Return the map with other rows. Raises MappingLoadError when an id repeats."""
    changed = tuple(rows)
    _unique(changed)
    return replace(row_map, rows=changed)


def _unique(rows: tuple[Row, ...]) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise MappingLoadError(f"{row.address}: this row id is already taken")
        seen.add(row.id)
