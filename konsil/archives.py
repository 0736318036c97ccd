"""The hospitals' archives, from the ``dicomweb`` section of ``sites/<site>/site.yaml``."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from adapters.dicomweb.client import Pacs


class InvalidArchive(RuntimeError):
    """A site's ``dicomweb`` section is unknown or incomplete; the text says which key."""


def load_archives(folder: Path) -> Mapping[str, Pacs]:
    """Return the archive of each site that has one, by the site's name. Raises InvalidArchive."""
    found: dict[str, Pacs] = {}
    for path in sorted(folder.glob("*/site.yaml")):
        config = yaml.safe_load(path.read_text())
        if isinstance(config, dict) and "dicomweb" in config:
            name = str(config.get("site", path.parent.name))
            found[name] = _archive(name, config["dicomweb"], path)
    return found


def _archive(name: str, config: Mapping[str, Any], path: Path) -> Pacs:
    known = {item.name for item in fields(Pacs)} - {"site", "verify"}
    unknown = set(config) - known
    if unknown:
        raise InvalidArchive(f"{path}: dicomweb.{min(unknown)} is not a setting; known are {', '.join(sorted(known))}.")
    try:
        return Pacs(site=name, **config)
    except TypeError as error:
        raise InvalidArchive(f"{path}: dicomweb lacks a setting: {error}.") from error
