"""One case stored in a real server, brought to any state of its life; the app and a browser-like client before it."""

import copy
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import psycopg
import pytest
from psycopg import sql
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhir_server.kernel.subject import Subject
from fhir_server.rest.app import build_app
from smart_app import vocabulary as words
from smart_app.routes import build_routes, in_process
from smart_app.session import Sessions

ROOT = "http://127.0.0.1:8000"
V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
SERIES_UID = "1.2.826.0.1.3680043.2.1125.1.2"
RESOURCES = json.loads(Path(__file__).with_name("resources.json").read_text())
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001"
    "a5f645400000000049454e44ae426082"
)

_TYPES = (
    "patient",
    "practitioner",
    "practitionerrole",
    "organization",
    "servicerequest",
    "questionnaireresponse",
    "task",
    "diagnosticreport",
    "provenance",
    "imagingstudy",
    "binary",
)

# The states a case passes through: (Task.status, businessStatus, when it came there).
LIFE = (
    ("requested", "submitted", "2026-03-02T09:35:00-05:00"),
    ("received", "eligibility", "2026-03-02T09:35:02-05:00"),
    ("accepted", "records-gathering", "2026-03-02T09:35:04-05:00"),
    ("accepted", "records-complete", "2026-03-04T14:00:00-05:00"),
    ("accepted", "offered", "2026-03-04T14:00:05-05:00"),
    ("in-progress", "in-review", "2026-03-05T10:12:00-05:00"),
    ("in-progress", "signed", "2026-03-10T16:00:00-04:00"),
    ("completed", "delivered", "2026-03-10T16:15:00-04:00"),
)


def concept(system: str, code: str, text: str = "") -> dict:
    found = {"coding": [{"system": system, "code": code}]}
    return found | {"text": text} if text else found


def link(reference: str) -> dict:
    return {"reference": reference}


def answered(link_id: str, text: str) -> dict:
    return {"linkId": link_id, "answer": [{"valueString": text}]}


def people(name: str = "Alvarez") -> list[dict]:
    patient, *others = copy.deepcopy(RESOURCES["people"])
    patient["name"][0]["family"] = name
    return [patient, *others]


def request_and_intake(question: str = "Is neoadjuvant immunotherapy the right choice?") -> list[dict]:
    numbers = [
        {"type": concept(V2_0203, "PLAC"), "system": "https://lakeside.example/placer", "value": "PL-5567"},
        {"type": concept(V2_0203, "FILL"), "system": "https://harbor.example/case", "value": "SO-2026-000042"},
    ]
    return [
        {
            "resourceType": "ServiceRequest",
            "id": "order",
            "identifier": numbers,
            "status": "active",
            "intent": "order",
            "subject": link("Patient/maria"),
            "requester": link("Practitioner/anil-rao"),
            "authoredOn": "2026-03-02T09:35:00-05:00",
            "reasonCode": [concept("http://terminology.hl7.org/CodeSystem/v2-0336", "S", "Second opinion")],
        },
        {
            "resourceType": "QuestionnaireResponse",
            "id": "intake",
            "questionnaire": f"{words.BASE}/Questionnaire/harbor-intake",
            "status": "completed",
            "basedOn": [link("ServiceRequest/order")],
            "subject": link("Patient/maria"),
            "item": [
                {
                    "linkId": "questions",
                    "item": [
                        answered("question-1", "Is the diagnosis right?"),
                        answered("question-2", question),
                        answered("question-3", "Are there clinical trials she could join?"),
                    ],
                }
            ],
        },
    ]


def case_task(status: str, business: str, at: str, *, reason: str = "") -> dict:
    task = {
        "resourceType": "Task",
        "id": "case",
        "status": status,
        "intent": "order",
        "code": concept(words.SO_TASK, words.CASE),
        "businessStatus": concept(words.SO_STATUS, business),
        "focus": link("ServiceRequest/order"),
        "for": link("Patient/maria"),
        "authoredOn": "2026-03-02T09:35:00-05:00",
        "lastModified": at,
        "requester": link("Practitioner/anil-rao"),
        "input": [{"type": concept(words.SO_OUTPUT, "intake"), "valueReference": link("QuestionnaireResponse/intake")}],
    }
    if reason:
        task["statusReason"] = {"text": reason}
    if at >= "2026-03-04":
        task["restriction"] = {
            "extension": [{"url": words.SO_LIMIT, "valueDateTime": "2026-03-13T17:00:00-04:00"}],
            "period": {"end": "2026-03-11T17:00:00-04:00"},
        }
    return task


