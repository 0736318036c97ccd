"""The inbox: rows of received messages, found again by site, MSH-10 and digest, and what became of each.

HL7 v2.9 §2.9.2: a message is acknowledged once it is committed to safe storage, and never processed twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

Status = Literal["accepted", "processed", "failed", "held", "passed", "refused", "partial"]
STATUSES: tuple[Status, ...] = ("accepted", "processed", "failed", "held", "passed", "refused", "partial")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as it came in, before anything became of it."""

    site: str
    peer: str
    control_id: str
    message_type: str
    sender: str
    occurred_at: datetime | None
    digest: bytes
    raw: bytes
    lane: str = ""


@dataclass(frozen=True, slots=True)
class Arrived:
    """The inbox row of an arrival: new, or the one of an earlier arrival of the same message.

    ``reused`` tells that the site sent other bytes under the same MSH-10 before.
    """

    id: int
    status: Status
    acknowledgement: bytes | None
    new: bool
    reused: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message: status, answer, the fault if it failed, warnings, and what it wrote."""

    status: Status
    acknowledgement: bytes | None = None
    acknowledgement_code: str = ""
    error_code: str = ""
    error_location: str = ""
    error_text: str = ""
    warnings: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    patient: str = ""


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One row of the inbox."""

    id: int
    site: str
    received_at: datetime
    peer: str
    control_id: str
    message_type: str
    sender: str
    occurred_at: datetime | None
    digest: bytes = field(repr=False)
    raw: bytes = field(repr=False)
    status: Status
    lane: str = field(repr=False)
    patient: str = field(repr=False)
    attempts: int
    resends: int
    acknowledgement: bytes | None = field(repr=False)
    acknowledgement_code: str
    error_code: str
    error_location: str
    error_text: str
    warnings: list[str]
    resources: list[str]
    processed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a list of messages."""

    id: int
    site: str
    received_at: datetime
    status: Status
    message_type: str
    sender: str
    control_id: str
    size_bytes: int
    resends: int
    error_code: str
    error_location: str
    error_text: str


_LARGE = 1024 * 1024
_patience = "SET LOCAL statement_timeout = '60s'"
_arrive = """
INSERT INTO fhir.inbound_message AS mine
    (site, peer, control_id, message_type, sender, occurred_at, digest, raw, lane, status)
VALUES (%(site)s, %(peer)s, %(control_id)s, %(message_type)s, %(sender)s, %(occurred_at)s, %(digest)s, %(raw)s,
    %(lane)s, 'accepted')
ON CONFLICT (site, control_id, digest) WHERE status NOT IN ('refused', 'partial')
DO UPDATE SET resends = mine.resends + 1
RETURNING id, status, acknowledgement, resends = 0 AS new,
    EXISTS (SELECT FROM fhir.inbound_message other WHERE other.site = mine.site
        AND other.control_id = mine.control_id AND other.digest <> mine.digest
        AND other.status NOT IN ('refused', 'partial')) AS reused
"""
_record = """
INSERT INTO fhir.inbound_message
    (site, peer, control_id, message_type, sender, occurred_at, digest, raw, status,
     acknowledgement, acknowledgement_code, error_code, error_location, error_text, processed_at)
VALUES (%(site)s, %(peer)s, %(control_id)s, %(message_type)s, %(sender)s, %(occurred_at)s, %(digest)s, %(raw)s,
    %(status)s, %(acknowledgement)s, %(acknowledgement_code)s, %(error_code)s, %(error_location)s, %(error_text)s,
    now())
RETURNING id
"""
_finish = """
UPDATE fhir.inbound_message SET
    status = %(status)s, acknowledgement = coalesce(%(acknowledgement)s, acknowledgement),
    acknowledgement_code = %(acknowledgement_code)s, error_code = %(error_code)s,
    error_location = %(error_location)s, error_text = %(error_text)s, warnings = %(warnings)s,
    resources = %(resources)s, patient = coalesce(nullif(%(patient)s, ''), patient),
    attempts = attempts + 1, processed_at = now()
