"""Literal references and ids: ``Type/id`` and ``Type/id/_history/version``.

https://hl7.org/fhir/R4/references.html#literal and https://hl7.org/fhir/R4/datatypes.html#id
"""

import re
from dataclasses import dataclass
from uuid import uuid4

from fhir_server.definitions import RESOURCE_TYPES

_id = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_literal = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/([A-Za-z0-9\-.]{1,64}))?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A relative reference to a resource of this server, perhaps to one version of it."""

    type: str
    id: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.type}/{self.id}" + (f"/_history/{self.version}" if self.version else "")


def parse_reference(text: str) -> Reference | None:
    """Return the reference written as ``Type/id[/_history/version]``; None for anything else."""
    found = _literal.fullmatch(text)
    if not found or found[1] not in RESOURCE_TYPES:
        return None
    return Reference(found[1], found[2], found[3])


def new_id() -> str:
    """Return a fresh resource id."""
    return str(uuid4())


def is_id(text: str) -> bool:
    """Tell whether the text may be a resource's id (1 to 64 of ``A-Z a-z 0-9 - .``)."""
    return _id.fullmatch(text) is not None
