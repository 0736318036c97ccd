"""Outbound delivery on the real database to a receiver of another maker: in order, exactly once, visibly failed."""

import asyncio
import contextlib
import time
from datetime import timedelta

import pytest
from hl7.mllp import start_hl7_server

from adapters.hl7v2 import delivery
from adapters.hl7v2.delivery import Backoff, Delivery, enqueue_outbound
from adapters.hl7v2.sites import Destination
from fhir_server.store import outbox
from fhir_server.store.database import Database

QUICK = Backoff(first_s=0.05, cap_s=0.2)


def message(control_id: str) -> bytes:
    return (
        f"MSH|^~\\&|HARBOR|HSO|EHR|LAKESIDE|20260310161500-0400||ORU^R01^ORU_R01|{control_id}|P|2.5.1\r"
        "PID|1||00483921^^^LAKESIDE^MR\rOBR|1|PL-1|F-1|11488-4^Consult note^LN\r"
    ).encode()


class Ehr:
    """A receiving system built on python-hl7; ``codes`` are its next answers, then AA."""

    def __init__(self, port: int, *codes: str) -> None:
        self.port, self.codes, self.received = port, list(codes), []
        self._server = None

    async def __aenter__(self):
        self._server = await start_hl7_server(self._serve, host="127.0.0.1", port=self.port, encoding="utf-8")
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                got = await reader.readmessage()
                code = self.codes.pop(0) if self.codes else "AA"
                self.received.append((str(got["MSH"][0][10]), code))
                if code != "silence":
                    writer.writemessage(got.create_ack(code))
                    await writer.drain()
        writer.close()


@pytest.fixture
async def queue(database):
    async def enqueue(destination: str, *control_ids: str) -> list[int]:
        async with database.transaction(delivery.SUBJECT) as tx:
            return [await enqueue_outbound(tx, destination, name, message(name), "Task/1") for name in control_ids]

    return enqueue


@pytest.fixture
def delivering(database_url, database):
    """A running Delivery and the jobs it enqueued."""

    @contextlib.asynccontextmanager
    async def run(*destinations: Destination, backoff: Backoff = QUICK):
        jobs: list[tuple] = []

        async def enqueue(_connection, name, arguments, _lock):
            jobs.append((name, arguments))

        named = {destination.name: destination for destination in destinations}
        task = asyncio.create_task(Delivery(database, database_url, named, enqueue=enqueue, backoff=backoff).run())
        try:
            yield jobs
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return run


async def settled(database: Database, *ids: int, within_s: float = 15) -> list[outbox.OutboundMessage]:
    """Return the messages once none of them waits."""
    until = time.monotonic() + within_s
    while True:
        async with database.transaction(delivery.SUBJECT) as tx:
            rows = [await outbox.get(tx.connection, id) for id in ids]
        if all(row is not None and row.status != "waiting" for row in rows):
            return rows
        assert time.monotonic() < until, [(row.status, row.attempts, row.last_error) for row in rows]
        await asyncio.sleep(0.05)


def destination(name: str, port: int, **settings) -> Destination:
    return Destination(
        name, "127.0.0.1", port, **{"acknowledgement_timeout_s": 1.0, "connect_timeout_s": 1.0, **settings}
    )


async def test_messages_are_delivered_in_the_order_they_were_queued(database, queue, delivering, free_port):
    async with Ehr(free_port) as ehr, delivering(destination("a/report", free_port)) as jobs:
        ids = await queue("a/report", "A1", "A2", "A3")
        rows = await settled(database, *ids)
    assert [name for name, _ in ehr.received] == ["A1", "A2", "A3"]
    assert [(row.status, row.acknowledgement_code, row.attempts) for row in rows] == [("delivered", "AA", 1)] * 3
    assert all(row.delivered_at and row.acknowledgement for row in rows)
    assert jobs == [("delivery.done", {"outbound_id": id}) for id in ids]


async def test_a_receiver_that_was_down_gets_the_message_exactly_once(database, queue, delivering, free_port):
    async with delivering(destination("b/report", free_port)) as jobs:
        [id] = await queue("b/report", "B1")
        await asyncio.sleep(0.4)
        async with database.transaction(delivery.SUBJECT) as tx:
            row = await outbox.get(tx.connection, id)
        assert row is not None
        assert (row.status, "ConnectionRefusedError" in row.last_error) == ("waiting", True)
        async with Ehr(free_port) as ehr:
            [row] = await settled(database, id)
            await asyncio.sleep(0.3)
    assert ehr.received == [("B1", "AA")]
    assert row.attempts > 1
    assert jobs == [("delivery.done", {"outbound_id": id})]


