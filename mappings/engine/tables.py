"""Code tables: CSV files ``source,target,display,system``; a site may override single codes.

https://hl7.org/fhir/uv/v2mappings/concept_maps.html
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mappings.engine.errors import MappingLoadError

_header = ["source", "target", "display", "system"]
_source_systems = "http://terminology.hl7.org/CodeSystem/v2-"


class Translation(NamedTuple):
    """The FHIR code a source code stands for; ``display`` and ``system`` may be empty."""

    code: str
    display: str
    system: str

    def coding(self) -> dict[str, Any]:
        """Return it as a Coding."""
        coding = {"code": self.code}
        if self.system:
            coding["system"] = self.system
        if self.display:
            coding["display"] = self.display
        return coding


class Table(NamedTuple):
    """One code table; ``system`` is the code system of its source codes, ``""`` for one of no v2 table."""

    name: str
    system: str
    rows: Mapping[str, Translation]

    def overridden(self, codes: Mapping[str, str]) -> "Table":
        """Return the table with a layer's codes over its own; a code is ``target`` or ``target|display|system``."""
        own = {source: Translation(*[*target.split("|"), "", ""][:3]) for source, target in codes.items()}
        return self._replace(rows={**self.rows, **own})


def load_tables(folder: Path) -> dict[str, Table]:
    """Return every table of a folder, by the part of the file's name before the first point (``0001``)."""
    return {path.name.split(".")[0]: _load(path) for path in sorted(folder.glob("*.csv"))}


def _load(path: Path) -> Table:
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    if not lines or lines[0] != _header:
        raise MappingLoadError(f"{path.name}: the first line must be {','.join(_header)}")
    rows: dict[str, Translation] = {}
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(_header):
            raise MappingLoadError(f"{path.name} line {number}: {len(line)} columns, must be {len(_header)}")
        rows[line[0]] = Translation(*line[1:])
    name = path.name.split(".")[0]
    return Table(name, f"{_source_systems}{name}" if name.isdigit() else "", rows)
