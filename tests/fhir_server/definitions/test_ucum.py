"""Units and their base units. https://ucum.org/ucum and https://hl7.org/fhir/R4/search.html#quantity"""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.definitions import ucum


def _base(value, code):
    unit = ucum.unit(code)
    assert unit is not None, code
    return unit.to_base(Decimal(value)), unit.dimension


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("5", "mg"), ("0.005", "g")),
        (("5.4", "mg/dL"), ("54", "mg/L")),
        (("5.4", "mg/dL"), ("54", "ug/mL")),
        (("120", "mm[Hg]"), ("15.99864", "kPa")),
        (("98.6", "[degF]"), ("37", "Cel")),
        (("37", "Cel"), ("310.15", "K")),
        (("4.5", "10*3/uL"), ("4.5", "10*9/L")),
        (("1", "kg/m2"), ("0.1", "g/cm2")),
        (("60", "/min"), ("1", "Hz")),
        (("1", "U/L"), ("1", "umol/min/L")),
        (("1", "[lb_av]"), ("453.59237", "g")),
        (("1", "[ft_i]"), ("30.48", "cm")),
        (("1", "a"), ("12", "mo")),
        (("1", "L"), ("1", "dm3")),
        (("1", "mL/min/{1.73_m2}"), ("1", "mL/min")),
        (("12", "%"), ("0.12", "1")),
        (("24", "umol/(24.h)"), ("1", "umol/h")),
        (("1", "dar"), ("10", "m2")),
    ],
)
def test_one_quantity_in_two_units_is_one_quantity_in_base_units(one, other):
    assert _base(*one) == _base(*other)


@pytest.mark.parametrize(
    ("one", "other"), [("mg", "mL"), ("[iU]", "U"), ("mol", "1"), ("g", "g/L"), ("Cel", "J"), ("[HPF]", "[LPF]")]
)
def test_what_measures_something_else_has_another_dimension(one, other):
    assert _base("1", one)[1] != _base("1", other)[1]


@pytest.mark.parametrize(
    "code", ["", "foo", "mg/", "mEq/L", "(g", "g)", "g//L", "0", "Cel/h", "{a}{b}", "x" * 200, "k", "mmin", "g/0", "é"]
)
def test_what_is_no_unit_of_ucum_is_unknown(code):
    assert ucum.unit(code) is None


def test_every_unit_of_the_table_can_be_read():
    assert all(ucum.unit(symbol) for symbol in ucum._table())


@given(st.text("mg/dL.%[]{}()10*23-+kUi'_", max_size=12))
def test_any_text_is_read_or_unknown(code):
    unit = ucum.unit(code)
    assert unit is None or (unit.factor > 0 and unit.divisor > 0)
