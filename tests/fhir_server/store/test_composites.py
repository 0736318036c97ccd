"""One part of a resource has to fulfil every component. https://hl7.org/fhir/R4/search.html#composite"""

import pytest

from fhir_server.definitions import RESOURCE_TYPES, compile_composite, search_parameters
from fhir_server.kernel.errors import InvalidSearch
from fhir_server.store.index import index_columns
from fhir_server.store.tables.resources import composite_parameters

UCUM = "http://unitsofmeasure.org"
SYSTOLIC, DIASTOLIC, PRESSURE = "8480-6", "8462-4", "85354-9"


def _code(code):
    return {"coding": [{"system": "http://loinc.org", "code": code}]}


def _mmhg(value):
    return {"value": value, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"}


def _pressure(systolic, diastolic):
    return {
        "code": _code(PRESSURE),
        "component": [
            {"code": _code(SYSTOLIC), "valueQuantity": _mmhg(systolic)},
            {"code": _code(DIASTOLIC), "valueQuantity": _mmhg(diastolic)},
        ],
    }


@pytest.fixture
async def observations(shelf):
    for id, given in {
        "high": _pressure(160, 95),
        "normal": _pressure(118, 76),
        "plain": {"code": _code(SYSTOLIC), "valueQuantity": _mmhg(150)},
        "concept": {"code": _code("1"), "valueCodeableConcept": _code("LA-1")},
        "text": {"code": _code("2"), "valueString": "Growth of E. coli"},
        "period": {"code": _code("3"), "valuePeriod": {"start": "2024-03-01", "end": "2024-03-05"}},
        "valueless": {"code": _code(SYSTOLIC)},
        "sampled": {
            "code": _code("4"),
            "valueSampledData": {"origin": _mmhg(5), "period": 1, "dimensions": 1, "data": "1"},
        },
    }.items():
        await shelf.update({"resourceType": "Observation", "id": id, "status": "final", **given})
    return shelf


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("component-code-value-quantity", f"http://loinc.org|{SYSTOLIC}$gt140", "high"),
        ("component-code-value-quantity", f"http://loinc.org|{SYSTOLIC}$76", ""),
        ("component-code-value-quantity", f"{DIASTOLIC}$lt80|{UCUM}|mm[Hg]", "normal"),
        ("component-code-value-quantity", f"{DIASTOLIC}$gt12|{UCUM}|kPa", "high"),
        ("component-code-value-quantity", f"{DIASTOLIC}$gt90,{SYSTOLIC}$lt120", "high normal"),
        ("combo-code-value-quantity", f"{SYSTOLIC}$gt140", "high plain"),
        ("combo-code-value-quantity", f"{PRESSURE}$gt1", ""),
        ("code-value-quantity", f"{SYSTOLIC}$gt140", "plain"),
        ("code-value-quantity", "4$5", ""),
        ("code-value-concept", "1$LA-1", "concept"),
        ("code-value-concept", "1$http://loinc.org|LA-1", "concept"),
        ("code-value-concept", "2$LA-1", ""),
        ("code-value-string", "2$growth", "text"),
        ("code-value-string", "1$growth", ""),
        ("code-value-date", "3$2024-03", "period"),
        ("code-value-date", "3$gt2024-03-04", "period"),
        ("code-value-date", "3$gt2024-03-05", ""),
        ("code-value-quantity:missing", "false", "plain"),
        ("component-code-value-quantity:missing", "false", "high normal"),
        ("combo-code-value-quantity:missing", "true", "concept period sampled text valueless"),
    ],
)
async def test_an_observation_is_found_by_what_one_part_of_it_says(observations, name, value, expected):
    assert await observations.search("Observation", (name, value)) == expected.split()


