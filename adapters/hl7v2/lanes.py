"""Lanes: messages accepted in enhanced mode are processed one after the other for each patient.

HL7 v2.9 §2.9.2.3: the application acknowledgement is a message of its own, sent when MSH-16 asks for it.
"""

import logging
from dataclasses import replace

from adapters.hl7v2.ack import Fault, acknowledge, control_id
from adapters.hl7v2.answer import accepted
from adapters.hl7v2.apply import SUBJECT, Context
from adapters.hl7v2.header import Header
from adapters.hl7v2.processing import Rejected, attempt, failed, interpret
from adapters.hl7v2.sites import Site, Sites
from fhir_server.store import messages, outbox
from fhir_server.store.database import Database, Transaction
from fhir_server.store.messages import InboundMessage, Outcome

log = logging.getLogger(__name__)

_ASKED_FOR = {"AA": ("AL", "SU"), "AE": ("AL", "ER"), "AR": ("AL", "ER")}


class Lanes:
    """Empties lanes; ``process`` is the work of the job ``hl7v2.process``."""

    def __init__(self, database: Database, sites: Sites) -> None:
        self._database = database
        self._sites = sites

    async def process(self, lane: str) -> None:
        """Process what waits in a lane, oldest first, each message in its own transaction.

        The job engine runs one such job per lane at a time. A failed message stays visible; the site says whether later
        ones pass or wait until it is replayed or passed over.
        """
        while await self._database.run(SUBJECT, lambda tx: _next(tx, self._sites, lane)):
            pass


async def _next(tx: Transaction, sites: Sites, lane: str) -> bool:
    """Process the oldest message of a lane; False when there is none."""
    message = await messages.next_in_lane(tx.connection, lane, blocking=_blocking(sites, lane))
    if message is None:
        return False
    outcome = await reprocess(tx, sites, message)
    site, header = sites.by_name.get(message.site), Header.parse(message.raw)
    if site and header:
        await _answer(tx, site, header, message, outcome)
    # What the sender got, and gets again for a resend, is the commit acknowledgement.
    await messages.finish(tx.connection, message.id, replace(outcome, acknowledgement=message.acknowledgement))
    log.info("Message %s of site %s: %s", message.id, message.site, outcome.status)
    return True


def _blocking(sites: Sites, lane: str) -> tuple[messages.Status, ...]:
    """Return the statuses a message must not be overtaken in; a lane's name begins with its site's."""
    site = sites.by_name.get(lane.partition(" ")[0])
    return ("failed", "held") if site and site.after_failure == "hold" else ()


async def reprocess(tx: Transaction, sites: Sites, message: InboundMessage) -> Outcome:
    """Map and apply a message of the inbox under today's configuration and return its outcome."""
    header, site = Header.parse(message.raw), sites.by_name.get(message.site)
    if header is None or site is None:
        fault = Fault("103", f"Site '{message.site}' is not configured any more.", "MSH^1^3")
        return failed(header, Rejected(fault, "AR"))
    meaning = await interpret(message.raw, site)
    return await attempt(tx, Context(message.id, site, header, message.raw), meaning)


async def _answer(tx: Transaction, site: Site, header: Header, message: InboundMessage, outcome: Outcome) -> None:
    """Queue the application acknowledgement, when MSH-16 asks for one and the site says where it goes."""
    asked = header.text(16) in _ASKED_FOR.get(outcome.acknowledgement_code, ())
    if not asked or site.application_acknowledgements is None:
        return
    fault = Fault(outcome.error_code, outcome.error_text, outcome.error_location) if outcome.error_code else None
    answer_id, code = control_id(), outcome.acknowledgement_code
    taken = code == "AA"
    raw = accepted(header, message.raw, id=answer_id) if taken else acknowledge(header, code, fault, id=answer_id)
    name = f"{site.name}/{site.application_acknowledgements}"
    await outbox.enqueue(tx.connection, name, answer_id, raw, f"inbound_message/{message.id}")
