"""Bytes to frames and back; knows only framing: VT, payload, FS, CR.

HL7 Minimal Lower Layer Protocol, release 1 (HL7 v2 transport specification, appendix C):
https://www.hl7.org/documentcenter/public/wg/inm/mllp_transport_specification.PDF

Tolerant where senders in the field are sloppy, strict where tolerance could merge or cut a message:

* bytes between frames (NUL, CR, LF) are skipped; anything else there is reported as ``Stray``;
* a frame may end in FS without CR: at once when VT, NUL or LF follows; when nothing follows, ``Framer.end_of_burst``
  ends it if its last segment is complete (a byte 0x1C inside a text must not cut a message in two);
* FS followed by any other byte is not an end, so it stays in the payload;
* VT followed by ``MSH``, ``FHS`` or ``BHS`` inside a frame starts a new frame: what came before is ``Partial``;
  any other VT is data (word processors write it as a line break);
* a frame over the limit is reported once as ``Oversize``, with its first bytes.
"""

import re
from dataclasses import dataclass

VT = b"\x0b"
FS = b"\x1c"
CR = b"\r"
DEFAULT_LIMIT = 64 * 1024 * 1024
"""Largest payload in bytes, unless a site sets its own."""

_SAMPLE = 64 * 1024
_FILLER = b"\x00\r\n"
_complete_without_cr = (b"\r\x1c", b"\n\x1c")
_ends_without_cr = b"\x0b\x00\n"
_restart = re.compile(rb"\x0b(?=MSH|FHS|BHS)")


@dataclass(frozen=True, slots=True)
class Frame:
    """A complete payload, without the framing bytes."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Partial:
    """The payload of a frame that never ended: never to be processed, only to be kept as evidence."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Stray:
    """Bytes outside any frame that are not mere filler."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Oversize:
    """A frame over the limit: its first 64 KiB. The connection is of no more use."""

    payload: bytes


Event = Frame | Partial | Stray | Oversize


def frame(payload: bytes) -> bytes:
    """Return ``payload`` ready for the wire."""
    return b"".join((VT, payload, FS, CR))


class Framer:
    """Feed it what the socket gives, however it is cut; it returns what became complete."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._inside = False
        self._searched = 0
        self._stray = bytearray()

    @property
    def inside(self) -> bool:
        """Tell whether a frame has begun and not ended."""
        return self._inside

    @property
    def may_have_ended(self) -> bool:
        """Tell whether the frame is complete but for its final CR."""
        return self._inside and self._buffer.endswith(_complete_without_cr)

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that ``data`` completes."""
        self._buffer += data
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def end_of_burst(self) -> list[Event]:
        """Say that nothing followed the last byte for a while: an FS at the very end then ends the frame."""
        if not self.may_have_ended:
            return []
        events: list[Event] = []
        self._close_at(len(self._buffer) - 1, events)
        return events

    def end_of_stream(self) -> list[Event]:
        """Say that the connection is closed: the last FS ends its frame, an unfinished frame is ``Partial``."""
        events = self.end_of_burst()
        if self._inside:
            events.append(Partial(bytes(self._buffer)))
        self._report_stray(events)
        self._buffer.clear()
        self._inside = False
        return events

    def _step(self, events: list[Event]) -> bool:
        return self._step_inside(events) if self._inside else self._step_outside(events)

    def _step_outside(self, events: list[Event]) -> bool:
        start = self._buffer.find(VT)
        outside = self._buffer if start < 0 else self._buffer[:start]
        self._stray += outside[: _SAMPLE - len(self._stray)]
        if start < 0:
            self._buffer.clear()
            return False
        self._report_stray(events)
        del self._buffer[: start + 1]
        self._inside, self._searched = True, 0
        return True

    def _report_stray(self, events: list[Event]) -> None:
        stray = bytes(self._stray).strip(_FILLER)
        self._stray.clear()
        if stray:
            events.append(Stray(stray))

    def _step_inside(self, events: list[Event]) -> bool:
        end = self._buffer.find(FS, self._searched)
        if end < 0 or end + 1 == len(self._buffer):
            self._searched = len(self._buffer) if end < 0 else end
            return self._too_long(events)
        following = self._buffer[end + 1]
        if following == CR[0]:
            self._close_at(end, events, skip=2)
        elif following in _ends_without_cr:
            self._close_at(end, events)
        else:
            self._searched = end + 1
        return True

    def _too_long(self, events: list[Event]) -> bool:
        if len(self._buffer) > self._limit:
            events.append(Oversize(bytes(self._buffer[:_SAMPLE])))
            self._buffer.clear()
            self._inside = False
        return False

    def _close_at(self, end: int, events: list[Event], *, skip: int = 1) -> None:
        payload = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + skip]
        self._inside = False
        if len(payload) > self._limit:
            events.append(Oversize(payload[:_SAMPLE]))
            return
        *partials, last = _restart.split(payload)
        events.extend(Partial(part) for part in partials)
        if last.strip(_FILLER):
            events.append(Frame(last))
