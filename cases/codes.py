"""The codes, systems and extensions of a second-opinion case: one name each, nothing else.

Standard codes come from HL7 terminology (https://terminology.hl7.org) and LOINC; those under
``https://konsil.example/fhir`` are this project's own, explained in docs/cases.md. What only a PlanDefinition speaks of
is named in programmes/model.py.
"""

from typing import Any, Final

BASE: Final = "https://konsil.example/fhir"

# Code systems of our own.
SO_TASK: Final = f"{BASE}/CodeSystem/so-task"  # kinds of Task
SO_STATUS: Final = f"{BASE}/CodeSystem/so-status"  # Task.businessStatus of a case Task
SO_OUTCOME: Final = f"{BASE}/CodeSystem/so-outcome"  # DiagnosticReport.conclusionCode
SO_OUTPUT: Final = f"{BASE}/CodeSystem/so-output"  # Task.input.type and Task.output.type
SO_REASON: Final = f"{BASE}/CodeSystem/so-reason"  # Task.statusReason
SO_ACTIVITY: Final = f"{BASE}/CodeSystem/so-activity"  # Provenance.activity
SO_ROLE: Final = f"{BASE}/CodeSystem/so-role"  # PractitionerRole.code
SO_REPORT: Final = f"{BASE}/report"  # identifier system of the programme's own DiagnosticReports
SO_FIELD: Final = f"{BASE}/CodeSystem/so-field"  # fields of medicine offered by an intake Questionnaire

# Extensions of our own.
SO_REQUIREMENT: Final = f"{BASE}/StructureDefinition/so-requirement"  # Task: the manifest row it asks for
SO_MANDATORY: Final = f"{BASE}/StructureDefinition/so-mandatory"  # Task, PlanDefinition.action
SO_RECIPIENT: Final = f"{BASE}/StructureDefinition/so-recipient"  # PlanDefinition.action, Task
SO_LIMIT: Final = f"{BASE}/StructureDefinition/so-limit"  # Task.restriction: the latest date promised
SO_PREFERENCE: Final = f"{BASE}/StructureDefinition/so-preference"  # PractitionerRole: the lower is asked first
SO_CONFLICT: Final = f"{BASE}/StructureDefinition/so-conflict"  # PractitionerRole: who the specialist may not serve
SO_ELIGIBILITY: Final = f"{BASE}/StructureDefinition/so-eligibility"  # GuidanceResponse: the outcome

# Kinds of Task (so-task).
CASE: Final = "case"
RECORD_REQUEST: Final = "record-request"
SPECIALIST_REVIEW: Final = "specialist-review"
REPORT_DELIVERY: Final = "report-delivery"
ABORT: Final = "abort"
KINDS: Final = (CASE, RECORD_REQUEST, SPECIALIST_REVIEW, REPORT_DELIVERY, ABORT)

# businessStatus of a case Task (so-status); workflow names, in the order a case meets them.
INTAKE: Final = "intake"
SUBMITTED: Final = "submitted"
ELIGIBILITY: Final = "eligibility"
INELIGIBLE: Final = "ineligible"
AWAITING_INFORMATION: Final = "awaiting-information"
RECORDS_GATHERING: Final = "records-gathering"
RECORDS_COMPLETE: Final = "records-complete"
OFFERED: Final = "offered"
IN_REVIEW: Final = "in-review"
SIGNED: Final = "signed"
DELIVERED: Final = "delivered"
CANCELLED: Final = "cancelled"
FAILED: Final = "failed"

# Outcome of an opinion (so-outcome).
AGREE: Final = "agree"
DIFFERENT_PLAN: Final = "different-plan"
DIFFERENT_DIAGNOSIS: Final = "different-diagnosis"
OUTCOMES: Final = {
    AGREE: "Agrees with diagnosis and plan",
    DIFFERENT_PLAN: "Agrees diagnosis; different plan",
    DIFFERENT_DIAGNOSIS: "Different diagnosis",
}

# Task.input.type and Task.output.type (so-output).
OUTPUT_ELIGIBILITY: Final = "eligibility"  # GuidanceResponse
OUTPUT_RECORD: Final = "record"  # the resource that satisfied a manifest row
OUTPUT_ANSWERS: Final = "answers"  # the specialist's QuestionnaireResponse or Composition
OUTPUT_REPORT: Final = "report"  # DiagnosticReport
OUTPUT_DOCUMENT: Final = "document"  # Bundle of type document, or the PDF's DocumentReference
OUTPUT_PROOF: Final = "delivery-proof"  # string: how the receiver acknowledged

# Task.statusReason (so-reason).
REASON_NO_CANDIDATE: Final = "no-candidate"
REASON_NOT_ACTIVE: Final = "request-not-active"
REASON_CASE_CLOSED: Final = "case-closed"
REASON_NO_PROGRAMME: Final = "no-programme"
REASON_NOT_DELIVERED: Final = "not-delivered"

# Roles in a programme (so-role).
SPECIALIST: Final = "specialist"
COORDINATOR: Final = "coordinator"

# Link ids of an intake Questionnaire; the specialist answers question-n under answer-n of the opinion Questionnaire.
QUESTION_PREFIX: Final = "question-"
ANSWER_PREFIX: Final = "answer-"
LINK_OUTCOME: Final = "outcome"
LINK_DIAGNOSIS: Final = "diagnosis"
LINK_PLAN: Final = "plan"
LINK_LIMITATIONS: Final = "limitations"
LINK_FIELD: Final = "field"

# Other people's codes.
SECOND_OPINION: Final = ("http://terminology.hl7.org/CodeSystem/v2-0336", "S")  # ServiceRequest.reasonCode
FULFILL: Final = ("http://hl7.org/fhir/CodeSystem/task-code", "fulfill")
LOINC: Final = "http://loinc.org"
CONSULT_NOTE: Final = (LOINC, "11488-4")
PRIVACY_DISCLOSURE: Final = (LOINC, "59284-0")  # Consent.category
NPI: Final = "http://hl7.org/fhir/sid/us-npi"
HARBOR_CASE: Final = "https://harbor.example/case"


def concept(system: str, code: str, text: str | None = None) -> dict[str, Any]:
    """Return a CodeableConcept of one coding; ``text`` is also its display when given."""
    coding = {"system": system, "code": code}
    if text is None:
        return {"coding": [coding]}
    return {"coding": [coding | {"display": text}], "text": text}


def code_in(value: dict[str, Any] | None, system: str) -> str | None:
    """Return the first code of ``system`` in a CodeableConcept, None when there is none."""
    for coding in (value or {}).get("coding", ()):
        if coding.get("system") == system and coding.get("code"):
            return str(coding["code"])
    return None


def has_code(value: dict[str, Any] | None, wanted: tuple[str, str]) -> bool:
    """Tell whether a CodeableConcept carries the coding (system, code)."""
    codings = (value or {}).get("coding", ())
    return any((coding.get("system"), coding.get("code")) == wanted for coding in codings)


def kind_of(task: dict[str, Any] | None) -> str | None:
    """Return the kind of a Task of ours, None for any other Task."""
    return code_in((task or {}).get("code"), SO_TASK)


def business_status(task: dict[str, Any]) -> str | None:
    """Return the so-status code of a Task."""
    return code_in(task.get("businessStatus"), SO_STATUS)
