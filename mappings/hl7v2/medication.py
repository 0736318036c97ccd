"""Doses of pharmacy orders: how much, between what and what, and how fast.

https://hl7.org/fhir/uv/v2mappings/segment_rxe_to_medicationrequest.html; HL7 v2.9 §4A.4.
"""

from collections.abc import Callable
from typing import Any

from mappings.engine.context import Context
from mappings.engine.protocol import Segment
from mappings.engine.source import split
from mappings.hl7v2.primitives import coding_system, to_decimal


def rxe_dose(segment: Segment, context: Context) -> dict[str, Any] | None:
    """RXE-3, 4 and 5 → doseQuantity or doseRange; RXE-23 and 24 → rateQuantity."""
    dose = _dose(segment, (3, 4, 5), context)
    rate = _quantity(segment.field(23), segment.field(24), context)
    return {**dose, **({"rateQuantity": rate} if rate else {})} or None


def rxo_dose(segment: Segment, context: Context) -> dict[str, Any] | None:
    """RXO-2, 3 and 4 → doseQuantity or doseRange."""
    return _dose(segment, (2, 3, 4), context) or None


def substitution(text: str, context: Context) -> bool | None:
    """Table 0161: N is not authorized, G and T allow one."""
    return {"N": False, "G": True, "T": True, "Y": True}.get(context.plain(text).upper())


def count(text: str, context: Context) -> int | None:
    """NM → unsignedInt; what is none is left out with a warning."""
    plain = context.plain(text)
    if plain.isdecimal():
        return int(plain)
    context.warn("a count that is no whole number was left out")
    return None


def _dose(segment: Segment, numbers: tuple[int, int, int], context: Context) -> dict[str, Any]:
    least, most, unit = (segment.field(number) for number in numbers)
    low, high = _quantity(least, unit, context), _quantity(most, unit, context)
    if low and high and low != high:
        return {"doseRange": {"low": low, "high": high}}
    found = low or high
    return {"doseQuantity": found} if found else {}


def _quantity(amount: str, unit: str, context: Context) -> dict[str, Any] | None:
    number = to_decimal(context.plain(amount)) if amount else None
    if number is None:
        return None
    parts = [context.plain(part) for part in split(unit, context.component)] + ["", "", ""]
    found: dict[str, Any] = {"value": number}
    if parts[0] or parts[1]:
        found["unit"] = parts[1] or parts[0]
    if parts[0] and parts[2]:
        found |= {"system": coding_system(parts[2], context), "code": parts[0]}
    return found


FRAMES: dict[str, Callable[[Any, Context], Any]] = {"rxe_dose": rxe_dose, "rxo_dose": rxo_dose}
VALUES: dict[str, Callable[[str, Context], Any]] = {"substitution": substitution, "count": count}
