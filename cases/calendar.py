"""The business calendar of a programme: from T0 (records complete) to the target and the limit.

Counting rule: a day counts when it is neither a weekend nor a holiday in the programme's zone; what happens after
closing, or on a day that does not count, happens on the next business day. A promise ends at closing time.
docs/cases.md#clock
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from programmes.model import Clock

_saturday = 5


@dataclass(frozen=True, slots=True)
class Promise:
    """T0, the target (due) and the limit, each with the programme's offset from UTC."""

    start: datetime
    due: datetime
    limit: datetime


def is_business_day(day: date, clock: Clock) -> bool:
    """Tell whether ``day`` counts."""
    return day.weekday() < _saturday and day not in clock.holidays


def add_business_days(start: datetime, days: int, clock: Clock) -> datetime:
    """Return closing time of the ``days``-th business day after ``start`` (an aware datetime)."""
    local = start.astimezone(clock.zone)
    day = local.date()
    if local.time() >= clock.closes:
        day += timedelta(days=1)
    day = _first_business_day(day, clock)
    for _ in range(days):
        day = _first_business_day(day + timedelta(days=1), clock)
    return datetime.combine(day, clock.closes, clock.zone)


def _first_business_day(day: date, clock: Clock) -> date:
    while not is_business_day(day, clock):
        day += timedelta(days=1)
    return day


def promise(records_complete: datetime, clock: Clock) -> Promise:
    """Return what the programme promises from the moment the records were complete."""
    return Promise(
        start=records_complete.astimezone(clock.zone),
        due=add_business_days(records_complete, clock.target_days, clock),
        limit=add_business_days(records_complete, clock.limit_days, clock),
    )


def instant(moment: datetime) -> str:
    """Return ``moment`` as a FHIR dateTime in its own offset, to the second."""
    return moment.replace(microsecond=0).isoformat()


def utc(moment: datetime) -> str:
    """Return ``moment`` as a FHIR instant in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
