import copy
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.kernel.json import decode_resource
from fhir_server.kernel.validation import validate
from fhir_server.kernel.validation_walker import MAX_ISSUES

_absent = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}


def _patient(**elements):
    return {"resourceType": "Patient", **elements}


def _observation(**elements):
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **elements}


def _found(resource):
    return [(issue.code, issue.expression) for issue in validate(resource)]


@pytest.mark.parametrize("resource_type", sorted(RESOURCE_TYPES))
def test_a_resource_made_from_the_definitions_of_its_type_is_valid(sample, resource_type):
    for seed in range(4):
        assert validate(sample(resource_type, seed, share=0.25 * (seed + 1))) == ()


@pytest.mark.parametrize(
    "resource",
    [
        _patient(),
        _patient(_birthDate=_absent),
        _patient(birthDate="1970-01", _birthDate=_absent),
        _patient(name=[{"given": ["A", None], "_given": [None, _absent]}]),
        _patient(name=[{"given": ["A"], "_given": [None, _absent]}]),
        _patient(name=[{"_family": {"id": "f1"}}]),
        _patient(_gender=_absent),
        _patient(deceasedBoolean=True, _deceasedBoolean=_absent),
        _patient(contained=[{"resourceType": "Organization", "id": "o"}], managingOrganization={"reference": "#o"}),
        _patient(extension=[{"url": "http://a", "extension": [{"url": "b", "valueDecimal": Decimal("1.00")}]}]),
        _patient(modifierExtension=[{"url": "http://a", "valueBoolean": False}]),
        _patient(text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">A &lt; B</div>'}),
        {"resourceType": "Observation", "_status": _absent, "code": {"text": "x"}},
        _observation(valueQuantity={"value": Decimal("0.010"), "comparator": "<"}),
        _observation(valueInteger=0, component=[{"code": {"text": "x"}, "referenceRange": [{"text": "y"}]}]),
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": _patient()}]},
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "a", "resource": _patient()}, {"name": "b", "valueDate": "2024"}],
        },
        {"resourceType": "MedicinalProduct", "name": [{"productName": "x"}]},
    ],
)
def test_legal_shapes_of_r4_are_valid(resource):
    assert validate(resource) == ()


@pytest.mark.parametrize(
    ("resource", "code", "expression"),
    [
        (_patient(nmae=[]), "structure", "Patient.nmae"),
        (_patient(fhir_comments=["x"]), "structure", "Patient.fhir_comments"),
        (_patient(name={"family": "A"}), "structure", "Patient.name"),
        (_patient(birthDate=["1970"]), "value", "Patient.birthDate"),
        (_patient(name=["A"]), "structure", "Patient.name[0]"),
        (_patient(name=[{"given": ["A", 5]}]), "value", "Patient.name[0].given[1]"),
        (_patient(name=[{}]), "structure", "Patient.name[0]"),
        (_patient(name=[]), "structure", "Patient.name"),
        (_patient(name=[{"given": []}]), "structure", "Patient.name[0].given"),
        (_patient(name=None), "structure", "Patient.name"),
        (_patient(active=None), "value", "Patient.active"),
        (_patient(active="true"), "value", "Patient.active"),
        (_patient(name=[{"given": ["A", None]}]), "value", "Patient.name[0].given[1]"),
        (_patient(name=[{"given": [None]}]), "value", "Patient.name[0].given[0]"),
        (_patient(_birthDate={}), "structure", "Patient.birthDate"),
        (_patient(_birthDate="1970"), "structure", "Patient.birthDate"),
        (_patient(_name=[_absent]), "structure", "Patient._name"),
        (_patient(deceasedBoolean=True, deceasedDateTime="2024"), "structure", "Patient.deceased"),
        (_patient(deceasedBoolean=True, _deceasedDateTime=_absent), "structure", "Patient.deceased"),
        (_patient(deceased=True), "structure", "Patient.deceased"),
        (_patient(gender="M"), "code-invalid", "Patient.gender"),
        (_patient(id="a b"), "value", "Patient.id"),
        (_patient(communication=[{"preferred": True}]), "required", "Patient.communication[0].language"),
        (_patient(link=[{"type": "seealso"}]), "required", "Patient.link[0].other"),
        (_patient(photo=[{"size": -1}]), "value", "Patient.photo[0].size"),
        (_patient(photo=[{"data": "a"}]), "value", "Patient.photo[0].data"),
        (_patient(photo=[{"data": " "}]), "value", "Patient.photo[0].data"),
        (_patient(implicitRules="a b"), "value", "Patient.implicitRules"),
        (_patient(multipleBirthInteger=Decimal("1.0")), "value", "Patient.multipleBirth.ofType(integer)"),
        (_patient(multipleBirthInteger=2**31), "value", "Patient.multipleBirth.ofType(integer)"),
        (_patient(multipleBirthInteger=True), "value", "Patient.multipleBirth.ofType(integer)"),
        (_patient(resourceType="Unicorn"), "structure", "Resource"),
        (_patient(contained=[{"id": "x"}]), "structure", "Patient.contained[0]"),
        (_patient(contained=[_patient(nmae=1)]), "structure", "Patient.contained[0].nmae"),
        (_patient(contained=[_patient(contained=[_patient()])]), "invariant", "Patient.contained[0].contained"),
        (_patient(extension=[{"url": "http://a"}]), "invariant", "Patient.extension[0]"),
        (_patient(extension=[{"valueCode": "a"}]), "required", "Patient.extension[0].url"),
        (_patient(text={"status": "generated", "div": "words"}), "value", "Patient.text.div"),
        (_patient(text={"status": "generated", "div": "<div><script>x</script></div>"}), "value", "Patient.text.div"),
        (_patient(text={"status": "generated", "div": "<div><a onclick='x'>y</a></div>"}), "value", "Patient.text.div"),
        ({"resourceType": "Observation", "code": {"text": "x"}}, "required", "Observation.status"),
        (_observation(valueQuantity={"value": "1.0"}), "value", "Observation.value.ofType(Quantity).value"),
        (_observation(component=[{"valueString": "x"}]), "required", "Observation.component[0].code"),
        (_observation(subject="Patient/1"), "structure", "Observation.subject"),
        ({"resourceType": "MedicinalProduct"}, "required", "MedicinalProduct.name"),
        ({"resourceType": "MedicationRequest", "status": "active", "intent": "order", "subject": {"display": "x"}},
         "required", "MedicationRequest.medication"),
        ({"resourceType": "Bundle", "type": "batch", "entry": [{"resource": _patient(active=1)}]},
         "value", "Bundle.entry[0].resource.active"),
    ],
)  # fmt: skip
def test_each_fault_is_found_where_it_is(resource, code, expression):
    assert _found(resource) == [(code, expression)]


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ("birthDate", "1970-13"),
        ("birthDate", "1970-02-30"),
        ("birthDate", "70"),
        ("birthDate", "1970-01-01T00:00:00Z"),
        ("birthDate", ""),
        ("deceasedDateTime", "2024-01-01T10:00Z"),
        ("deceasedDateTime", "2024-01-01T10:00:00"),
        ("deceasedDateTime", "2024-01-01T25:00:00Z"),
        ("language", "en  us"),
        ("language", " en"),
        ("id", "x" * 65),
        ("id", "a\x00"),
        ("language", "a\x00"),
        ("implicitRules", "urn:a\x00"),
        ("gender", "\x00"),
    ],
)
def test_badly_formed_primitives_are_refused(element, value):
    assert [code for code, _ in _found(_patient(**{element: value}))] == ["value"]


