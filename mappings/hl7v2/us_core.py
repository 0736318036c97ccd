"""Race and ethnicity (PID-10, PID-22) as the US Core extensions.

https://hl7.org/fhir/us/core/StructureDefinition-us-core-race.html and -us-core-ethnicity.html
"""

from collections.abc import Callable
from typing import Any

from mappings.engine.context import Context
from mappings.engine.source import split

_BASE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core"
_CDC = "urn:oid:2.16.840.1.113883.6.238"
_NULL_FLAVOR = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
_RACES = {
    "1002-5": "American Indian or Alaska Native",
    "2028-9": "Asian",
    "2054-5": "Black or African American",
    "2076-8": "Native Hawaiian or Other Pacific Islander",
    "2106-3": "White",
}
_ETHNICITIES = {"2135-2": "Hispanic or Latino", "2186-5": "Not Hispanic or Latino"}
_TABLE_0189 = {"H": "2135-2", "N": "2186-5"}
_UNKNOWN = {"U": "UNK", "UNK": "UNK", "ASKU": "ASKU"}
_MOST_CATEGORIES = 5


def us_core_race(frame: Any, context: Context) -> dict[str, Any] | None:
    """PID-10, all repetitions → us-core-race."""
    return _extension("race", frame.field(10), _RACES, {}, context)


def us_core_ethnicity(frame: Any, context: Context) -> dict[str, Any] | None:
    """PID-22, all repetitions, CDC codes or those of table 0189 → us-core-ethnicity."""
    return _extension("ethnicity", frame.field(22), _ETHNICITIES, _TABLE_0189, context)


def _extension(
    name: str, field: str, categories: dict[str, str], local: dict[str, str], context: Context
) -> dict[str, Any] | None:
    parts: list[dict[str, Any]] = []
    texts: list[str] = []
    for repetition in split(field, context.repetition):
        code, text = ([context.plain(part) for part in split(repetition, context.component)] + ["", ""])[:2]
        code = local.get(code.upper(), code)
        coding = _coding(code, text, categories)
        if coding:
            url = "ombCategory" if code in categories or coding["system"] == _NULL_FLAVOR else "detailed"
            parts.append({"url": url, "valueCoding": coding})
        if shown := text or categories.get(code, "") or code:
            texts.append(shown)
    if not texts:
        return None
    kept = parts[: _MOST_CATEGORIES if name == "race" else 1] if _all_categories(parts) else parts
    return {"url": f"{_BASE}-{name}", "extension": [*kept, {"url": "text", "valueString": ", ".join(texts)}]}


def _all_categories(parts: list[dict[str, Any]]) -> bool:
    return all(part["url"] == "ombCategory" for part in parts)


def _coding(code: str, text: str, categories: dict[str, str]) -> dict[str, Any] | None:
    """Return the coding of a CDC code (``2106-3``) or of "unknown"; other codes are only text."""
    if code.upper() in _UNKNOWN:
        return {"system": _NULL_FLAVOR, "code": _UNKNOWN[code.upper()]}
    number, _, check = code.partition("-")
    if not (number.isdecimal() and check.isdecimal()):
        return None
    shown = categories.get(code) or text
    return {"system": _CDC, "code": code, **({"display": shown} if shown else {})}


FRAMES: dict[str, Callable[[Any, Context], Any]] = {
    "us_core_race": us_core_race,
    "us_core_ethnicity": us_core_ethnicity,
}
