"""The end of a delivery: ``delivery.done`` proves it on its Task, ``delivery.failed`` puts it before a person.

A delivery Task is proven when every message queued for it (outbox reference ``Task/id``) was acknowledged.
docs/cases.md#delivery
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cases import codes, gather
from cases.apply import moved
from cases.calendar import utc
from cases.decisions import SetStatus
from cases.machine import State, state_of
from cases.provenance import transition
from cases.react import system_clock
from fhir_server.store import outbox
from fhir_server.store.database import Database, Transaction
from fhir_server.store.outbox import OutboundMessage

DONE: Final = "delivery.done"
FAILED: Final = "delivery.failed"
_completed, _held = State("completed"), State("on-hold")


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Runs the two jobs an outbox message ends in."""

    database: Database
    clock: Callable[[], datetime] = system_clock

    async def done(self, outbound_id: int) -> None:
        """Complete the message's delivery Task once all its messages are acknowledged; twice changes nothing."""
        async with self.database.transaction(gather.SUBJECT) as tx:
            messages = await _siblings(tx, outbound_id)
            if messages and all(message.delivered_at for message in messages):
                await prove(tx, messages[0].reference, [_proof(message) for message in messages], self.clock())

    async def failed(self, outbound_id: int) -> None:
        """Hold the message's delivery Task, with the receiver's answer as reason."""
        async with self.database.transaction(gather.SUBJECT) as tx:
            messages = await _siblings(tx, outbound_id)
            for message in messages:
                if message.id == outbound_id:
                    words = (
                        f"{message.destination} answered {message.acknowledgement_code or 'nothing'}; a person decides."
                    )
                    await hold(tx, message.reference, words, self.clock())


async def prove(tx: Transaction, task: str, proofs: Sequence[str], now: datetime) -> None:
    """Complete the delivery ``Task/id`` with its proofs, one line each. Nothing happens when it is closed already."""
    await tx.lock(task)
    stored = await tx.reader.read("Task", task.removeprefix("Task/"))
    resource = stored.resource()
    if codes.kind_of(resource) != codes.REPORT_DELIVERY or state_of(resource).closed:
        return
    kind = codes.concept(codes.SO_OUTPUT, codes.OUTPUT_PROOF)
    resource["output"] = [*resource.get("output", ()), *({"type": kind, "valueString": proof} for proof in proofs)]
    await _move(tx, resource, stored.version, SetStatus(stored.id, _completed, "prove-delivery"), now)


async def hold(tx: Transaction, task: str, words: str, now: datetime) -> None:
    """Put the delivery ``Task/id`` on hold for a person to look at."""
    await tx.lock(task)
    stored = await tx.reader.read("Task", task.removeprefix("Task/"))
    state = state_of(stored.resource())
    if state.closed or state == _held:
        return
    reason = (codes.REASON_NOT_DELIVERED, words)
    await _move(tx, stored.resource(), stored.version, SetStatus(stored.id, _held, "hold-delivery", reason), now)


async def _move(tx: Transaction, task: dict[str, Any], version: int, command: SetStatus, now: datetime) -> None:
    changed = moved(task, command, now)
    result = await tx.writer.update(changed, if_match=version)
    await tx.writer.update(transition(changed, result.stored.version, command.activity, now=utc(now)))


async def _siblings(tx: Transaction, outbound_id: int) -> list[OutboundMessage]:
    """Return every message queued for the same delivery Task, none when the message is about something else."""
    message = await outbox.get(tx.connection, outbound_id)
    if message is None or not message.reference.startswith("Task/"):
        return []
    return await outbox.of_reference(tx.connection, message.reference)


def _proof(message: OutboundMessage) -> str:
    when = utc(message.delivered_at) if message.delivered_at else ""
    return f"{message.destination} {message.control_id} {message.acknowledgement_code} {when}"
