"""Framing, checked at every byte boundary."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.framing import Event, Frame, Framer, Oversize, Partial, Stray, frame

ADT = b"MSH|^~\\&|EHR|LAKESIDE|||20260302080000||ADT^A01|1|P|2.5.1\rPID|1||1^^^LAKESIDE^MR\r"
ORU = b"MSH|^~\\&|LAB|LAKESIDE|||20260302080000||ORU^R01|2|P|2.5.1\rPID|1||1^^^LAKESIDE^MR\r"


def read(*pieces: bytes, limit: int = 1 << 20) -> list[Event]:
    framer = Framer(limit)
    events = [event for piece in pieces for event in framer.feed(piece)]
    return events + framer.end_of_stream()


def one_byte_at_a_time(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def test_a_frame_comes_out_as_it_went_in():
    assert read(frame(ADT)) == [Frame(ADT)]


def test_one_byte_at_a_time_gives_the_same_frames():
    assert read(*one_byte_at_a_time(frame(ADT) + frame(ORU))) == [Frame(ADT), Frame(ORU)]


def test_several_frames_in_one_read_are_all_returned_in_order():
    assert read(frame(ADT) + frame(ORU) + frame(ADT)) == [Frame(ADT), Frame(ORU), Frame(ADT)]


@pytest.mark.parametrize("at", range(len(frame(ADT) + frame(ORU)) + 1))
def test_a_split_at_every_byte_changes_nothing(at):
    data = frame(ADT) + frame(ORU)
    assert read(data[:at], data[at:]) == [Frame(ADT), Frame(ORU)]


def test_nul_and_line_ends_between_frames_are_skipped():
    assert read(b"\0\0" + frame(ADT) + b"\0\r\n" + frame(ORU) + b"\n") == [Frame(ADT), Frame(ORU)]


def test_other_bytes_between_frames_are_reported_once_however_they_arrive():
    data = frame(ADT) + b"GET / HTTP/1.1" + frame(ORU)
    expected = [Frame(ADT), Stray(b"GET / HTTP/1.1"), Frame(ORU)]
    assert read(data) == read(*one_byte_at_a_time(data)) == expected


def test_a_missing_final_cr_is_forgiven_when_the_next_frame_begins():
    assert read(frame(ADT)[:-1] + frame(ORU)) == [Frame(ADT), Frame(ORU)]


def test_a_missing_final_cr_is_forgiven_when_nothing_follows():
    framer = Framer()
    assert framer.feed(frame(ADT)[:-1]) == []
    assert framer.may_have_ended
    assert framer.end_of_burst() == [Frame(ADT)]
    assert framer.feed(b"\r" + frame(ORU)) == [Frame(ORU)]


def test_a_missing_final_cr_is_forgiven_when_the_connection_closes():
    assert read(frame(ADT)[:-1]) == [Frame(ADT)]


def test_fs_inside_a_text_does_not_end_the_frame():
    message = ADT + b"OBX|1|TX|||one\x1ctwo\r"
    assert read(frame(message)) == read(*one_byte_at_a_time(frame(message))) == [Frame(message)]


def test_fs_inside_a_text_does_not_end_the_frame_even_when_the_sender_pauses_there():
    framer = Framer()
    framer.feed(b"\x0b" + ADT + b"OBX|1|TX|||one\x1c")
    assert not framer.may_have_ended
    assert framer.end_of_burst() == []


def test_a_frame_that_never_ends_is_partial_and_never_a_frame():
    for length in range(1, len(ADT) + 1):
        assert read(frame(ADT)[: length + 1]) in ([Partial(ADT[:length])], [])


def test_a_new_message_inside_a_frame_cuts_the_unfinished_one_off():
    assert read(b"\x0b" + ADT[:60] + frame(ORU)) == [Partial(ADT[:60]), Frame(ORU)]


def test_a_vertical_tab_in_a_text_stays_data():
    message = ADT + b"OBX|1|TX|||first line\x0bsecond line\r"
    assert read(frame(message)) == [Frame(message)]


def test_an_endless_frame_is_reported_at_the_limit_and_not_kept():
    framer = Framer(limit=1000)
    events = [event for _ in range(50) for event in framer.feed(b"\x0bMSH" + b"x" * 100)]
    assert isinstance(events[0], Oversize)
    assert len(events[0].payload) <= 1200


def test_a_frame_over_the_limit_that_arrives_in_one_piece_is_oversize_too():
    assert [type(event) for event in read(frame(b"MSH" + b"x" * 2000), limit=1000)] == [Oversize]


def test_an_empty_frame_is_nothing():
    assert read(frame(b"") + frame(b"\r\n") + frame(ADT)) == [Frame(ADT)]


def test_a_frame_of_twenty_megabytes_is_framed_from_small_reads():
    message = ADT + b"OBX|1|ED|||" + b"A" * 20_000_000 + b"\r"
    data = frame(message)
    assert read(*(data[at : at + 65536] for at in range(0, len(data), 65536)), limit=1 << 26) == [Frame(message)]


payloads = st.binary(min_size=1, max_size=60).map(lambda body: b"MSH" + body.translate(None, b"\x0b\x1c") + b"\r")


@given(st.lists(payloads, min_size=1, max_size=5), st.lists(st.integers(0, 400), max_size=8))
def test_any_payloads_cut_anywhere_come_out_whole(messages, cuts):
    data = b"".join(frame(message) for message in messages)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:stop] for start, stop in itertools.pairwise(bounds)]
    assert read(*pieces) == [Frame(message) for message in messages]


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_random_bytes_never_break_the_framer_and_splits_do_not_matter(pieces):
    assert read(*pieces) == read(b"".join(pieces)) == read(*one_byte_at_a_time(b"".join(pieces)))
