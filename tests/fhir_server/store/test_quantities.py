"""Precision, prefixes, units and ranges. https://hl7.org/fhir/R4/search.html#quantity and #number"""

import pytest

UCUM = "http://unitsofmeasure.org"


def _quantity(value, code=None, unit=None, system=UCUM):
    given = {"value": value, "unit": unit, "system": system if code else None, "code": code}
    return {name: part for name, part in given.items() if part is not None}


@pytest.fixture
async def stock(shelf):
    values = {
        "mg": _quantity(5, "mg"),
        "g": _quantity("0.005", "g"),
        "fever": _quantity(102, "[degF]"),
        "cel": _quantity("38.5", "Cel"),
        "odd": _quantity(5, "foo"),
        "local": _quantity(5, "mg", system="urn:local"),
        "shown": _quantity(5, unit="mg"),
        "none": _quantity(100),
    }
    for id, value in values.items():
        body = {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"}}
        number = value["value"]
        text = str({**body, "valueQuantity": value}).replace("'", '"').replace(f'"{number}"', str(number))
        await shelf.update(_decoded(text))
    return shelf


def _decoded(text):
    from fhir_server.kernel import json  # noqa: PLC0415 - decimals as they are written

    return json.decode(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"5|{UCUM}|mg", "g mg"),
        (f"5.0|{UCUM}|mg", "g mg"),
        (f"5e-3|{UCUM}|g", "g mg"),
        (f"0.005|{UCUM}|g", "g mg"),
        (f"5000|{UCUM}|ug", "g mg"),
        (f"gt5|{UCUM}|mg", ""),
        (f"ge5|{UCUM}|mg", "g mg"),
        (f"gt4.9|{UCUM}|mg", "g mg"),
        (f"gt38.4|{UCUM}|Cel", "cel fever"),
        (f"gt38.6|{UCUM}|Cel", "fever"),
        (f"lt102|{UCUM}|[degF]", "cel"),
        (f"5|{UCUM}|foo", "odd"),
        (f"5|{UCUM}|", "mg odd"),
        ("5|urn:local|mg", "local"),
        ("5||mg", "local mg shown"),
        ("5", "local mg odd shown"),
        ("0.005", "g"),
        ("100", "none"),
        ("101", ""),
        ("99.6", ""),
        ("1e2", "none fever"),
        ("1.0e2", "none fever"),
        ("1.00e2", "none"),
        ("ap92", "none"),
        ("ap90", ""),
        ("sa99.9", "fever none"),
        ("sa100", "fever"),
        ("eb100", "cel g local mg odd shown"),
        ("eb5", "g"),
        ("le0.005", "g"),
        ("ne5", "cel fever g none"),
    ],
)
async def test_each_quantity_search_finds_what_the_specification_says(stock, value, expected):
    assert await stock.search("Observation", ("value-quantity", value)) == sorted(expected.split())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("20", ""),
        (f"gt20|{UCUM}|a", "open wide"),
        (f"gt40|{UCUM}|a", "open"),
        (f"lt20|{UCUM}|a", "child wide"),
        (f"sa20|{UCUM}|a", "open"),
        (f"eb20|{UCUM}|a", "child"),
        (f"ap30|{UCUM}|a", "wide"),
        (f"2e1|{UCUM}|a", ""),
        (f"ne2e1|{UCUM}|a", "child open wide"),
        (f"120|{UCUM}|mo", "child"),
        (f"1.2e2|{UCUM}|mo", "child"),
        (f"1e2|{UCUM}|mo", "child"),
    ],
)
async def test_a_range_is_compared_from_its_low_to_its_high(shelf, value, expected):
    ranges = {
        "wide": {"low": _quantity(18, "a"), "high": _quantity(40, "a")},
        "open": {"low": _quantity(50, "a")},
    }
    base = {"resourceType": "Condition", "subject": {"reference": "Patient/1"}}
    for id, given in ranges.items():
        await shelf.update({**base, "id": id, "onsetRange": given})
    await shelf.update({**base, "id": "child", "onsetAge": _quantity(10, "a")})
    assert await shelf.search("Condition", ("onset-age", value)) == expected.split()
