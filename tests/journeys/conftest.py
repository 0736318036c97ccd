"""A programme, a hospital's records and the people of one case, on a real database, driven as clients drive it.

Jobs go into a list instead of Procrastinate, so that a test says when they run; ``world.settle()`` runs them all.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from cases import codes
from cases.delivery import prove
from cases.gather import SUBJECT
from cases.guard import GUARDS
from cases.react import CONDITIONS, JOB, REACTIONS, Reactor
from cases.signature import Signer
from fhir_server.interactions import transaction
from fhir_server.kernel.subject import Subject, parse_scopes
from fhir_server.store.database import Database
from fhir_server.store.wiring import Wiring
from programmes.load import LOADER, load

_all = "system/*.cruds"
_lin, _cole, _adler = "Practitioner/james-lin", "Practitioner/hannah-cole", "Practitioner/ruth-adler"


def patient(**change: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": "alvarez",
        "identifier": [{"system": "https://lakeside.example/mrn", "value": "00483921"}],
        "name": [{"family": "Alvarez", "given": ["Maria"]}],
        "gender": "female",
        "birthDate": "1961-04-12",
        "address": [{"use": "home", "city": "Providence", "state": "RI", "country": "US"}],
        **change,
    }


def records() -> list[dict[str, Any]]:
    subject = {"reference": "Patient/alvarez"}
    report = {"resourceType": "DiagnosticReport", "status": "final", "subject": subject}
    loinc = codes.LOINC
    return [
        {**report, "id": "pathology", "code": codes.concept(loinc, "11526-1"), "effectiveDateTime": "2026-02-25"},
        {**report, "id": "ngs", "code": codes.concept(loinc, "51969-4"), "effectiveDateTime": "2026-03-03"},
        {
            "resourceType": "DocumentReference",
            "id": "note",
            "status": "current",
            "docStatus": "final",
            "type": codes.concept(loinc, "11488-4"),
            "subject": subject,
            "date": "2026-02-28T10:00:00Z",
            "content": [{"attachment": {"contentType": "text/plain", "data": "Y1QyYU4yTTA="}}],
        },
        {
            "resourceType": "ImagingStudy",
            "id": "ct",
            "status": "available",
            "subject": subject,
            "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}],
            "description": "CT CHEST W CONTRAST",
            "started": "2026-02-20T08:00:00Z",
        },
    ]


def inpatient(status: str) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": "stay",
        "status": status,
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": "Patient/alvarez"},
    }


def consent() -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": codes.concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
        "category": [codes.concept(*codes.PRIVACY_DISCLOSURE)],
        "patient": {"reference": "Patient/alvarez"},
        "policyRule": codes.concept("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTIN"),
    }


_subject, _rao = {"reference": "Patient/alvarez"}, {"reference": "Practitioner/rao"}
_urn = "urn:uuid:0f6f7f2e-0000-4000-8000-00000000000"


def order() -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "priority": "routine",
        "reasonCode": [codes.concept(*codes.SECOND_OPINION)],
        "subject": _subject,
        "requester": _rao,
        "authoredOn": "2026-03-02T09:35:00-05:00",
    }


def intake(request: str) -> dict[str, Any]:
    asked = (("question-1", "Do you agree with the diagnosis?"), ("question-2", "Is immunotherapy right?"))
    questions = [{"linkId": link, "answer": [{"valueString": text}]} for link, text in asked]
    return {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": f"{codes.BASE}/Questionnaire/harbor-intake",
        "status": "completed",
        "basedOn": [{"reference": request}],
        "subject": _subject,
        "authored": "2026-03-02T09:34:00-05:00",
        "author": _rao,
        "item": [{"linkId": "questions", "item": questions}],
    }


def submission(request: str) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": codes.concept(*codes.FULFILL),
        "focus": {"reference": request},
        "for": _subject,
        "requester": _rao,
        "owner": {"reference": "Organization/harbor"},
        "authoredOn": "2026-03-02T09:35:00-05:00",
    }


def request_bundle(*, with_consent: bool = True, **task: Any) -> dict[str, Any]:
    """The physician's transaction; ``task`` changes its Task."""
    resources = [order(), intake(f"{_urn}0"), submission(f"{_urn}0") | task]
    if with_consent:
        resources.append(consent())
    entries = [
        {"fullUrl": f"{_urn}{number}", "resource": item, "request": {"method": "POST", "url": item["resourceType"]}}
        for number, item in enumerate(resources)
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def opinion(**change: Any) -> dict[str, Any]:
    """Dr Cole's answers to both questions."""
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "opinion",
        "questionnaire": f"{codes.BASE}/Questionnaire/harbor-opinion",
        "status": "completed",
        "subject": {"reference": "Patient/alvarez"},
        "author": {"reference": _cole},
        "authored": "2026-03-10T16:00:00-04:00",
        "item": [
            {
                "linkId": "outcome",
                "answer": [{"valueCoding": {"system": codes.SO_OUTCOME, "code": codes.DIFFERENT_PLAN}}],
            },
            {"linkId": "diagnosis", "answer": [{"valueString": "Adenocarcinoma, EGFR exon 19 deletion."}]},
            {"linkId": "plan", "answer": [{"valueString": "Discuss the targeted pathway at the local board."}]},
            {"linkId": "answer-1", "answer": [{"valueString": "Yes."}]},
            {"linkId": "answer-2", "answer": [{"valueString": "No: the tumour is EGFR positive."}]},
        ],
        **change,
    }


