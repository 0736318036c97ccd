"""Intake: a message becomes a durable row, its resources, and only then an acknowledgement.

HL7 v2.9 §2.9.2 (original and enhanced acknowledgement): http://www.hl7.eu/HL7v2x/v29/std29/ch02.html#Heading37
"""

import hashlib
import logging
import re
import time
from dataclasses import dataclass, replace
from datetime import UTC

from adapters.hl7v2.ack import Acknowledgement, Fault, acknowledge
from adapters.hl7v2.apply import SUBJECT, Context
from adapters.hl7v2.conversion import Conversion
from adapters.hl7v2.header import Header, digest
from adapters.hl7v2.metrics import MessageMetrics
from adapters.hl7v2.peer import Peer
from adapters.hl7v2.processing import Rejected, applied, fault_of, interpret
from adapters.hl7v2.server import Discard
from adapters.hl7v2.sites import Site, Sites
from fhir_server.kernel.errors import FhirError
from fhir_server.store import messages
from fhir_server.store.database import Database, Transaction
from fhir_server.store.messages import Arrival, Outcome, transient
from fhir_server.store.wiring import Enqueue

log = logging.getLogger(__name__)

PROCESS = "hl7v2.process"
"""The job that empties a lane of accepted messages; its argument is ``lane``."""

