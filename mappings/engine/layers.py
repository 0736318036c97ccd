"""Layers over the base mapping: patches ``add | replace | drop`` by row address; an unknown address is a load error."""

from collections.abc import Mapping
from typing import Any, Protocol

from mappings.engine.errors import MappingLoadError
from mappings.engine.rows import Row, RowMap, parse_row, with_rows


class Layer(Protocol):
    """A country's, a site's or a site's message's changes; ``message`` None applies to every message."""

    @property
    def name(self) -> str:
        """Shown by explain."""
        ...

    @property
    def patches(self) -> tuple[Mapping[str, Any], ...]:
        """``{op, row | to, set | row}``."""
        ...

    @property
    def tables(self) -> Mapping[str, Mapping[str, str]]:
        """Table → source code → target."""
        ...

    @property
    def message(self) -> str | None:
        """The message file the layer is limited to."""
        ...


def patched(maps: Mapping[str, RowMap], layer: Layer) -> dict[str, RowMap]:
    """Return the maps with the layer's patches applied in order. Raises MappingLoadError on an unknown address."""
    result = dict(maps)
    for patch in layer.patches:
        operation = _operations.get(str(patch.get("op")))
        if operation is None:
            raise MappingLoadError(f"layer {layer.name}: op must be add, replace or drop, not {patch.get('op')!r}")
        changed = operation(result, patch, layer.name)
        result[changed.address] = changed
    return result


def _add(maps: Mapping[str, RowMap], patch: Mapping[str, Any], layer: str) -> RowMap:
    address = str(patch.get("to"))
    if address not in maps:
        raise MappingLoadError(f"layer {layer}: there is no map {address!r} to add a row to")
    return with_rows(maps[address], [*maps[address].rows, parse_row(patch.get("row"), address, layer)])


def _replace(maps: Mapping[str, RowMap], patch: Mapping[str, Any], layer: str) -> RowMap:
    row_map, row = _find(maps, patch, layer)
    changes = patch.get("set")
    if not isinstance(changes, dict):
        raise MappingLoadError(f"layer {layer}: replace of {row.address} needs a set")
    spec = {**row.spec, **changes, "id": row.id}
    if "value" in changes:
        spec.pop("from", None)
    if "from" in changes:
        spec.pop("value", None)
    new = parse_row(spec, row_map.address, layer)
    return with_rows(row_map, [new if old is row else old for old in row_map.rows])


def _drop(maps: Mapping[str, RowMap], patch: Mapping[str, Any], layer: str) -> RowMap:
    row_map, row = _find(maps, patch, layer)
    return with_rows(row_map, [old for old in row_map.rows if old is not row])


def _find(maps: Mapping[str, RowMap], patch: Mapping[str, Any], layer: str) -> tuple[RowMap, Row]:
    address = str(patch.get("row"))
    map_address, _, row_id = address.rpartition("/")
    row_map = maps.get(map_address)
    for row in row_map.rows if row_map else ():
        if row_map and row.id == row_id:
            return row_map, row
    raise MappingLoadError(f"layer {layer}: there is no row {address!r}")


_operations = {"add": _add, "replace": _replace, "drop": _drop}