@dataclass
class World:
    """One programme at work; resources are written as somebody: ``await world.put(resource, by=…)``."""

    database: Database
    reactor: Reactor
    waiting: list[tuple[str, dict[str, Any]]]
    done: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    now: datetime = datetime(2026, 3, 4, 19, 0, tzinfo=UTC)
    records = staticmethod(records)
    stay = staticmethod(inpatient)
    consent = staticmethod(consent)
    opinion = staticmethod(opinion)
    bundle = staticmethod(request_bundle)

    def subject(self, by: str) -> Subject:
        if by == "system":
            return Subject.system("hospital", _all)
        return Subject(by, by, parse_scopes("user/*.cruds"))

    async def put(self, resource: dict[str, Any], *, by: str = "system", if_match: int | None = None) -> int:
        async with self.database.transaction(self.subject(by)) as tx:
            return (await tx.writer.update(resource, if_match=if_match)).stored.version

    async def read(self, reference: str) -> dict[str, Any]:
        resource_type, _, id_ = reference.partition("/")
        async with self.database.transaction(self.subject("system")) as tx:
            return (await tx.reader.read(resource_type, id_)).resource()

    async def find(self, resource_type: str, **pairs: str) -> list[dict[str, Any]]:
        async with self.database.transaction(self.subject("system")) as tx:
            return [stored.resource() for stored in await tx.reader.find(resource_type, **pairs)]

    async def versions(self, reference: str) -> int:
        resource_type, _, id_ = reference.partition("/")
        async with self.database.transaction(self.subject("system")) as tx:
            return (await tx.reader.history(resource_type, id_)).total

    async def change(self, reference: str, *, by: str, **change: Any) -> int:
        return await self.put({**await self.read(reference), **change}, by=by)

    async def settle(self) -> None:
        """Run every waiting job, and the jobs they enqueue, in order."""
        while self.waiting:
            name, arguments = self.waiting.pop(0)
            self.done.append((name, arguments))
            if name == JOB:
                await self.reactor.react(**arguments)
            else:
                self.sent.append((name, arguments))

    async def submit(self, **change: Any) -> None:
        """Send the physician's transaction and settle."""
        async with self.database.transaction(self.subject("Practitioner/rao")) as tx:
            await transaction.apply(tx, request_bundle(**change))
        await self.settle()

    async def state(self) -> str:
        case = await self.case()
        return "/".join(part for part in (case["status"], codes.business_status(case)) if part)

    async def case(self) -> dict[str, Any]:
        (case,) = await self.find("Task", code=f"{codes.SO_TASK}|{codes.CASE}")
        return case

    async def rows(self) -> dict[str, dict[str, Any]]:
        tasks = await self.find("Task", code=f"{codes.SO_TASK}|{codes.RECORD_REQUEST}")
        return {task["extension"][0]["valueCode"]: task for task in tasks}

    async def review_of(self, role: str) -> dict[str, Any]:
        tasks = await self.find("Task", code=f"{codes.SO_TASK}|{codes.SPECIALIST_REVIEW}")
        return next(task for task in tasks if task["owner"]["reference"] == f"PractitionerRole/{role}")

    async def arrive(self, *resources: dict[str, Any]) -> None:
        for resource in resources:
            await self.put(resource)
        await self.settle()

    async def to_offer(self) -> None:
        """Submit with every record there: the case is offered to Dr Lin."""
        await self.arrive(*records())
        await self.submit()

    async def to_review(self) -> dict[str, Any]:
        """The case is with Dr Cole, after Dr Lin declined; return her review."""
        await self.to_offer()
        lin = await self.review_of("harbor-james-lin")
        await self.change(f"Task/{lin['id']}", by=_lin, status="rejected", statusReason={"text": "Conflict"})
        await self.settle()
        cole = await self.review_of("harbor-hannah-cole")
        await self.change(f"Task/{cole['id']}", by=_cole, status="accepted")
        await self.settle()
        return await self.review_of("harbor-hannah-cole")

    async def to_signed(self) -> None:
        await self.to_review()
        await self.answer()

    async def answer(self, *, by: str = _cole, **change: Any) -> None:
        """Write the opinion on the case's request, as Dr Cole unless told otherwise, and settle."""
        request = (await self.case())["focus"]
        await self.put(opinion(basedOn=[{"reference": request["reference"]}], **change), by=by)
        await self.settle()

    async def prove_delivery(self) -> None:
        (delivery,) = await self.find("Task", code=f"{codes.SO_TASK}|{codes.REPORT_DELIVERY}")
        async with self.database.transaction(SUBJECT) as tx:
            await prove(tx, f"Task/{delivery['id']}", ["lakeside/results H77001 AA"], self.now)
        await self.settle()


@pytest.fixture
async def world(fresh_database_url, tmp_path):
    waiting: list[tuple[str, dict[str, Any]]] = []

    async def enqueue(connection, name, arguments, lock=None):
        waiting.append((name, arguments))

    wiring = Wiring(guards=GUARDS, reactions=REACTIONS, enqueue=enqueue, conditions=CONDITIONS)
    database = await Database.open(fresh_database_url, wiring=wiring)
    reactor = Reactor(database, enqueue, Signer.open(tmp_path), "https://konsil.example/fhir", clock=lambda: made.now)
    made = World(database, reactor, waiting)
    async with database.transaction(LOADER) as tx:
        await load(tx, "harbor")
    await made.put(patient())
    await made.put({
        "resourceType": "Practitioner",
        "id": "rao",
        "identifier": [{"system": codes.NPI, "value": "1234567893"}],
        "name": [{"family": "Rao", "given": ["Anil"], "prefix": ["Dr"]}],
    })  # fmt: skip
    yield made
    await database.close()
