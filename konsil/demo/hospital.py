"""LAKESIDE, a small simulated hospital: its interface engine sends HL7 v2, its EHR receives it, its PACS is Orthanc.

Sender and receiver are the PyPI package ``hl7`` (python-hl7): nothing of Konsil's own code is on the hospital's side.
"""

import asyncio
import base64
from dataclasses import dataclass, field
from typing import Any

import hl7
from hl7.mllp import HL7StreamReader, HL7StreamWriter, open_hl7_connection, start_hl7_server

from konsil.demo.messages import Message

FRAME_LIMIT = 64 * 1024 * 1024


@dataclass
class Received:
    """One message in the physician's inbox."""

    control_id: str
    event: str
    text: list[str]
    pdf: bytes | None
    status: str | None


@dataclass
class Inbox:
    """The EHR's receiving interface; ``start`` and ``stop`` are the interface going up and down."""

    port: int
    messages: list[Received] = field(default_factory=list)
    _server: "asyncio.Server | None" = None

    async def start(self) -> None:
        """Listen on the port."""
        self._server = await start_hl7_server(self._serve, "127.0.0.1", self.port, limit=FRAME_LIMIT, encoding="utf-8")

    async def stop(self) -> None:
        """Close the port; messages that come now find nobody."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        try:
            while not writer.is_closing():
                message = await reader.readmessage()
                self.messages.append(_received(message))
                writer.writemessage(message.create_ack())
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    def of(self, event: str) -> list[Received]:
        """Return what came for one event such as ``ORU^R01``."""
        return [message for message in self.messages if message.event == event]


async def send(port: int, message: Message) -> tuple[str, str]:
    """Send one message to MLLP ``port`` and return the acknowledgement: MSA-1 and MSA-3 or ERR text."""
    reader, writer = await open_hl7_connection("127.0.0.1", port, limit=FRAME_LIMIT, encoding="utf-8")
    try:
        writer.writeblock(message.raw)
        await writer.drain()
        answer = await asyncio.wait_for(reader.readmessage(), timeout=60)
    finally:
        writer.close()
        await writer.wait_closed()
    text = ""
    if _has(answer, "ERR"):
        error = answer.segment("ERR")
        text = " ".join(str(error(n)) for n in (2, 3, 8) if len(error) > n and str(error(n)))
    return str(answer.segment("MSA")(1)), text


def _has(message: hl7.Message, name: str) -> bool:
    return any(str(segment(0)) == name for segment in message)


def _received(message: hl7.Message) -> Received:
    text: list[str] = []
    pdf = None
    for segment in (segment for segment in message if str(segment(0)) == "OBX"):
        kind, value = str(segment(2)), segment(5)
        if kind == "ED":
            pdf = base64.b64decode(str(value).rsplit("^", 1)[-1])
        elif kind in {"TX", "FT", "ST"}:
            text.append(message.unescape(str(value)))
    msh = message.segment("MSH")
    obr: Any = message.segment("OBR") if _has(message, "OBR") else None
    status = str(obr(25)) if obr is not None and len(obr) > 25 else None
    return Received(str(msh(10)), "^".join(str(msh(9)).split("^")[:2]), text, pdf, status)