async def test_an_application_error_is_tried_again_under_the_same_control_id(database, queue, delivering, free_port):
    async with Ehr(free_port, "AE", "CE") as ehr, delivering(destination("c/report", free_port)):
        [row] = await settled(database, *await queue("c/report", "C1"))
    assert ehr.received == [("C1", "AE"), ("C1", "CE"), ("C1", "AA")]
    assert (row.status, row.attempts) == ("delivered", 3)


async def test_a_rejection_is_final_visible_and_lets_the_next_message_go(database, queue, delivering, free_port):
    async with Ehr(free_port, "AR") as ehr, delivering(destination("d/report", free_port)) as jobs:
        ids = await queue("d/report", "D1", "D2")
        rows = await settled(database, *ids)
        assert ehr.received == [("D1", "AR"), ("D2", "AA")]
        assert [row.status for row in rows] == ["failed", "delivered"]
        assert jobs == [("delivery.failed", {"outbound_id": ids[0]}), ("delivery.done", {"outbound_id": ids[1]})]
        assert await delivery.try_again(database, ids[0])
        [row] = await settled(database, ids[0])
    assert row.status == "delivered"


async def test_silence_is_tried_again_on_a_new_connection(database, queue, delivering, free_port):
    short = destination("e/report", free_port, acknowledgement_timeout_s=0.2)
    async with Ehr(free_port, "silence") as ehr, delivering(short):
        [row] = await settled(database, *await queue("e/report", "E1"))
    assert ehr.received == [("E1", "silence"), ("E1", "AA")]
    assert row.attempts == 2


async def test_a_dead_destination_slows_no_other(database, queue, delivering, free_port):
    dead = destination("dead/report", 1)
    async with Ehr(free_port), delivering(dead, destination("f/report", free_port)):
        await queue("dead/report", "X1", "X2")
        began = time.monotonic()
        await settled(database, *await queue("f/report", "F1", "F2", "F3"))
        assert time.monotonic() - began < 3


async def test_a_message_is_queued_with_the_callers_transaction_or_not_at_all(database):
    with pytest.raises(RuntimeError):
        async with database.transaction(delivery.SUBJECT) as tx:
            await enqueue_outbound(tx, "g/report", "G1", message("G1"), "Task/1")
            raise RuntimeError
    assert [row for row in await delivery.list_outbound(database) if row.control_id == "G1"] == []


async def test_the_same_control_id_is_queued_once(database, queue):
    assert await queue("h/report", "H1") == await queue("h/report", "H1")


async def test_two_processes_on_one_queue_send_each_message_once(database, queue, delivering, free_port):
    here = destination("i/report", free_port)
    async with Ehr(free_port) as ehr, delivering(here), delivering(here):
        await settled(database, *await queue("i/report", *(f"I{n}" for n in range(12))))
    assert [name for name, _ in ehr.received] == [f"I{n}" for n in range(12)]


async def test_a_delivery_interrupted_by_a_crash_is_taken_up_again_after_its_lease(
    database, queue, delivering, free_port
):
    [id] = await queue("j/report", "J1")
    async with database.transaction(delivery.SUBJECT) as tx:
        assert await outbox.claim(tx.connection, "j/report", timedelta(seconds=1))
    async with Ehr(free_port) as ehr, delivering(destination("j/report", free_port)):
        [row] = await settled(database, id)
    assert (ehr.received, row.attempts) == ([("J1", "AA")], 2)


async def test_a_delivery_of_a_process_that_is_gone_is_taken_up_at_the_next_start(
    database, queue, delivering, free_port
):
    [id] = await queue("k/report", "KK1")
    async with database.transaction(delivery.SUBJECT) as tx:
        assert await outbox.claim(tx.connection, "k/report", timedelta(minutes=10), by="konsil delivery that was")
    async with Ehr(free_port) as ehr, delivering(destination("k/report", free_port)):
        [row] = await settled(database, id, within_s=5)
    assert (ehr.received, row.attempts) == ([("KK1", "AA")], 2)


