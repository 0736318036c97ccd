"""What one run of a mapping knows and gathers: the message, the site, the current group, drafts and warnings."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from mappings.engine.grammar import Group
from mappings.engine.protocol import Message, Resource, Segment, Site, TraceRow

_choices = ("value", "effective", "onset", "occurrence", "performed", "deceased", "multipleBirth", "medication")
_ids = uuid.uuid5(uuid.NAMESPACE_URL, "https://konsil.example/fhir/business-key")


class Key(NamedTuple):
    """What makes a resource the same one again: ``text`` feeds the UUIDv5, ``match`` are ``system|value`` tokens."""

    text: str
    match: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Draft:
    """A resource that has its id, with how it is to be written; ``reference`` is ``Type/id``."""

    name: str
    resource: Resource
    mode: str
    match: tuple[str, ...] = ()
    clear: list[str] = field(default_factory=list)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    group: Group | None = None
    reopens: bool = False
    reference: str = field(init=False)

    def __post_init__(self) -> None:
        self.reference = f"{self.resource['resourceType']}/{self.resource['id']}"


@lru_cache(maxsize=8192)
def business_id(resource_type: str, key: str) -> str:
    """Return the id of the resource with this business key: the same UUIDv5 for ever (RFC 9562 §5.5)."""
    name = f"{resource_type}|{key}".encode()
    digest = bytearray(hashlib.sha1(_ids.bytes + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _stands(name: str, resource: Resource) -> bool:
    """Tell whether the element is there, or another type of the same choice (``effectivePeriod``)."""
    if name in resource:
        return True
    choice = next((choice for choice in _choices if name.startswith(choice)), None)
    return choice is not None and any(known.startswith(choice) for known in resource)


def _beside(group: Group | None, inner: Group) -> bool:
    """Tell whether a group lies in ``inner``, which was searched before, or in another occurrence of it."""
    while group is not None and group.parent is not inner.parent:
        group = group.parent
    return group is not None and group.name == inner.name


class Context:
    """One run. Rows read the delimiters and ``unescape``; functions may read it all."""

    __slots__ = (
        "clears",
        "codes",
        "component",
        "drafts",
        "group",
        "memo",
        "message",
        "repetition",
        "resource",
        "root",
        "site",
        "subcomponent",
        "trace",
        "trail",
        "unescape",
        "warned",
        "warnings",
    )

    def __init__(
        self, message: Message, site: Site, *, traced: bool = False, codes: dict[Any, Any] | None = None
    ) -> None:
        self.message = message
        self.site = site
        delimiters = message.delimiters
        self.component = delimiters.component
        self.repetition = delimiters.repetition
        self.subcomponent = delimiters.subcomponent
        self.unescape = message.unescape
        self.root = self.group = Group("")
        self.resource: Resource = {}
        self.drafts: dict[str, Draft] = {}
        self.clears: list[str] = []
        self.warnings: dict[str, None] = {}
        self.warned = 0
        self.trace: list[TraceRow] | None = [] if traced else None
        self.trail: list[str] = []
        self.memo: dict[Any, Any] = {}
        self.codes = {} if codes is None else codes

    def warn(self, text: str) -> None:
        """Note what had to be tolerated, once; never with a value in it."""
        self.warnings[text] = None
        self.warned += 1

    def nearest(self, name: str) -> Segment | None:
        """Return the first segment of this name in the current group or the closest one around it."""
        group: Group | None = self.group
        while group is not None:
            found = group.first(name)
            if found is not None:
                return found
            group = group.parent
        return None

    def field(self, name: str, number: int) -> str:
        """Return a raw field of the nearest segment of this name, ``""`` when there is none."""
        segment = self.nearest(name)
        return segment.field(number) if segment else ""

    def plain(self, text: str) -> str:
        """Return text unescaped and stripped; HL7 null is empty."""
        return "" if text == '""' else self.unescape(text).strip()

    def built(self, name: str, group: Group | None = None) -> list[Draft]:
        """Return the drafts of this plan name within the current group, or else within the closest group around.

        What lies in a sibling of the same name (another order's results) is not around.
        """
        around = group or self.group
        inner: Group | None = None
        while True:
            found = around.built.get(name)
            if found:
                near = [draft for draft in found.values() if inner is None or not _beside(draft.group, inner)]
                if near:
                    return near
            if around.parent is None:
                return []
            inner, around = around, around.parent

    def inside(self, name: str, group: Group | None) -> list[Draft]:
        """Return the drafts of this plan name made from the group or from groups within it."""
        return list(group.built.get(name, {}).values()) if group else []

    def add(self, draft: Draft) -> Draft:
        """Keep a draft; one with the same id takes in what the new one adds."""
        known = self.drafts.get(draft.reference)
        if known is None:
            self.drafts[draft.reference] = known = draft
        else:
            known.resource.update({k: v for k, v in draft.resource.items() if not _stands(k, known.resource)})
            known.match = tuple(dict.fromkeys(known.match + draft.match))
        group = draft.group
        while group is not None:
            group.built.setdefault(draft.name, {})[known.reference] = known
            group = group.parent
        return known
