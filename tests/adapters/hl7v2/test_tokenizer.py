import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.tokenizer import MalformedMessage, Message
from adapters.hl7v2.tokenizer import Path as FieldPath

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus" / "hl7v2"  # beside the checkout, where it is kept

PLAIN = (
    b"MSH|^~\\&|APP|FAC|KONSIL|HARBOR|20260302||ADT^A01^ADT_A01|1|P|2.5.1\r"
    b"PID|1||11^^^A&1.2.3&ISO^MR~22^^^B^PI||DOE^JANE^Q\r"
    b"NK1|1|DOE^JOHN\rNK1|2|DOE^ANN\rZPD|own|data\r"
)


def test_every_segment_is_kept_z_segments_and_unknown_ones_too():
    message = Message.parse(PLAIN + b"QQQ|never seen\r")
    assert [segment.name for segment in message.segments] == ["MSH", "PID", "NK1", "NK1", "ZPD", "QQQ"]
    assert message.get("ZPD-2") == "data"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("MSH-1", "|"),
        ("MSH-2", "^~\\&"),
        ("MSH-9.2", "A01"),
        ("PID-3", "11^^^A&1.2.3&ISO^MR"),
        ("PID-3.1", "11"),
        ("PID-3[2].1", "22"),
        ("PID-3[1].4.2", "1.2.3"),
        ("PID-3[3].1", ""),
        ("PID-99", ""),
        ("NK1[2]-2.2", "ANN"),
        ("PV1-2", ""),
    ],
)
def test_a_path_finds_what_the_specification_says(path, value):
    assert Message.parse(PLAIN).get(path) == value


def test_an_asterisk_finds_every_repetition_and_every_segment():
    message = Message.parse(PLAIN)
    assert message.values("PID-3[*].1") == ["11", "22"]
    assert message.values("NK1[*]-2.2") == ["JOHN", "ANN"]


def test_a_path_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"PID\.3"):
        FieldPath.parse("PID.3")


@pytest.mark.parametrize(("characters", "truncation"), [("^~\\&", ""), ("^~\\&#", "#"), ("$%@!", "")])
def test_delimiters_come_from_msh(characters, truncation):
    message = Message.parse(f"MSH|{characters}|APP{characters[0]}X|FAC\r".encode())
    assert message.delimiters.truncation == truncation
    assert message.get("MSH-3.2") == "X"


def test_a_short_msh_2_means_that_those_delimiters_are_not_used():
    message = Message.parse(b"MSH|^|APP^X|FAC\rPID|1||A~B&C\\F\\\r")
    assert message.delimiters.repetition == ""
    assert message.get("PID-3[1].1") == "A~B&C\\F\\"


@pytest.mark.parametrize("raw", [b"", b"PID|1", b"MSH", b"MSHA^~\\&|", b"MSH |^~\\&|", b"\x00\x01", b"MSH|abcd|X"])
def test_what_does_not_begin_with_a_usable_msh_is_no_message(raw):
    with pytest.raises(MalformedMessage):
        Message.parse(raw)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lf_crlf_and_cr_end_segments(end):
    raw = PLAIN.replace(b"\r", end)
    message = Message.parse(raw)
    assert [segment.name for segment in message.segments] == ["MSH", "PID", "NK1", "NK1", "ZPD"]
    assert bool(message.warnings) == (end != b"\r")
    assert message.emit() == raw


def test_a_line_feed_inside_text_stays_text():
    raw = PLAIN + b"OBX|1|TX|X||first line\nsecond line||||||F\r"
    message = Message.parse(raw)
    assert message.get("OBX-5") == "first line\nsecond line"
    assert message.emit() == raw


def test_paragraphs_inside_text_stay_text():
    raw = PLAIN + b"OBX|1|TX|X||first\n\nSecond|is text\n\r"
    message = Message.parse(raw)
    assert message.get("OBX-5") == "first\n\nSecond"
    assert message.emit() == raw


def test_a_line_feed_before_a_segment_id_ends_the_segment_among_carriage_returns_too():
    raw = PLAIN + b"OBX|1|TX|X||one\nOBX|2|TX|X||two\r"
    message = Message.parse(raw)
    assert message.values("OBX[*]-5") == ["one", "two"]
    assert message.emit() == raw


def test_blank_lines_and_a_byte_order_mark_come_out_again():
    raw = b"\r\n\xef\xbb\xbf" + PLAIN.replace(b"\r", b"\r\r")
    message = Message.parse(raw)
    assert message.get("MSH-10") == "1"
    assert len(message.segments) == 5
    assert message.emit() == raw


def test_touching_every_field_does_not_change_what_is_emitted():
    message = Message.parse(PLAIN)
    assert all(segment.fields for segment in message.segments)
    assert message.emit() == PLAIN


def test_text_is_unescaped_once_and_as_a_whole_repetition():
    message = Message.parse(PLAIN + rb"OBX|1|TX|X||Smith \T\ Jones \E\F\E\ a\.br\b ^ c||||||F" + b"\r")
    assert message.get("OBX-5[1]") == "Smith & Jones \\F\\ a\nb ^ c"


field_text = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=12)
segment = st.tuples(st.from_regex(r"[A-Z][A-Z0-9]{2}", fullmatch=True), st.lists(field_text, min_size=1, max_size=6))


@given(st.lists(segment, max_size=8), st.sampled_from(["\r", "\n", "\r\n"]), st.booleans())
def test_any_message_comes_out_byte_for_byte_with_the_same_number_of_segments(segments, end, trailing):
    lines = [r"MSH|^~\&|A|B|C|D|2026||ADT^A01|1|P|2.5", *("|".join([name, *fields]) for name, fields in segments)]
    text = end.join(lines) + (end if trailing else "")
    message = Message.parse(text.encode())
    assert len(message.segments) == len(lines)
    assert [s.fields for s in message.segments[1:]] == [
        [name, *"|".join(fields).split("|")] for name, fields in segments
    ]
    assert message.emit() == text.encode()


@given(st.binary(max_size=200))
def test_any_bytes_after_msh_come_out_again_and_never_crash(tail):
    raw = rb"MSH|^~\&|A|B|C|D|2026||ADT^A01|1|P|2.5|||||||8859/1" + b"\r" + tail
    message = Message.parse(raw)
    for part in message.segments:
        assert part.fields
    assert message.emit() == raw


def test_a_large_attachment_is_held_about_twice_not_ten_times():
    size = 20_000_000
    raw = PLAIN + b"OBX|1|ED|PDF||A^application^pdf^Base64^" + b"QUJD" * (size // 4) + b"||||||F\r"
    tracemalloc.start()
    message = Message.parse(raw)
    assert len(message.get("OBX-5.5")) == size
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.2 * size
    assert message.emit() == raw


corpus = sorted(path for path in CORPUS.rglob("*") if path.suffix in (".hl7", ".txt")) if CORPUS.is_dir() else []


@pytest.mark.skipif(not corpus, reason="the message corpus is not on this machine")
def test_every_message_of_the_corpus_comes_out_byte_for_byte():
    changed = []
    for path in corpus:
        raw = path.read_bytes()
        message = Message.parse(raw)
        assert all(part.fields for part in message.segments)
        if message.emit() != raw:
            changed.append(path.name)
    assert changed == []
