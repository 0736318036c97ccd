"""Build the FHIR side of a report: DiagnosticReport, Composition, document Bundle, PDF Binary and Provenance.

Pure: the same content gives the same resources, ids included, so building twice writes once.
https://hl7.org/fhir/R4/documents.html and https://hl7.org/fhir/R4/diagnosticreport.html
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from cases import codes, pdf
from cases import report_narrative as write
from cases.report_content import ReportContent
from cases.signature import Signer, signature

_NAMESPACE = UUID("6b1d7f0c-5f2e-5c07-9d52-1f6f0b1f4a35")
_TYPE = codes.concept(*codes.CONSULT_NOTE, "Consult note")


@dataclass(frozen=True, slots=True)
class ReportIds:
    """The ids of one report's resources, derived from the specialist's QuestionnaireResponse and its version."""

    pdf: str
    diagnostic_report: str
    composition: str
    document: str
    provenance: str

    @classmethod
    def of(cls, answers: Mapping[str, Any]) -> "ReportIds":
        """Return the ids for the report made of this version of ``answers``."""
        version = answers.get("meta", {}).get("versionId", "1")
        key = f"QuestionnaireResponse/{answers['id']}/_history/{version}"
        kinds = ("Binary", "DiagnosticReport", "Composition", "Bundle", "Provenance")
        return cls(*(str(uuid5(_NAMESPACE, f"{key}#{kind}")) for kind in kinds))


@dataclass(frozen=True, slots=True)
class Sources:
    """The resources a report is made from.

    ``records`` are those the specialist reviewed, ``senders`` by their reference who sent them, where that is known.
    """

    request: Mapping[str, Any]
    patient: Mapping[str, Any]
    answers: Mapping[str, Any]
    intake: Mapping[str, Any]
    author: Mapping[str, Any]
    organization: Mapping[str, Any]
    others: Sequence[Mapping[str, Any]]
    records: Sequence[Mapping[str, Any]]
    senders: Mapping[str, str] = field(default_factory=dict)


def binary(ids: ReportIds, content: ReportContent, data: bytes) -> dict[str, Any]:
    """Return the Binary of the PDF, readable by whoever may read the patient."""
    return {
        "resourceType": "Binary",
        "id": ids.pdf,
        "contentType": "application/pdf",
        "securityContext": {"reference": content.patient.reference},
        "data": base64.b64encode(data).decode(),
    }


def diagnostic_report(ids: ReportIds, content: ReportContent, request: str, data: bytes) -> dict[str, Any]:
    """Return the final DiagnosticReport, its PDF by reference with size and SHA-1 (the R4 definition of ``hash``)."""
    signed = content.signed_at.isoformat()
    return {
        "resourceType": "DiagnosticReport",
        "id": ids.diagnostic_report,
        "identifier": [{"system": codes.SO_REPORT, "value": f"{content.case_number}.1"}],
        "basedOn": [{"reference": request}],
        "status": "final",
        "category": [codes.concept("http://terminology.hl7.org/CodeSystem/v2-0074", "OTH", "Other")],
        "code": _TYPE,
        "subject": _named(content.patient.reference, content.patient.name),
        "effectiveDateTime": signed,
        "issued": signed,
        "performer": [_named(content.programme.reference, content.programme.name)],
        "resultsInterpreter": [_named(content.specialist.reference, content.specialist.name)],
        "conclusion": _conclusion(content),
        "conclusionCode": [_outcome(content)],
        "presentedForm": [
            {
                "contentType": "application/pdf",
                "language": "en",
                "url": f"Binary/{ids.pdf}",
                "size": len(data),
                "hash": base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode(),
                "title": f"{pdf.TITLE} {content.case_number}",
                "creation": signed,
            }
        ],
    }


def composition(ids: ReportIds, content: ReportContent, sources: Sources) -> dict[str, Any]:
    """Return the Composition that opens the document: the attester is the signing specialist."""
    signed = content.signed_at.isoformat()
    specialist = _named(content.specialist.reference, content.specialist.name)
    return {
        "resourceType": "Composition",
        "id": ids.composition,
        "text": write.summary(content, codes.OUTCOMES[content.opinion.outcome]),
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{ids.composition}"},
        "status": "final",
        "type": _TYPE,
        "subject": _named(content.patient.reference, content.patient.name),
        "date": signed,
        "author": [specialist],
        "title": f"{pdf.TITLE} {content.case_number}",
        "confidentiality": "N",
        "attester": [{"mode": "legal", "time": signed, "party": specialist}],
        "custodian": _named(content.programme.reference, content.programme.name),
        "section": _sections(ids, content, sources),
    }


def document(
    ids: ReportIds, resources: Iterable[Mapping[str, Any]], *, timestamp: str, base_url: str
) -> dict[str, Any]:
    """Return the document Bundle of ``resources``, the Composition first, each once."""
    unique = {f"{base_url}/{resource['resourceType']}/{resource['id']}": resource for resource in resources}
    return {
        "resourceType": "Bundle",
        "id": ids.document,
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{ids.document}"},
        "type": "document",
        "timestamp": timestamp,
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in unique.items()],
    }


def provenance(
    ids: ReportIds, content: ReportContent, bundle: Mapping[str, Any], *, answers: str, signer: Signer
) -> dict[str, Any]:
    """Return the Provenance of the document and its report, with the author's signature over the document."""
    signed = content.signed_at.isoformat()
    targets = (
        f"Bundle/{ids.document}",
        f"DiagnosticReport/{ids.diagnostic_report}",
        f"Composition/{ids.composition}",
    )
    completion = "http://terminology.hl7.org/CodeSystem/v3-DocumentCompletion"
    participant = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
    return {
        "resourceType": "Provenance",
        "id": ids.provenance,
        "target": [{"reference": target} for target in targets],
        "occurredDateTime": signed,
        "recorded": signed,
        "activity": codes.concept(completion, "LA", "legally authenticated"),
        "agent": [
            {
                "type": codes.concept(participant, "author", "Author"),
                "who": _named(content.specialist.reference, content.specialist.name),
                "onBehalfOf": _named(content.programme.reference, content.programme.name),
            }
        ],
        "entity": [{"role": "source", "what": {"reference": answers}}],
        "signature": [signature(bundle, signer, who=content.specialist.reference, when=signed)],
    }