def sub_task(id: str, kind: str, status: str, text: str, asked: str, modified: str = "", **more) -> dict:
    return {
        "resourceType": "Task",
        "id": id,
        "status": status,
        "intent": "order",
        "code": concept(words.SO_TASK, kind, text),
        "focus": link("ServiceRequest/order"),
        "for": link("Patient/maria"),
        "partOf": [link("Task/case")],
        "authoredOn": asked,
        "lastModified": modified or asked,
    } | more


def record_task(
    id: str, text: str, status: str, *, modified: str = "", record: str = "", mandatory=True, why=""
) -> dict:
    more: dict = {
        "extension": [
            {"url": words.SO_REQUIREMENT, "valueCode": id},
            {"url": words.SO_MANDATORY, "valueBoolean": mandatory},
        ]
    }
    if record:
        more["output"] = [{"type": concept(words.SO_OUTPUT, "record"), "valueReference": link(record)}]
    if why:
        more["statusReason"] = {"text": why}
    return sub_task(id, words.RECORD_REQUEST, status, text, "2026-03-02T09:35:04-05:00", modified, **more)


def instance(number: int) -> dict:
    sop_class = {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2"}
    return {"uid": f"{SERIES_UID}.{number}", "number": number, "sopClass": sop_class}


def records(*, arrived: bool) -> list[dict]:
    """The records of the manifest with the messages that brought them; before ``arrived`` two are still missing."""
    held = copy.deepcopy(RESOURCES["records"])
    study = next(item for item in held if item["resourceType"] == "ImagingStudy")
    study["series"][0]["instance"] = [instance(number) for number in range(1, 157)]
    pathology = {"modified": "2026-03-02T09:35:06-05:00", "record": "DiagnosticReport/pathology"}
    tasks = [
        record_task("pathology-report", "Pathology report", "completed", **pathology),
        record_task("ct", "CT chest", "completed", modified="2026-03-02T09:36:41-05:00", record="ImagingStudy/ct"),
    ]
    if not arrived:
        missing = record_task("ngs", "Molecular pathology", "requested")
        slides = record_task("slides", "Pathology slides", "requested", mandatory=False)
        return [*(item for item in held if item["id"] not in ("ngs-report", "m3")), *tasks, missing, slides]
    why = "The molecular report answers the question."
    waived = {"modified": "2026-03-04T13:58:00-05:00", "mandatory": False, "why": why}
    ngs = {"modified": "2026-03-03T11:02:10-05:00", "record": "DiagnosticReport/ngs-report"}
    done = record_task("ngs", "Molecular pathology", "completed", **ngs)
    return [*held, *tasks, done, record_task("slides", "Pathology slides", "cancelled", **waived)]


def reviews(*, accepted: bool) -> list[dict]:
    declined = sub_task(
        "review-lin",
        words.SPECIALIST_REVIEW,
        "rejected",
        "Specialist review",
        "2026-03-04T14:00:04-05:00",
        "2026-03-04T16:20:00-05:00",
        owner=link("PractitionerRole/role-lin"),
        statusReason={"text": "Treated a relative of the patient"},
    )
    offered = sub_task(
        "review-cole",
        words.SPECIALIST_REVIEW,
        "in-progress" if accepted else "requested",
        "Specialist review",
        "2026-03-04T16:20:05-05:00",
        "2026-03-05T10:12:00-05:00" if accepted else "",
        owner=link("PractitionerRole/role-cole"),
    )
    return [declined, offered]


def report(answer: str = "No. The tumour carries an EGFR exon 19 deletion.") -> list[dict]:
    answers = {
        "resourceType": "QuestionnaireResponse",
        "id": "answers",
        "questionnaire": f"{words.BASE}/Questionnaire/harbor-opinion",
        "status": "completed",
        "basedOn": [link("ServiceRequest/order")],
        "subject": link("Patient/maria"),
        "item": [
            answered("answer-1", "Yes. Histology, immunohistochemistry and molecular panel agree."),
            answered("answer-2", answer),
            answered("answer-3", "Two trials recruit in New England; criteria are enclosed."),
        ],
    }
    return [answers, *copy.deepcopy(RESOURCES["report"])]


def delivery(status: str, **more) -> dict:
    extension = {"url": words.SO_RECIPIENT, "extension": [{"url": "channel", "valueCode": "hl7v2"}]}
    return sub_task(
        "delivery",
        words.REPORT_DELIVERY,
        status,
        "Delivery of the report",
        "2026-03-10T16:00:02-04:00",
        "2026-03-10T16:14:58-04:00",
        extension=[extension],
        restriction={"recipient": [link("Practitioner/anil-rao")]},
        **more,
    )


def proof(text: str = "AA from EHR at LAKESIDE for H77001 (ORU^R01) and H77002 (MDM^T02)") -> dict:
    return {"output": [{"type": concept(words.SO_OUTPUT, "delivery-proof"), "valueString": text}]}


def tell(business: str, **changes) -> list[dict]:
    """Every resource of the case when it stands at ``business``, in the order they were written."""
    names = [name for _, name, _ in LIFE]
    reached = names.index(business)
    written = [*people(changes.get("name", "Alvarez")), *request_and_intake(changes.get("question", "Which plan?"))]
    written += [case_task(*state) for state in LIFE[: reached + 1]]
    if reached >= names.index("records-gathering"):
        written += records(arrived=reached >= names.index("records-complete"))
    if reached >= names.index("offered"):
        written += reviews(accepted=reached >= names.index("in-review"))
    if reached >= names.index("signed"):
        written += report(changes.get("answer", "No."))
        written.append(delivery("completed", **proof()) if business == "delivered" else delivery("in-progress"))
    return written


@pytest.fixture(autouse=True)
def _no_case_of_another_test(database_url):
    """The database is the module's; every test tells its story from the beginning."""
    yield
    with psycopg.connect(database_url, autocommit=True) as connection:
        for table in ("history", *_TYPES):
            connection.execute(sql.SQL("DELETE FROM fhir.{}").format(sql.Identifier(table)))


@pytest.fixture
def story():
    """``story("in-review")`` gives every resource of the case in that state."""
    return tell


@pytest.fixture
def make():
    """Builders of single resources of the case."""
    return SimpleNamespace(
        case_task=case_task, record_task=record_task, delivery=delivery, proof=proof, sub_task=sub_task, report=report
    )


@pytest.fixture
def write(database):
    """``await write(resources)`` stores them, each as the next version of its id."""

    async def write_all(resources) -> None:
        everything = Subject.system("tests", "system/*.cruds")
        for resource in resources:
            async with database.transaction(everything) as tx:
                await tx.writer.update(resource)

    return write_all


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
async def server(database, sessions):
    """The whole HTTP application: the FHIR API, a DICOMweb that renders one pixel, and the app."""

    async def rendered(request: Request) -> Response:
        if request.headers.get("authorization", "") == "" or request.path_params["instance"].endswith(".1"):
            return Response(status_code=404)
        return Response(PIXEL, media_type="image/png")

    app = build_app(database, base_url=f"{ROOT}/fhir")
    path = "/dicomweb/studies/{study}/series/{series}/instances/{instance}/rendered"
    api = in_process(app, ROOT)
    app.router.routes += [Route(path, rendered), *build_routes(api, secure=False, sessions=sessions)]
    yield app
    await api.aclose()


@pytest.fixture
async def browser(server) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a cookie jar, as a browser has, and without any token."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=server), base_url=ROOT) as opened:
        yield opened


@pytest.fixture
async def signed_in(browser, sessions, issue_token) -> httpx.AsyncClient:
    browser.cookies.set("konsil", sessions.open(await issue_token()), domain="127.0.0.1")
    return browser
