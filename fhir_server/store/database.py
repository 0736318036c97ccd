"""The pool of PostgreSQL connections and the transactions made on it.

https://www.psycopg.org/psycopg3/docs/advanced/pool.html
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg_pool import PoolTimeout

from fhir_server.kernel.errors import Unavailable
from fhir_server.kernel.subject import Subject
from fhir_server.store.audit import AuditLog, AuditRow
from fhir_server.store.connections import Pool, borrowed, open_pool
from fhir_server.store.failures import Collision, translated
from fhir_server.store.reader import Reader
from fhir_server.store.records import Stored
from fhir_server.store.wiring import Change, Guard, Wiring, lock_number
from fhir_server.store.writer import Writer

__all__ = ["Change", "Database", "Guard", "Transaction", "Wiring"]

T = TypeVar("T")
_lock = b"SELECT pg_advisory_xact_lock(key) FROM (SELECT unnest(%s::bigint[]) AS key ORDER BY 1) AS keys"
_set_key = b"INSERT INTO fhir.setting (name, value) VALUES ('cursor key', %s) ON CONFLICT DO NOTHING"
_get_key = b"SELECT value FROM fhir.setting WHERE name = 'cursor key'"


class Transaction:
    """One database transaction of one Subject: what it may read and write goes through ``reader`` and ``writer``."""

    def __init__(
        self, connection: AsyncConnection[Any], subject: Subject, wiring: Wiring, key: bytes, request_id: str | None
    ) -> None:
        self.connection = connection
        self.subject = subject
        self.request_id = request_id
        self._key = key
        self.writer = Writer(self, wiring)
        self.reader = self.reader_of(subject)

    def reader_of(self, subject: Subject) -> Reader:
        """Return a Reader on this transaction as another Subject: what a guard needs to see may be more or less."""
        return Reader(self.connection, subject, self._key, self.writer.flush)

    async def lock(self, *keys: str) -> None:
        """Take an advisory lock on every key until the transaction ends, in an order that cannot deadlock."""
        await self.connection.execute(_lock, (sorted({lock_number(key) for key in keys}),))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part that may fail alone: when it raises, what it wrote is undone and the transaction can go on."""
        await self.writer.flush()
        before = self.writer.mark()
        if self.connection.info.transaction_status == TransactionStatus.IDLE:
            await self.connection.execute(b"SELECT")  # begins the transaction this is a part of
        try:
            async with self.connection.transaction():
                yield
                await self.writer.flush()
        except BaseException:
            self.writer.forget(before)
            raise


class Database:
    """A pool of connections. Open it with ``await Database.open(conninfo)``, close it with ``await close()``."""

    def __init__(self, pool: Pool, wiring: Wiring, key: bytes) -> None:
        self._pool = pool
        self._wiring = wiring
        self._key = key
        self._reads = 0
        self.audit = AuditLog(pool)

    @classmethod
    async def open(cls, conninfo: str, *, wiring: Wiring | None = None, max_connections: int = 10) -> "Database":
        """Return an open Database. Raises Unavailable when the server cannot be reached."""
        pool = await open_pool(conninfo, max_connections)
        with translated():
            async with borrowed(pool, autocommit=True) as connection:
                await connection.execute(_set_key, (secrets.token_bytes(32),))
                found = await (await connection.execute(_get_key)).fetchone()
        if found is None:
            raise Unavailable("The database has no cursor key; run 'konsil migrate'.")
        return cls(pool, wiring or Wiring(), found[0])

    async def close(self) -> None:
        """Write what audit rows are waiting, then close every connection."""
        await self.audit.close()
        await self._pool.close()

    async def is_reachable(self) -> bool:
        """Tell whether a statement gets an answer."""
        try:
            async with borrowed(self._pool, autocommit=True, timeout_s=1) as connection:
                await connection.execute(b"SELECT 1")
        except (psycopg.Error, PoolTimeout):
            return False
        return True

    @asynccontextmanager
    async def transaction(self, subject: Subject, *, request_id: str | None = None) -> AsyncIterator[Transaction]:
        """One transaction: commits when the block ends, rolls back when it raises.

        Raises Collision when it stood in another's way, Unavailable when the database is away or took too long.
        """
        with translated():
            async with borrowed(self._pool, autocommit=False) as connection:
                transaction = Transaction(connection, subject, self._wiring, self._key, request_id)
                yield transaction
                await transaction.writer.finish()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection without a transaction around it: for single statements on tables that hold no resources."""
        with translated():
            async with borrowed(self._pool, autocommit=True) as connection:
                yield connection

    @asynccontextmanager
    async def reading(self, subject: Subject) -> AsyncIterator[Reader]:
        """A Reader without a transaction around it: the quick way to one read or one search."""
        async with self.connection() as connection:
            yield Reader(connection, subject, self._key)

    async def read_recorded(
        self, subject: Subject, type: str, id: str, *, action: str = "read", request_id: str | None = None
    ) -> Stored:
        """Return the current version; that it was read is in the audit trail, durable, before this returns.

        A read that is alone is one statement with its audit row, one round trip; among others, one commit for the rows
        of all of them is quicker. Raises NotFound, Gone.
        """
        alone = self._reads == 0
        self._reads += 1
        try:
            async with self.reading(subject) as reader:
                if alone:
                    return await reader.read_recorded(type, id, action=action, request_id=request_id)
                stored = await reader.read(type, id)
            await self.audit.record(AuditRow(subject, action, 200, type, id, stored.version, request_id))
            return stored
        finally:
            self._reads -= 1

    async def run(
        self,
        subject: Subject,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        attempts: int = 5,
        request_id: str | None = None,
    ) -> T:
        """Run ``work`` in a transaction of its own, again when it deadlocked or lost a race for a new id."""
        for attempt in range(1, attempts):
            try:
                async with self.transaction(subject, request_id=request_id) as transaction:
                    return await work(transaction)
            except Collision:
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - spreads retries, no secret
        async with self.transaction(subject, request_id=request_id) as transaction:
            return await work(transaction)
