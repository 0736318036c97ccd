"""The grammar of _filter. https://hl7.org/fhir/R4/search_filter.html"""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.search_criteria import AllOf, AnyOf, Criterion, Not
from fhir_server.kernel.search_filter import parse_filter
from fhir_server.kernel.search_values import MissingValue, StringValue, TokenValue


def _shape(node):
    match node:
        case AllOf(parts):
            return f"({' and '.join(map(_shape, parts))})"
        case AnyOf(parts):
            return f"({' or '.join(map(_shape, parts))})"
        case Not(part):
            return f"not {_shape(part)}"
        case Criterion():
            chain = f".{_shape(node.chain)}" if node.chain else ""
            return node.parameter.code + (f":{node.modifier}" if node.modifier else "") + chain


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ('name co "pet"', "name:contains"),
        ('name sw "pet"', "name"),
        ('name eq "Peter"', "name:equals"),
        ('name ew "ter"', "name:ends"),
        ("name eq Peter", "name:equals"),
        ("birthdate ge 2014", "birthdate"),
        ("gender eq male and active eq true or birthdate gt 2000", "((gender and active) or birthdate)"),
        ("gender eq male or active eq true and birthdate gt 2000", "((gender or active) and birthdate)"),
        ("gender eq male and (active eq true or birthdate gt 2000)", "(gender and (active or birthdate))"),
        ("not(gender eq male)", "not gender"),
        ("not (not (gender eq male) and active eq true)", "not (not gender and active)"),
        ("gender ne male", "(gender:missing and not gender)"),
        ("name pr false", "name:missing"),
        ("general-practitioner re Practitioner/1", "general-practitioner"),
        ('organization.name eq "x"', "organization.name:equals"),
        ("gender in http://hl7.org/fhir/ValueSet/administrative-gender", "gender:in"),
        ("_has:Observation:patient:code eq 1234-5", "_has.code"),
    ],
)
def test_an_expression_is_read_from_left_to_right(text, shape):
    assert _shape(parse_filter("Patient", text)) == shape


def test_values_are_what_they_say():
    assert parse_filter("Patient", r'name sw "a,b \"c\" $\\ |"').values == (StringValue('a,b "c" $\\ |'),)
    assert parse_filter("Patient", "identifier eq urn:x|7").values == (TokenValue("urn:x", "7"),)
    assert parse_filter("Patient", "name pr true").values == (MissingValue(missing=False),)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "a search parameter is expected as part 1"),
        ("name", "an operator is expected as part 2"),
        ("name like x", "one of the operators"),
        ("name eq", "a value is expected as part 3"),
        ("name eq x gender eq male", "'and', 'or' or the end is expected as part 4"),
        ("(name eq x", "'\\)' is expected as part 5"),
        ("name eq x)", "the end is expected as part 4"),
        ("not name eq x", "'\\(' is expected as part 2"),
        ('name eq "x', "cannot be read from character 8"),
        ("nmae eq x", "Did you mean 'name'"),
        ("name gt x", "'gt' cannot be asked of 'name'"),
        ("gender co x", "'co' cannot be asked of 'gender'"),
        ("name pr maybe", "true or false"),
        ("birthdate gt notadate", "birthdate"),
        ("contact[x eq y].name eq z", "brackets are not supported"),
        ("(" * 30 + "name eq x" + ")" * 30, "nested more than 20 deep"),
        ("name eq x and " * 200 + "name eq x", "cannot be read from character"),
    ],
)
def test_what_is_malformed_is_refused_at_its_place(text, hint):
    with pytest.raises(InvalidSearch, match=hint):
        parse_filter("Patient", text)


@given(st.lists(st.sampled_from(["name", "eq", "and", "or", "not", "(", ")", '"x"', "pr", "true", "x"]), max_size=12))
def test_any_sequence_of_words_is_read_or_refused(words):
    with contextlib.suppress(InvalidSearch):
        assert parse_filter("Patient", " ".join(words))
