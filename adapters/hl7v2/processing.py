"""One message's way from bytes to an outcome: parse, map, apply, and the one table from faults to HL7 error codes.

HL7 v2.9 §2.9.2.2 (what AA, AE and AR mean) and table 0357: http://terminology.hl7.org/CodeSystem/v2-0357
"""

import asyncio
import logging
import traceback
from dataclasses import dataclass

from adapters.hl7v2.ack import Fault, acknowledge
from adapters.hl7v2.answer import accepted
from adapters.hl7v2.apply import Context, apply
from adapters.hl7v2.conversion import Conversion, MappingError
from adapters.hl7v2.convert import convert
from adapters.hl7v2.header import Header
from adapters.hl7v2.sites import Site
from adapters.hl7v2.tokenizer import MalformedMessage, Message
from fhir_server.kernel.errors import FhirError, InvalidResource, Unavailable
from fhir_server.store.database import Transaction
from fhir_server.store.failures import Collision
from fhir_server.store.messages import Outcome, transient

log = logging.getLogger(__name__)

_LARGE = 256 * 1024
_SEQUENCE_ERROR, _DATA_TYPE_ERROR, _INTERNAL_ERROR = "100", "102", "207"


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a message cannot be processed: the fault, and AE or AR."""

    fault: Fault
    code: str = "AE"


async def interpret(raw: bytes, site: Site) -> Conversion | Rejected:
    """Return what the message maps to, or why it does not map. Large messages are mapped beside the event loop."""
    if len(raw) > _LARGE:
        return await asyncio.to_thread(_interpret, raw, site)
    return _interpret(raw, site)


def _interpret(raw: bytes, site: Site) -> Conversion | Rejected:
    try:
        return convert(Message.parse(raw, site.mapping.charset), site.mapping)
    except Exception as error:  # noqa: BLE001 - whatever a message provokes, it is answered, kept and replayable
        return rejection(error)


def rejection(error: Exception) -> Rejected:
    """Return the table 0357 code, the location and the words for an exception: the adapter's one error table."""
    match error:
        case MappingError():
            return Rejected(Fault(error.hl7_code, error.text, error.location), error.ack)
        case MalformedMessage():
            return Rejected(Fault(_SEQUENCE_ERROR, str(error), "MSH^1"), "AR")
        case InvalidResource():
            places = ", ".join(issue.expression for issue in error.issues[:5] if issue.expression)
            return Rejected(Fault(_DATA_TYPE_ERROR, f"A mapped value is not valid at {places or 'the resource'}."))
        case FhirError():
            return Rejected(Fault(_INTERNAL_ERROR, error.issues[0].diagnostics))
        case _:
            frames = traceback.extract_tb(error.__traceback__)
            place = f"{frames[-1].name}:{frames[-1].lineno}" if frames else "unknown place"
            log.error("Unexpected %s in %s while processing a message", type(error).__name__, place)
            return Rejected(Fault(_INTERNAL_ERROR, f"Unexpected {type(error).__name__} in {place}."))


async def attempt(tx: Transaction, context: Context, meaning: Conversion | Rejected) -> Outcome:
    """Apply what a message means inside a savepoint and return its outcome, answer included.

    A failure of the database or a lost race is raised: the message is then tried again as a whole.
    """
    try:
        async with tx.savepoint():
            return await applied(tx, context, meaning)
    except Exception as error:  # noqa: BLE001 - what is not the message's own fault is raised again
        return fault_of(error, context, meaning)


async def applied(
    tx: Transaction, context: Context, meaning: Conversion | Rejected, *, warnings: tuple[str, ...] = ()
) -> Outcome:
    """Apply what a message means, rows not yet flushed, and return its outcome; raises whatever stands in the way."""
    if isinstance(meaning, Rejected):
        return failed(context.header, meaning, warnings)
    done = await apply(tx, meaning, context)
    return Outcome(
        "processed",
        accepted(context.header, context.raw),
        "AA",
        warnings=(*warnings, *meaning.warnings, *done.warnings),
        resources=done.written,
        patient=meaning.lane,
    )


def fault_of(error: Exception, context: Context, meaning: Conversion | Rejected) -> Outcome:
    """Return the outcome of a message whose own fault ``error`` is; one of the database or a race is raised again."""
    if isinstance(error, Unavailable | Collision) or transient(error):
        raise error
    patient = "" if isinstance(meaning, Rejected) else meaning.lane
    return failed(context.header, rejection(error), patient=patient)


def failed(header: Header | None, rejected: Rejected, warnings: tuple[str, ...] = (), patient: str = "") -> Outcome:
    """Return the outcome of a message that is kept, and answered AE or AR."""
    return Outcome(
        "failed",
        acknowledge(header, rejected.code, rejected.fault),
        rejected.code,
        error_code=rejected.fault.code,
        error_location=rejected.fault.location,
        error_text=rejected.fault.text,
        warnings=warnings,
        patient=patient,
    )
