"""The MLLP client: one message out, its own acknowledgement back, or an error that says what is uncertain.

MLLP release 1 §3; HL7 v2.9 §2.9.2: MSA-2 must equal the MSH-10 that was sent.
"""

import asyncio
import contextlib
import ssl
from collections import deque

from adapters.hl7v2.ack import Acknowledgement
from adapters.hl7v2.framing import Frame, Framer, frame
from adapters.hl7v2.sites import Destination

_READ_BYTES = 64 * 1024
_LIMIT = 1024 * 1024
_REMEMBERED = 100


class DeliveryError(Exception):
    """No acknowledgement of this message came: trying again, under the same MSH-10, is right."""


class NotAnAcknowledgement(OSError):
    """What came back is no frame with an MSA segment."""


class MllpClient:
    """A connection to one destination, opened when needed and closed after any doubt about it."""

    def __init__(self, destination: Destination, tls: ssl.SSLContext | None = None) -> None:
        self.destination = destination
        self._tls = tls or destination.context()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._framer = Framer(_LIMIT)
        self._settled: deque[str] = deque(maxlen=_REMEMBERED)

    async def send(self, raw: bytes, control_id: str) -> tuple[bytes, Acknowledgement]:
        """Send one message and return its acknowledgement, as bytes and read.

        Raises DeliveryError when the destination cannot be reached, is silent, or answers another message. The
        socket is closed then: a late acknowledgement must never be taken for the next message's.
        """
        try:
            async with asyncio.timeout(self.destination.connect_timeout_s):
                writer = await self._connected()
            writer.write(frame(raw))
            async with asyncio.timeout(self.destination.acknowledgement_timeout_s):
                await writer.drain()
                answer, read = await self._answer(control_id)
        except TimeoutError as error:
            await self.close()
            raise DeliveryError("no acknowledgement in time; the connection is closed") from error
        except (OSError, ssl.SSLError) as error:
            await self.close()
            raise DeliveryError(f"connection failed: {_reason(error)}") from error
        if read.control_id != control_id:
            await self.close()
            raise DeliveryError("the acknowledgement is for another message: MSA-2 differs from our MSH-10")
        self._settled.append(control_id)
        if not self.destination.keep_connection:
            await self.close()
        return answer, read

    async def close(self) -> None:
        """Close the connection, if there is one."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):  # the peer may be gone before us
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    async def _connected(self) -> asyncio.StreamWriter:
        if self._writer is not None and self._reader is not None and self._reader.at_eof():
            await self.close()
        if self._writer is None:
            self._framer = Framer(_LIMIT)
            name = (self.destination.server_name or None) if self._tls else None
            self._reader, self._writer = await asyncio.open_connection(
                self.destination.host, self.destination.port, ssl=self._tls, server_hostname=name
            )
        return self._writer

    async def _answer(self, control_id: str) -> tuple[bytes, Acknowledgement]:
        """Return the next acknowledgement; a second one (AA after CA) of an earlier message is passed over."""
        if self._reader is None:
            raise ConnectionResetError
        while True:
            data = await self._reader.read(_READ_BYTES)
            events = self._framer.feed(data) if data else self._framer.end_of_stream()
            for event in events:
                read = Acknowledgement.parse(event.payload) if isinstance(event, Frame) else None
                if read is None:
                    raise NotAnAcknowledgement
                if read.control_id == control_id or read.control_id not in self._settled:
                    return event.payload, read
            if not data:
                raise ConnectionResetError


def _reason(error: OSError) -> str:
    """Return the kind of failure, and for a certificate that is not trusted what is wrong with it."""
    wrong = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else ""
    return f"{type(error).__name__} {wrong}".rstrip()
