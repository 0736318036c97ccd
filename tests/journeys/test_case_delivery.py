"""Deliveries end as the messages queued for them end."""

from datetime import timedelta

import pytest

from cases import codes
from cases.delivery import Deliveries
from fhir_server.store import outbox
from fhir_server.store.outbox import Result


async def _queued(world, *names):
    (task,) = await world.find("Task", code=f"{codes.SO_TASK}|{codes.REPORT_DELIVERY}")
    about = f"Task/{task['id']}"
    async with world.database.transaction(world.subject("system")) as tx:
        ids = [await outbox.enqueue(tx.connection, f"lakeside/{name}", name, b"MSH|", about) for name in names]
    return task["id"], ids


async def _answered(world, name, status, code):
    async with world.database.transaction(world.subject("system")) as tx:
        message = await outbox.claim(tx.connection, f"lakeside/{name}", timedelta(seconds=5))
        assert await outbox.settle(tx.connection, message, Result(status, b"MSA", code))


@pytest.fixture
def deliveries(world):
    return Deliveries(world.database, lambda: world.now)


async def test_a_delivery_is_proven_when_every_message_of_it_is_acknowledged(world, deliveries):
    await world.to_signed()
    task, (oru, mdm) = await _queued(world, "results", "documents")
    await _answered(world, "results", "delivered", "AA")
    await deliveries.done(oru)
    assert (await world.read(f"Task/{task}"))["status"] == "requested"
    await _answered(world, "documents", "delivered", "AA")
    await deliveries.done(mdm)
    await deliveries.done(mdm)
    await world.settle()
    proven = await world.read(f"Task/{task}")
    assert proven["status"] == "completed"
    assert [item["valueString"][:24] for item in proven["output"]] == [
        "lakeside/results results",
        "lakeside/documents docum",
    ]
    assert await world.state() == "completed/delivered"


async def test_a_refused_message_holds_its_delivery_for_a_person(world, deliveries):
    await world.to_signed()
    task, (oru,) = await _queued(world, "results")
    await _answered(world, "results", "failed", "AR")
    await deliveries.failed(oru)
    held = await world.read(f"Task/{task}")
    assert held["status"] == "on-hold"
    assert held["statusReason"]["text"] == "lakeside/results answered AR; a person decides."


async def test_messages_about_something_else_move_no_task(world, deliveries):
    async with world.database.transaction(world.subject("system")) as tx:
        other = await outbox.enqueue(tx.connection, "lakeside/results", "x", b"MSH|", "DiagnosticReport/1")
    await deliveries.done(other)
    await deliveries.failed(other + 1)
    assert await world.find("Task") == []


async def test_a_case_whose_only_delivery_is_given_up_is_not_delivered(world):
    await world.to_signed()
    task, _ = await _queued(world)
    reason = {"text": "The practice has closed"}
    await world.change(f"Task/{task}", by="Practitioner/ruth-adler", status="cancelled", statusReason=reason)
    await world.settle()
    assert await world.state() == "in-progress/signed"
