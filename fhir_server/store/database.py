"""The pool of PostgreSQL connections and the transactions made on it.

https://www.psycopg.org/psycopg3/docs/advanced/pool.html
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from fhir_server.kernel.subject import Subject
from fhir_server.store.reader import Reader
from fhir_server.store.wiring import Change, Guard, Wiring
from fhir_server.store.writer import Writer

__all__ = ["Change", "Database", "Guard", "Transaction", "Wiring"]

T = TypeVar("T")


class Transaction:
    """One database transaction of one Subject: what it may read and write goes through ``reader`` and ``writer``."""

    def __init__(self, connection: AsyncConnection[Any], subject: Subject, wiring: Wiring) -> None:
        self.connection = connection
        self.subject = subject
        self.reader = Reader(connection, subject)
        self.writer = Writer(self, wiring)

    async def lock(self, *keys: str) -> None:
        """Take an advisory lock on every key until the transaction ends, in an order that cannot deadlock."""
        raise NotImplementedError


class Database:
    """A pool of connections. Open it with ``await Database.open(conninfo)``, close it with ``await close()``."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[Any]], wiring: Wiring) -> None:
        self._pool = pool
        self._wiring = wiring

    @classmethod
    async def open(cls, conninfo: str, *, wiring: Wiring | None = None, max_connections: int = 10) -> "Database":
        """Return an open Database. Raises Unavailable when the server cannot be reached."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self, subject: Subject) -> AsyncIterator[Transaction]:
        """One transaction: commits when the block ends, rolls back when it raises."""
        raise NotImplementedError
        yield

    @asynccontextmanager
    async def reading(self, subject: Subject) -> AsyncIterator[Reader]:
        """A Reader without a transaction around it: the quick way to one read or one search."""
        raise NotImplementedError
        yield

    async def run(self, subject: Subject, work: Callable[[Transaction], Awaitable[T]], *, attempts: int = 5) -> T:
        """Run ``work`` in a transaction of its own, again when it deadlocked or lost a race for a new id."""
        raise NotImplementedError
