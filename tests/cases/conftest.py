"""Resources of one case as plain dicts, for the tests of the pure modules."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cases import codes
from cases.machine import State
from cases.snapshot import Snapshot
from programmes.load import definition
from programmes.model import Programme

_resources = definition("harbor")


@pytest.fixture(scope="session")
def programme() -> Programme:
    return Programme.from_plan(next(item for item in _resources if item["resourceType"] == "PlanDefinition"))


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 3, 4, 19, 0, tzinfo=UTC)  # Wednesday 14:00 in Boston


@pytest.fixture
def patient() -> dict:
    return {
        "resourceType": "Patient",
        "id": "alvarez",
        "birthDate": "1961-04-12",
        "address": [{"use": "home", "city": "Providence", "state": "RI", "country": "US"}],
    }


@pytest.fixture
def intake() -> dict:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "intake",
        "questionnaire": f"{codes.BASE}/Questionnaire/harbor-intake",
        "status": "completed",
        "basedOn": [{"reference": "ServiceRequest/order"}],
        "item": [
            {
                "linkId": "clinical",
                "item": [
                    {
                        "linkId": "field",
                        "answer": [{"valueCoding": {"system": codes.SO_FIELD, "code": "thoracic-oncology"}}],
                    }
                ],
            },
            {
                "linkId": "questions",
                "item": [
                    {"linkId": "question-1", "answer": [{"valueString": "Do you agree with the diagnosis?"}]},
                    {"linkId": "question-2", "answer": [{"valueString": "Is neoadjuvant immunotherapy right?"}]},
                ],
            },
        ],
    }


@pytest.fixture
def snapshot(patient, intake) -> Snapshot:
    """An eligible case just received; tests change what they are about with ``dataclasses.replace``."""
    return Snapshot(
        case={
            "resourceType": "Task",
            "id": "case",
            "status": "received",
            "businessStatus": codes.concept(codes.SO_STATUS, codes.ELIGIBILITY),
            "intent": "order",
            "code": codes.concept(codes.SO_TASK, codes.CASE),
            "focus": {"reference": "ServiceRequest/order"},
            "for": {"reference": "Patient/alvarez"},
            "requester": {"reference": "Practitioner/rao"},
        },
        request={
            "resourceType": "ServiceRequest",
            "id": "order",
            "status": "active",
            "authoredOn": "2026-03-02T09:35:00-05:00",
            "subject": {"reference": "Patient/alvarez"},
            "requester": {"reference": "Practitioner/rao"},
        },
        patient=patient,
        consents=({"resourceType": "Consent", "id": "consent", "status": "active"},),
        responses=(intake,),
        roles=tuple(item for item in _resources if item["resourceType"] == "PractitionerRole"),
    )


@pytest.fixture
def at_state():
    """``at_state(snapshot, "accepted", "offered")`` → the same case in that state."""

    def move(snapshot: Snapshot, status: str, business: str) -> Snapshot:
        case = {**snapshot.case, "status": status, "businessStatus": codes.concept(codes.SO_STATUS, business)}
        moved = replace(snapshot, case=case)
        assert moved.state == State(status, business)
        return moved

    return move


@pytest.fixture
def pathology() -> dict:
    return {
        "resourceType": "DiagnosticReport",
        "id": "pathology",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "11526-1"}]},
        "effectiveDateTime": "2026-02-25",
    }


@pytest.fixture
def consult_note() -> dict:
    return {
        "resourceType": "DocumentReference",
        "id": "note",
        "status": "current",
        "docStatus": "final",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]},
        "date": "2026-02-28T10:00:00Z",
    }


@pytest.fixture
def chest_ct() -> dict:
    return {
        "resourceType": "ImagingStudy",
        "id": "ct",
        "status": "available",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}],
        "description": "CT CHEST W CONTRAST",
        "started": "2026-02-20T08:00:00Z",
    }


@pytest.fixture
def ngs_report() -> dict:
    return {
        "resourceType": "DiagnosticReport",
        "id": "ngs",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "51969-4"}]},
        "effectiveDateTime": "2026-03-03",
    }