WHERE id = %(id)s
"""
_accept = """
UPDATE fhir.inbound_message SET status = 'accepted', acknowledgement = %s, acknowledgement_code = %s WHERE id = %s
"""
_list = """
SELECT id, site, received_at, status, message_type, sender, control_id, octet_length(raw) AS size_bytes, resends,
    error_code, error_location, error_text
FROM fhir.inbound_message
WHERE (%(status)s::text IS NULL OR status = %(status)s) AND (%(site)s::text IS NULL OR site = %(site)s)
    AND (%(type)s::text IS NULL OR message_type LIKE %(type)s || '%%')
    AND (%(error)s::text IS NULL OR error_code = %(error)s)
    AND (%(location)s::text IS NULL OR error_location = %(location)s)
    AND (%(patients)s::text[] IS NULL OR patient = ANY (%(patients)s))
    AND (%(before)s::bigint IS NULL OR id < %(before)s) AND (%(first)s::bigint IS NULL OR id >= %(first)s)
ORDER BY id DESC LIMIT %(count)s
"""
_next_in_lane = """
SELECT * FROM fhir.inbound_message AS message WHERE lane = %(lane)s AND status = 'accepted'
    AND NOT EXISTS (SELECT FROM fhir.inbound_message AS earlier
        WHERE earlier.lane = %(lane)s AND earlier.id < message.id AND earlier.status = ANY (%(blocking)s))
ORDER BY id LIMIT 1 FOR UPDATE
"""
_set_status = """
UPDATE fhir.inbound_message SET status = %(to)s, warnings = warnings || %(notes)s::text[]
WHERE id = %(id)s AND status = ANY (%(of)s) RETURNING lane
"""
_watermarks = """
SELECT resource_type, resource_id, occurred_at FROM fhir.message_watermark
WHERE (resource_type, resource_id) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_raise_watermarks = """
INSERT INTO fhir.message_watermark (resource_type, resource_id, occurred_at, message_id)
SELECT type, id, %s, %s FROM unnest(%s::text[], %s::text[]) AS written (type, id) ORDER BY type, id
ON CONFLICT (resource_type, resource_id) DO UPDATE
SET occurred_at = excluded.occurred_at, message_id = excluded.message_id
WHERE fhir.message_watermark.occurred_at < excluded.occurred_at
"""

Key = tuple[str, str]
"""Resource type and id."""


async def arrive(connection: AsyncConnection[Any], arrival: Arrival) -> Arrived:
    """Put a message into the inbox as ``accepted``, or return the row of the same message that came before.

    Two connections that bring the same message at once are put in order: the second waits for the first's outcome.
    A large message may take its time.
    """
    if len(arrival.raw) > _LARGE:
        await connection.execute(_patience)
    async with connection.cursor(row_factory=class_row(Arrived)) as cursor:
        async with connection.pipeline():  # BEGIN goes along
            await cursor.execute(_arrive, _parameters(arrival), prepare=True)
        found = await cursor.fetchone()
    if found is None:
        raise LookupError("INSERT … RETURNING gave no row")
    return found


async def record(connection: AsyncConnection[Any], arrival: Arrival, outcome: Outcome) -> int:
    """Keep a message that was refused, or the part of one that was cut off, and return its row's id."""
    cursor = await connection.execute(_record, _parameters(arrival) | _parameters(outcome))
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def accept(connection: AsyncConnection[Any], id: int, acknowledgement: bytes, code: str) -> None:
    """Keep a message for processing later, with the commit acknowledgement that its sender gets now."""
    await connection.execute(_accept, (acknowledgement, code, id))


async def finish(connection: AsyncConnection[Any], id: int, outcome: Outcome) -> None:
    """Write down what became of a message; counts as one attempt."""
    values = _parameters(outcome) | {"id": id}
    values["warnings"], values["resources"] = list(outcome.warnings), list(outcome.resources)
    await connection.execute(_finish, values, prepare=True)


