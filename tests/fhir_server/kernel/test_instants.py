from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.kernel.instants import EARLIEST, LATEST, date_range, format_instant


def _utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2024", _utc(2024, 1, 1), _utc(2025, 1, 1)),
        ("2024-02", _utc(2024, 2, 1), _utc(2024, 3, 1)),
        ("2024-12", _utc(2024, 12, 1), _utc(2025, 1, 1)),
        ("2024-02-29", _utc(2024, 2, 29), _utc(2024, 3, 1)),
        ("2024-02-29T10:30", _utc(2024, 2, 29, 10, 30), _utc(2024, 2, 29, 10, 31)),
        ("2024-02-29T10:30:15Z", _utc(2024, 2, 29, 10, 30, 15), _utc(2024, 2, 29, 10, 30, 16)),
        ("2024-02-29T10:30:15+02:00", _utc(2024, 2, 29, 8, 30, 15), _utc(2024, 2, 29, 8, 30, 16)),
        ("2024-02-29T23:30:00-05:00", _utc(2024, 3, 1, 4, 30), _utc(2024, 3, 1, 4, 30, 1)),
        ("2024-02-29T10:30:15.5Z", _utc(2024, 2, 29, 10, 30, 15, 500_000), _utc(2024, 2, 29, 10, 30, 15, 600_000)),
        (
            "2024-02-29T10:30:15.1234567Z",
            _utc(2024, 2, 29, 10, 30, 15, 123_456),
            _utc(2024, 2, 29, 10, 30, 15, 123_457),
        ),
        ("2016-12-31T23:59:60Z", _utc(2017, 1, 1), _utc(2017, 1, 1, 0, 0, 1)),
    ],
)
def test_a_date_stands_for_the_span_its_precision_leaves_open(text, low, high):
    assert date_range(text) == (low, high)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("9999", _utc(9999, 1, 1), LATEST),
        ("9999-12", _utc(9999, 12, 1), LATEST),
        ("9999-12-31", _utc(9999, 12, 31), LATEST),
        ("0001-01-01T00:00:00+14:00", EARLIEST, EARLIEST + timedelta(seconds=1)),
    ],
)
def test_spans_end_at_the_edge_of_the_calendar(text, low, high):
    assert date_range(text) == (low, high)


@pytest.mark.parametrize(
    "text",
    ["", "77", "2024-13", "2024-02-30", "2023-02-29", "0000", "2024-1-1", "20240101", "2024-01-01T", "2024-01-01T10",
     "2024-01-01T24:00", "2024-01-01T10:60", "2024-01-01T10:00:61Z", "2024-01-01T10:00:00+15:00",
     "2024-01-01T10:00:00+01:60", "2024-01-01 10:00", "2024-01-01Z", "٢٠٢٤", "2024-01-01\n", "now"],
)  # fmt: skip
def test_what_is_no_date_is_refused_without_repeating_it(text):
    with pytest.raises(ValueError) as refused:
        date_range(text)
    assert not text.strip() or text not in str(refused.value)


_moments = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 30))  # noqa: DTZ001 - hypothesis wants naive ones
_offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(_moments, _offsets)
def test_every_instant_lies_in_its_own_span_whatever_the_zone(moment, offset):
    text = moment.replace(tzinfo=offset).isoformat(timespec="microseconds")
    low, high = date_range(text)
    assert low == moment.replace(tzinfo=offset)
    assert high - low == timedelta(microseconds=1)


@given(_moments)
def test_a_coarser_date_always_contains_the_finer_one(moment):
    text = moment.isoformat(timespec="milliseconds") + "Z"
    spans = [date_range(text[:length]) for length in (4, 7, 10)] + [date_range(text)]
    for (low, high), (finer_low, finer_high) in pairwise(spans):
        assert low <= finer_low < finer_high <= high


def test_instants_are_written_in_utc_with_milliseconds():
    moment = datetime(2024, 3, 1, 12, 30, 0, 123_456, tzinfo=timezone(timedelta(hours=2)))
    assert format_instant(moment) == "2024-03-01T10:30:00.123Z"
