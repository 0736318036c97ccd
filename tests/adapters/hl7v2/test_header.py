"""MSH as bytes: identity of a message, its time, and the messages in a frame."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from adapters.hl7v2.header import Header, digest, parse_timestamp, split_messages

MSH = rb"MSH|^~\&|EHR^1.2.3^ISO|LAKESIDE|KONSIL|HARBOR|20260302080000||ADT^A01^ADT_A01|M1|P|2.5.1"
PID = b"PID|1||00483921^^^LAKESIDE^MR"


def test_msh_fields_are_numbered_as_in_the_specification():
    header = Header.parse(MSH + b"\r" + PID)
    assert header is not None
    assert (header.field(1), header.field(2), header.field(3)) == (b"|", rb"^~\&", b"EHR^1.2.3^ISO")
    assert (header.application, header.facility, header.control_id) == ("EHR", "LAKESIDE", "M1")
    assert (header.message_type, header.event) == ("ADT^A01", "A01")
    assert header.field(18) == b""


def test_odd_delimiters_are_read_from_msh():
    header = Header.parse(b"MSH#*%!@#EHR*x#LAKESIDE#####ADT*A01#M1#P#2.3\r")
    assert header is not None
    assert (header.application, header.message_type, header.control_id) == ("EHR", "ADT^A01", "M1")


def test_what_does_not_begin_with_msh_has_no_header():
    assert [Header.parse(raw) for raw in (b"", b"MSH", b"MSH\rPID|1", b"PID|1", b"\x00\x01", b"<xml/>")] == [None] * 6


def test_a_byte_order_mark_before_msh_is_forgiven():
    header = Header.parse(b"\xef\xbb\xbf" + MSH)
    assert header is not None
    assert header.control_id == "M1"


def test_the_digest_ignores_the_time_of_sending_and_nothing_else():
    later = MSH.replace(b"20260302080000", b"20260302090000")
    assert digest(MSH + b"\r" + PID) == digest(later + b"\r" + PID)
    assert digest(MSH + b"\r" + PID) != digest(MSH + b"\r" + PID + b"~9")
    assert digest(MSH) != digest(MSH.replace(b"M1", b"M2"))


def test_a_time_without_offset_is_read_in_the_zone_of_the_site():
    zone = ZoneInfo("America/New_York")
    assert parse_timestamp("20260302080000", zone) == datetime(2026, 3, 2, 8, tzinfo=zone)
    assert parse_timestamp("202603020800-0300", zone) == datetime(2026, 3, 2, 8, tzinfo=timezone(-timedelta(hours=3)))
    assert parse_timestamp("20260302", UTC) == datetime(2026, 3, 2, tzinfo=UTC)
    assert parse_timestamp("20260302080000.5", UTC) == datetime(2026, 3, 2, 8, 0, 0, 500000, tzinfo=UTC)


def test_a_malformed_time_is_no_time():
    assert [parse_timestamp(text, UTC) for text in ("", "20261302", "yesterday", "2026030299")] == [None] * 4


def test_one_message_in_a_frame_is_returned_untouched():
    raw = MSH + b"\r" + PID + b"\r"
    assert split_messages(raw) == [raw]


def test_two_messages_in_a_frame_are_two_messages():
    first, second = MSH + b"\r" + PID + b"\r", MSH.replace(b"M1", b"M2") + b"\r" + PID + b"\r"
    assert split_messages(first + second) == [first, second]


def test_a_batch_is_its_messages_without_the_envelope():
    first, second = MSH + b"\r" + PID + b"\r", MSH.replace(b"M1", b"M2") + b"\r" + PID + b"\r"
    envelope = b"FHS|^~\\&\rBHS|^~\\&\r" + first + second + b"BTS|2\rFTS|1\r"
    assert split_messages(envelope) == [first, second]


def test_the_letters_msh_inside_a_field_do_not_split_a_message():
    raw = MSH + b"\rOBX|1|TX|||MSH|is a segment, MSH too\r"
    assert split_messages(raw) == [raw]
