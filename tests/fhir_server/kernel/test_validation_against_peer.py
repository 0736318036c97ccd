"""What fhir.resources (R4B models) accepts and refuses, compared with what we do."""

import copy

import pytest
from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from fhir_server.definitions import json_elements
from fhir_server.kernel.validation import validate

_types = (
    "AllergyIntolerance", "Appointment", "Bundle", "CarePlan", "Claim", "Composition", "Condition", "Consent",
    "DiagnosticReport", "DocumentReference", "Encounter", "ImagingStudy", "MedicationRequest", "Observation",
    "Organization", "Patient", "PlanDefinition", "Practitioner", "Procedure", "Provenance", "Questionnaire",
    "QuestionnaireResponse", "ServiceRequest", "Specimen", "Task",
)  # fmt: skip


def _peer_accepts(resource):
    try:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("resource_type", _types)
def test_what_is_valid_here_is_valid_there(sample, resource_type):
    for seed in range(3):
        resource = sample(resource_type, seed)
        assert validate(resource) == ()
        assert _peer_accepts(resource)


def _faults(resource_type):
    """Yield a name and a change that makes any resource of the type invalid."""
    yield "unknown element", lambda resource: resource.update(unknownElement="x")
    for key, (element, code) in json_elements(resource_type).items():
        if element.choice or code in {"Resource", "xhtml"} or key in {"id", "implicitRules"}:
            continue
        yield f"{key} of the wrong shape", lambda resource, key=key: resource.update({key: [[]]})
        if element.many:
            yield f"{key} not in a list", lambda resource, key=key: resource.update({key: "x"})
        if element.min:
            yield f"{key} missing", lambda resource, key=key: resource.pop(key)


@pytest.mark.parametrize("resource_type", _types)
def test_what_is_refused_there_is_refused_here(sample, resource_type):
    resource = sample(resource_type, 1, share=0.3)
    for name, change in _faults(resource_type):
        broken = copy.deepcopy(resource)
        change(broken)
        assert validate(broken), name
        assert not _peer_accepts(broken), name


def test_the_two_know_the_same_elements_but_for_what_r4b_changed():
    different = {}
    for resource_type in _types:
        fields = get_fhir_model_class(resource_type).model_fields
        theirs = {field.alias or name for name, field in fields.items()} - {
            "resource_type",
            "resourceType",
            "fhir_comments",
        }
        apart = {name for name in theirs if not name.startswith("_")} ^ set(json_elements(resource_type))
        if apart:
            different[resource_type] = apart
    assert different == {"PlanDefinition": {"subjectCanonical"}}
