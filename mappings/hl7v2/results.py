"""OBX-5 by OBX-2, reference ranges, text lines joined: what a row alone cannot say.

https://hl7.org/fhir/uv/v2mappings/segment_obx_to_observation.html; HL7 v2.9 §7.4.2.
"""

import re
from typing import Any

from mappings.engine.context import Context
from mappings.engine.grammar import Group
from mappings.engine.protocol import Segment
from mappings.engine.source import split
from mappings.hl7v2.primitives import coding_system, formatted, to_decimal

TEXT = ("TX", "FT")
_structured = re.compile(r"(<=|>=|<|>)\s*(.+)")
_ucum = "http://unitsofmeasure.org"
_range = re.compile(r"([-+]?\d+(?:\.\d+)?)\s*(?:-|\u2013|to)\s*([-+]?\d+(?:\.\d+)?)")


def obx_unit(segment: Segment, context: Context) -> dict[str, Any]:
    """OBX-6 → unit, system and code of a Quantity; a unit of no named system is text only."""
    text = segment.field(6)
    if not text:
        return {}
    key = (obx_unit, text, context.component, context.repetition)
    unit = context.codes.get(key)
    if unit is None:
        unit = context.codes[key] = _unit(text, context)
    return dict(unit)


def _unit(text: str, context: Context) -> dict[str, Any]:
    parts = [*split(split(text, context.repetition)[0], context.component), "", "", ""]
    code, name, system = context.plain(parts[0]), context.plain(parts[1]), parts[2]
    unit = {"unit": name or code} if name or code else {}
    if code and context.plain(system) == "UCUM":
        return {**unit, "system": _ucum, "code": code}
    if code and context.plain(system):
        return {**unit, "system": coding_system(system, context), "code": code}
    return unit


def nm_quantity(segment: Segment, context: Context) -> dict[str, Any] | None:
    """NM → Quantity; ``<0.5`` sent as NM is understood; what is no number at all is not a Quantity."""
    text = context.plain(_first(segment, context))
    found = _structured.fullmatch(text)
    number = to_decimal(found[2] if found else text)
    if number is None:
        return None
    quantity: dict[str, Any] = {"value": number}
    if found:
        quantity["comparator"] = found[1]
    return quantity | obx_unit(segment, context)


def nm_text(segment: Segment, context: Context) -> str | None:
    """NM or SN that holds no number (``see note``) → valueString, with a warning: lying OBX-2."""
    text = context.plain(_first(segment, context))
    if not text or text == '""' or to_decimal(text.lstrip("<>= ")) is not None:
        return None
    context.warn("OBX-2 says NM, OBX-5 holds no number; kept as text")
    return text


def sn_value(segment: Segment, context: Context) -> dict[str, Any] | None:
    """SN → ``{"Quantity": …}``, ``{"Range": …}``, ``{"Ratio": …}`` or ``{"String": …}``."""
    parts = [context.plain(part) for part in split(_first(segment, context), context.component)] + [""] * 4
    comparator, first, separator, second = parts[:4]
    low, high = to_decimal(first) if first else None, to_decimal(second) if second else None
    unit = obx_unit(segment, context)
    if low is not None and high is not None and separator == "-":
        return {"Range": {"low": {"value": low, **unit}, "high": {"value": high, **unit}}}
    if low is not None and high is not None and separator in (":", "/"):
        return {"Ratio": {"numerator": {"value": low}, "denominator": {"value": high}}}
    if low is not None and not separator and comparator in ("", "=", "<", "<=", ">", ">="):
        shown = {"comparator": comparator} if comparator not in ("", "=") else {}
        return {"Quantity": {"value": low, **shown, **unit}}
    text = "".join(part for part in parts if part).strip()
    return {"String": text} if text else None


def _sn(kind: str) -> Any:
    def pick(segment: Segment, context: Context) -> Any:
        value = sn_value(segment, context)
        return value.get(kind) if value else None

    return pick


def obx_text(segment: Segment, context: Context) -> str | None:
    """TX, FT, ST and anything else that is text: every repetition whole, one line each."""
    lines = [formatted(part, context) or "" for part in split(segment.field(5), context.repetition) if part != '""']
    return "\n".join(lines).strip("\n") or None


def _first(segment: Segment, context: Context) -> str:
    text = split(segment.field(5), context.repetition)[0]
    return "" if text == '""' else text


