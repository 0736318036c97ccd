"""Reactions under a condition: no job where nothing could follow, and never one too few, whoever commits first."""

import asyncio

import pytest

from fhir_server.kernel.subject import Subject
from fhir_server.store.database import Database
from fhir_server.store.wiring import Condition, Wiring

EVERYTHING = Subject.system("test", "system/*.cruds")
CASE = ("https://konsil.example/fhir/CodeSystem/so-task", "case")
CONDITION = Condition(frozenset({"Patient", "Encounter"}), "Task", (CASE,), "case:")


@pytest.fixture
async def reacting(fresh_database_url):
    """A database whose writes enqueue ``react``, and the jobs that were enqueued."""
    jobs: list[str] = []

    async def enqueue(_connection, _name, arguments, _lock):
        jobs.append(f"{arguments['resource_type']}/{arguments['id']}")

    reactions = dict.fromkeys(("Patient", "Encounter", "Task"), ("react",))
    wiring = Wiring(reactions=reactions, enqueue=enqueue, conditions={"react": CONDITION})
    opened = await Database.open(fresh_database_url, wiring=wiring)
    yield opened, jobs
    await opened.close()


def task(patient: str) -> dict:
    return {
        "resourceType": "Task", "id": f"case-{patient}", "status": "requested", "intent": "order",
        "code": {"coding": [{"system": CASE[0], "code": CASE[1]}]}, "for": {"reference": f"Patient/{patient}"},
    }  # fmt: skip


def encounter(patient: str, status: str = "planned") -> dict:
    return {
        "resourceType": "Encounter", "id": f"visit-{patient}", "status": status, "class": {"code": "IMP"},
        "subject": {"reference": f"Patient/{patient}"},
    }  # fmt: skip


async def write(database, *resources) -> None:
    async with database.transaction(EVERYTHING) as tx:
        for resource in resources:
            await tx.writer.update(resource)


async def test_records_of_a_patient_without_a_case_make_no_job(reacting):
    database, jobs = reacting
    await write(database, {"resourceType": "Patient", "id": "1"}, encounter("1"))
    assert jobs == []


async def test_records_of_a_patient_with_a_case_make_their_jobs(reacting):
    database, jobs = reacting
    await write(database, task("1"))
    await write(database, encounter("1"), encounter("2"))
    await write(database, encounter("2", "arrived"))
    assert jobs == ["Task/case-1", "Encounter/visit-1", "Encounter/visit-2"], (
        "what comes together is looked at together"
    )


async def test_a_case_that_comes_with_its_records_in_one_transaction_is_seen(reacting):
    database, jobs = reacting
    await write(database, encounter("1"), task("1"))
    assert sorted(jobs) == ["Encounter/visit-1", "Task/case-1"]


async def test_a_deletion_is_a_change_too(reacting):
    database, jobs = reacting
    await write(database, task("1"), encounter("1"))
    jobs.clear()
    async with database.transaction(EVERYTHING) as tx:
        await tx.writer.delete("Encounter", "visit-1")
    assert jobs == ["Encounter/visit-1"]


async def test_what_a_savepoint_undid_makes_no_job(reacting):
    database, jobs = reacting
    await write(database, task("1"))
    jobs.clear()
    async with database.transaction(EVERYTHING) as tx:
        with pytest.raises(RuntimeError):
            async with tx.savepoint():
                await tx.writer.update(encounter("1"))
                raise RuntimeError
        await tx.writer.update({"resourceType": "Patient", "id": "1"})
    assert jobs == ["Patient/1"]


async def test_the_job_of_a_case_waits_for_a_record_that_could_not_see_the_case(reacting):
    database, jobs = reacting
    seen: list[str] = []

    async def job() -> None:
        async with database.transaction(EVERYTHING) as tx:
            await tx.lock("case:Patient/1")
            seen.append((await tx.reader.read("Encounter", "visit-1")).resource()["status"])

    async with database.transaction(EVERYTHING) as tx:
        await tx.writer.update(encounter("1"))
        await tx.writer.finish()  # the last step before the commit: no case yet, so no job
        assert jobs == []
        await write(database, task("1"))
        running = asyncio.create_task(job())
        await asyncio.sleep(0.2)
        assert seen == []
    await running
    assert seen == ["planned"]


async def test_while_the_job_is_at_work_a_record_does_not_wait_and_makes_another(reacting):
    database, jobs = reacting
    async with database.transaction(EVERYTHING) as tx:
        await tx.lock("case:Patient/1")
        async with asyncio.timeout(3):
            await write(database, encounter("1"))
    assert jobs == ["Encounter/visit-1"]
