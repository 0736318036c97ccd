"""The machine's limits: a bare FastAPI + psycopg read of the same row, and bare MLLP framing that stores nothing.

Run as a process of its own: ``python -m bench.limits http CONNINFO TABLE`` or ``python -m bench.limits mllp``; its
first line of output is the port it listens on.
"""

import asyncio
import socket
import sys

import uvicorn
import uvloop
from fastapi import FastAPI, Response
from psycopg_pool import AsyncConnectionPool

FS_CR = b"\x1c\r"


def _listen() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    return listener


def serve_bare_read(conninfo: str, table: str) -> None:
    """Serve ``/{id}``: one SELECT by primary key and its text as the answer; no token, no access, no audit."""
    pool = AsyncConnectionPool(conninfo, min_size=4, max_size=10, open=False, kwargs={"autocommit": True})
    app = FastAPI()

    @app.get("/{id}")
    async def read(id: str) -> Response:
        async with pool.connection() as connection:
            row = await (await connection.execute(f"select body from {table} where id = %s", (id,))).fetchone()
        return Response(row[0] if row else "", media_type="application/fhir+json")

    async def main() -> None:
        await pool.open()
        server = uvicorn.Server(
            uvicorn.Config(app, loop="uvloop", http="httptools", log_level="error", access_log=False)
        )
        await server.serve(sockets=[_listen()])
        await pool.close()

    uvloop.run(main())


def serve_bare_framing() -> None:
    """Answer every MLLP frame with a fixed AA: framing and socket only."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(FS_CR)
                writer.write(b"\x0bMSH|^~\\&|A|B|C|D|20260101||ACK|1|P|2.5.1\rMSA|AA|1\r" + FS_CR)
        except asyncio.IncompleteReadError:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(handle, sock=_listen(), limit=2**24)
        await server.serve_forever()

    asyncio.run(main())


if __name__ == "__main__":
    if sys.argv[1] == "http":
        serve_bare_read(sys.argv[2], sys.argv[3])
    else:
        serve_bare_framing()
