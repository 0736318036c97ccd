"""Open cases follow their patient into the record that replaced it."""

import pytest

from cases import codes
from cases.repoint import repoint
from fhir_server.kernel.subject import Subject

CLERK = Subject.system("test", "system/*.crus")
NOW = "2026-03-03T12:00:00Z"


def case_task(name, status="requested", business=codes.SUBMITTED, **more):
    return {
        "resourceType": "Task",
        "id": f"{name}-case",
        "status": status,
        "intent": "order",
        "code": codes.concept(codes.SO_TASK, codes.CASE),
        "businessStatus": codes.concept(codes.SO_STATUS, business),
        "focus": {"reference": f"ServiceRequest/{name}-order"},
        "for": {"reference": f"Patient/{name}-old"},
        **more,
    }


@pytest.fixture
def stored(database):
    async def write(name, task):
        old = {"reference": f"Patient/{name}-old"}
        link = {"type": "replaced-by", "other": {"reference": f"Patient/{name}-new"}}
        report = {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "CT"}, "subject": old}
        consent = {
            "resourceType": "Consent", "status": "active", "patient": old,
            "scope": {"text": "privacy"}, "category": [{"text": "disclosure"}],
        }  # fmt: skip
        async with database.transaction(CLERK) as tx:
            await tx.writer.update({"resourceType": "Patient", "id": f"{name}-new"})
            await tx.writer.update({"resourceType": "Patient", "id": f"{name}-old", "link": [link]})
            order = {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": old}
            await tx.writer.update(order | {"id": f"{name}-order"})
            await tx.writer.update(report | {"id": f"{name}-report"})
            await tx.writer.update(consent | {"id": f"{name}-consent"})
            await tx.writer.update(task)

    return write


@pytest.fixture
def read(database):
    async def one(resource_type, name):
        async with database.transaction(CLERK) as tx:
            return (await tx.reader.read(resource_type, name)).resource()

    return one


async def test_an_open_case_moves_with_order_consent_and_records_and_a_provenance_says_so(database, stored, read):
    await stored("a", case_task("a"))
    await repoint(database, "Patient/a-old", now=NOW)
    assert (await read("Task", "a-case"))["for"]["reference"] == "Patient/a-new"
    assert (await read("ServiceRequest", "a-order"))["subject"]["reference"] == "Patient/a-new"
    assert (await read("Consent", "a-consent"))["patient"]["reference"] == "Patient/a-new"
    assert (await read("DiagnosticReport", "a-report"))["subject"]["reference"] == "Patient/a-new"
    async with database.transaction(CLERK) as tx:
        [found] = await tx.reader.find("Provenance", target="Task/a-case")
    provenance = found.resource()
    assert provenance["activity"]["coding"][0]["code"] == "merge-patient"
    assert len(provenance["target"]) == 4


async def test_doing_it_again_changes_nothing(database, stored, read):
    await stored("b", case_task("b"))
    await repoint(database, "Patient/b-old", now=NOW)
    before = await read("Task", "b-case")
    await repoint(database, "Patient/b-old", now="2026-03-04T12:00:00Z")
    assert await read("Task", "b-case") == before


@pytest.mark.parametrize(
    ("status", "business"), [("completed", codes.DELIVERED), ("in-progress", codes.SIGNED), ("rejected", "ineligible")]
)
async def test_closed_and_signed_cases_stay_where_they_are(database, stored, read, status, business):
    name = f"c-{status}"
    await stored(name, case_task(name, status, business))
    await repoint(database, f"Patient/{name}-old", now=NOW)
    assert (await read("Task", f"{name}-case"))["for"]["reference"] == f"Patient/{name}-old"


async def test_a_patient_that_stands_keeps_its_cases(database, stored, read):
    await stored("d", case_task("d"))
    await repoint(database, "Patient/d-new", now=NOW)
    assert (await read("Task", "d-case"))["for"]["reference"] == "Patient/d-old"
