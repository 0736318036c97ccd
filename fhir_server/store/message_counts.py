"""How many messages are where: figures for operators and scrapes, and the check that none was lost on the way.

HL7 v2.9 §2.9.2: what was acknowledged is somewhere, and is there once.
"""

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

DONE, WAITING, REFUSED = ("processed",), ("accepted",), ("refused",)
QUARANTINED = ("failed", "held", "passed", "partial")


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages that are not done: how many of a queue (a site, or a destination) have a status, and since when."""

    queue: str
    status: str
    messages: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Conservation:
    """Where all received messages are.

    ``stranded`` wait although nothing before them in their lane failed, and no job is left that would process them.
    """

    received: int
    done: int
    waiting: int
    quarantined: int
    refused: int
    stranded: int

    @property
    def holds(self) -> bool:
        """Tell whether every message is somewhere it is seen or worked on."""
        return self.received == self.done + self.waiting + self.quarantined + self.refused and not self.stranded


_inbox = """
SELECT site AS queue, status, count(*)::int AS messages,
    extract(epoch FROM now() - min(received_at))::float8 AS oldest_s
FROM fhir.inbound_message WHERE status IN ('accepted', 'failed', 'held', 'refused', 'partial')
GROUP BY site, status ORDER BY site, status
"""
_outbox = """
SELECT destination AS queue, status, count(*)::int AS messages,
    extract(epoch FROM now() - min(created_at))::float8 AS oldest_s
FROM fhir.outbound_message WHERE status IN ('waiting', 'held', 'failed')
GROUP BY destination, status ORDER BY destination, status
"""
_conservation = """
SELECT count(*)::int AS received,
    (count(*) FILTER (WHERE status = ANY (%(done)s)))::int AS done,
    (count(*) FILTER (WHERE status = ANY (%(waiting)s)))::int AS waiting,
    (count(*) FILTER (WHERE status = ANY (%(quarantined)s)))::int AS quarantined,
    (count(*) FILTER (WHERE status = ANY (%(refused)s)))::int AS refused,
    (count(*) FILTER (WHERE status = ANY (%(waiting)s) AND NOT EXISTS (
        SELECT FROM public.procrastinate_jobs AS job
        WHERE job.lock = message.lane AND job.status IN ('todo', 'doing'))
        AND NOT EXISTS (SELECT FROM fhir.inbound_message AS earlier WHERE earlier.lane = message.lane
            AND earlier.id < message.id AND earlier.status IN ('failed', 'held'))))::int AS stranded
FROM fhir.inbound_message AS message
"""


async def inbox_backlog(connection: AsyncConnection[Any]) -> list[Backlog]:
    """Return what is in the inbox and not processed, by site and status."""
    return await _backlog(connection, _inbox)


async def outbox_backlog(connection: AsyncConnection[Any]) -> list[Backlog]:
    """Return what is in the outbox and not delivered, by destination and status."""
    return await _backlog(connection, _outbox)


async def conservation(connection: AsyncConnection[Any]) -> Conservation:
    """Count every message ever received. Reads the whole inbox: for checks, not for scrapes."""
    values = {
        "done": list(DONE), "waiting": list(WAITING), "quarantined": list(QUARANTINED), "refused": list(REFUSED)
    }  # fmt: skip
    async with connection.cursor(row_factory=class_row(Conservation)) as cursor:
        await cursor.execute(_conservation, values)
        found = await cursor.fetchone()
    if found is None:
        raise LookupError("SELECT count(*) gave no row")
    return found


async def _backlog(connection: AsyncConnection[Any], statement: str) -> list[Backlog]:
    async with connection.cursor(row_factory=class_row(Backlog)) as cursor:
        await cursor.execute(statement.encode())
        return await cursor.fetchall()
