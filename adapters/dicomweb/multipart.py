"""A streaming reader of multipart/related: O(n), memory bounded by one chunk, a delimiter may fall across chunks.

RFC 2046 §5.1.1 (the delimiter) and DICOM PS3.18 §8.6.1.2 (multipart payloads).
https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_8.6.html
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Final

_max_head = 16 * 1024
_padding = b" \t"


class MalformedMultipart(ValueError):
    """The body is not the multipart it claims to be, or it ends before its closing delimiter."""


@dataclass(frozen=True, slots=True)
class PartHead:
    """A part begins; header names are lower case."""

    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """The next bytes of the part."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is complete."""


Event = PartHead | PartData | PartEnd
_end: Final = PartEnd()


def boundary_of(content_type: str) -> bytes:
    """Return the boundary named by a Content-Type. Raises MalformedMultipart when there is none."""
    header = Message()
    header["content-type"] = content_type
    if header.get_content_maintype() != "multipart":
        raise MalformedMultipart("The answer is not multipart.")
    boundary = header.get_boundary()
    if not boundary or len(boundary) > 200:  # noqa: PLR2004 - RFC 2046 says 70; some servers use more
        raise MalformedMultipart("The multipart answer names no boundary.")
    return boundary.encode("latin-1", "replace")


class MultipartReader:
    """Turns chunks into events: ``feed`` every chunk, then ``close``, which raises if the body was cut short."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")  # a delimiter at the very start is then found like any other
        self._state = "preamble"
        self._searched = 0
        self._skip = 0  # bytes in front of the buffer that are the blank line, not content

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield what ``chunk`` completes."""
        self._buffer += chunk
        while True:
            if self._state == "epilogue":
                self._buffer.clear()
                return
            events = self._head() if self._state == "head" else self._until_delimiter()
            if events is None:
                break
            yield from events
        yield from self._flush()

    def close(self) -> None:
        """Raises MalformedMultipart unless the closing delimiter was seen."""
        if self._state != "epilogue":
            raise MalformedMultipart("The multipart body ended before its closing delimiter.")

    def _head(self) -> tuple[Event, ...] | None:
        """Read the header lines of a part; None while they are incomplete."""
        if self._buffer.startswith(b"\r\n"):
            end = 0
        else:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _max_head:
                    raise MalformedMultipart("The head of a part is too long.")
                return None
            end += 2
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[:end]  # the blank line stays: if no content follows it belongs to the delimiter
        self._state, self._searched, self._skip = "content", 0, 2
        return (PartHead({k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines) if k}),)

    def _until_delimiter(self) -> tuple[Event, ...] | None:
        """Look for a delimiter; None when more bytes are needed to find one or to be sure of it."""
        while True:
            at = self._buffer.find(self._delimiter, self._searched)
            if at < 0:
                self._searched = max(len(self._buffer) - len(self._delimiter) + 1, 0)
                return None
            line_end = self._delimiter_end(at + len(self._delimiter))
            if line_end is None:
                self._searched = at
                return None
            if line_end >= 0:
                return self._found(at, line_end)
            self._searched = at + 1

    def _delimiter_end(self, after: int) -> int | None:
        """Where the delimiter's line ends; -1: it only looks like one; None: too early to say."""
        tail = bytes(self._buffer[after : after + 80])
        if tail.startswith(b"--"):
            return after + 2
        stripped = tail.lstrip(_padding)
        if stripped.startswith(b"\r\n"):
            return after + len(tail) - len(stripped) + 2
        undecided = stripped in (b"", b"\r") or tail == b"-"
        return None if undecided and len(tail) < 80 else -1  # noqa: PLR2004 - the window above

    def _found(self, at: int, line_end: int) -> tuple[Event, ...]:
        closing = bytes(self._buffer[line_end - 2 : line_end]) == b"--"
        events: tuple[Event, ...] = ()
        if self._state == "content":
            data = bytes(self._buffer[self._skip : at])
            events = (PartData(data), _end) if data else (_end,)
        del self._buffer[:line_end]
        self._state, self._searched = ("epilogue" if closing else "head"), 0
        return events

    def _flush(self) -> Iterator[Event]:
        """Give away what cannot be part of a delimiter any more."""
        if self._state in ("preamble", "content") and self._searched:
            data = bytes(self._buffer[self._skip : self._searched])
            if self._searched < self._skip:
                return
            del self._buffer[: self._searched]
            self._searched = self._skip = 0
            if self._state == "content" and data:
                yield PartData(data)


async def read_multipart(chunks: AsyncIterator[bytes], content_type: str) -> AsyncIterator[Event]:
    """Yield the events of a whole body. Raises MalformedMultipart."""
    reader = MultipartReader(boundary_of(content_type))
    async for chunk in chunks:
        for event in reader.feed(chunk):
            yield event
    reader.close()
