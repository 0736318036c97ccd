import json
import re
from functools import cache

import fhirpathpy
import pytest
from fhirpathpy.engine.util import get_data
from fhirpathpy.models import models

from fhir_server.definitions import (
    RESOURCE_TYPES,
    ExpressionError,
    TypedValue,
    compile_composite,
    compile_expression,
    search_parameters,
)
from fhir_server.definitions.expressions import yields_many

_peer_ignores_subtypes = {("ConceptMap", "source-uri"), ("ConceptMap", "target-uri")}  # a canonical is a uri


def _values(expression, resource, type_name=None):
    return [tuple(found) for found in compile_expression(expression, type_name or resource["resourceType"])(resource)]


@cache
def _peer(expression, resource_type):
    """Compile with fhirpathpy, written the way it understands: no resolve(), no Resource, `as` on many items."""
    text = re.sub(r"^Resource\.", f"{resource_type}.", expression)
    text = re.sub(r"resolve\(\) is (\w+)", r"reference.startsWith('\1/')", text)
    text = re.sub(r" as (\w+)", r".ofType(\1)", text)
    return fhirpathpy.compile(text, models["r4"], {"returnRawData": True})


def _as_set(values):
    return sorted({json.dumps(value, sort_keys=True, default=str) for value in values})


@pytest.mark.parametrize("seed", range(3))
def test_every_parameter_of_every_type_yields_what_fhirpathpy_yields(sample, seed):
    compared = 0
    for resource_type in sorted(RESOURCE_TYPES):
        resource = sample(resource_type, seed, share=0.9)
        for parameter in search_parameters(resource_type).values():
            if (resource_type, parameter.code) in _peer_ignores_subtypes:
                continue
            ours = compile_expression(parameter.expression, resource_type)(resource)
            theirs = _peer(parameter.expression, resource_type)(resource)
            assert _as_set(value for value, _ in ours) == _as_set(map(get_data, theirs)), (
                resource_type,
                parameter.code,
            )
            compared += bool(ours)
    assert compared > 1500


def test_every_component_of_every_composite_compiles(sample):
    for resource_type in sorted(RESOURCE_TYPES):
        for parameter in search_parameters(resource_type).values():
            if parameter.components:
                expressions = tuple(expression for expression, _ in parameter.components)
                for values in compile_composite(parameter.expression, expressions, resource_type)(
                    sample(resource_type)
                ):
                    assert len(values) == len(expressions)


def test_values_carry_the_type_of_their_element():
    observation = {"resourceType": "Observation", "valueQuantity": {"value": 1}, "effectiveDateTime": "2024"}
    assert _values("Observation.value", observation) == [({"value": 1}, "Quantity")]
    assert _values("Observation.effective", observation) == [("2024", "dateTime")]
    assert _values("Observation.value as CodeableConcept", observation) == []


def test_types_are_matched_whatever_their_case():
    observation = {"resourceType": "Observation", "valueDateTime": "2024"}
    assert _values("value.as(DateTime)", observation) == [("2024", "dateTime")]


def test_lists_are_walked_and_nulls_left_out():
    patient = {"resourceType": "Patient", "name": [{"given": ["A", None]}, {"family": "B"}, {"given": ["C"]}]}
    assert _values("Patient.name.given", patient) == [("A", "string"), ("C", "string")]


def test_where_compares_with_a_literal():
    patient = {
        "resourceType": "Patient",
        "telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "2"}, {"value": "3"}],
    }
    assert _values("Patient.telecom.where(system = 'email').value", patient) == [("2", "string")]


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ({"reference": "Patient/1"}, True),
        ({"reference": "Patient/1/_history/2"}, True),
        ({"reference": "https://ehr.example/fhir/Patient/1"}, True),
        ({"reference": "Group/1"}, False),
        ({"reference": "#p"}, True),
        ({"reference": "#d"}, False),
        ({"reference": "#gone"}, False),
        ({"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}, False),
        ({"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "type": "Patient"}, True),
        ({"type": "Patient", "identifier": {"value": "1"}}, True),
        ({"display": "somebody"}, False),
    ],
)
def test_resolve_tells_the_type_of_a_reference_without_reading_it(reference, found):
    observation = {
        "resourceType": "Observation",
        "contained": [{"resourceType": "Patient", "id": "p"}, {"resourceType": "Device", "id": "d"}],
        "subject": reference,
    }
    assert bool(_values("Observation.subject.where(resolve() is Patient)", observation)) is found


@pytest.mark.parametrize(
    ("deceased", "expected"),
    [
        ({}, False),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2024"}, True),
    ],
)
def test_a_condition_yields_one_boolean(deceased, expected):
    parameter = search_parameters("Patient")["deceased"]
    assert _values(parameter.expression, {"resourceType": "Patient", **deceased}) == [(expected, "boolean")]


def test_an_indexer_takes_one_item_and_a_resource_has_its_own_type():
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": {"resourceType": "Composition"}}, {"resource": {"resourceType": "Patient"}}],
    }
    assert _values("Bundle.entry[0].resource", bundle) == [({"resourceType": "Composition"}, "Composition")]
    assert _values("Bundle.entry.resource.ofType(Patient)", bundle) == [({"resourceType": "Patient"}, "Patient")]


def test_extensions_are_found_by_their_url():
    patient = {
        "resourceType": "Patient",
        "extension": [{"url": "http://a", "valueCode": "x"}, {"url": "http://b", "valueCode": "y"}],
    }
    assert _values("Patient.extension('http://b').value", patient) == [("y", "code")]


def test_a_composite_pairs_the_components_of_each_focus():
    parameter = search_parameters("Observation")["combo-code-value-quantity"]
    evaluate = compile_composite(parameter.expression, tuple(e for e, _ in parameter.components), "Observation")
    observation = {
        "resourceType": "Observation",
        "code": {"text": "panel"},
        "component": [
            {"code": {"text": "a"}, "valueQuantity": {"value": 1}},
            {"code": {"text": "b"}, "valueString": "none"},
        ],
    }
    assert evaluate(observation) == [
        ([TypedValue({"text": "panel"}, "CodeableConcept")], []),
        ([TypedValue({"text": "a"}, "CodeableConcept")], [TypedValue({"value": 1}, "Quantity")]),
        ([TypedValue({"text": "b"}, "CodeableConcept")], []),
    ]


def test_a_component_may_start_from_the_whole_resource():
    parameter = search_parameters("MolecularSequence")["chromosome-variant-coordinate"]
    evaluate = compile_composite(parameter.expression, tuple(e for e, _ in parameter.components), "MolecularSequence")
    sequence = {
        "resourceType": "MolecularSequence",
        "referenceSeq": {"chromosome": {"text": "1"}},
        "variant": [{"start": 1, "end": 2}, {"start": 3}],
    }
    chromosome = [TypedValue({"text": "1"}, "CodeableConcept")]
    assert evaluate(sequence) == [
        (chromosome, [TypedValue(1, "integer")], [TypedValue(2, "integer")]),
        (chromosome, [TypedValue(3, "integer")], []),
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "Patient.nmae",
        "Patient.name.given.more",
        "Patient.deceased as Quantity",
        "Patient.name.count()",
        "Patient.name.where(1)",
    ],
)
def test_what_cannot_be_compiled_is_refused_at_once(expression):
    with pytest.raises(ExpressionError):
        compile_expression(expression, "Patient")


def test_variants_of_one_choice_count_as_one_value():
    assert not yields_many("(Observation.effective as dateTime) | (Observation.effective as Period)", "Observation")
    assert yields_many("Observation.effective | Observation.issued", "Observation")
