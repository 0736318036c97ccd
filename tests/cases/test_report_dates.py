import pytest

from cases.report import _day


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2026-11-23T04:22:00+00:00", "2026-11-22"),
        ("2026-11-23T12:00:00Z", "2026-11-23"),
        ("2026-11-23", "2026-11-23"),
        ("", ""),
    ],
)
def test_the_day_a_report_names_is_the_day_where_the_programme_is(written, day):
    assert _day(written, "America/New_York") == day
