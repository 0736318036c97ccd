from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.kernel.errors import InvalidRequest
from fhir_server.kernel.json import decode, decode_resource, encode, encode_text, verbatim


@pytest.mark.parametrize("text", ["1.00", "0.10", "-0.0", "100", "0.000001", "123456789012345678901234567890.10"])
def test_a_number_leaves_as_it_came(text):
    assert encode_text(decode(text)) == text


def test_a_number_with_a_point_or_exponent_is_a_decimal_and_a_whole_one_is_not():
    assert decode("[1.0, 1e2, 1]") == [Decimal("1.0"), Decimal("1e2"), 1]
    assert [isinstance(number, Decimal) for number in decode("[1.0, 1e2, 1]")] == [True, True, False]


@pytest.mark.parametrize(
    ("body", "place"),
    [(b'{"a": 1,}', "(line 1, column 9)"), (b'{\n "a" 1}', "(line 2, column 6)"), (b'{"a": "\xff"}', "")],
)
def test_a_fault_is_reported_with_its_place(body, place):
    with pytest.raises(InvalidRequest, match="not valid JSON") as refused:
        decode(body)
    assert place in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b"[" * 100_000, b'"\\ud800"', b"\x00"])
def test_what_is_no_json_is_refused(body):
    with pytest.raises(InvalidRequest):
        decode(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b"{}", b'{"resourceType": 1}'])
def test_a_resource_is_an_object_with_a_resource_type(body):
    with pytest.raises(InvalidRequest):
        decode_resource(body)


def test_verbatim_text_is_written_as_it_is():
    assert encode({"resource": verbatim('{"a": 1.00}')}) == b'{"resource":{"a": 1.00}}'


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.decimals(allow_nan=False, allow_infinity=False, places=3)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_json)
def test_what_is_encoded_decodes_to_the_same(value):
    assert decode(encode(value)) == value


@pytest.mark.parametrize("text", ["0.0000001", "1e3", "1.0E-5", "0.00000000", "-0.0", "1E400", "0e0", "123.4500"])
def test_every_spelling_of_a_decimal_leaves_as_it_came(text):
    assert encode(decode(f'{{"value":{text}}}')).decode() == f'{{"value":{text}}}'
