"""HL7 date and time → FHIR, precision kept, offset kept or given by the site's time zone with its summer time.

HL7 v2.9 §2A.3.24 (DTM), https://hl7.org/fhir/R4/datatypes.html#dateTime. FHIR wants seconds and an offset once there
is an hour: seconds are zero-filled, and without any known zone the clock part is left out.
"""

import re
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from mappings.engine.context import Context
from mappings.engine.errors import ValueFault

_dtm = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,9})?)?)?)?)?)?\s*(?:([+-])(\d\d):?(\d\d)|(Z))?"
)
_tm = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,9})?)?)?(?:[+-]\d{4})?")
_BIRTH_TIME = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"
_zeros = frozenset("0")


@lru_cache(maxsize=16384)
def _parsed(text: str, zone: str | None) -> str | None:
    """Return the FHIR dateTime, None when ``text`` is no date."""
    found = _dtm.fullmatch(text)
    if not found:
        return None
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes, zulu = found.groups()
    try:
        date(int(year), int(month or 1), int(day or 1))
        clock = time(int(hour or 0), int(minute or 0), min(int(second or 0), 59))
    except ValueError:
        return None
    known = "-".join(part for part in (year, month, day) if part)
    if hour is None:
        return known
    offset = f"{sign}{offset_hours}:{offset_minutes}" if sign else "Z" if zulu else _offset(known, clock, zone)
    return f"{known}T{clock.isoformat()}{fraction or ''}{offset}" if offset else known


def _offset(day: str, clock: time, zone: str | None) -> str:
    if zone is None:
        return ""
    text = datetime.combine(date.fromisoformat(day), clock, ZoneInfo(zone)).strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


def date_time(text: str, context: Context) -> str | None:
    """DTM or TS → dateTime. Raises ValueFault (102) unless the site drops invalid dates."""
    plain = text.split(context.component, maxsplit=1)[0].strip() if context.component else text.strip()
    if not plain or set(plain) <= _zeros:
        return None
    parsed = _parsed(plain, context.site.zone)
    if parsed is None:
        if context.site.invalid_dates == "drop":
            context.warn("an invalid date was left out")
            return None
        raise ValueFault("a date or time is not valid")
    if context.site.zone is None and len(parsed) == len("YYYY-MM-DD") and len(plain) > len("YYYYMMDD"):
        context.warn("a time of day was left out: neither message nor site gives a time zone")
    return parsed


def date_only(text: str, context: Context) -> str | None:
    """DTM or DT → date: the calendar day as sent, whatever the zone."""
    parsed = date_time(text, context)
    return parsed and parsed[: len("YYYY-MM-DD")]


def birth_time(text: str, context: Context) -> dict[str, Any] | None:
    """DTM with a clock part → ``_birthDate`` with extension patient-birthTime, None for a plain date."""
    parsed = date_time(text, context)
    if parsed is None or "T" not in parsed:
        return None
    return {"extension": [{"url": _BIRTH_TIME, "valueDateTime": parsed}]}


def instant(text: str, context: Context) -> str | None:
    """DTM → instant; None without a clock part, for an instant may not invent one."""
    parsed = date_time(text, context)
    if parsed is None or "T" in parsed:
        return parsed
    context.warn("an instant was left out: the time has no clock part or zone")
    return None


def time_of_day(text: str, context: Context) -> str | None:
    """TM → time, seconds zero-filled. Raises ValueFault (102)."""
    found = _tm.fullmatch(context.plain(text))
    if not found:
        raise ValueFault("a time of day is not valid")
    hour, minute, second, fraction = found.groups()
    try:
        return time(int(hour), int(minute or 0), min(int(second or 0), 59)).isoformat() + (fraction or "")
    except ValueError as error:
        raise ValueFault("a time of day is not valid") from error


def unless_timed(text: str, context: Context) -> str | None:
    """DTM → dateTime, unless TQ1 said already when the order is to be done."""
    timed = any(name.startswith("occurrence") for name in context.resource)
    return None if timed else date_time(text, context)
