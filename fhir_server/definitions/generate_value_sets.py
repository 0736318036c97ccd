"""Expand the value sets of the definitions, and tell how the codes of their code systems are ordered below each other.

https://hl7.org/fhir/R4/valueset.html#compositions and https://hl7.org/fhir/R4/codesystem.html#hierarchy
"""

from collections.abc import Iterator
from typing import Any

from fhir_server.definitions.generate_elements import Package

Json = dict[str, Any]
Expansion = dict[str, list[str] | None]
"""System to codes; None is every code of a system whose codes the definitions do not list."""


class Expander:
    """Expands value sets as far as the definitions say what is in them."""

    def __init__(self, package: Package) -> None:
        names = ("valuesets.json", "v3-codesystems.json")
        self.value_sets = {r["url"]: r for n in names for r in package.resources(n, "ValueSet")}
        self.systems = {
            r["url"]: r for n in names for r in package.resources(n, "CodeSystem") if r.get("content") == "complete"
        }

    def expand(self, url: str) -> Expansion | None:
        """Return the codes of a value set by system; None where they cannot be told from the definitions alone."""
        compose = self.value_sets.get(url, {}).get("compose")
        if not compose:
            return None
        found: Expansion = {}
        for include in compose["include"]:
            part = self._include(include)
            if part is None:
                return None
            for system, codes in part.items():
                found[system] = _united(found[system], codes) if system in found else codes
        for exclude in compose.get("exclude", ()):
            part = self._include(exclude)
            if part is None or any(codes is None or found.get(system, ()) is None for system, codes in part.items()):
                return None
            for system, codes in part.items():
                found[system] = [code for code in found.get(system) or () if code not in set(codes or ())]
        return {system: codes if codes is None else sorted(set(codes)) for system, codes in sorted(found.items())}

    def _include(self, include: Json) -> Expansion | None:
        sets = [self.expand(url.partition("|")[0]) for url in include.get("valueSet", ())]
        if "system" not in include:
            return sets[0] if len(sets) == 1 else None
        if sets:
            return None
        system = include["system"]
        if "concept" in include:
            return {system: [concept["code"] for concept in include["concept"]]}
        known = self.systems.get(system)
        if known is None:
            return None if "filter" in include else {system: None}
        codes = list(_selectable(known.get("concept", [])))
        for narrow in include.get("filter", ()):
            kept = self._filtered(system, narrow)
            if kept is None:
                return None
            codes = [code for code in codes if code in kept]
        return {system: codes}

    def _filtered(self, system: str, narrow: Json) -> set[str] | None:
        if narrow["property"] != "concept" or narrow["op"] not in {"is-a", "descendent-of", "is-not-a"}:
            return None
        parents = dict(self.hierarchy(system))
        root = narrow["value"]
        below = {code for code in parents if root in _ancestors(code, parents)}
        if narrow["op"] == "is-not-a":
            return parents.keys() - below - {root}
        return below | {root} if narrow["op"] == "is-a" else below

    def hierarchy(self, system: str) -> list[tuple[str, str]]:
        """Return every code of a system with the one right above it, empty at the top."""
        return list(_with_parents(self.systems[system].get("concept", []), ""))


def _united(one: list[str] | None, other: list[str] | None) -> list[str] | None:
    return None if one is None or other is None else one + other


def _selectable(concepts: list[Json]) -> Iterator[str]:
    for concept in concepts:
        if not any(p["code"] == "notSelectable" and p.get("valueBoolean") for p in concept.get("property", ())):
            yield concept["code"]
        yield from _selectable(concept.get("concept", []))


def _with_parents(concepts: list[Json], parent: str) -> Iterator[tuple[str, str]]:
    for concept in concepts:
        yield concept["code"], parent
        yield from _with_parents(concept.get("concept", []), concept["code"])


def _ancestors(code: str, parents: dict[str, str]) -> set[str]:
    found: set[str] = set()
    while (code := parents.get(code, "")) and code not in found:
        found.add(code)
    return found