async def reassign(connection: AsyncConnection[Any], id: int, site: str) -> None:
    """Give a once refused message to the site it belongs to."""
    await connection.execute("UPDATE fhir.inbound_message SET site = %s WHERE id = %s", (site, id))


async def get(connection: AsyncConnection[Any], id: int, *, lock: bool = False) -> InboundMessage | None:
    """Return one message, None when there is none; ``lock`` keeps others from replaying it meanwhile."""
    statement = "SELECT * FROM fhir.inbound_message WHERE id = %s" + (" FOR UPDATE" if lock else "")
    async with connection.cursor(row_factory=class_row(InboundMessage)) as cursor:
        await cursor.execute(statement, (id,))
        return await cursor.fetchone()


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages are meant; what is None does not matter.

    ``type`` is the beginning of MSH-9 (``ADT``, ``ADT^A01``), ``error`` and ``location`` are ERR-3 and ERR-2,
    ``patients`` are ``system|value`` identifiers, ids go from ``first`` to just below ``before``.
    """

    status: str | None = None
    site: str | None = None
    type: str | None = None
    error: str | None = None
    location: str | None = None
    patients: list[str] | None = None
    first: int | None = None
    before: int | None = None


async def listed(connection: AsyncConnection[Any], wanted: Filter, *, count: int = 50) -> list[Listed]:
    """Return messages, newest first."""
    values = {name: getattr(wanted, name) for name in Filter.__slots__} | {"count": count}
    async with connection.cursor(row_factory=class_row(Listed)) as cursor:
        await cursor.execute(_list, values)
        return await cursor.fetchall()


async def counts(connection: AsyncConnection[Any]) -> Mapping[tuple[str, str], int]:
    """Return how many messages each (site, status) has: received is their sum, whatever became of them."""
    cursor = await connection.execute("SELECT site, status, count(*) FROM fhir.inbound_message GROUP BY site, status")
    return {(site, status): count for site, status, count in await cursor.fetchall()}


async def next_in_lane(
    connection: AsyncConnection[Any], lane: str, *, blocking: Sequence[Status] = ()
) -> InboundMessage | None:
    """Return the oldest message of a lane that waits, locked; None when one of a blocking status is before it."""
    async with connection.cursor(row_factory=class_row(InboundMessage)) as cursor:
        await cursor.execute(_next_in_lane, {"lane": lane, "blocking": list(blocking)})
        return await cursor.fetchone()


async def set_status(
    connection: AsyncConnection[Any], id: int, to: Status, *, of: Sequence[Status], note: str = ""
) -> str | None:
    """Move a message by an operator's word and return its lane; None when it has none of the statuses ``of``."""
    values = {"id": id, "to": to, "of": list(of), "notes": [note] if note else []}
    cursor = await connection.execute(_set_status, values)
    row = await cursor.fetchone()
    return str(row[0]) if row else None


async def watermarks(connection: AsyncConnection[Any], keys: Sequence[Key]) -> dict[Key, datetime]:
    """Return, for resources that messages have written, MSH-7 of the newest of those messages."""
    cursor = await connection.execute(_watermarks, _columns(keys))
    return {(row[0], row[1]): row[2] for row in await cursor.fetchall()}


async def raise_watermarks(
    connection: AsyncConnection[Any], keys: Sequence[Key], occurred_at: datetime, message_id: int
) -> None:
    """Note that a message of ``occurred_at`` was applied to these resources; a watermark never falls."""
    await connection.execute(_raise_watermarks, (occurred_at, message_id, *_columns(keys)))


def transient(error: BaseException) -> bool:
    """Tell whether a failure lies with the database or with a race, so that the same input may succeed later."""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.IntegrityError)


def _columns(keys: Sequence[Key]) -> tuple[list[str], list[str]]:
    return [key[0] for key in keys], [key[1] for key in keys]


def _parameters(record: Arrival | Outcome) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}