@pytest.mark.parametrize("number", ["1e401", "-1e401", "1e-401", "1e999999", 10**500])
def test_numbers_no_database_could_hold_are_refused(number):
    value = number if isinstance(number, int) else Decimal(number)
    assert _found(_observation(valueQuantity={"value": value})) == [
        ("value", "Observation.value.ofType(Quantity).value")
    ]


@pytest.mark.parametrize("number", ["0", "-0.0", "1e-30", "1.0E+2", "123456789012345678901234567890.123456789"])
def test_numbers_of_any_sensible_size_are_valid(number):
    assert validate(_observation(valueQuantity={"value": Decimal(number)})) == ()


def test_strings_no_database_could_hold_are_refused():
    assert _found(_patient(name=[{"family": "a\x00"}])) == [("value", "Patient.name[0].family")]
    assert _found(_patient(name=[{"family": "a" * (2**20 + 1)}])) == [("value", "Patient.name[0].family")]


def test_all_faults_are_reported_at_once():
    faulty = _patient(name={}, active="x", gender="M", foo=1, contact=[])
    assert {expression for _, expression in _found(faulty)} == {
        "Patient.name", "Patient.active", "Patient.gender", "Patient.foo", "Patient.contact",
    }  # fmt: skip


def test_a_misspelt_element_is_answered_with_the_known_one():
    (issue,) = validate(_patient(brithDate="1970"))
    assert issue.diagnostics == "Patient has no element 'brithDate'. Did you mean 'birthDate'?"


def test_a_short_list_of_codes_is_named():
    (issue,) = validate(_patient(gender="M"))
    assert issue.diagnostics == "Must be one of: female, male, other, unknown."


def test_a_name_that_cannot_be_an_element_is_not_repeated():
    (issue,) = validate(_patient(**{"Maria Alvarez": 1}))
    assert issue.expression == "Patient"
    assert "Alvarez" not in issue.diagnostics


def test_a_flood_of_faults_is_cut_off():
    assert len(validate(_patient(**{f"x{number}": 1 for number in range(100_000)}))) == MAX_ISSUES


def test_endless_nesting_is_refused():
    item = {"linkId": "x"}
    for _ in range(500):
        item = {"linkId": "x", "item": [item]}
    resource = {"resourceType": "QuestionnaireResponse", "status": "completed", "item": [item]}
    assert [code for code, _ in _found(resource)] == ["too-long"]


def test_hostile_strings_are_checked_in_linear_time():
    spaces, angles = " " * 500_000 + "!", "<div>" + "<a" * 400_000
    resource = _patient(photo=[{"data": spaces}], text={"status": "empty", "div": angles}, language=spaces)
    assert len(_found(resource)) == 3


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(RESOURCE_TYPES)), st.integers(0, 5), st.data())
def test_no_json_in_place_of_an_element_does_more_than_be_judged(sample, resource_type, seed, data):
    resource = copy.deepcopy(sample(resource_type, seed))
    resource[data.draw(st.sampled_from(sorted(resource)))] = data.draw(_json)
    for issue in validate(resource):
        assert issue.expression
        assert issue.severity == "error"


@given(st.text(min_size=6).filter(lambda text: not text.isascii()))
def test_a_refused_value_is_never_repeated(text):
    resource = _patient(
        birthDate=text, gender=text, id=text, active=text, name=text, photo=[{"data": text, "size": text}]
    )
    issues = validate(resource)
    assert len(issues) == 7
    assert not any(text in issue.diagnostics or text in str(issue.expression) for issue in issues)


def test_what_is_decoded_exactly_is_judged_as_it_came():
    body = '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.00}}'
    assert validate(decode_resource(body)) == ()
