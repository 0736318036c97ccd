from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.calendar import add_business_days, is_business_day, promise
from programmes.load import definition
from programmes.model import Programme

_plan = next(item for item in definition("harbor") if item["resourceType"] == "PlanDefinition")
_clock = Programme.from_plan(_plan).clock


def test_records_complete_on_wednesday_are_due_the_next_wednesday_and_late_after_friday():
    found = promise(datetime(2026, 3, 4, 19, 0, tzinfo=UTC), _clock)
    assert found.start.isoformat() == "2026-03-04T14:00:00-05:00"
    assert found.due.isoformat() == "2026-03-11T17:00:00-04:00"  # summer time began on 8 March
    assert found.limit.isoformat() == "2026-03-13T17:00:00-04:00"


@pytest.mark.parametrize(
    ("start", "due"),
    [
        ("2026-03-04T16:59:00-05:00", "2026-03-11"),
        ("2026-03-04T17:00:00-05:00", "2026-03-12"),  # after closing: counts as Thursday
        ("2026-03-07T10:00:00-05:00", "2026-03-16"),  # Saturday: counts as Monday
        ("2026-03-06T18:00:00-05:00", "2026-03-16"),  # Friday evening: counts as Monday
        ("2026-05-20T10:00:00-04:00", "2026-05-28"),  # Memorial Day in between
        ("2026-12-23T10:00:00-05:00", "2026-12-31"),  # Christmas in between
        ("2026-03-05T02:00:00+00:00", "2026-03-12"),  # still Wednesday evening in Boston
    ],
)
def test_five_business_days_skip_weekends_and_holidays(start, due):
    assert add_business_days(datetime.fromisoformat(start), 5, _clock).date() == date.fromisoformat(due)


def test_a_holiday_of_the_programme_does_not_count():
    closed = replace(_clock, holidays=frozenset({date(2026, 3, 5)}))
    start = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
    assert add_business_days(start, 1, closed).date() == date(2026, 3, 6)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 11, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - zone by argument
    st.integers(0, 15),
)
def test_a_promise_ends_on_a_business_day_at_closing_and_never_before_it_began(start, days):
    end = add_business_days(start, days, _clock)
    assert is_business_day(end.date(), _clock)
    assert end.time() == _clock.closes
    assert end > start
    assert add_business_days(start, days + 1, _clock) > end
