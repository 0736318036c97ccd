"""The codes the app reads, and the words it shows for them.

The codes are explained in docs/cases.md; the app knows them from the outside, as any client of the API would.
"""

from typing import Final

BASE: Final = "https://konsil.example/fhir"
SO_TASK: Final = f"{BASE}/CodeSystem/so-task"
SO_STATUS: Final = f"{BASE}/CodeSystem/so-status"
SO_OUTCOME: Final = f"{BASE}/CodeSystem/so-outcome"
SO_OUTPUT: Final = f"{BASE}/CodeSystem/so-output"
SO_REASON: Final = f"{BASE}/CodeSystem/so-reason"
SO_ACTIVITY: Final = f"{BASE}/CodeSystem/so-activity"
SO_REQUIREMENT: Final = f"{BASE}/StructureDefinition/so-requirement"
SO_MANDATORY: Final = f"{BASE}/StructureDefinition/so-mandatory"
SO_RECIPIENT: Final = f"{BASE}/StructureDefinition/so-recipient"
SO_LIMIT: Final = f"{BASE}/StructureDefinition/so-limit"

CASE: Final = "case"
RECORD_REQUEST: Final = "record-request"
SPECIALIST_REVIEW: Final = "specialist-review"
REPORT_DELIVERY: Final = "report-delivery"
CASE_CLOSED: Final = "case-closed"

# The stations of a case, as the stepper shows them, each with the businessStatus codes a case has there.
STATIONS: Final = (
    ("Request", ("intake", "submitted")),
    ("Eligibility", ("eligibility", "ineligible")),
    ("Records", ("records-gathering", "awaiting-information")),
    ("Specialist", ("records-complete", "offered")),
    ("Review", ("in-review", "preliminary")),
    ("Delivery", ("signed", "delivered")),
)

STATUS_WORDS: Final = {
    "intake": "Request is being written",
    "submitted": "Request received",
    "eligibility": "Eligibility is being checked",
    "ineligible": "Not eligible for this programme",
    "awaiting-information": "Waiting for information",
    "records-gathering": "Collecting records",
    "records-complete": "Records complete, choosing a specialist",
    "offered": "Offered to a specialist",
    "in-review": "Under review by the specialist",
    "preliminary": "Report is being written",
    "signed": "Report signed, being delivered",
    "delivered": "Report delivered",
    "cancelled": "Cancelled",
    "failed": "Ended without a report",
    "entered-in-error": "Opened in error",
}

OUTCOME_WORDS: Final = {
    "agree": "Agrees with the diagnosis and with the plan",
    "different-plan": "Agrees with the diagnosis; recommends a different plan",
    "different-diagnosis": "Comes to a different diagnosis",
}

CHANNEL_WORDS: Final = {
    "hl7v2": "HL7 v2 to the results inbox",
    "fhir": "FHIR to the record system",
    "portal": "Patient portal",
}
