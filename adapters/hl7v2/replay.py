"""Replay: a failed message is tried again from its bytes, and shown segment by segment beside what it became."""

from dataclasses import dataclass
from typing import Any

from adapters.hl7v2.apply import SUBJECT
from adapters.hl7v2.header import Header
from adapters.hl7v2.lanes import reprocess
from adapters.hl7v2.peer import Peer
from adapters.hl7v2.receive import PROCESS, Intake, Receipt
from adapters.hl7v2.sites import Sites
from adapters.hl7v2.tokenizer import MalformedMessage, Message
from fhir_server.kernel.errors import NotFound, Unprocessable
from fhir_server.store import messages
from fhir_server.store.database import Database, Transaction
from fhir_server.store.messages import Filter, InboundMessage, Listed, Outcome
from fhir_server.store.wiring import Enqueue

_REPLAYABLE = ("failed", "held", "passed", "processed", "refused")
_SHOWN_FIELD = 200


async def list_messages(database: Database, *, count: int = 50, **wanted: Any) -> list[Listed]:
    """Return inbox messages, newest first; what is ``wanted`` is named as in ``Filter``."""
    async with database.transaction(SUBJECT) as tx:
        return await messages.listed(tx.connection, Filter(**wanted), count=count)


async def replay(
    database: Database, sites: Sites, id: int, *, port: int = 0, enqueue: Enqueue | None = None
) -> Outcome:  # fmt: skip
    """Process a message again, whatever the first time brought; what is stored already stays as it is.

    What waited behind it goes on. Raises NotFound for an unknown id, Unprocessable for one that must not be processed
    (cut off, still waiting).
    """

    async def work(tx: Transaction) -> Outcome:
        message = await _get(tx, id, lock=True)
        if message.status not in _REPLAYABLE:
            raise Unprocessable(f"Message {id} is {message.status}; only {', '.join(_REPLAYABLE)} ones are replayed.")
        outcome = await reprocess(tx, sites, await _placed(tx, sites, message, port))
        await messages.finish(tx.connection, id, outcome)
        if outcome.status == "processed":
            await _go_on(tx, message.lane, enqueue)
        return outcome

    return await database.run(SUBJECT, work)


async def hold(database: Database, id: int) -> None:
    """Keep a failed or waiting message from being processed or replayed with others. Raises Unprocessable."""
    async with database.transaction(SUBJECT) as tx:
        if await messages.set_status(tx.connection, id, "held", of=("accepted", "failed")) is None:
            raise Unprocessable(f"Message {id} is neither waiting nor failed, so it cannot be held.")


async def pass_over(database: Database, id: int, *, enqueue: Enqueue | None = None, note: str = "") -> None:
    """Give a failed or held message up: it stays visible, and what waited behind it goes on. Raises Unprocessable."""
    async with database.transaction(SUBJECT) as tx:
        lane = await messages.set_status(tx.connection, id, "passed", of=("failed", "held"), note=note)
        if lane is None:
            raise Unprocessable(f"Message {id} is neither failed nor held, so it cannot be passed over.")
        await _go_on(tx, lane, enqueue)


async def edit_as_new(
    database: Database, intake: Intake, id: int, raw: bytes, *, enqueue: Enqueue | None = None
) -> Receipt:
    """Take ``raw`` as a new message of the site of message ``id``; if it is accepted, the old one is passed over.

    Raises NotFound, and Unprocessable for a message that is neither failed nor held, or belongs to no site.
    """
    async with database.transaction(SUBJECT) as tx:
        message = await _get(tx, id)
    if message.status not in ("failed", "held") or not message.site:
        raise Unprocessable(f"Message {id} is {message.status}; only a failed or held one of a site is edited.")
    receipt = await intake.take(raw, Peer("operator", site=message.site))
    if receipt.code in ("AA", "CA"):
        header = Header.parse(raw)
        note = f"edited and taken again as {header.control_id if header else ''}"
        await pass_over(database, id, enqueue=enqueue, note=note)
    return receipt


async def _go_on(tx: Transaction, lane: str, enqueue: Enqueue | None) -> None:
    """Have what waits in a lane processed; a message that was processed at once has none."""
    if lane and enqueue:
        await enqueue(tx.connection, PROCESS, {"lane": lane}, lane)


async def _placed(tx: Transaction, sites: Sites, message: InboundMessage, port: int) -> InboundMessage:
    """Give a message that no site claimed when it came to the site that claims it now."""
    if message.site:
        return message
    header = Header.parse(message.raw)
    site = sites.find(Peer(message.peer, port), header) if header else None
    if site is None:
        raise Unprocessable(f"Message {message.id} still belongs to no site. Add its sender to a site.yaml.")
    await messages.reassign(tx.connection, message.id, site.name)
    return await _get(tx, message.id, lock=True)


async def _get(tx: Transaction, id: int, *, lock: bool = False) -> InboundMessage:
    message = await messages.get(tx.connection, id, lock=lock)
    if message is None:
        raise NotFound(f"There is no message {id}.")
    return message


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as an operator reads it: its row, its segments as (name, [(field number, text)])."""

    message: InboundMessage
    segments: tuple[tuple[str, tuple[tuple[int, str], ...]], ...]


async def show(database: Database, id: int, *, charset: str | None = None) -> Shown:
    """Return one message, parsed as far as it can be. Raises NotFound."""
    async with database.transaction(SUBJECT) as tx:
        message = await _get(tx, id)
    try:
        parsed = Message.parse(message.raw, charset)
    except MalformedMessage:
        text = message.raw.decode("utf-8", "replace")
        lines = text.replace("\n", "\r").split("\r")
        return Shown(message, tuple(("?", ((0, _short(line)),)) for line in lines if line))
    return Shown(
        message,
        tuple(
            (
                segment.name,
                tuple((n, _short(value)) for n, value in enumerate(segment.fields) if n and value),
            )
            for segment in parsed.segments
        ),
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_FIELD else f"{text[:_SHOWN_FIELD]}… ({len(text)} characters)"