async def test_a_delivery_of_a_process_that_lives_is_left_to_it(database, database_url, queue, delivering, free_port):
    [id] = await queue("l/report", "LL1")
    async with outbox.listening(database_url, name="konsil delivery that lives"):
        async with database.transaction(delivery.SUBJECT) as tx:
            await outbox.claim(tx.connection, "l/report", timedelta(minutes=10), by="konsil delivery that lives")
        async with Ehr(free_port) as ehr, delivering(destination("l/report", free_port)):
            await asyncio.sleep(0.5)
    assert ehr.received == []
    async with database.transaction(delivery.SUBJECT) as tx:
        assert (await outbox.get(tx.connection, id)).attempts == 1


async def test_a_receiver_that_always_errs_is_held_visibly_with_its_queue(database, queue, delivering, free_port):
    erring = destination("m/report", free_port, error_limit=3)
    async with Ehr(free_port, *["AE"] * 3) as ehr, delivering(erring) as jobs:
        ids = await queue("m/report", "MM1", "MM2")
        [row] = await settled(database, ids[0])
        await asyncio.sleep(0.3)
        assert (row.status, row.errors, row.acknowledgement_code) == ("held", 3, "AE")
        assert [name for name, _ in ehr.received] == ["MM1"] * 3
        assert jobs == [("delivery.failed", {"outbound_id": ids[0]})]
        assert await delivery.try_again(database, ids[0])
        rows = await settled(database, *ids)
    assert [row.status for row in rows] == ["delivered", "delivered"]
    assert [name for name, _ in ehr.received] == ["MM1"] * 4 + ["MM2"]


async def test_a_held_message_that_is_skipped_lets_the_next_go(database, queue, delivering, free_port):
    async with Ehr(free_port, "AE") as ehr, delivering(destination("n/report", free_port, error_limit=1)):
        ids = await queue("n/report", "NN1", "NN2")
        await settled(database, ids[0])
        assert await delivery.skip(database, ids[0])
        assert not await delivery.skip(database, ids[0])
        rows = await settled(database, *ids)
    assert [row.status for row in rows] == ["failed", "delivered"]
    assert ehr.received == [("NN1", "AE"), ("NN2", "AA")]


async def test_by_the_sites_policy_the_next_message_passes_one_that_is_given_up(database, queue, delivering, free_port):
    passing = destination("o/report", free_port, error_limit=2, after_errors="pass")
    async with Ehr(free_port, "AE", "CE") as ehr, delivering(passing):
        rows = await settled(database, *await queue("o/report", "OO1", "OO2"))
    assert [row.status for row in rows] == ["failed", "delivered"]
    assert [name for name, _ in ehr.received] == ["OO1", "OO1", "OO2"]


async def test_a_destination_that_is_down_is_waited_for_until_the_message_is_too_old(database, queue, delivering):
    patient, impatient = destination("p/report", 1, error_limit=1), destination("q/report", 1, age_limit_h=0.5 / 3600)
    async with delivering(patient, impatient):
        [waits], [given_up] = await queue("p/report", "PP1"), await queue("q/report", "QQ1")
        [row] = await settled(database, given_up)
        async with database.transaction(delivery.SUBJECT) as tx:
            assert (await outbox.get(tx.connection, waits)).status == "waiting"
    assert (row.status, row.errors) == ("held", 0)


async def test_an_operator_holds_a_queue_at_a_message_and_lets_it_go_on(database, queue, delivering, free_port):
    ids = await queue("r/report", "RR1", "RR2")
    assert await delivery.hold(database, ids[0])
    async with Ehr(free_port) as ehr, delivering(destination("r/report", free_port)):
        await asyncio.sleep(0.3)
        assert ehr.received == []
        await delivery.try_again(database, ids[0])
        await settled(database, *ids)
    assert [name for name, _ in ehr.received] == ["RR1", "RR2"]


def test_the_pause_doubles_to_a_cap_and_is_never_the_same_for_all():
    backoff = Backoff(first_s=1, cap_s=60)
    pauses = [[backoff.after(attempt).total_seconds() for _ in range(50)] for attempt in (1, 2, 5, 10, 1000)]
    assert [(max(row) <= cap, min(row) >= cap / 2) for row, cap in zip(pauses, (1, 2, 16, 60, 60), strict=True)] == [
        (True, True)
    ] * 5
    assert len({*pauses[3]}) > 1
