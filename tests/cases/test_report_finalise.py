import pytest

from cases import codes, report, report_people
from cases.signature import Signer, verify
from fhir_server.kernel.errors import NotFound, Unprocessable
from fhir_server.kernel.subject import Subject

EVERYTHING = Subject.system("tests", "system/*.cruds")
BASE = "https://konsil.example/fhir"
ORGANIZATION = {"resourceType": "Organization", "id": "harbor", "name": "HARBOR Second Opinion Programme"}
PLACE = (
    {"resourceType": "Patient", "id": "maria", "name": [{"family": "Alvarez", "given": ["Maria"]}]},
    {"resourceType": "Practitioner", "id": "rao", "name": [{"family": "Rao", "prefix": ["Dr"]}]},
    {"resourceType": "Practitioner", "id": "cole", "name": [{"family": "Cole", "prefix": ["Dr"]}]},
    {
        "resourceType": "PractitionerRole",
        "id": "harbor-cole",
        "practitioner": {"reference": "Practitioner/cole"},
        "specialty": [{"text": "Thoracic oncology"}],
    },
    {"resourceType": "PractitionerRole", "id": "lakeside-rao", "practitioner": {"reference": "Practitioner/rao"}},
    ORGANIZATION,
    {
        "resourceType": "ServiceRequest",
        "id": "order",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/maria"},
        "requester": {"reference": "PractitionerRole/lakeside-rao"},
    },
    {
        "resourceType": "DiagnosticReport",
        "id": "pathology",
        "status": "final",
        "code": {"text": "Pathology report"},
        "subject": {"reference": "Patient/maria"},
    },
)
INTAKE = {
    "resourceType": "QuestionnaireResponse",
    "id": "intake",
    "status": "completed",
    "item": [{"linkId": "question-1", "answer": [{"valueString": "Is the diagnosis right?"}]}],
}
ANSWERS = {
    "resourceType": "QuestionnaireResponse",
    "id": "answers",
    "status": "completed",
    "basedOn": [{"reference": "ServiceRequest/order"}],
    "subject": {"reference": "Patient/maria"},
    "author": {"reference": "PractitionerRole/harbor-cole"},
    "item": [
        {"linkId": "outcome", "answer": [{"valueCoding": {"system": codes.SO_OUTCOME, "code": codes.AGREE}}]},
        {"linkId": "diagnosis", "answer": [{"valueString": "I agree."}]},
        {"linkId": "plan", "answer": [{"valueString": "I agree."}]},
        {"linkId": "answer-1", "answer": [{"valueString": "Yes."}]},
    ],
}


@pytest.fixture
async def place(database):
    async with database.transaction(EVERYTHING) as tx:
        for resource in (*PLACE, INTAKE, ANSWERS):
            await tx.writer.update(resource)


@pytest.fixture
def finalise(database, place, tmp_path):
    async def finalise_one(**changes):
        async with database.transaction(EVERYTHING) as tx:
            answers = (await tx.reader.read("QuestionnaireResponse", "answers")).resource() | changes
            return await report.finalise(
                tx,
                answers=answers,
                intake=INTAKE,
                records=["DiagnosticReport/pathology", "DiagnosticReport/pathology", "ImagingStudy/elsewhere"],
                programme=report_people.letterhead(ORGANIZATION),
                signer=Signer.open(tmp_path),
                base_url=BASE,
            )

    return finalise_one


async def read(database, reference):
    resource_type, _, name = reference.partition("/")
    async with database.transaction(EVERYTHING) as tx:
        return (await tx.reader.read(resource_type, name)).resource()


async def test_the_stored_document_verifies_against_the_stored_provenance(database, finalise, tmp_path):
    final = await finalise()
    document, provenance = await read(database, final.document), await read(database, final.provenance)
    signer = Signer.open(tmp_path)
    assert verify(document, provenance, signer.jwks()) == signer.key_id
    assert {item["reference"] for item in provenance["target"]} >= {final.document, final.diagnostic_report}


