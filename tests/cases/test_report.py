import base64
import hashlib
from html.parser import HTMLParser
from importlib import import_module

import pytest

from cases import report_answers, report_people
from cases.report import build
from cases.report_document import ReportIds, Sources
from cases.signature import InvalidSignature, Signer, verify
from fhir_server.kernel import json
from fhir_server.kernel.errors import Unprocessable

BASE = "https://konsil.example/fhir"
LONG_QUESTION = "Is neoadjuvant immunotherapy the right choice?"


def answer(link, text):
    return {"linkId": link, "answer": [{"valueString": text}]}


def intake_of(*questions):
    items = [answer(f"question-{number}", text) for number, text in enumerate(questions, 1)]
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "intake",
        "questionnaire": "https://konsil.example/fhir/Questionnaire/harbor-intake",
        "status": "completed",
        "subject": {"reference": "Patient/maria"},
        "item": [
            {"linkId": "clinical", "item": [answer("complaint", "Cough")]},
            {"linkId": "questions", "item": items},
        ],
    }


def answers_of(*texts, outcome="different-plan", **replaced):
    coding = {"system": "https://konsil.example/fhir/CodeSystem/so-outcome", "code": outcome}
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "answers",
        "meta": {"versionId": "1"},
        "questionnaire": "https://konsil.example/fhir/Questionnaire/harbor-opinion",
        "status": "completed",
        "basedOn": [{"reference": "ServiceRequest/case"}],
        "subject": {"reference": "Patient/maria"},
        "authored": "2026-03-10T16:00:00-04:00",
        "author": {"reference": "Practitioner/hannah-cole"},
        "item": [
            {"linkId": "outcome", "answer": [{"valueCoding": coding}]},
            answer("diagnosis", "I agree: adenocarcinoma, stage IIIA.\n\nEGFR exon 19 deletion."),
            answer("plan", "I advise against neoadjuvant immunotherapy."),
            {"linkId": "answers", "item": [answer(f"answer-{number}", text) for number, text in enumerate(texts, 1)]},
        ],
    } | replaced


REQUEST = {
    "resourceType": "ServiceRequest",
    "id": "case",
    "identifier": [
        {"system": "https://lakeside.example/placer", "value": "PL-5567"},
        {
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "FILL"}]},
            "system": "https://harbor.example/case",
            "value": "SO-2026-000042",
        },
    ],
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/maria"},
    "authoredOn": "2026-03-02T09:35:00-05:00",
    "requester": {"reference": "Practitioner/anil-rao"},
}
PATIENT = {
    "resourceType": "Patient",
    "id": "maria",
    "identifier": [
        {
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
            "system": "https://lakeside.example/mrn",
            "value": "00483921",
            "assigner": {"display": "Lakeside Hospital"},
        }
    ],
    "name": [{"family": "Alvarez", "given": ["Maria"]}],
    "gender": "female",
    "birthDate": "1961-04-12",
}
REFERRER = {
    "resourceType": "Practitioner",
    "id": "anil-rao",
    "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}],
    "name": [{"prefix": ["Dr"], "family": "Rao", "given": ["Anil"]}],
}
SPECIALIST = {
    "resourceType": "Practitioner",
    "id": "hannah-cole",
    "name": [{"prefix": ["Dr"], "family": "Cole", "given": ["Hannah"]}],
}
ROLE = {
    "resourceType": "PractitionerRole",
    "id": "harbor-hannah-cole",
    "practitioner": {"reference": "Practitioner/hannah-cole"},
    "organization": {"reference": "Organization/harbor", "display": "HARBOR"},
    "specialty": [{"text": "Thoracic oncology"}],
}
ORGANIZATION = {
    "resourceType": "Organization",
    "id": "harbor",
    "name": "HARBOR Second Opinion Programme",
    "telecom": [{"system": "phone", "value": "+1-555-0140"}],
    "address": [{"line": ["1 Harbor Way"], "city": "Boston", "state": "MA", "postalCode": "02110"}],
}
PATHOLOGY = {
    "resourceType": "DiagnosticReport",
    "id": "pathology",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "11526-1"}], "text": "Pathology report"},
    "subject": {"reference": "Patient/maria"},
    "effectiveDateTime": "2026-02-24T10:00:00-05:00",
    "performer": [{"display": "Lakeside Pathology"}],
}
STUDY = {
    "resourceType": "ImagingStudy",
    "id": "ct",
    "status": "available",
    "description": "CT chest with contrast",
    "subject": {"reference": "Patient/maria"},
    "started": "2026-02-20T08:15:00-05:00",
    "numberOfSeries": 2,
    "numberOfInstances": 312,
}
INTAKE = intake_of("Is the diagnosis right?", LONG_QUESTION)


def issues_of(answers, intake=INTAKE):
    with pytest.raises(Unprocessable) as refused:
        report_answers.opinion(answers, intake)
    assert refused.value.status == 422
    return [(issue.code, issue.expression) for issue in refused.value.issues]


def test_the_questions_are_those_the_intake_really_asks():
    intake = intake_of("First?", "  ", "Third?")
    assert [(question.number, question.text) for question in report_answers.questions(intake)] == [
        ("1", "First?"),
        ("3", "Third?"),
    ]


def test_every_question_gets_its_answer_and_the_outcome_its_code():
    opinion = report_answers.opinion(answers_of("Yes.", "No."), INTAKE)
    assert [(answer.question, answer.answer) for answer in opinion.answers] == [
        ("Is the diagnosis right?", "Yes."),
        (LONG_QUESTION, "No."),
    ]
    assert opinion.outcome == "different-plan"
    assert opinion.limitations == "The specialist stated none."


