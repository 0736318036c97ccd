"""https://hl7.org/fhir/R4/json.html: property names SHALL be unique."""

import json as standard

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.kernel import json
from fhir_server.kernel.errors import InvalidRequest
from fhir_server.kernel.json_duplicates import find_duplicate

_names = st.sampled_from(("a", "b", ":", 'a":', "\\u003a", "\\", "é"))
_leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from((":", '":', "\\u003a", "{", "]", ",", ""))


class _Pairs(list):
    """An object as a list of pairs, so that it may hold a name twice."""


_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(_names, inner), max_size=4).map(_Pairs),
    max_leaves=12,
)


def _text(value, spell):
    if isinstance(value, _Pairs):
        return (
            "{"
            + spell(",").join(f"{_string(name, spell)}{spell(':')}{_text(item, spell)}" for name, item in value)
            + "}"
        )
    if isinstance(value, list):
        return "[" + spell(",").join(_text(item, spell) for item in value) + "]"
    return _string(value, spell) if isinstance(value, str) else standard.dumps(value)


def _string(text, spell):
    quoted = standard.dumps(text, ensure_ascii=False)
    return quoted.replace(":", "\\u003a") if len(text) % 2 and spell(":") == " : " else quoted


def _has_duplicates(text):
    seen = []

    def pairs(found):
        seen.append(len(dict(found)) != len(found))
        return dict(found)

    standard.loads(text, object_pairs_hook=pairs)
    return any(seen)


@settings(max_examples=1000, deadline=None)
@given(_values, st.booleans())
def test_a_body_is_refused_exactly_when_an_object_in_it_has_a_name_twice(value, spaced):
    text = _text(value, (lambda symbol: f" {symbol} ") if spaced else (lambda symbol: symbol))
    if _has_duplicates(text):
        assert find_duplicate(text.encode()) is not None
        with pytest.raises(InvalidRequest, match="occurs twice"):
            json.decode(text)
    else:
        assert find_duplicate(text.encode()) is None
        assert json.decode(text) == standard.loads(text)


def test_the_name_and_its_place_are_told():
    with pytest.raises(InvalidRequest, match="'gender' at line 3, column 2"):
        json.decode('{"resourceType": "Patient",\n "gender": "male",\n "gender": "female"}')


def test_a_name_that_is_no_element_is_not_repeated_in_the_error():
    with pytest.raises(InvalidRequest) as refused:
        json.decode('{"Maria Alvarez": 1, "Maria Alvarez": 2}')
    assert "Maria" not in str(refused.value)