async def test_the_document_names_the_person_behind_the_role_and_holds_what_it_reviewed_once(database, finalise):
    document = await read(database, (await finalise()).document)
    held = [f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in document["entry"]]
    assert held.count("DiagnosticReport/pathology") == 1
    assert {"Practitioner/cole", "Practitioner/rao", "PractitionerRole/harbor-cole"} <= set(held)
    assert document["entry"][0]["resource"]["author"] == [{"reference": "Practitioner/cole", "display": "Dr Cole"}]


async def test_a_record_names_who_sent_it_and_the_specialist_speaks_in_the_programmes_role(database, finalise):
    elsewhere = {**PLACE[3], "id": "a-elsewhere", "specialty": [{"text": "Sports medicine"}]}
    here = {**PLACE[3], "organization": {"reference": "Organization/harbor"}}
    message = {
        "resourceType": "Provenance",
        "id": "message",
        "target": [{"reference": "DiagnosticReport/pathology/_history/1"}],
        "recorded": "2026-03-02T08:20:00-05:00",
        "agent": [{"who": {"display": "LAKESIDE"}}],
    }
    async with database.transaction(EVERYTHING) as tx:
        for resource in (elsewhere, here, message):
            await tx.writer.update(resource)
    meta = {"versionId": "11", "lastUpdated": "2026-03-10T20:00:00Z"}
    final = await finalise(author={"reference": "Practitioner/cole"}, meta=meta)
    document = await read(database, final.document)
    sections = {section["title"]: section["text"]["div"] for section in document["entry"][0]["resource"]["section"]}
    assert "<td>Pathology report</td><td>LAKESIDE</td>" in sections["Records reviewed"]
    held = [entry["resource"]["id"] for entry in document["entry"]]
    assert "harbor-cole" in held
    assert "a-elsewhere" not in held


async def test_finalising_twice_writes_once(database, finalise):
    first, again = await finalise(), await finalise()
    assert first == again
    for reference in (first.diagnostic_report, first.document, first.provenance, first.pdf, first.composition):
        assert (await read(database, reference))["meta"]["versionId"] == "1"


async def test_answers_about_another_patient_are_refused_and_leave_nothing(database, finalise):
    meta = {"versionId": "7", "lastUpdated": "2026-03-10T20:00:00Z"}
    with pytest.raises(Unprocessable) as refused:
        await finalise(subject={"reference": "Patient/other"}, meta=meta)
    assert refused.value.issues[0].expression == "QuestionnaireResponse.subject"


async def test_an_unanswered_question_is_refused_and_leaves_nothing(database, finalise):
    meta = {"versionId": "8", "lastUpdated": "2026-03-10T20:00:00Z"}
    ids = report.ReportIds.of({"id": "answers", "meta": meta})
    with pytest.raises(Unprocessable) as refused:
        await finalise(item=ANSWERS["item"][:3], meta=meta)
    assert refused.value.status == 422
    assert refused.value.issues[0].expression == "QuestionnaireResponse.item"
    for reference in (f"Binary/{ids.pdf}", f"DiagnosticReport/{ids.diagnostic_report}"):
        with pytest.raises(NotFound):
            await read(database, reference)


@pytest.mark.parametrize(
    ("changes", "expression"),
    [
        ({"basedOn": []}, "QuestionnaireResponse.basedOn"),
        ({"basedOn": [{"reference": "ServiceRequest/absent"}]}, "QuestionnaireResponse.basedOn"),
        ({"author": {"display": "Somebody"}}, "QuestionnaireResponse.author"),
        ({"authored": "2026-03-10", "meta": {"versionId": "9"}}, "QuestionnaireResponse.authored"),
    ],
)
async def test_answers_that_name_nothing_to_stand_on_are_refused(finalise, changes, expression):
    meta = {"meta": {"versionId": "10", "lastUpdated": "2026-03-10T20:00:00Z"}}
    with pytest.raises(Unprocessable) as refused:
        await finalise(**(meta | changes))
    assert refused.value.issues[0].expression == expression