async def test_a_context_is_found_by_its_own_kind_and_value(shelf):
    def context(kind, **value):
        return {"code": {"system": "http://terminology.hl7.org/CodeSystem/usage-context-type", "code": kind}, **value}

    age = {"valueRange": {"low": {"value": 18, "system": UCUM, "code": "a"}}}
    both = [context("age", **age), context("focus", valueCodeableConcept=_code("HTN"))]
    await shelf.update({"resourceType": "ValueSet", "id": "adults", "status": "active", "useContext": both})
    assert await shelf.search("ValueSet", ("context-type-value", "focus$HTN")) == ["adults"]
    assert await shelf.search("ValueSet", ("context-type-value", "age$HTN")) == []
    assert await shelf.search("ValueSet", ("context-type-quantity", f"age$gt65|{UCUM}|a")) == ["adults"]
    assert await shelf.search("ValueSet", ("context-type-quantity", f"age$lt18|{UCUM}|a")) == []
    assert await shelf.search("ValueSet", ("context-type-quantity", f"age$sa17.9|{UCUM}|a")) == ["adults"]
    assert await shelf.search("ValueSet", ("context-type-quantity", "focus$gt1")) == []


async def test_a_relation_and_a_variant_are_found_by_their_parts(shelf):
    relates = [
        {"code": "replaces", "target": {"reference": "DocumentReference/a"}},
        {"code": "signs", "target": {"reference": "DocumentReference/b"}},
    ]
    document = {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": {"title": "x"}}]}
    await shelf.update({**document, "id": "new", "relatesTo": relates})
    assert await shelf.search("DocumentReference", ("relationship", "replaces$DocumentReference/a")) == ["new"]
    assert await shelf.search("DocumentReference", ("relationship", "replaces$DocumentReference/b")) == []
    system = "http://hl7.org/fhir/document-relationship-type"
    assert await shelf.search("DocumentReference", ("relationship", f"{system}|signs$b")) == ["new"]
    sequence = {"resourceType": "MolecularSequence", "coordinateSystem": 0, "id": "gene"}
    variants = [{"start": 10, "end": 20}, {"start": 100, "end": 110}]
    await shelf.update({**sequence, "referenceSeq": {"chromosome": _code("7"), "windowStart": 1}, "variant": variants})
    assert await shelf.search("MolecularSequence", ("chromosome-variant-coordinate", "7$10$20")) == ["gene"]
    assert await shelf.search("MolecularSequence", ("chromosome-variant-coordinate", "7$10$110")) == []
    assert await shelf.search("MolecularSequence", ("chromosome-window-coordinate:missing", "true")) == ["gene"]


async def test_a_composite_with_a_part_too_few_is_refused(shelf):
    with pytest.raises(InvalidSearch, match="composite of 2 values"):
        await shelf.search("Observation", ("code-value-quantity", "1"))


def test_an_observation_without_components_fills_no_composite_column():
    plain = {"resourceType": "Observation", "code": _code("1"), "valueQuantity": _mmhg(5)}
    assert not {name for name in index_columns(plain) if "code_value" in name}
    assert {name for name in index_columns({"resourceType": "Observation", **_pressure(1, 2)}) if "code_value" in name}


def test_what_the_components_of_a_composite_yield_is_in_their_own_columns(sample):
    """What lets a search narrow by them first."""
    seen = 0
    for resource_type in sorted(RESOURCE_TYPES):
        known = search_parameters(resource_type)
        for composite in composite_parameters(resource_type):
            parts = tuple(expression for expression, _ in composite.components)
            evaluate = compile_composite(composite.expression, parts, resource_type)
            for seed in range(4):
                resource = sample(resource_type, seed, 0.8)
                columns = index_columns(resource)
                for group in evaluate(resource):
                    for values, (_, code) in zip(group, composite.components, strict=True):
                        filled = _filled(known[code], values)
                        for name, entries in filled.items():
                            assert set(map(str, entries)) <= set(map(str, columns[name])), (
                                resource_type,
                                composite.code,
                            )
                            seen += 1
    assert seen > 100


def _filled(parameter, values):
    from fhir_server.store.index import _filler  # noqa: PLC0415 - the only test that looks inside

    found = {}
    _filler(parameter)(values, found)
    return {name: entries for name, entries in found.items() if isinstance(entries, list) and not name.endswith("_all")}
