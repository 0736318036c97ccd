import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.escapes import STANDARD, Delimiters, escaper, unescaper

unescape = unescaper(STANDARD, "utf-8")
escape = escaper(STANDARD)


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (r"\F\\S\\T\\R\\E\ ".strip(), "|^&~\\"),
        (r"a\.br\b", "a\nb"),
        (r"a\.sp2\b", "a\n\nb"),
        (r"a\.sk3\b", "a   b"),
        (r"\H\bold\N\ ", "bold "),
        (r"\X41\\X42\ ", "AB "),
        (r"\XC3A9\ ", "é "),
        (r"\X0D0A\ ", "\r\n "),
        (r"\Zown\ stays", r"\Zown\ stays"),
        (r"C:\temp\file", r"C:\temp\file"),
        (r"a\b\F\c", r"a\b|c"),
        (r"\E\F\E\ ", "\\F\\ "),
        ("nothing to do", "nothing to do"),
    ],
)
def test_each_sequence_means_what_the_specification_says_and_unknown_ones_stay(sent, meant):
    assert unescape(sent) == meant


def test_text_without_the_escape_character_is_returned_untouched():
    text = "plain ^ text"
    assert unescape(text) is text


def test_own_delimiters_have_their_own_meaning():
    own = Delimiters("#", "$", "%", "@", "!", "?")
    assert unescaper(own, "utf-8")("@F@@S@@R@@E@@T@@P@") == "#$%@!?"


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\x85")))
def test_what_was_escaped_is_the_same_after_unescaping(text):
    assert unescape(escape(text)) == text


@given(st.text())
def test_no_text_can_end_a_field_a_component_or_a_segment(text):
    assert not set("|^~&\r\n\x0b\x1c") & set(escape(text))


def test_line_breaks_of_every_kind_become_br():
    assert escape("a\r\nb\rc\nd") == r"a\.br\b\.br\c\.br\d"