def nr_range(segment: Segment, context: Context) -> dict[str, Any] | None:
    """NR → Range."""
    parts = [*split(_first(segment, context), context.component), ""]
    low, high = (to_decimal(context.plain(part)) if part else None for part in parts[:2])
    unit = obx_unit(segment, context)
    found = {"low": low, "high": high}
    return {name: {"value": value, **unit} for name, value in found.items() if value is not None} or None


def reference_range(segment: Segment, context: Context) -> list[dict[str, Any]] | None:
    """OBX-7 → referenceRange: the text, with low and high where it is a plain range or limit of numbers."""
    text = context.plain(segment.field(7))
    if not text:
        return None
    entry: dict[str, Any] = {"text": text}
    numbers, limit = _range.fullmatch(text), _structured.fullmatch(text)
    unit = obx_unit(segment, context)
    if numbers:
        entry["low"] = {"value": to_decimal(numbers[1]), **unit}
        entry["high"] = {"value": to_decimal(numbers[2]), **unit}
    elif limit and (bound := to_decimal(limit[2])) is not None:
        entry["high" if limit[1].startswith("<") else "low"] = {"value": bound, **unit}
    return [entry]


def repeated_codes(segment: Segment, context: Context) -> list[dict[str, Any]] | None:
    """The second and later coded values of one OBX → components under the same code."""
    code = _concept(split(segment.field(3), context.repetition)[0], context)
    values = [_concept(part, context) for part in split(segment.field(5), context.repetition)[1:] if part]
    return [{"code": code, "valueCodeableConcept": value} for value in values if value and code] or None


def _concept(text: str, context: Context) -> dict[str, Any]:
    parts = [context.plain(part) for part in split(text, context.component)] + ["", "", ""]
    if not parts[0]:
        return {"text": parts[1]} if parts[1] else {}
    coding = {"system": coding_system(parts[2], context), "code": parts[0], "display": parts[1]}
    return {"coding": [{name: value for name, value in coding.items() if value}]}


def nte_text(segment: Segment, context: Context) -> str | None:
    """NTE-3: every repetition whole, one line each."""
    lines = [formatted(part, context) or "" for part in split(segment.field(3), context.repetition) if part != '""']
    return "\n".join(lines).strip("\n") or None


class JoinedSegment:
    """Consecutive text OBX of one observation, seen as one: OBX-5 is all their lines."""

    __slots__ = ("_fields", "name", "position")

    def __init__(self, first: Segment, lines: list[str]) -> None:
        self.name = first.name
        self.position = first.position
        self._fields = [*first.fields]
        self._fields[5] = "\n".join(lines)

    @property
    def fields(self) -> list[str]:
        """The first line's fields, with the text of all in OBX-5."""
        return self._fields

    def field(self, number: int) -> str:
        """Return one of the fields, ``""`` when absent."""
        return self._fields[number] if number < len(self._fields) else ""


def join_text_lines(found: list[tuple[Segment, Group]], context: Context) -> list[tuple[Segment, Group]]:
    """Fold runs of TX/FT OBX with the same OBX-3 (and order) to one segment each."""
    folded: list[tuple[Segment, Group]] = []
    run: list[tuple[Segment, Group]] = []
    for pair in found:
        if run and _same_text(run[-1], pair, context):
            run.append(pair)
            continue
        folded.extend(_joined(run))
        run = [pair]
    return folded + _joined(run)


def _same_text(before: tuple[Segment, Group], after: tuple[Segment, Group], context: Context) -> bool:
    first, second = before[0], after[0]
    if first.field(2) not in TEXT or second.field(2) not in TEXT or first.field(3) != second.field(3):
        return False
    return _order(before[1]) is _order(after[1]) and bool(context.component)


def _order(group: Group) -> Group:
    return group.parent if group.name == "OBSERVATION" and group.parent else group


def _joined(run: list[tuple[Segment, Group]]) -> list[tuple[Segment, Group]]:
    if len(run) < 2:  # noqa: PLR2004 - nothing to join
        return run
    return [(JoinedSegment(run[0][0], [segment.field(5) for segment, _ in run]), run[0][1])]


FRAMES: dict[str, Any] = {
    "nm_quantity": nm_quantity,
    "nm_text": nm_text,
    "sn.Quantity": _sn("Quantity"),
    "sn.Range": _sn("Range"),
    "sn.Ratio": _sn("Ratio"),
    "sn.String": _sn("String"),
    "obx_text": obx_text,
    "nr_range": nr_range,
    "reference_range": reference_range,
    "repeated_codes": repeated_codes,
    "nte_text": nte_text,
}
FOLDS: dict[str, Any] = {"join_text_lines": join_text_lines}
