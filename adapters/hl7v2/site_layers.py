"""A site's own layer over the base mapping: ``patches/*.yaml`` and ``tables/*.csv`` beside its ``site.yaml``.

``patches/ORU_R01/*.yaml`` hold for that message only. A patch names a row by its address; one that fits nothing is an
error when the site is loaded.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adapters.hl7v2.site_mapping import Layer
from mappings.engine.errors import MappingLoadError
from mappings.engine.mapping import read_yaml
from mappings.engine.tables import load_tables


def load_layers(folder: Path, name: str) -> tuple[Layer, ...]:
    """Return the layers in a site's (or country's) folder, none when it has neither patches nor tables.

    Raises MappingLoadError naming the file.
    """
    return tuple(_layers(folder, name))


def _layers(folder: Path, name: str) -> Iterator[Layer]:
    patches = _patches(folder / "patches")
    tables = {
        table.name: {source: "|".join(target) for source, target in table.rows.items()}
        for table in load_tables(folder / "tables").values()
    }
    if patches or tables:
        yield Layer(name, patches, tables)
    for inner in sorted(path for path in folder.glob("patches/*") if path.is_dir()):
        yield Layer(f"{name}/{inner.name}", _patches(inner), message=inner.name)


def _patches(folder: Path) -> tuple[Mapping[str, Any], ...]:
    found: list[Mapping[str, Any]] = []
    for path in sorted(folder.glob("*.yaml")):
        patches = read_yaml(path)
        if not isinstance(patches, list) or not all(isinstance(patch, dict) for patch in patches):
            raise MappingLoadError(f"{path}: a patch file is a list of patches, each with op")
        found.extend(patches)
    return tuple(found)
