from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.definitions import RESOURCE_TYPES, search_parameters
from fhir_server.kernel.search_values import (
    PREFIXES,
    CompositeValue,
    DateValue,
    MissingValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    TypedIdentifierValue,
    UriValue,
    modifiers,
    parse_values,
    split_escaped,
    unescape,
)


def _values(resource_type, code, text, modifier=None, base_url=""):
    parameter = search_parameters(resource_type)[code]
    return parse_values(parameter, modifier, text, resource_type=resource_type, base_url=base_url)


def _one(*arguments, **options):
    (value,) = _values(*arguments, **options)
    return value


def test_commas_separate_alternatives_unless_escaped():
    assert _values("Patient", "name", r"eve\,adam,noah") == (StringValue("eve,adam"), StringValue("noah"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("final", TokenValue(None, "final")),
        ("http://loinc.org|1-2", TokenValue("http://loinc.org", "1-2")),
        ("|1-2", TokenValue("", "1-2")),
        ("http://loinc.org|", TokenValue("http://loinc.org", None)),
        (r"a\|b", TokenValue(None, "a|b")),
        (r"s\|t|c\$d\\e", TokenValue("s|t", r"c$d\e")),
    ],
)
def test_tokens_are_code_system_and_code_or_either(text, expected):
    assert _one("Observation", "code", text) == expected


@pytest.mark.parametrize("prefix", PREFIXES[:-1])
def test_dates_take_each_prefix(prefix):
    low, high = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
    assert _one("Observation", "date", f"{prefix}2024-03") == DateValue(prefix, low, high)


def test_a_date_without_prefix_is_equality():
    assert _one("Patient", "birthdate", "2024").prefix == "eq"


def test_an_approximate_date_is_wider_the_longer_it_is_ago():
    now = datetime.now(UTC)
    recent, old = (_one("Patient", "birthdate", f"ap{(now - timedelta(days=d)).date()}") for d in (10, 10_000))
    assert recent.high - recent.low < timedelta(days=5)
    assert timedelta(days=1900) < old.high - old.low < timedelta(days=2100)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("100", "99.5", "100.5"), ("100.00", "99.995", "100.005"), ("1e2", "50", "150"), ("-1.5", "-1.55", "-1.45")],
)
def test_a_number_stands_for_the_range_its_digits_leave_open(text, low, high):
    expected = NumberValue("eq", Decimal(text), Decimal(low), Decimal(high))
    assert _one("RiskAssessment", "probability", text) == expected


def test_an_approximate_number_is_within_a_tenth():
    assert _one("RiskAssessment", "probability", "ap200") == NumberValue("ap", Decimal(200), Decimal(180), Decimal(220))


@pytest.mark.parametrize(
    ("text", "system", "code"),
    [
        ("gt5.4", None, None),
        ("gt5.4|http://unitsofmeasure.org|mg", "http://unitsofmeasure.org", "mg"),
        ("gt5.4||mg", None, "mg"),
    ],
)
def test_quantities_have_a_system_and_code_or_not(text, system, code):
    expected = QuantityValue("gt", Decimal("5.4"), Decimal("5.35"), Decimal("5.45"), system, code)
    assert _one("Observation", "value-quantity", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", ReferenceValue(None, "1")),
        ("Patient/1", ReferenceValue("Patient", "1")),
        ("Patient/1/_history/2", ReferenceValue("Patient", "1", None, "2")),
        ("https://here.example/fhir/Patient/1", ReferenceValue("Patient", "1")),
        ("https://there.example/fhir/Patient/1", ReferenceValue(None, None, "https://there.example/fhir/Patient/1")),
        ("urn:uuid:1", ReferenceValue(None, None, "urn:uuid:1")),
    ],
)
def test_references_are_ids_typed_ids_or_urls_and_ours_are_local(text, expected):
    assert _one("Observation", "subject", text, base_url="https://here.example/fhir") == expected


