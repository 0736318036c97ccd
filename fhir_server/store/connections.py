"""The pool of connections, and borrowing one that is alive.

https://www.psycopg.org/psycopg3/docs/advanced/pool.html
"""

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from fhir_server.store.failures import STATEMENT_TIMEOUT_S, translated

Pool = AsyncConnectionPool[AsyncConnection[Any]]
_connect_timeout_s = 10
_wait_timeout_s = 5
_reconnect_timeout_s = 2  # then the next request tries afresh, instead of all waiting out a growing pause
_most_prepared = 400  # a few statements for each of the types in use


async def open_pool(conninfo: str, max_connections: int) -> Pool:
    """Return an open pool. Raises Unavailable when the server cannot be reached."""
    options = f"-c statement_timeout={STATEMENT_TIMEOUT_S}s -c search_path=public -c timezone=UTC"
    pool: Pool = AsyncConnectionPool(
        conninfo,
        kwargs={"options": options, "application_name": "konsil"},
        min_size=1,
        max_size=max_connections,
        timeout=_wait_timeout_s,
        reconnect_timeout=_reconnect_timeout_s,
        configure=_configure,
        open=False,
    )
    with translated():
        await pool.open(wait=True, timeout=_connect_timeout_s)
    return pool


async def _configure(connection: AsyncConnection[Any]) -> None:
    connection.prepared_max = _most_prepared


@asynccontextmanager
async def borrowed(
    pool: Pool, *, autocommit: bool, timeout_s: float | None = None
) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection; unless ``autocommit`` its transaction commits when the block ends, rolls back when it raises."""
    connection = await _alive(pool, timeout_s)
    try:
        if connection.autocommit is not autocommit:
            await connection.set_autocommit(autocommit)
        async with connection:
            yield connection
    finally:
        await pool.putconn(connection)


async def _alive(pool: Pool, timeout_s: float | None) -> AsyncConnection[Any]:
    """Return a connection whose server is still there. After a restart the dead ones are thrown out, one by one.

    The pool's own check would wait between them, or cost a round trip on every request.
    """
    for _ in range(pool.max_size):
        connection = await pool.getconn(timeout_s)
        if not _is_over(connection):
            return connection
        await connection.close()
        await pool.putconn(connection)
    return await pool.getconn(timeout_s)


def _is_over(connection: AsyncConnection[Any]) -> bool:
    """An idle connection has nothing to read but the news of its end: one system call tells."""
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))
