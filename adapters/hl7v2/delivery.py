"""Outbound delivery: a worker for each destination empties its queue in order, and a dead one slows no other.

HL7 v2.9 §2.9.3: AA and CA end a delivery, AE and CE ask for another attempt, AR and CR are final.
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from adapters.hl7v2.client import DeliveryError, MllpClient
from adapters.hl7v2.metrics import MessageMetrics
from adapters.hl7v2.sites import Destination
from fhir_server.kernel.errors import Unavailable
from fhir_server.kernel.subject import Subject
from fhir_server.store import outbox
from fhir_server.store.database import Database, Transaction
from fhir_server.store.outbox import OutboundMessage, Result
from fhir_server.store.wiring import Enqueue

log = logging.getLogger(__name__)

SUBJECT = Subject.system("hl7v2-delivery", "")
DONE, FAILED = "delivery.done", "delivery.failed"
_DELIVERED, _REJECTED = ("AA", "CA"), ("AR", "CR")
_POLL_S = 5.0
_LEASE_MARGIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after a failed attempt: doubling from ``first_s`` to ``cap_s``, jittered over the upper half."""

    first_s: float = 1.0
    cap_s: float = 300.0

    def after(self, attempts: int) -> timedelta:
        """Return the pause after the given number of attempts (from 1)."""
        longest = min(self.cap_s, self.first_s * 2 ** min(attempts - 1, 32))
        return timedelta(seconds=longest * random.uniform(0.5, 1))  # noqa: S311 - spreading retries, not a secret


async def enqueue_outbound(tx: Transaction, destination: str, control_id: str, raw: bytes, reference: str) -> int:
    """Put a message into the queue of ``site/name`` in the caller's transaction and return its outbox id.

    ``control_id`` is its MSH-10 for life; enqueuing it again for the same destination changes nothing.
    """
    return await outbox.enqueue(tx.connection, destination, control_id, raw, reference)


