"""What the physician's EHR sends: one transaction with ServiceRequest, QuestionnaireResponse, Consent and Task.

docs/cases.md; workflow codes are those of https://konsil.example/fhir/CodeSystem.
"""

from datetime import datetime
from typing import Any

BASE = "https://konsil.example/fhir"
QUESTIONS = (
    "Do you agree with the diagnosis and the stage?",
    "Is neoadjuvant immunotherapy the right first treatment?",
    "Are there clinical trials she should know of?",
)


def submission(
    patient: dict[str, Any], requester: str, now: datetime, *, placer: str, priority: str = "routine"
) -> dict[str, Any]:
    """Return the transaction that submits a case for ``patient``; ``requester`` is a Practitioner reference."""
    subject = {"reference": f"Patient/{patient['id']}"}
    when = now.isoformat(timespec="seconds")
    entries = {
        "request": _service_request(subject, requester, when, placer, priority),
        "intake": _intake(subject, requester, when, patient),
        "consent": _consent(subject, when),
        "task": _task(subject, requester, when),
    }
    urls = {name: f"urn:uuid:0b9c1d5e-0000-4000-8000-00000000000{n}" for n, name in enumerate(entries)}
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": urls[name],
                "resource": _resolved(resource, urls),
                "request": {"method": "POST", "url": resource["resourceType"]},
            }
            for name, resource in entries.items()
        ],
    }


def _resolved(value: Any, urls: dict[str, str]) -> Any:
    """Return ``value`` with references like ``@request`` pointing at the entry of that name."""
    if isinstance(value, dict):
        if str(value.get("reference", "")).startswith("@"):
            return {**value, "reference": urls[value["reference"][1:]]}
        return {name: _resolved(item, urls) for name, item in value.items()}
    return [_resolved(item, urls) for item in value] if isinstance(value, list) else value


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def _service_request(subject: dict[str, Any], requester: str, when: str, placer: str, priority: str) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "identifier": [
            {
                "type": _concept("http://terminology.hl7.org/CodeSystem/v2-0203", "PLAC", "Placer Identifier"),
                "system": "https://lakeside.example/placer",
                "value": placer,
            }
        ],
        "instantiatesCanonical": [f"{BASE}/PlanDefinition/harbor-second-opinion"],
        "status": "active",
        "intent": "order",
        "priority": priority,
        "code": _concept("http://snomed.info/sct", "11429006", "Consultation"),
        "subject": subject,
        "authoredOn": when,
        "requester": {"reference": requester},
        "performer": [{"reference": "HealthcareService/harbor-second-opinion"}],
        "reasonCode": [
            _concept("http://terminology.hl7.org/CodeSystem/v2-0336", "S", "Second Opinion"),
            _concept(
                "http://hl7.org/fhir/sid/icd-10-cm",
                "C34.11",
                "Malignant neoplasm of upper lobe, right bronchus or lung",
            ),
        ],
        "supportingInfo": [{"reference": "@intake"}],
    }


def _intake(subject: dict[str, Any], requester: str, when: str, patient: dict[str, Any]) -> dict[str, Any]:
    address = patient["address"][0]

    def item(link: str, *answers: Any, kind: str = "valueString") -> dict[str, Any]:
        return {"linkId": link, "answer": [{kind: answer} for answer in answers]}

    field = {"system": f"{BASE}/CodeSystem/so-field", "code": "thoracic-oncology", "display": "Thoracic oncology"}
    return {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": f"{BASE}/Questionnaire/harbor-intake",
        "basedOn": [{"reference": "@request"}],
        "status": "completed",
        "subject": subject,
        "authored": when,
        "author": {"reference": requester},
        "item": [
            {
                "linkId": "demographics",
                "item": [
                    item("birth-date", patient["birthDate"], kind="valueDate"),
                    item("state", address["state"]),
                ],
            },
            {
                "linkId": "clinical",
                "item": [
                    item("field", field, kind="valueCoding"),
                    item("complaint", "Cough for three months; mass in the right upper lobe."),
                    item("diagnosis", "Adenocarcinoma of the lung, cT2aN2M0, stage IIIA"),
                    item("history", "Never smoker. No treatment so far."),
                    item("trials", *[True], kind="valueBoolean"),
                ],
            },
            {"linkId": "questions", "item": [item(f"question-{n}", text) for n, text in enumerate(QUESTIONS, 1)]},
        ],
    }