def _sections(ids: ReportIds, content: ReportContent, sources: Sources) -> list[dict[str, Any]]:
    opinion = content.opinion
    asked = [_link(sources.intake), _link(sources.answers)]
    report = {"reference": f"DiagnosticReport/{ids.diagnostic_report}"}
    return [
        {"title": "Questions and answers", "text": write.answers(content), "entry": asked},
        {
            "title": "Opinion on the diagnosis",
            "code": codes.concept(codes.LOINC, "51848-0", "Evaluation note"),
            "text": write.narrative(write.prose(opinion.diagnosis)),
            "entry": [report],
        },
        {
            "title": "Opinion on the plan of treatment",
            "code": codes.concept(codes.LOINC, "18776-5", "Plan of care note"),
            "text": write.narrative(write.prose(opinion.plan)),
        },
        *_trials(opinion.trials),
        {"title": "Records reviewed", "text": write.records(content), **_entries(sources.records)},
        {"title": "Limitations", "text": write.narrative(write.prose(opinion.limitations))},
    ]


def _trials(text: str) -> list[dict[str, Any]]:
    return [{"title": "Clinical trials", "text": write.narrative(write.prose(text))}] if text else []


def _entries(resources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"entry": [_link(resource) for resource in resources]} if resources else {}


def _conclusion(content: ReportContent) -> str:
    opinion = content.opinion
    return f"{codes.OUTCOMES[opinion.outcome]}.\n\n{opinion.diagnosis}\n\n{opinion.plan}"


def _outcome(content: ReportContent) -> dict[str, Any]:
    return codes.concept(codes.SO_OUTCOME, content.opinion.outcome, codes.OUTCOMES[content.opinion.outcome])


def _named(reference: str, name: str) -> dict[str, str]:
    return {"reference": reference, "display": name}


def _link(resource: Mapping[str, Any]) -> dict[str, str]:
    return {"reference": f"{resource['resourceType']}/{resource['id']}"}