def test_a_type_modifier_gives_a_bare_id_its_type():
    assert _one("Observation", "subject", "1", "Patient") == ReferenceValue("Patient", "1")
    with pytest.raises(ValueError):
        _one("Observation", "subject", "Group/1", "Patient")


def test_modifiers_change_the_grammar_of_the_value():
    assert _one("Patient", "gender", "true", "missing") == MissingValue(missing=True)
    assert _one("Observation", "code", "some|text", "text") == StringValue("some|text")
    assert _one("Observation", "subject", "urn:a|1", "identifier") == TokenValue("urn:a", "1")
    assert _one("Patient", "identifier", "s|MR|1", "of-type") == TypedIdentifierValue("s", "MR", "1")
    assert _one("Observation", "code", "http://vs", "in") == UriValue("http://vs")


def test_composites_are_tuples_of_their_components():
    assert _one("Observation", "code-value-quantity", r"s|a\$b$lt5||mg") == CompositeValue((
        TokenValue("s", "a$b"),
        QuantityValue("lt", Decimal(5), Decimal("4.5"), Decimal("5.5"), None, "mg"),
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("resource_type", "code", "text", "modifier"),
    [
        ("Patient", "name", "", None),
        ("Patient", "name", "a,,b", None),
        ("Patient", "name", "a\x00b", None),
        ("Patient", "name", "  ", None),
        ("Observation", "code", "|", None),
        ("Observation", "code", "a|b|c", None),
        ("Observation", "date", "2024-02-30", None),
        ("Observation", "date", "xx2024", None),
        ("Observation", "date", "ge", None),
        ("Observation", "date", "2024-01-01T00:00:00 02:00", None),
        ("RiskAssessment", "probability", "NaN", None),
        ("RiskAssessment", "probability", "1e9999", None),
        ("RiskAssessment", "probability", "0x10", None),
        ("Observation", "value-quantity", "5|mg", None),
        ("Observation", "value-quantity", "high|s|mg", None),
        ("Observation", "subject", "Unicorn/1", None),
        ("Observation", "subject", "a b", None),
        ("Observation", "code-value-quantity", "a", None),
        ("Observation", "code-value-quantity", "a$", None),
        ("Observation", "code-value-quantity", "a$1$2", None),
        ("Patient", "gender", "yes", "missing"),
        ("Patient", "identifier", "s|v", "of-type"),
        ("Location", "near", "91|2", None),
    ],
)
def test_malformed_values_are_refused_without_repeating_them(resource_type, code, text, modifier):
    with pytest.raises(ValueError) as refused:
        _values(resource_type, code, text, modifier)
    if len(text.strip()) > 2:
        assert text not in str(refused.value)


def test_modifiers_are_those_of_the_parameter_type():
    assert modifiers(search_parameters("Patient")["name"]) == {"missing", "exact", "contains"}
    assert modifiers(search_parameters("Patient")["birthdate"]) == {"missing"}
    assert {"Patient", "Group", "identifier"} <= modifiers(search_parameters("Observation")["subject"])
    assert "of-type" in modifiers(search_parameters("Patient")["identifier"])
    assert "of-type" not in modifiers(search_parameters("Patient")["gender"])


def _escape(text):
    for character in "\\,|$":
        text = text.replace(character, "\\" + character)
    return text


@given(st.lists(st.text(min_size=1), min_size=1))
def test_escaped_values_come_back_as_they_were(texts):
    parts = split_escaped(",".join(map(_escape, texts)), ",")
    assert [unescape(part) for part in parts] == texts


_every = [(t, c) for t in sorted(RESOURCE_TYPES) for c in search_parameters(t)]


@given(st.sampled_from(_every), st.text())
def test_no_text_does_more_than_parse_or_be_refused(which, text):
    try:
        assert _values(*which, text)
    except ValueError:
        return


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=4))
def test_a_number_always_lies_in_its_own_range(number):
    value = _one("RiskAssessment", "probability", f"{number:f}")
    assert value.low <= value.value < value.high
