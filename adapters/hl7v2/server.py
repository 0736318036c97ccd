"""The MLLP server: sockets to messages to answers; what is answered is decided by the Receiver it is given.

MLLP release 1: one message at a time on a connection, each answered before the next is read.
https://www.hl7.org/documentcenter/public/wg/inm/mllp_transport_specification.PDF
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from adapters.hl7v2.framing import DEFAULT_LIMIT, Event, Frame, Framer, Oversize, Partial, frame
from adapters.hl7v2.header import split_messages
from adapters.hl7v2.peer import Peer, is_loopback
from adapters.hl7v2.tls import peer_certificate

log = logging.getLogger(__name__)

_READ_BYTES = 256 * 1024
_HANDSHAKE_S = 10.0
_SHUTDOWN_S = 2.0
_BURST_S = 0.25  # how long a final CR may lag behind its FS before the frame counts as complete without it
Discard = Literal["partial", "stray", "oversize"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server and a connection may use. Interface engines hold connections open, hence the long idle limit."""

    frame_bytes: int = DEFAULT_LIMIT
    connections: int = 256
    connections_of_one_peer: int = 128
    idle_s: float = 3600.0
    stalled_frame_s: float = 30.0


class Receiver(Protocol):
    """What the server hands messages to."""

    async def receive(self, raw: bytes, peer: Peer) -> bytes | None:
        """Return the answer to one message once it is durable; None closes the connection without an answer."""

    async def discard(self, raw: bytes, peer: Peer, reason: Discard) -> bytes | None:
        """Keep what could not be taken as a message as evidence; the answer, if any, is sent before closing."""


class MllpServer:
    """Listens on a port, and on those that sites have for themselves.

    ``await start()``, then ``address``; ``await stop()`` lets the message in hand finish.
    """

    def __init__(
        self,
        receiver: Receiver,
        host: str,
        port: int,
        *,
        site_ports: Iterable[int] = (),
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        allow_plain: bool = False,
    ) -> None:
        if tls is None and not allow_plain and not is_loopback(host):
            raise ValueError(
                f"MLLP on {host} without TLS would send patient data in the clear. Give a certificate, listen on"
                " 127.0.0.1, or allow plain MLLP explicitly."
            )
        self._receiver = receiver
        self._host, self._ports = host, (port, *site_ports)
        self._limits = limits or Limits()
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self.address = (host, port)

    async def start(self) -> None:
        """Begin to listen. Raises OSError when a port is taken."""
        for port in self._ports:
            server = await asyncio.start_server(
                self._accept, self._host, port, limit=_READ_BYTES, backlog=512, **self._secured()
            )
            self._servers.append(server)
        self.address = self._servers[0].sockets[0].getsockname()[:2]
        ports = ", ".join(str(server.sockets[0].getsockname()[1]) for server in self._servers)
        log.info("MLLP listens on %s, port %s%s", self._host, ports, " with TLS" if self._tls else "")

    def _secured(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {"ssl": self._tls, "ssl_handshake_timeout": _HANDSHAKE_S, "ssl_shutdown_timeout": _SHUTDOWN_S}

    async def stop(self, grace_s: float = 25.0) -> None:
        """Stop listening, close idle connections, give messages being processed ``grace_s`` to be answered."""
        for server in self._servers:
            server.close()
        for task, connection in self._connections.items():
            connection.stopping = True
            if not connection.busy:
                task.cancel()
        if self._connections:
            _, late = await asyncio.wait(list(self._connections), timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        connection = _Connection(self._receiver, reader, writer, self._limits)
        if task is None or self._is_full(connection.address):
            log.warning("MLLP connection refused: the limit is reached, %s are open", len(self._connections))
            writer.close()
            return
        self._connections[task] = connection
        try:
            await connection.serve()
        except asyncio.CancelledError:
            if not connection.stopping:
                raise
        finally:
            del self._connections[task]
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):  # the peer may be gone before us
                await writer.wait_closed()

    def _is_full(self, address: str) -> bool:
        of_peer = sum(connection.address == address for connection in self._connections.values())
        return len(self._connections) >= self._limits.connections or of_peer >= self._limits.connections_of_one_peer


class _Connection:
    """One connection: reads, answers, reads on."""

    def __init__(
        self, receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: Limits
    ) -> None:
        self._receiver = receiver
        self._reader, self._writer = reader, writer
        self._limits = limits
        self._framer = Framer(limits.frame_bytes)
        self.address = str(writer.get_extra_info("peername")[0])
        self._peer = Peer(self.address, writer.get_extra_info("sockname")[1], peer_certificate(writer))
        self.busy = False
        self.stopping = False
        _keep_alive(writer.get_extra_info("socket"))

    async def serve(self) -> None:
        """Serve until either side closes."""
        ended = False
        while not ended and not self.stopping:
            events, ended = await self._read()
            self.busy = True
            for event in events:
                if not await self._take(event):
                    return
            self.busy = False

    async def _read(self) -> tuple[list[Event], bool]:
        """Return the next events, and whether the connection is at its end."""
        try:
            async with asyncio.timeout(self._patience_s()):
                data = await self._reader.read(_READ_BYTES)
        except TimeoutError:
            if self._framer.may_have_ended:
                return self._framer.end_of_burst(), False
            log.info("MLLP connection closed: nothing came for %s s", self._patience_s())
            return self._framer.end_of_stream(), True
        except (ConnectionError, ssl.SSLError) as error:
            log.info("MLLP connection lost: %s", type(error).__name__)
            return self._framer.end_of_stream(), True
        if not data:
            return self._framer.end_of_stream(), True
        return self._framer.feed(data), False

    def _patience_s(self) -> float:
        if self._framer.may_have_ended:
            return _BURST_S
        return self._limits.stalled_frame_s if self._framer.inside else self._limits.idle_s

    async def _take(self, event: Event) -> bool:
        """Process one event; False when the connection must be closed."""
        if isinstance(event, Frame):
            for raw in split_messages(event.payload):
                if not await self._answer(await self._receiver.receive(raw, self._peer)):
                    return False
            return True
        if isinstance(event, Oversize):
            await self._answer(await self._receiver.discard(event.payload, self._peer, "oversize"))
            return False
        reason: Discard = "partial" if isinstance(event, Partial) else "stray"
        await self._receiver.discard(event.payload, self._peer, reason)
        return True

    async def _answer(self, answer: bytes | None) -> bool:
        if answer is None:
            return False
        try:
            self._writer.write(frame(answer))
            await self._writer.drain()
        except (ConnectionError, ssl.SSLError) as error:
            log.info("MLLP peer left before its acknowledgement: %s; it will send again", type(error).__name__)
            return False
        return True


def _keep_alive(connection: socket.socket) -> None:
    """Have the kernel probe a silent peer after a minute: firewalls drop idle connections without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