def test_a_question_left_out_is_422_and_points_at_the_items():
    assert issues_of(answers_of("Yes.")) == [("required", "QuestionnaireResponse.item")]


def test_a_blank_answer_is_422_and_points_at_that_item():
    assert issues_of(answers_of("Yes.", "  ")) == [("required", "QuestionnaireResponse.item[3].item[1].answer")]


def test_every_fault_is_reported_at_once():
    bare = answers_of() | {"item": []}
    assert len(issues_of(bare)) == 5


def test_an_unknown_outcome_is_422_and_points_at_it():
    assert issues_of(answers_of("Yes.", "No.", outcome="perhaps")) == [
        ("code-invalid", "QuestionnaireResponse.item[0].answer")
    ]


def test_an_intake_without_questions_has_nothing_to_report_on():
    assert ("required", "QuestionnaireResponse") in issues_of(answers_of(), intake_of())


async def made(tmp_path, answers=None, intake=INTAKE):
    given = answers or answers_of("Yes.", "No.")
    sources = Sources(
        request=REQUEST,
        patient=PATIENT,
        answers=given,
        intake=intake,
        author=SPECIALIST,
        organization=ORGANIZATION,
        others=[REFERRER, ROLE],
        records=[PATHOLOGY, STUDY],
    )
    signer = Signer.open(tmp_path)
    head = report_people.letterhead(ORGANIZATION)
    resources = await build(ReportIds.of(given), sources, programme=head, signer=signer, base_url=BASE)
    return {resource["resourceType"]: resource for resource in resources} | {"jwks": signer.jwks()}


async def test_every_resource_of_the_report_is_valid(tmp_path):
    for kind, resource in (await made(tmp_path)).items():
        if kind != "jwks":
            getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind).model_validate_json(
                json.encode(resource)
            )


async def test_the_document_is_self_contained_and_opens_with_the_composition(tmp_path):
    document = (await made(tmp_path))["Bundle"]
    held = [entry["resource"]["resourceType"] + "/" + entry["resource"]["id"] for entry in document["entry"]]
    assert held[0].startswith("Composition/")
    assert len(held) == len(set(held))
    assert document["type"] == "document"
    assert document["timestamp"] == "2026-03-10T16:00:00-04:00"
    assert document["identifier"]["value"].startswith("urn:uuid:")
    composition = document["entry"][0]["resource"]
    linked = [composition["subject"], composition["custodian"], *composition["author"]]
    linked += [entry for section in composition["section"] for entry in section.get("entry", [])]
    linked += [attester["party"] for attester in composition["attester"]]
    assert {reference["reference"] for reference in linked} <= set(held)


async def test_the_report_points_at_the_pdf_with_its_size_and_hash(tmp_path):
    resources = await made(tmp_path)
    (form,) = resources["DiagnosticReport"]["presentedForm"]
    data = base64.b64decode(resources["Binary"]["data"])
    assert data.startswith(b"%PDF-")
    assert form["url"] == f"Binary/{resources['Binary']['id']}"
    assert form["size"] == len(data)
    assert base64.b64decode(form["hash"]) == hashlib.sha1(data).digest()  # noqa: S324 - what R4 defines hash as


async def test_the_report_carries_order_patient_specialist_and_outcome(tmp_path):
    report = (await made(tmp_path))["DiagnosticReport"]
    assert report["status"] == "final"
    assert report["basedOn"] == [{"reference": "ServiceRequest/case"}]
    assert report["subject"]["reference"] == "Patient/maria"
    assert report["resultsInterpreter"] == [{"reference": "Practitioner/hannah-cole", "display": "Dr Hannah Cole"}]
    assert report["code"]["coding"][0]["code"] == "11488-4"
    assert report["conclusionCode"][0]["coding"][0]["code"] == "different-plan"


async def test_the_signature_covers_the_pdf_inside_the_document(tmp_path):
    resources = await made(tmp_path)
    document, provenance = resources["Bundle"], resources["Provenance"]
    verify(document, provenance, resources["jwks"])
    (pdf,) = (entry["resource"] for entry in document["entry"] if entry["resource"]["resourceType"] == "Binary")
    data = pdf["data"]
    pdf["data"] = data[:999] + ("A" if data[999] != "A" else "B") + data[1000:]
    with pytest.raises(InvalidSignature):
        verify(document, provenance, resources["jwks"])


async def test_the_same_answers_make_the_same_document(tmp_path):
    first, again = await made(tmp_path), await made(tmp_path)
    assert first["Bundle"] == again["Bundle"]


async def test_another_version_of_the_answers_makes_another_report(tmp_path):
    first = await made(tmp_path)
    again = await made(tmp_path, answers_of("Yes.", "No.", meta={"versionId": "2"}))
    assert first["DiagnosticReport"]["id"] != again["DiagnosticReport"]["id"]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        assert [name for name, _ in attrs] in ([], ["xmlns"])


async def test_markup_in_an_answer_stays_text_in_the_narrative(tmp_path):
    evil = '<script>alert(1)</script><img src=x onerror=alert(1)> & "quoted" \x0b done'
    composition = (await made(tmp_path, answers_of(evil, evil)))["Composition"]
    for section in [composition, *composition["section"]]:
        tags = Tags()
        tags.feed(section["text"]["div"])
        assert tags.seen <= {"div", "p", "br", "b", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td"}
        assert "\x0b" not in section["text"]["div"]
