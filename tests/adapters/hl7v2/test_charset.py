import pytest

from adapters.hl7v2.charset import codec_of, decode
from adapters.hl7v2.tokenizer import Message


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("ASCII", "ascii"),
        ("8859/1", "iso8859-1"),
        ("8859/15", "iso8859-15"),
        ("UNICODE UTF-8", "utf-8"),
        ("utf8", "utf-8"),
        ("WINDOWS-1252", "cp1252"),
        ("CP1250", "cp1250"),
        ("GB 18030-2000", "gb18030"),
        ("ISO IR87", "iso2022_jp"),
        ("", None),
        ("hex", None),
        ("rot13", None),
        ("no such set", None),
    ],
)
def test_names_of_table_0211_and_of_the_field_are_known_and_nothing_else(declared, codec):
    assert codec_of(declared) == codec


def test_the_declared_set_wins_over_the_sites():
    assert decode("Müller".encode("latin-1"), "8859/1", "utf-8") == ("Müller", "iso8859-1", ())


def test_the_sites_set_stands_in_where_none_is_declared():
    text, codec, warnings = decode("Łódź".encode("cp1250"), "", "CP1250")
    assert (text, codec, warnings) == ("Łódź", "cp1250", ())


def test_utf_8_in_a_message_that_says_ascii_is_read_and_noted():
    text, codec, warnings = decode("Müller".encode(), "ASCII", None)
    assert (text, codec) == ("Müller", "utf-8")
    assert warnings == ("the message is not valid ascii",)


def test_bytes_that_fit_nothing_are_kept_and_flagged():
    raw = b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rPID|1||\xff\xfe\x81\r"
    message = Message.parse(raw)
    assert any("no character set fits" in warning for warning in message.warnings)
    assert message.emit() == raw


def test_shift_jis_trail_bytes_are_no_delimiters():
    raw = "MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5||||||SHIFT_JIS\rPID|1||1||表示^ソ\r".encode("shift_jis")
    message = Message.parse(raw)
    assert message.get("PID-5.1") == "表示"
    assert message.get("PID-5.2") == "ソ"


def test_utf_16_is_read_by_its_byte_order_mark():
    message = Message.parse("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5||||||UNICODE UTF-16\rPID|1||7\r".encode("utf-16"))
    assert message.get("PID-3") == "7"
