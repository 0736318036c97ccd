"""A cancel request from an order system waits for a coordinator as part of the case."""

import pytest

from cases import codes
from cases.cancel_request import ASKS_TO_END, take_up
from cases.gather import SUBJECT
from cases.guard import GUARDS
from fhir_server.kernel.subject import Subject
from fhir_server.store.database import Database
from fhir_server.store.wiring import Wiring

CLERK = Subject.system("test", "system/*.crus")


def ask(name, **changes):
    return {
        "resourceType": "Task", "id": f"{name}-ask", "status": "requested", "intent": "order",
        "code": codes.concept(*ASKS_TO_END), "focus": {"reference": f"ServiceRequest/{name}-order"},
        "for": {"reference": f"Patient/{name}"},
    } | changes  # fmt: skip


@pytest.fixture
async def guarded(database_url):
    opened = await Database.open(database_url, wiring=Wiring(guards=GUARDS))
    yield opened
    await opened.close()


@pytest.fixture
def cancelled(guarded):
    async def run(name, task, *, with_case=True):
        case = ask(name, id=f"{name}-case", code=codes.concept(codes.SO_TASK, codes.CASE))
        case["businessStatus"] = codes.concept(codes.SO_STATUS, codes.SUBMITTED)
        async with guarded.transaction(CLERK) as tx:
            await tx.writer.update({"resourceType": "Patient", "id": name})
            order = {"resourceType": "ServiceRequest", "id": f"{name}-order", "status": "active", "intent": "order"}
            await tx.writer.update(order | {"subject": {"reference": f"Patient/{name}"}})
            if with_case:
                await tx.writer.update(case)
            await tx.writer.update(task)
        async with guarded.transaction(SUBJECT) as tx:
            await take_up(tx, task["id"])
            await take_up(tx, task["id"])
            return (await tx.reader.read("Task", task["id"])).resource()

    return run


async def test_a_cancel_request_becomes_part_of_the_open_case_once(cancelled):
    found = await cancelled("x1", ask("x1"))
    assert (codes.kind_of(found), found["partOf"]) == (codes.ABORT, [{"reference": "Task/x1-case"}])
    assert (found["status"], found["meta"]["versionId"]) == ("requested", "2")


@pytest.mark.parametrize("changes", [{"status": "completed"}, {"code": {"text": "abort"}}])
async def test_other_tasks_stay_as_they_are(cancelled, changes):
    name = f"x2-{len(changes.get('code', ''))}"
    assert codes.kind_of(await cancelled(name, ask(name, **changes))) is None


async def test_a_cancel_request_for_an_order_without_a_case_stays_as_it_is(cancelled):
    assert codes.kind_of(await cancelled("x3", ask("x3"), with_case=False)) is None
