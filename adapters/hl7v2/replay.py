"""Replay: a failed message is tried again from its bytes, and shown segment by segment beside what it became."""

from dataclasses import dataclass

from adapters.hl7v2.apply import SUBJECT
from adapters.hl7v2.header import Header
from adapters.hl7v2.lanes import reprocess
from adapters.hl7v2.peer import Peer
from adapters.hl7v2.sites import Sites
from adapters.hl7v2.tokenizer import MalformedMessage, Message
from fhir_server.kernel.errors import NotFound, Unprocessable
from fhir_server.store import messages
from fhir_server.store.database import Database, Transaction
from fhir_server.store.messages import InboundMessage, Listed, Outcome

_REPLAYABLE = ("failed", "processed", "refused")
_SHOWN_FIELD = 200


async def list_messages(
    database: Database, *, status: str | None = None, site: str | None = None, type: str | None = None, count: int = 50
) -> list[Listed]:
    """Return inbox messages, newest first; ``type`` is the beginning of MSH-9."""
    async with database.transaction(SUBJECT) as tx:
        return await messages.listed(tx.connection, status=status, site=site, type=type, count=count)


async def replay(database: Database, sites: Sites, id: int, *, port: int = 0) -> Outcome:
    """Process a message again, whatever the first time brought; what is stored already stays as it is.

    Raises NotFound for an unknown id, Unprocessable for one that must not be processed (cut off, still waiting).
    """

    async def work(tx: Transaction) -> Outcome:
        message = await _get(tx, id, lock=True)
        if message.status not in _REPLAYABLE:
            raise Unprocessable(f"Message {id} is {message.status}; only {', '.join(_REPLAYABLE)} ones are replayed.")
        outcome = await reprocess(tx, sites, await _placed(tx, sites, message, port))
        await messages.finish(tx.connection, id, outcome)
        return outcome

    return await database.run(SUBJECT, work)


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
