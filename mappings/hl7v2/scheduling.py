"""Appointments: when they begin and end, from whichever of SCH-11, TQ1 and AIS-4 says so.

https://hl7.org/fhir/uv/v2mappings/segment_sch_to_appointment.html; HL7 v2.9 §10.6.1.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from mappings.engine.context import Context
from mappings.engine.protocol import Segment
from mappings.engine.source import split
from mappings.hl7v2.dates import date_time
from mappings.hl7v2.primitives import formatted, to_decimal

_MINUTES = {"": 1, "M": 1, "MIN": 1, "MN": 1, "MINUTE": 1, "MINUTES": 1, "H": 60, "HR": 60, "HOUR": 60, "HOURS": 60,
            "S": 1 / 60, "SEC": 1 / 60, "D": 1440}  # fmt: skip


def appointment_start(schedule: Segment, context: Context) -> str | None:
    """SCH-11.4, else TQ1-7, else AIS-4: an instant, or nothing."""
    parts = split(schedule.field(11), context.component)
    for text in (parts[3] if len(parts) > 3 else "", _below("TQ1", 7, context), _below("AIS", 4, context)):  # noqa: PLR2004 - TQ.4
        found = _instant(text, context)
        if found:
            return found
    return None


def appointment_end(schedule: Segment, context: Context) -> str | None:
    """SCH-11.5, else TQ1-8, else the start and the minutes it lasts."""
    start = appointment_start(schedule, context)
    if start is None:
        return None
    parts = split(schedule.field(11), context.component)
    for text in (parts[4] if len(parts) > 4 else "", _below("TQ1", 8, context)):  # noqa: PLR2004 - TQ.5
        found = _instant(text, context)
        if found:
            return found
    minutes = appointment_minutes(schedule, context)
    return (datetime.fromisoformat(start) + timedelta(minutes=minutes)).isoformat() if minutes else None


def appointment_minutes(schedule: Segment, context: Context) -> int | None:
    """SCH-9 in the unit of SCH-10, else AIS-7 in that of AIS-8, else SCH-11.3 such as ``M30``."""
    pairs = (
        (schedule.field(9), schedule.field(10)),
        (_below("AIS", 7, context), _below("AIS", 8, context)),
    )
    for amount, unit in pairs:
        found = _minutes(context.plain(amount), context.plain(split(unit, context.component)[0]))
        if found:
            return found
    parts = [*split(schedule.field(11), context.component), "", ""]
    return _minutes(context.plain(parts[2])[1:], context.plain(parts[2])[:1])


def appointment_comment(_: Segment, context: Context) -> str | None:
    """Every NTE-3 of the message, one line each."""
    texts = [formatted(segment.field(3), context) for segment, _ in context.root.walk("NTE")]
    return "\n".join(text for text in texts if text) or None


def _minutes(amount: str, unit: str) -> int | None:
    number = to_decimal(amount) if amount else None
    factor = _MINUTES.get(unit.upper())
    if number is None or factor is None:
        return None
    return round(float(number) * factor) or None


def _below(name: str, number: int, context: Context) -> str:
    found = next((segment for segment, _ in context.root.walk(name)), None)
    return found.field(number) if found else ""


def _instant(text: str, context: Context) -> str | None:
    parsed = date_time(text, context) if text else None
    return parsed if parsed and "T" in parsed else None


FRAMES: dict[str, Callable[[Any, Context], Any]] = {
    "appointment_start": appointment_start,
    "appointment_end": appointment_end,
    "appointment_minutes": appointment_minutes,
    "appointment_comment": appointment_comment,
}
