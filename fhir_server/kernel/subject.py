"""Who asks, and what the scopes of the token let them do: the algebra only, no I/O.

SMART App Launch 2.2 §3.0.1, scopes ``(patient|user|system)/(Type|*).(c?r?u?d?s?)[?param=value&…]``; the v1 words
``read``, ``write`` and ``*`` are accepted and mean ``rs``, ``cud`` and ``cruds``.
https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

import re
from dataclasses import dataclass

from fhir_server.kernel.errors import Forbidden, InvalidRequest

INTERACTIONS = "cruds"
_v1 = {"read": "rs", "write": "cud", "*": "cruds"}
_scope = re.compile(r"(patient|user|system)/([A-Z][A-Za-z]*|\*)\.(c?r?u?d?s?|read|write|\*)(?:\?(.+))?")
_names = {"c": "create", "r": "read", "u": "update", "d": "delete", "s": "search"}


@dataclass(frozen=True, slots=True)
class Scope:
    """One granted scope. ``query`` narrows it (``category=laboratory``); None means every resource of the type."""

    level: str
    resource_type: str
    interactions: str
    query: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Scope":
        """Return the scope written as ``text``. Raises InvalidRequest when it is not a SMART resource scope."""
        found = _scope.fullmatch(text)
        if not found or not found[3]:
            raise InvalidRequest(f"'{text}' is not a SMART v2 resource scope such as 'user/Observation.rs'.")
        return cls(found[1], found[2], _v1.get(found[3], found[3]), found[4])

    def covers(self, resource_type: str, interaction: str) -> bool:
        """Tell whether the scope speaks of this type and interaction (one letter of ``cruds``)."""
        return self.resource_type in ("*", resource_type) and interaction in self.interactions


@dataclass(frozen=True, slots=True)
class Grant:
    """One alternative of what a Subject may touch; a resource is visible if any Grant lets it through.

    ``compartment`` is a reference like ``Patient/123`` the resource must lie in, ``query`` a search it must match;
    both None means no narrowing.
    """

    compartment: str | None
    query: str | None


@dataclass(frozen=True, slots=True)
class Subject:
    """The acting principal. ``reference`` is a FHIR user (``Practitioner/1``) or ``system``; ``name`` goes into audit.

    ``patient`` is the id of the patient that ``patient/`` scopes are bound to; without one they grant nothing.
    """

    reference: str
    name: str
    scopes: tuple[Scope, ...]
    patient: str | None = None

    @classmethod
    def system(cls, name: str, scopes: str) -> "Subject":
        """Return a narrow system Subject, e.g. ``Subject.system("hl7v2", "system/Patient.crus")``."""
        return cls("system", name, parse_scopes(scopes))

    def grants(self, resource_type: str, interaction: str) -> tuple[Grant, ...]:
        """Return what may be touched, as alternatives; empty means nothing at all."""
        found: list[Grant] = []
        for scope in self.scopes:
            if not scope.covers(resource_type, interaction):
                continue
            if scope.level != "patient":
                found.append(Grant(None, scope.query))
            elif self.patient is not None:
                found.append(Grant(f"Patient/{self.patient}", scope.query))
        if any(grant.compartment is None and grant.query is None for grant in found):
            return (Grant(None, None),)
        return tuple(dict.fromkeys(found))

    def require(self, resource_type: str, interaction: str) -> tuple[Grant, ...]:
        """Return the grants. Raises Forbidden when there are none."""
        found = self.grants(resource_type, interaction)
        if not found:
            raise Forbidden(f"The token's scopes do not allow {_names[interaction]} on {resource_type}.")
        return found


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Return the resource scopes in a space-separated scope string, in order."""
    return tuple(Scope.parse(word) for word in text.split())
