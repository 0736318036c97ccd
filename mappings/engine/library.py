"""The allow-list: every function a row or plan may name, and nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mappings.engine.context import Context, Key
from mappings.engine.errors import MappingLoadError
from mappings.engine.grammar import Group
from mappings.engine.protocol import Resource, Segment

ValueFunction = Callable[[str, Context], Any]
"""Raw text of one repetition or component → FHIR value, None for nothing."""
FrameFunction = Callable[[Any, Context], Any]
"""A whole segment or split data type value → FHIR value, None for nothing."""
KeyFunction = Callable[[Resource, Any, Context], Key | None]
"""A built resource and its frame → its business key, None when it has none (it is then not made)."""
FoldFunction = Callable[[list[tuple[Segment, Group]], Context], list[tuple[Segment, Group]]]
"""Segments in order → segments, several joined to one where they are one thing."""


@dataclass(frozen=True, slots=True)
class Library:
    """Named functions by what they are given."""

    values: Mapping[str, ValueFunction] = field(default_factory=dict)
    frames: Mapping[str, FrameFunction] = field(default_factory=dict)
    keys: Mapping[str, KeyFunction] = field(default_factory=dict)
    folds: Mapping[str, FoldFunction] = field(default_factory=dict)

    def key(self, name: str, where: str) -> KeyFunction:
        """Return a key function. Raises MappingLoadError when it is not on the list."""
        if name not in self.keys:
            raise MappingLoadError(f"{where}: there is no key function {name!r}")
        return self.keys[name]

    def fold(self, name: str, where: str) -> FoldFunction:
        """Return a fold function. Raises MappingLoadError when it is not on the list."""
        if name not in self.folds:
            raise MappingLoadError(f"{where}: there is no fold function {name!r}")
        return self.folds[name]