class Delivery:
    """Delivers what is in the outbox.

    ``done_job`` and ``failed_job`` (also for a message that is held) are enqueued with ``{"outbound_id": …}`` in the
    transaction that settles the message; None enqueues nothing.
    """

    def __init__(
        self,
        database: Database,
        conninfo: str,
        destinations: Mapping[str, Destination],
        *,
        enqueue: Enqueue | None = None,
        done_job: str | None = DONE,
        failed_job: str | None = FAILED,
        backoff: Backoff | None = None,
        metrics: MessageMetrics | None = None,
    ) -> None:
        self._database = database
        self._conninfo = conninfo
        self._destinations = destinations
        self._enqueue = enqueue
        self._jobs = {"delivered": done_job, "failed": failed_job, "held": failed_job}
        self._backoff = backoff or Backoff()
        self._metrics = metrics or MessageMetrics()
        self._wake = {name: asyncio.Event() for name in destinations}
        self._unsettled: dict[str, tuple[OutboundMessage, Result]] = {}
        self._name = f"konsil delivery {secrets.token_hex(8)}"

    async def run(self) -> None:
        """Deliver until cancelled; what a process that is gone had begun is taken up at once."""
        listening = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(listening))
            await listening.wait()
            for name, destination in self._destinations.items():
                tasks.create_task(self._work(name, MllpClient(destination)))

    async def _listen(self, listening: asyncio.Event) -> None:
        """Wake the worker whose destination got a message; without the notice it would look every few seconds.

        The session's name tells other processes that this one lives: they leave what it has begun alone.
        """
        while True:
            try:
                async with outbox.listening(self._conninfo, name=self._name) as notices:
                    if not listening.is_set():
                        await self._release_orphans()
                        listening.set()
                    async for name in notices:
                        if name in self._wake:
                            self._wake[name].set()
            except (outbox.ConnectionLost, Unavailable):
                log.warning("Delivery lost its database connection; it tries again in a second")
                await asyncio.sleep(1)

    async def _release_orphans(self) -> None:
        async with self._database.transaction(SUBJECT) as tx:
            orphans = await outbox.release_orphans(tx.connection)
        if orphans:
            log.info("%s deliveries of a process that is gone are taken up again", orphans)

    async def _work(self, name: str, client: MllpClient) -> None:
        failures = 0
        try:
            while True:
                self._wake[name].clear()
                try:
                    pause_s = await self._next(name, client)
                    failures = 0
                except Exception as error:  # noqa: BLE001 - a worker outlives every fault; the row stays in its queue
                    failures += 1
                    pause_s = self._backoff.after(failures).total_seconds()
                    log.warning("Delivery to %s stopped: %s; next try in %.1f s", name, type(error).__name__, pause_s)
                await self._pause(name, pause_s)
        finally:
            await client.close()

    async def _pause(self, name: str, seconds: float) -> None:
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(min(seconds, _POLL_S)):
                await self._wake[name].wait()
        except TimeoutError:
            return

    async def _next(self, name: str, client: MllpClient) -> float:
        """Deliver the first message of a queue, if it is due; return how long to wait before the next.

        A result the database could not take is written down first: the message must not go out a second time.
        """
        if name in self._unsettled:
            await self._settle(*self._unsettled[name])
        timeouts = client.destination.connect_timeout_s + client.destination.acknowledgement_timeout_s
        lease = timedelta(seconds=timeouts + _LEASE_MARGIN_S)
        async with self._database.transaction(SUBJECT) as tx:
            message = await outbox.claim(tx.connection, name, lease, by=self._name)
            if message is None:
                due_s = await outbox.due_in_s(tx.connection, name)
                return _POLL_S if due_s is None else max(due_s, 0.01)
        began = time.perf_counter()
        result = await self._attempt(message, client)
        self._metrics.attempted(name, result.acknowledgement_code, time.perf_counter() - began)
        self._unsettled[name] = (message, result)
        await self._settle(message, result)
        return 0

    async def _attempt(self, message: OutboundMessage, client: MllpClient) -> Result:
        """Send a message once. An error of the receiver's application counts against its limit, an absence does not."""
        try:
            answer, read = await client.send(message.raw, message.control_id)
        except DeliveryError as error:
            return self._again(message, client.destination, Result("waiting", error=str(error)))
        if read.code in _DELIVERED:
            return Result("delivered", answer, read.code)
        if read.code in _REJECTED:
            return Result("failed", answer, read.code, read.text)
        refused = Result("waiting", answer, read.code, read.text, refused=True)
        return self._again(message, client.destination, refused)

    def _again(self, message: OutboundMessage, destination: Destination, result: Result) -> Result:
        """Return when to try again, or that the message is given up: held with its queue, or passed over."""
        age_h = (datetime.now(UTC) - message.created_at).total_seconds() / 3600
        too_often = result.refused and 0 < destination.error_limit <= message.errors + 1
        too_old = 0 < destination.age_limit_h <= age_h
        if too_often or too_old:
            return replace(result, status="held" if destination.after_errors == "hold" else "failed")
        return replace(result, retry_in=self._backoff.after(message.attempts))

    async def _settle(self, message: OutboundMessage, result: Result) -> None:
        async with self._database.transaction(SUBJECT) as tx:
            settled = await outbox.settle(tx.connection, message, result)
            job = self._jobs.get(result.status)
            if settled and job and self._enqueue:
                await self._enqueue(tx.connection, job, {"outbound_id": message.id}, None)
        del self._unsettled[message.destination]
        log.info(
            "Outbound message %s to %s: %s after attempt %s %s",
            message.id, message.destination, result.status, message.attempts, result.acknowledgement_code,
        )  # fmt: skip


async def list_outbound(database: Database, *, status: str | None = None, count: int = 50) -> list[OutboundMessage]:
    """Return outgoing messages, newest first."""
    async with database.transaction(SUBJECT) as tx:
        return await outbox.listed(tx.connection, status=status, count=count)


async def try_again(database: Database, id: int) -> bool:
    """Put a failed or held outgoing message back into its queue; False when it is neither."""
    async with database.transaction(SUBJECT) as tx:
        return await outbox.try_again(tx.connection, id)


async def hold(database: Database, id: int) -> bool:
    """Hold a waiting outgoing message, and the queue behind it; False when it does not wait."""
    async with database.transaction(SUBJECT) as tx:
        return await outbox.hold(tx.connection, id)


async def skip(database: Database, id: int, enqueue: Enqueue | None = None) -> bool:
    """Fail a held or waiting outgoing message, so that the next may go; False when it is neither."""
    async with database.transaction(SUBJECT) as tx:
        skipped = await outbox.skip(tx.connection, id)
        if skipped and enqueue:
            await enqueue(tx.connection, FAILED, {"outbound_id": id}, None)
        return skipped
