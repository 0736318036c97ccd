"""The effective mapping of a site: base files and layers, compiled per message on first use, with a hash of it all."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from mappings.engine.compiler import Compiler
from mappings.engine.errors import MappingLoadError
from mappings.engine.layers import Layer, patched
from mappings.engine.library import Library
from mappings.engine.plan import Plan, compile_plan, inline_maps
from mappings.engine.rows import RowMap, parse_map
from mappings.engine.tables import Table, load_tables

_loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Base:
    """The files of one mapping folder (``messages``, ``segments``, ``datatypes``, ``tables``), parsed once."""

    def __init__(self, folder: Path) -> None:
        self.tables = load_tables(folder / "tables")
        self.messages: dict[str, Mapping[str, Any]] = {}
        self.maps: dict[str, RowMap] = {}
        for path in sorted(folder.glob("messages/*.yaml")):
            spec = read_yaml(path)
            self.messages[path.stem] = spec
            self.maps |= inline_maps(path.stem, spec)
        for kind in ("segments", "datatypes"):
            for path in sorted(folder.glob(f"{kind}/*.yaml")):
                row_map = parse_map(kind, path.stem, read_yaml(path))
                self.maps[row_map.address] = row_map
        self.events = {event: name for name, spec in self.messages.items() for event in spec["events"]}


@lru_cache(maxsize=8)
def load_base(folder: Path) -> Base:
    """Return the base mapping in a folder, read once per process."""
    return Base(folder)


def read_yaml(path: Path) -> Any:
    """Return a YAML file's value. Raises MappingLoadError naming the file and the line."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_loader)  # noqa: S506 - a safe loader, C or Python
    except yaml.YAMLError as error:
        raise MappingLoadError(f"{path.name}: {error}") from error


class EffectiveMapping:
    """Base plus layers. ``hash`` changes when anything that could change a result does."""

    def __init__(self, base: Base, library: Library, layers: Sequence[Layer] = ()) -> None:
        self._base = base
        self._library = library
        self._layers = tuple(layers)
        self._plans: dict[tuple[str, bool], Plan] = {}
        maps = {name: self._maps(name) for name in base.messages}
        tables = {name: self._tables(name) for name in base.messages}
        self.hash = _digest(base, maps, tables)

    def message_of(self, event: str) -> str | None:
        """Return the message file that maps ``ADT^A08``, None when there is none."""
        return self._base.events.get(event)

    def triggers(self, message_code: str) -> bool:
        """Tell whether any event of this message code (``ADT``) is mapped."""
        return any(event.startswith(f"{message_code}^") for event in self._base.events)

    def plan(self, message: str, *, traced: bool = False) -> Plan:
        """Return the compiled plan of a message file. Raises MappingLoadError when a row cannot be compiled."""
        plan = self._plans.get((message, traced))
        if plan is None:
            compiler = Compiler(self._maps(message), self._tables(message), self._library, traced=traced)
            plan = compile_plan(message, self._base.messages[message], compiler, self._library)
            self._plans[message, traced] = plan
        return plan

    def check(self) -> None:
        """Compile everything, so that a mistake shows at load. Raises MappingLoadError."""
        for message in self._base.messages:
            self.plan(message)

    def _maps(self, message: str) -> Mapping[str, RowMap]:
        maps: Mapping[str, RowMap] = self._base.maps
        for layer in self._layers:
            if layer.message in (None, message):
                maps = patched(maps, layer)
        return maps

    def _tables(self, message: str) -> Mapping[str, Table]:
        tables = dict(self._base.tables)
        for layer in self._layers:
            if layer.message in (None, message):
                for name, codes in layer.tables.items():
                    if name not in tables:
                        raise MappingLoadError(f"layer {layer.name}: there is no table {name!r}")
                    tables[name] = tables[name].overridden(codes)
        return tables


def _digest(base: Base, maps: Mapping[str, Mapping[str, RowMap]], tables: Mapping[str, Mapping[str, Table]]) -> str:
    whole = {
        "messages": base.messages,
        "rows": {message: {a: [r.spec for r in m.rows] for a, m in found.items()} for message, found in maps.items()},
        "tables": {message: {n: t.rows for n, t in found.items()} for message, found in tables.items()},
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()[:16]
