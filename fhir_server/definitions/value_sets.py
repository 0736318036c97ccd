"""The value sets and code systems of R4, as far as the definitions list what is in them.

https://hl7.org/fhir/R4/terminologies-valuesets.html and https://hl7.org/fhir/R4/terminologies-systems.html
"""

from collections.abc import Mapping
from functools import cache

import msgspec

from fhir_server.definitions.elements import data_file

Expansion = Mapping[str, frozenset[str] | None]


@cache
def _value_sets() -> dict[str, dict[str, frozenset[str] | None]]:
    return msgspec.json.decode(data_file("value_sets.json.gz"), type=dict[str, dict[str, frozenset[str] | None]])


@cache
def _code_systems() -> dict[str, dict[str, str]]:
    return msgspec.json.decode(data_file("code_systems.json.gz"), type=dict[str, dict[str, str]])


def expansion(url: str) -> Expansion | None:
    """Return the codes of a value set by system, None for the whole of a system.

    The answer is None when the value set is unknown or the definitions do not list what is in it.
    """
    return _value_sets().get(url.partition("|")[0])


def system_codes(system: str) -> frozenset[str] | None:
    """Return every code of a code system; None when the definitions do not list them."""
    codes = _code_systems().get(system)
    return None if codes is None else frozenset(codes)


def below(system: str, code: str) -> frozenset[str] | None:
    """Return the code and every one below it; None when the system, or the code in it, is unknown."""
    parents = _code_systems().get(system, {})
    if code not in parents:
        return None
    return frozenset(other for other in parents if code in _line(parents, other))


def above(system: str, code: str) -> frozenset[str] | None:
    """Return the code and every one above it; None when the system, or the code in it, is unknown."""
    parents = _code_systems().get(system, {})
    return _line(parents, code) if code in parents else None


def _line(parents: Mapping[str, str], code: str) -> frozenset[str]:
    found: set[str] = set()
    while code and code not in found:
        found.add(code)
        code = parents.get(code, "")
    return frozenset(found)
