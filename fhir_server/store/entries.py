"""The entries a value puts into its search column, and the same entries as a search asks for them.

https://hl7.org/fhir/R4/search.html#table. A token is found as ``system|code``, ``|code`` (it has no system), ``=code``
(whatever its system) and ``system|``; its display as ``~text``. A string is found folded, and as it is after ``=``.
A reference is found as ``Type/id``, ``=id``, or its URL; its identifier as a token after ``#``.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from fhir_server.definitions import TypedValue

Json = dict[str, Any]
LONGEST_STRING = 400  # characters, at most 1,600 bytes: a lexeme holds 2,046, an entry of a GIN index 2,700
_longest_token = 400
_relative = re.compile(r"([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")


def fold(text: str) -> str:
    """Return the text without accents, case and runs of spaces: what a string search compares.

    https://hl7.org/fhir/R4/search.html#string
    """
    if text.isascii():
        return _not_raw(" ".join(text.lower().split()))
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return _not_raw(" ".join(plain.casefold().split()))


def _not_raw(folded: str) -> str:
    return " " + folded if folded.startswith("=") else folded


def bounded(entry: str) -> str:
    """Return the entry, or a digest of it when it is too long for an index; equal entries stay equal."""
    if len(entry) <= _longest_token:
        return entry
    return entry[:_longest_token] + hashlib.sha256(entry.encode()).hexdigest()


def token_entry(system: str | None, code: str | None) -> str:
    """Return the one entry that a search for a token compares; a system of None is any, ``""`` is none."""
    if system is None:
        return bounded(f"={code}")
    return bounded(f"{system}|{code or ''}")


def token_entries(system: str | None, code: str | None) -> Iterator[str]:
    """Return every entry a token is found by."""
    if code:
        yield token_entry(system or "", code)
        yield token_entry(None, code)
    if system:
        yield token_entry(system, None)


def string_entries(text: str) -> Iterator[str]:
    """Return the entries a string is found by: folded and cut, and exact."""
    folded = fold(text)[:LONGEST_STRING]
    if folded.strip():
        yield folded
    yield bounded("=" + text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _text_entry(text: Any) -> Iterator[str]:
    if isinstance(text, str):
        yield "~" + fold(text)[:LONGEST_STRING]


def _coding(value: Json) -> Iterator[str]:
    yield from token_entries(value.get("system"), value.get("code"))
    yield from _text_entry(value.get("display"))


def _codeable_concept(value: Json) -> Iterator[str]:
    for coding in value.get("coding", ()):
        yield from _coding(coding)
    yield from _text_entry(value.get("text"))


def _identifier(value: Json) -> Iterator[str]:
    yield from token_entries(value.get("system"), value.get("value"))
    kind = value.get("type") or {}
    yield from _text_entry(kind.get("text"))
    for coding in kind.get("coding", ()):
        if value.get("value") and coding.get("code"):
            yield of_type_entry(coding.get("system") or "", coding["code"], value["value"])


def of_type_entry(system: str, code: str, value: str) -> str:
    """Return the entry of an identifier by its type (``:of-type``)."""
    return bounded(f"^{system}|{code}|{value}")


def _contact_point(value: Json) -> Iterator[str]:
    yield from token_entries(None, value.get("value"))


def _plain_token(value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield from token_entries(None, "true" if value else "false")
    elif isinstance(value, str):
        yield from token_entries(None, value)


_token_types: dict[str, Callable[[Any], Iterator[str]]] = {
    "Coding": _coding,
    "CodeableConcept": _codeable_concept,
    "Identifier": _identifier,
    "ContactPoint": _contact_point,
}


def tokens(values: list[TypedValue]) -> list[str]:
    """Return the entries of a token parameter."""
    return _distinct(entry for value, kind in values for entry in _token_types.get(kind, _plain_token)(value))


_string_elements: dict[str, tuple[str, ...]] = {
    "HumanName": ("text", "family", "given", "prefix", "suffix"),
    "Address": ("text", "line", "city", "district", "state", "postalCode", "country"),
    "CodeableConcept": ("text",),
    "Annotation": ("text",),
    "ContactPoint": ("value",),
}


def strings(values: list[TypedValue]) -> list[str]:
    """Return the entries of a string parameter; each part of a name or address is one."""
    found: list[str] = []
    for value, kind in values:
        parts = [value.get(name) for name in _string_elements.get(kind, ())] if isinstance(value, dict) else value
        for text in _texts(parts):
            found += string_entries(text)
    return _distinct(found)


def references(values: list[TypedValue]) -> list[str]:
    """Return the entries of a reference parameter; canonical URLs are found with and without their version."""
    return _distinct(entry for value, kind in values for entry in _reference(value, kind))


def _reference(value: Any, type: str) -> Iterator[str]:
    if isinstance(value, str):
        yield from _target(value)
    elif type == "Reference":
        if isinstance(value.get("reference"), str):
            yield from _target(value["reference"])
        identifier = value.get("identifier") or {}
        for entry in token_entries(identifier.get("system"), identifier.get("value")):
            yield "#" + entry
    elif isinstance(value.get("resourceType"), str) and isinstance(value.get("id"), str):
        yield from _target(f"{value['resourceType']}/{value['id']}")


def _target(text: str) -> Iterator[str]:
    relative = _relative.fullmatch(text)
    if relative:
        yield relative[1]
        yield "=" + relative[1].partition("/")[2]
    elif text and not text.startswith("#"):
        yield bounded(text)
        if "|" in text:
            yield bounded(text.partition("|")[0])


def uris(values: list[TypedValue]) -> list[str]:
    """Return the entries of a uri parameter."""
    return _distinct(bounded(value) for value, _ in values if isinstance(value, str) and value)


def _distinct(entries: Iterator[str] | list[str]) -> list[str]:
    return list(dict.fromkeys(entries))