def _consent(subject: dict[str, Any], when: str) -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": _concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy", "Privacy Consent"),
        "category": [_concept("http://loinc.org", "59284-0", "Consent Document")],
        "patient": subject,
        "dateTime": when,
        "performer": [subject],
        "policyRule": _concept("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTIN", "opt-in"),
        "provision": {"type": "permit", "actor": [_recipient()], "purpose": [_treatment()]},
    }


def _recipient() -> dict[str, Any]:
    role = _concept("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP", "information recipient")
    return {"role": role, "reference": {"reference": "Organization/harbor"}}


def _treatment() -> dict[str, Any]:
    return {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT", "display": "treatment"}


def _task(subject: dict[str, Any], requester: str, when: str) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": _concept("http://hl7.org/fhir/CodeSystem/task-code", "fulfill", "Fulfill the focal request"),
        "focus": {"reference": "@request"},
        "for": subject,
        "authoredOn": when,
        "requester": {"reference": requester},
        "owner": {"reference": "Organization/harbor"},
        "input": [
            {
                "type": {"coding": [{"system": f"{BASE}/CodeSystem/so-output", "code": "intake"}]},
                "valueReference": {"reference": "@intake"},
            },
            {
                "type": {"coding": [{"system": f"{BASE}/CodeSystem/so-output", "code": "consent"}]},
                "valueReference": {"reference": "@consent"},
            },
        ],
    }


def opinion(request: str, subject: str, author: str, now: datetime, answers: dict[int, str]) -> dict[str, Any]:
    """Return the specialist's QuestionnaireResponse with ``answers`` by question number."""
    outcome = {
        "system": f"{BASE}/CodeSystem/so-outcome",
        "code": "different-plan",
        "display": "Agrees diagnosis; different plan",
    }
    return {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": f"{BASE}/Questionnaire/harbor-opinion",
        "basedOn": [{"reference": request}],
        "status": "completed",
        "subject": {"reference": subject},
        "authored": now.isoformat(timespec="seconds"),
        "author": {"reference": author},
        "item": [
            {"linkId": "outcome", "answer": [{"valueCoding": outcome}]},
            {"linkId": "diagnosis", "answer": [{"valueString": DIAGNOSIS}]},
            {"linkId": "plan", "answer": [{"valueString": PLAN}]},
            {
                "linkId": "answers",
                "item": [
                    {"linkId": f"answer-{n}", "answer": [{"valueString": text}]} for n, text in sorted(answers.items())
                ],
            },
            {"linkId": "trials", "answer": [{"valueString": TRIALS}]},
            {"linkId": "limitations", "answer": [{"valueString": LIMITATIONS}]},
        ],
    }


DIAGNOSIS = (
    "I agree: adenocarcinoma of the right upper lobe, TTF-1 positive. On the CT the primary measures 31 mm; with "
    "enlarged ipsilateral mediastinal nodes cT2aN2M0, stage IIIA, is right. The EGFR exon 19 deletion is new since the "
    "plan was made."
)
PLAN = (
    "I advise against neoadjuvant immunotherapy. With an EGFR exon 19 deletion the benefit of PD-1 blockade is small "
    "and the risk of pneumonitis under a later tyrosine kinase inhibitor is raised. Please discuss an EGFR-targeted "
    "perioperative pathway at your local tumour board before any treatment starts."
)
ANSWERS = {
    1: "Yes, diagnosis and stage IIIA. A brain MRI and invasive mediastinal staging should complete the work-up.",
    2: "No. Because of the EGFR exon 19 deletion I would not begin with chemo-immunotherapy.",
    3: "Yes: perioperative EGFR inhibitors are in trials for stage II to IIIB; your tumour board knows the sites.",
}
TRIALS = "Ask for perioperative EGFR inhibitor trials at the nearest thoracic centre."
LIMITATIONS = "Opinion on records and images only; the patient was not examined. No brain imaging was available."
