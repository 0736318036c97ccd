"""The span of time a FHIR date, dateTime or instant stands for, as half-open UTC ranges.

https://hl7.org/fhir/R4/datatypes.html#dateTime and https://hl7.org/fhir/R4/search.html#date: ``2024-03`` is the whole
month. A value without a time zone is read as UTC.
"""

import re
from datetime import UTC, datetime, timedelta

_date_time = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
_longest_offset = timedelta(hours=14)


def date_range(text: str) -> tuple[datetime, datetime]:
    """Return ``[low, high)`` in UTC for a date of any precision (year to microsecond).

    Raises ValueError when the text is no date; the message does not repeat it. Ranges that would leave the calendar
    (years 1 to 9999) end at its edge.
    """
    found = _date_time.fullmatch(text)
    if not found:
        raise ValueError("not a date such as 2024, 2024-03, 2024-03-01 or 2024-03-01T10:30:00Z")
    year, month, day = int(found["year"]), int(found["month"] or 1), int(found["day"] or 1)
    try:
        low = datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        raise ValueError("not a day that exists") from None  # Python's own text repeats the date
    if found["month"] is None:
        return low, _start(year + 1, 1)
    if found["day"] is None:
        return low, _start(year + month // 12, month % 12 + 1)
    if found["hour"] is None:
        return low, _plus(low, timedelta(days=1))
    return _timed(found, low)


def _timed(found: "re.Match[str]", midnight: datetime) -> tuple[datetime, datetime]:
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"] or 0)
    if hour > 23 or minute > 59 or second > 60:  # noqa: PLR2004 - the clock; 60 is a leap second
        raise ValueError("not a time of day")
    local = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=_microseconds(found["fraction"]))
    low = _plus(midnight, local - _offset(found["zone"]))
    return low, _plus(low, _precision(found))


def _microseconds(fraction: str | None) -> int:
    return int(fraction[:6].ljust(6, "0")) if fraction else 0


def _precision(found: "re.Match[str]") -> timedelta:
    if found["second"] is None:
        return timedelta(minutes=1)
    return timedelta(microseconds=10 ** (6 - min(len(found["fraction"] or ""), 6)))


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone == "Z":
        return timedelta(0)
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    if offset > _longest_offset or int(zone[4:6]) > 59:  # noqa: PLR2004 - the clock
        raise ValueError("not a time zone: offsets go from -14:00 to +14:00")
    return offset if zone[0] == "+" else -offset


def _start(year: int, month: int) -> datetime:
    return LATEST if year > LATEST.year else datetime(year, month, 1, tzinfo=UTC)


def _plus(moment: datetime, span: timedelta) -> datetime:
    try:
        return moment + span
    except OverflowError:
        return LATEST if span > timedelta(0) else EARLIEST


def format_instant(moment: datetime) -> str:
    """Return an aware moment as a FHIR instant in UTC with milliseconds: ``2024-03-01T10:30:00.123Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