_CX_4 = 3
_REUSED = "MSH-10 was used before for other content"
_NO_HEADER = Fault("100", "The message does not begin with an MSH segment.", "MSH^1")
_UNKNOWN_SENDER = Fault("103", "No site is configured for this sender (MSH-3, MSH-4) on this connection.", "MSH^1^3")
_NO_CONTROL_ID = Fault("101", "MSH-10, the message control id, is missing.", "MSH^1^10")
_NOT_AGREED = Fault("200", "The site's configuration does not list this message type.", "MSH^1^9")
_TRY_AGAIN = Fault("207", "The message could not be stored just now. Send it again.")
_DISCARDED: dict[Discard, Fault] = {
    "partial": Fault("100", "The connection ended, or a new message began, before the end of this one."),
    "stray": Fault("100", "Bytes outside of any MLLP frame."),
    "oversize": Fault("207", "The message is larger than the configured limit."),
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a message, and whether what became of it is durable; if not, it has to come again."""

    answer: bytes
    stored: bool = True

    @property
    def code(self) -> str:
        """MSA-1."""
        read = Acknowledgement.parse(self.answer)
        return read.code if read else ""


class Intake:
    """What every transport hands messages to: whose message it is, whether it came before, what becomes of it."""

    def __init__(
        self, database: Database, sites: Sites, *, enqueue: Enqueue | None = None, metrics: MessageMetrics | None = None
    ) -> None:
        self._database = database
        self._sites = sites
        self._enqueue = enqueue
        self._metrics = metrics or MessageMetrics()

    async def receive(self, raw: bytes, peer: Peer) -> bytes | None:
        """Return the acknowledgement of one message, after commit: the Receiver of the MLLP server."""
        return (await self.take(raw, peer)).answer

    async def take(self, raw: bytes, peer: Peer) -> Receipt:
        """Return what became of one message, after commit.

        When nothing could be made durable the answer is AE or CE, never AA: the sender keeps the message.
        """
        began = time.perf_counter()
        header = Header.parse(raw)
        site = self._sites.find(peer, header) if header else None
        receipt = await self._taken(raw, peer, header, site)
        name = site.name if site else ""
        self._metrics.received(name, peer.transport, receipt.code, time.perf_counter() - began)
        return receipt

    async def _taken(self, raw: bytes, peer: Peer, header: Header | None, site: Site | None) -> Receipt:
        if header is None or site is None:
            return await self._refuse(raw, peer, header, _UNKNOWN_SENDER if header else _NO_HEADER)
        if not header.control_id or not site.takes(header):
            return await self._refuse(raw, peer, header, _NOT_AGREED if header.control_id else _NO_CONTROL_ID)
        try:
            if _defers(header, site):
                return Receipt(await self._accept(raw, peer, header, site))
            return Receipt(await self._process(raw, peer, header, site))
        except Exception as error:
            if not isinstance(error, FhirError) and not transient(error):
                raise
            log.warning("A message of site %s was not stored: %s", site.name, type(error).__name__)
            return Receipt(acknowledge(header, "CE" if _defers(header, site) else "AE", _TRY_AGAIN), stored=False)

    async def discard(self, raw: bytes, peer: Peer, reason: Discard) -> bytes | None:
        """Keep evidence of what was no complete message; only one that is too large gets an answer, AR."""
        header = Header.parse(raw)
        status: messages.Status = "partial" if reason == "partial" else "refused"
        receipt = await self._refuse(raw, peer, header, _DISCARDED[reason], status=status)
        self._metrics.received("", peer.transport, reason, 0)
        return receipt.answer if reason == "oversize" else None

    async def _process(self, raw: bytes, peer: Peer, header: Header, site: Site) -> bytes:
        """Original mode: inbox row, resources, Provenance and jobs in one transaction, then AA or AE.

        What cannot be applied is undone as a whole, and its row written in a transaction of its own.
        """
        arrival = _arrival(raw, peer, header, site)
        meaning = await interpret(raw, site)
        context = Context(0, site, header, raw)
        try:
            return await self._database.run(SUBJECT, lambda tx: _arrive_and_apply(tx, arrival, context, meaning))
        except Exception as error:  # noqa: BLE001 - what is not the message's own fault is raised again
            outcome = fault_of(error, context, meaning)
        return await self._database.run(SUBJECT, lambda tx: _arrive_and_fail(tx, arrival, context, outcome))

    async def _accept(self, raw: bytes, peer: Peer, header: Header, site: Site) -> bytes:
        """Enhanced mode: the inbox row and the job that will process it, then CA (AA in mode ``aa``)."""
        lane = _lane(raw, header, site)
        arrival = _arrival(raw, peer, header, site, lane)
        code = "AA" if site.acknowledge == "aa" else "CA"
        answer = acknowledge(header, code)

        async def work(tx: Transaction) -> bytes:
            await tx.lock(f"hl7v2 inbox {lane}")
            arrived = await messages.arrive(tx.connection, arrival)
            if not arrived.new and arrived.status != "failed":
                return arrived.acknowledgement or answer
            await messages.accept(tx.connection, arrived.id, answer, code)
            if self._enqueue:
                await self._enqueue(tx.connection, PROCESS, {"lane": lane}, lane)
            return answer

        return await self._database.run(SUBJECT, work)

    async def _refuse(
        self, raw: bytes, peer: Peer, header: Header | None, fault: Fault, *, status: messages.Status = "refused"
    ) -> Receipt:
        """Record the refusal in a short transaction of its own and answer AR, or CR when MSH-15 asks for it."""
        code = "CR" if header and _asks_for_commit(header) else "AR"
        answer = acknowledge(header, code, fault)
        outcome = Outcome(status, answer, code, fault.code, fault.location, fault.text)
        arrival = _arrival(raw, peer, header, self._sites.find(peer, header) if header else None)
        try:
            async with self._database.transaction(SUBJECT) as tx:
                await messages.record(tx.connection, arrival, outcome)
        except Exception as error:
            if not isinstance(error, FhirError) and not transient(error):
                raise
            log.warning("A refusal could not be recorded: %s; the sender was told %s", type(error).__name__, code)
            return Receipt(answer, stored=False)
        return Receipt(answer)


async def _arrive_and_apply(
    tx: Transaction, arrival: Arrival, context: Context, meaning: Conversion | Rejected
) -> bytes:
    arrived = await messages.arrive(tx.connection, arrival)
    if not arrived.new and arrived.status != "failed":
        return arrived.acknowledgement or acknowledge(context.header, "AE", _TRY_AGAIN)
    context = replace(context, message_id=arrived.id, first=arrived.new)
    outcome = await applied(tx, context, meaning, warnings=(_REUSED,) if arrived.reused else ())
    return await _finish(tx, arrived.id, arrival.site, outcome, context)


async def _arrive_and_fail(tx: Transaction, arrival: Arrival, context: Context, outcome: Outcome) -> bytes:
    arrived = await messages.arrive(tx.connection, arrival)
    if not arrived.new and arrived.status != "failed":
        return arrived.acknowledgement or acknowledge(context.header, "AE", _TRY_AGAIN)
    warned = replace(outcome, warnings=(_REUSED,) if arrived.reused else ())
    return await _finish(tx, arrived.id, arrival.site, warned, context)


async def _finish(tx: Transaction, id: int, site: str, outcome: Outcome, context: Context) -> bytes:
    """Write the outcome and all rows that wait to be written, in one round trip."""
    async with tx.connection.pipeline():
        await messages.finish(tx.connection, id, outcome)
        await tx.writer.flush()
    log.info("Message %s of site %s: %s", id, site, outcome.status)
    return outcome.acknowledgement or acknowledge(context.header, "AE", _TRY_AGAIN)


def _asks_for_commit(header: Header) -> bool:
    return header.text(15) in ("AL", "ER", "SU")


def _defers(header: Header, site: Site) -> bool:
    """Tell whether the message is acknowledged at the inbox commit and mapped afterwards.

    Mode ``auto`` does so only for senders that ask for a commit acknowledgement in MSH-15; one that says NE in both
    fields still waits for an answer on most engines, so it gets the original mode's.
    """
    return site.acknowledge in ("enhanced", "aa") or (site.acknowledge == "auto" and _asks_for_commit(header))


def _arrival(raw: bytes, peer: Peer, header: Header | None, site: Site | None, lane: str = "") -> Arrival:
    return Arrival(
        site=site.name if site else "",
        peer=peer.address,
        control_id=header.control_id if header else "",
        message_type=header.message_type if header else "",
        sender=f"{header.application}|{header.facility}" if header else "",
        occurred_at=header.occurred_at(site.zone if site else UTC) if header else None,
        digest=digest(raw),
        raw=raw,
        lane=lane,
    )


def _lane(raw: bytes, header: Header, site: Site) -> str:
    """Return the order key at intake, before mapping: the first PID-3 with its authority, else the sender.

    As a digest: it names a job, and job names reach logs.
    """
    separator = re.escape(header.separator)
    found = re.search(rb"[\r\n]PID" + separator + rb"(?:[^\r\n]*?" + separator + rb"){2}([^\r\n]*)", raw)
    first = found[1].split(header.separator)[0].split(header.separators[1:2] or b"~")[0] if found else b""
    parts = [part.strip() for part in first.split(header.separators[:1])]
    patient = (parts[_CX_4] if len(parts) > _CX_4 else b"", parts[0])
    key = patient if parts[0] else (header.field(3), header.field(4))
    return f"{site.name} {hashlib.blake2b(header.separator.join(key), digest_size=8).hexdigest()}"
