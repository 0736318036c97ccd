"""The outbox: one queue of messages for each destination, sent in order, at least once, under one MSH-10 for life.

HL7 v2.9 §2.9.3 (deferred and repeated delivery): http://www.hl7.eu/HL7v2x/v29/std29/ch02.html#Heading37
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

CHANNEL = "outbound_message"


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """One row of the outbox."""

    id: int
    destination: str
    control_id: str
    reference: str
    raw: bytes = field(repr=False)
    status: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime
    errors: int
    leased_until: datetime | None
    leased_by: str
    acknowledgement: bytes | None = field(repr=False)
    acknowledgement_code: str
    last_error: str
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one attempt; ``retry_in`` is set when there will be another; ``refused`` tells of AE or CE."""

    status: str
    acknowledgement: bytes | None = None
    acknowledgement_code: str = ""
    error: str = ""
    retry_in: timedelta = timedelta()
    refused: bool = False


_enqueue = """
INSERT INTO fhir.outbound_message (destination, control_id, reference, raw) VALUES (%s, %s, %s, %s)
ON CONFLICT (destination, control_id) DO UPDATE SET reference = excluded.reference
RETURNING id
"""
_claim = """
UPDATE fhir.outbound_message SET attempts = attempts + 1, leased_until = now() + %(lease)s, leased_by = %(by)s
WHERE id = (SELECT id FROM fhir.outbound_message WHERE destination = %(destination)s AND status IN ('waiting', 'held')
            ORDER BY id LIMIT 1)
    AND status = 'waiting' AND next_attempt_at <= now() AND (leased_until IS NULL OR leased_until <= now())
RETURNING *
"""
_settle = """
UPDATE fhir.outbound_message SET status = %(status)s, acknowledgement = %(acknowledgement)s,
    acknowledgement_code = %(code)s, last_error = %(error)s, leased_until = NULL,
    errors = errors + %(refused)s::int, next_attempt_at = now() + %(retry_in)s,
    delivered_at = CASE WHEN %(status)s = 'delivered' THEN now() END
WHERE id = %(id)s AND status = 'waiting' AND attempts = %(attempt)s
"""
_due_in = """
SELECT CASE WHEN status = 'waiting' THEN
    extract(epoch FROM greatest(next_attempt_at, coalesce(leased_until, next_attempt_at)) - now())::float8 END
FROM fhir.outbound_message WHERE destination = %s AND status IN ('waiting', 'held') ORDER BY id LIMIT 1
"""
_again = """
UPDATE fhir.outbound_message SET status = 'waiting', next_attempt_at = now(), leased_until = NULL, errors = 0
WHERE id = %s AND status IN ('failed', 'held') RETURNING destination
"""
_hold = """
UPDATE fhir.outbound_message SET status = 'held'
WHERE id = %s AND status = 'waiting' AND (leased_until IS NULL OR leased_until <= now()) RETURNING destination
"""
_skip = """
UPDATE fhir.outbound_message SET status = 'failed'
WHERE id = %s AND (status = 'held' OR status = 'waiting' AND (leased_until IS NULL OR leased_until <= now()))
RETURNING destination
"""
_release = """
UPDATE fhir.outbound_message SET leased_until = NULL
WHERE status = 'waiting' AND leased_until > now()
    AND leased_by NOT IN (SELECT application_name FROM pg_stat_activity WHERE application_name <> '')
RETURNING destination
"""


async def enqueue(
    connection: AsyncConnection[Any], destination: str, control_id: str, raw: bytes, reference: str
) -> int:
    """Put a message into a destination's queue, in the caller's transaction, and return its id.

    The same MSH-10 for the same destination is the same message: the id of the one already there is returned.
    """
    cursor = await connection.execute(_enqueue, (destination, control_id, reference, raw))
    row = await cursor.fetchone()
    await _wake(connection, destination)
    return int(row[0]) if row else 0


