"""The entries of a search column that a search value asks for.

https://hl7.org/fhir/R4/search.html#token and https://hl7.org/fhir/R4/search.html#modifiers. An element of type code has
no system of its own; the value set it is bound to says which one is meant.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import cast

from fhir_server.definitions import SearchParameter, value_sets, yielded_types
from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.search_values import (
    ReferenceValue,
    SearchValue,
    StringValue,
    TokenValue,
    TypedIdentifierValue,
    UriValue,
)
from fhir_server.store.entries import LONGEST_STRING, bounded, fold, of_type_entry, token_entry

_booleans = "http://terminology.hl7.org/CodeSystem/special-values"
_mime_types = "http://hl7.org/fhir/ValueSet/mimetypes"
Implied = Mapping[str, frozenset[str] | None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What finds a row: any of these entries, or an entry that begins with one of these prefixes."""

    entries: tuple[str, ...]
    prefixes: tuple[str, ...] = ()


def token(parameter: SearchParameter, resource_type: str, modifier: str | None, values: Iterable[SearchValue]) -> Asked:
    """Return what a token search asks for. Raises InvalidSearch for a value set or a code system nobody listed."""
    implied = _implied(parameter.expression, resource_type)
    if modifier in {"in", "not-in"}:
        found = (entry for value in values for entry in _in_value_set(parameter, cast("UriValue", value), implied))
        return Asked(tuple(dict.fromkeys(found)))
    if modifier in {"above", "below"}:
        if modifier == "below" and _is_mime_type(parameter, resource_type):
            return _mime_prefixes(cast("TokenValue", value) for value in values)
        found = (
            entry
            for value in values
            for code in _line(parameter, modifier, cast("TokenValue", value), implied)
            for entry in _token(code, implied)
        )
        return Asked(tuple(dict.fromkeys(found)))
    return Asked(tuple(dict.fromkeys(entry for value in values for entry in _token(value, implied))))


@cache
def _implied(expression: str, resource_type: str) -> Implied:
    """Return the systems that the parameter's elements have without saying so, with their codes if they are listed."""
    found: dict[str, frozenset[str] | None] = {}
    for type, binding in yielded_types(expression, resource_type):
        if type == "boolean":
            found[_booleans] = frozenset({"true", "false"})
        for system, codes in (value_sets.expansion(binding) or {}).items() if binding else ():
            found[system] = value_sets.system_codes(system) if codes is None else codes
    return found


def _token(value: SearchValue, implied: Implied) -> Iterator[str]:
    if isinstance(value, TypedIdentifierValue):
        yield of_type_entry(value.system, value.code, value.value)
        return
    asked = cast("TokenValue", value)
    yield token_entry(asked.system, asked.code)
    if asked.system is not None and asked.system in implied:
        codes = implied[asked.system]
        if asked.code is None:
            yield from (token_entry("", code) for code in sorted(codes or ()))
        elif codes is None or asked.code in codes:
            yield token_entry("", asked.code)


def _in_value_set(parameter: SearchParameter, value: UriValue, implied: Implied) -> Iterator[str]:
    expansion = value_sets.expansion(value.uri)
    if expansion is None:
        raise InvalidSearch(
            f"'{parameter.code}': what is in this value set is not known here. Value sets of FHIR R4 that list their"
            " codes can be searched by; for another one, list the codes yourself, separated by commas."
        )
    for system, codes in expansion.items():
        if codes is None:
            yield from _token(TokenValue(system, None), implied)
        for code in sorted(codes or ()):
            yield from _token(TokenValue(system, code), implied)


def _line(parameter: SearchParameter, modifier: str, value: TokenValue, implied: Implied) -> list[TokenValue]:
    """Return the code with those above or below it."""
    system = value.system or (next(iter(implied)) if len(implied) == 1 else None)
    if system is None or value.code is None:
        raise InvalidSearch(f"'{parameter.code}:{modifier}' needs a system and a code: system|code.")
    look_up = value_sets.below if modifier == "below" else value_sets.above
    codes = look_up(system, value.code)
    if codes is None:
        raise InvalidSearch(
            f"'{parameter.code}:{modifier}': what is {modifier} this code is not known here, only the code systems of"
            " FHIR R4 itself are. List the codes yourself, separated by commas."
        )
    return [TokenValue(system, code) for code in sorted(codes)]


def _is_mime_type(parameter: SearchParameter, resource_type: str) -> bool:
    return any(binding == _mime_types for _, binding in yielded_types(parameter.expression, resource_type))


def _mime_prefixes(values: Iterable[TokenValue]) -> Asked:
    """Return what is below ``image``, and below ``text/xml``: that type with any parameters.

    https://hl7.org/fhir/R4/search.html#mimetype
    """
    codes = [value.code or "" for value in values]
    return Asked(
        tuple(token_entry(None, code) for code in codes),
        tuple(f"={code}{';' if '/' in code else '/'}" for code in codes),
    )


def reference(value: ReferenceValue, parameter: SearchParameter) -> str:
    """Return the entry of a reference."""
    if value.id is None:
        return bounded(value.url or "")
    only = parameter.targets[0] if len(parameter.targets) == 1 else None
    target = value.type or only
    return f"{target}/{value.id}" if target else f"={value.id}"


def folded(parameter: SearchParameter, value: StringValue) -> str:
    """Return the text as strings are compared. Raises InvalidSearch when it is longer than what is kept of them."""
    text = fold(value.text)
    if len(text) > LONGEST_STRING:
        raise InvalidSearch(f"The value of '{parameter.code}' is longer than {LONGEST_STRING} characters.")
    return text