async def claim(
    connection: AsyncConnection[Any], destination: str, lease: timedelta, *, by: str = ""
) -> OutboundMessage | None:
    """Return the first message of the queue and lease it; None when it is not due, at work, held, or absent.

    ``by`` is the name of a session that lives as long as the sender: see ``release_orphans``.
    """
    async with connection.cursor(row_factory=class_row(OutboundMessage)) as cursor:
        await cursor.execute(_claim, {"destination": destination, "lease": lease, "by": by})
        return await cursor.fetchone()


async def settle(connection: AsyncConnection[Any], message: OutboundMessage, result: Result) -> bool:
    """Write down the result of an attempt; False when the lease ran out and another sender took over since."""
    values = {
        "id": message.id,
        "attempt": message.attempts,
        "status": result.status,
        "acknowledgement": result.acknowledgement,
        "code": result.acknowledgement_code,
        "error": result.error,
        "retry_in": result.retry_in,
        "refused": result.refused,
    }
    cursor = await connection.execute(_settle, values)
    return cursor.rowcount == 1


async def due_in_s(connection: AsyncConnection[Any], destination: str) -> float | None:
    """Return in how many seconds the first waiting message may be tried; None when none waits."""
    cursor = await connection.execute(_due_in, (destination,))
    row = await cursor.fetchone()
    return float(row[0]) if row and row[0] is not None else None


async def get(connection: AsyncConnection[Any], id: int) -> OutboundMessage | None:
    """Return one outbound message, None when there is none."""
    async with connection.cursor(row_factory=class_row(OutboundMessage)) as cursor:
        await cursor.execute("SELECT * FROM fhir.outbound_message WHERE id = %s", (id,))
        return await cursor.fetchone()


async def listed(connection: AsyncConnection[Any], *, status: str | None, count: int = 50) -> list[OutboundMessage]:
    """Return outbound messages, newest first."""
    async with connection.cursor(row_factory=class_row(OutboundMessage)) as cursor:
        await cursor.execute(
            "SELECT * FROM fhir.outbound_message WHERE %(status)s::text IS NULL OR status = %(status)s"
            " ORDER BY id DESC LIMIT %(count)s",
            {"status": status, "count": count},
        )
        return await cursor.fetchall()


async def of_reference(connection: AsyncConnection[Any], reference: str) -> list[OutboundMessage]:
    """Return every outbound message queued for ``reference``, oldest first."""
    async with connection.cursor(row_factory=class_row(OutboundMessage)) as cursor:
        await cursor.execute("SELECT * FROM fhir.outbound_message WHERE reference = %s ORDER BY id", (reference,))
        return await cursor.fetchall()


async def try_again(connection: AsyncConnection[Any], id: int) -> bool:
    """Put a failed or held message back into its queue; False when it is neither."""
    return await _move(connection, _again, id)


async def hold(connection: AsyncConnection[Any], id: int) -> bool:
    """Hold a waiting message, and the queue behind it; False when it does not wait or is just being sent."""
    return await _move(connection, _hold, id)


async def skip(connection: AsyncConnection[Any], id: int) -> bool:
    """Fail a held or waiting message, so that the next may go; False when it is neither or just being sent."""
    return await _move(connection, _skip, id)


async def release_orphans(connection: AsyncConnection[Any]) -> int:
    """End the leases of senders whose session is gone, instead of waiting them out; return how many there were."""
    cursor = await connection.execute(_release)
    return cursor.rowcount


async def _move(connection: AsyncConnection[Any], statement: str, id: int) -> bool:
    cursor = await connection.execute(statement.encode(), (id,))
    row = await cursor.fetchone()
    if row is None:
        return False
    await _wake(connection, row[0])
    return True


@asynccontextmanager
async def listening(conninfo: str, *, name: str = "konsil") -> AsyncIterator[AsyncIterator[str]]:
    """Yield an iterator over the destinations that get new messages, on a session of its own, called ``name``."""
    async with await AsyncConnection.connect(conninfo, autocommit=True, application_name=name) as connection:
        await connection.execute(f"LISTEN {CHANNEL}")
        yield (notice.payload async for notice in connection.notifies())


async def _wake(connection: AsyncConnection[Any], destination: str) -> None:
    await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, destination))


ConnectionLost = psycopg.OperationalError
"""Raised by ``listening`` when the server goes away."""
