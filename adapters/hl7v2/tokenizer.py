"""A lazy HL7 v2 tokenizer: nothing is split before it is touched, nothing is lost, every byte comes out again.

HL7 v2.9 chapter 2 §2.5 (message construction), §2.7 (escapes). Paths are the specification's: ``PID-3[1].1.2``.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from adapters.hl7v2 import charset
from adapters.hl7v2.escapes import Delimiters, unescaper

_headers = frozenset({"MSH", "FHS", "BHS"})
_segment_id = re.compile(r"[A-Z][A-Z0-9]{2}(?![A-Za-z0-9 ])")
_path = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d+|\*)\])?-(\d+)(?:\[(\d+|\*)\])?(?:\.(\d+)(?:\.(\d+))?)?")
_large = 1 << 20


class MalformedMessage(ValueError):
    """The bytes are no HL7 v2 message: no MSH, or a field separator that cannot be one."""


class Path(NamedTuple):
    """A parsed path; ``occurrence`` and ``repetition`` count from 1, 0 stands for all (``*``)."""

    segment: str
    occurrence: int
    field: int
    repetition: int
    component: int | None
    subcomponent: int | None

    @classmethod
    def parse(cls, text: str) -> "Path":
        """Return the path written as ``text``. Raises ValueError when it is none."""
        return _parse_path(text)


@lru_cache(maxsize=4096)
def _parse_path(text: str) -> Path:
    found = _path.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no HL7 v2 path; write one such as PID-3[1].1.2")
    segment, occurrence, number, repetition, component, subcomponent = found.groups()
    return Path(
        segment,
        _count(occurrence),
        int(number),
        _count(repetition),
        int(component) if component else None,
        int(subcomponent) if subcomponent else None,
    )


def _count(text: str | None) -> int:
    return 1 if text is None else 0 if text == "*" else int(text)


class Segment:
    """One segment; its fields are split at the first touch. ``position`` counts from 1 among segments of its name."""

    __slots__ = ("_fields", "_separator", "_text", "name", "position")

    def __init__(self, name: str, text: str, separator: str, position: int) -> None:
        self.name = name
        self.position = position
        self._separator = separator
        self._text: str | None = text
        self._fields: list[str] | None = None

    @property
    def fields(self) -> list[str]:
        """Raw fields; index n is field n (MSH-1 is the separator itself, index 0 the segment's name)."""
        if self._fields is None:
            text = self.text
            self._fields = text.split(self._separator)
            if self.name in _headers:
                self._fields.insert(1, self._separator)
            if len(text) > _large:
                self._text = None  # the fields say it all: do not hold a large attachment twice
        return self._fields

    @property
    def text(self) -> str:
        """The segment as sent, without its terminator."""
        if self._text is not None:
            return self._text
        fields = self.fields
        return self._separator.join(fields[:1] + fields[2:] if self.name in _headers else fields)

    def field(self, number: int) -> str:
        """Return field ``number`` as sent, all repetitions, escapes unresolved; ``""`` when absent."""
        fields = self._fields or self.fields
        return fields[number] if number < len(fields) else ""

    def __repr__(self) -> str:
        return f"Segment({self.name}[{self.position}])"


class Message:
    """A parsed message; ``segments`` holds every segment in order, Z-segments and unknown ones too.

    ``codec`` is how the bytes were read, ``warnings`` what had to be tolerated (rules only, never values).
    """

    __slots__ = ("_prefix", "_terminators", "codec", "delimiters", "raw", "segments", "unescape", "warnings")

    def __init__(
        self, raw: bytes, codec: str, delimiters: Delimiters, pieces: list[tuple[str, str]], warnings: tuple[str, ...]
    ) -> None:
        self.raw = raw
        self.codec = codec
        self.delimiters = delimiters
        self.warnings = warnings
        self.unescape: Callable[[str], str] = unescaper(delimiters, codec)
        self.segments = _number(pieces, delimiters.field)
        self._terminators = [terminator for _, terminator in pieces]
        self._prefix = b""

    @classmethod
    def parse(cls, raw: bytes, encoding: str | None = None) -> "Message":
        """Return the message in ``raw`` (one MSH, no frame bytes); ``encoding`` is the site's default charset.

        Raises MalformedMessage when it does not begin with a usable MSH.
        """
        body = raw.lstrip(b"\r\n")
        message = cls._parse(body, encoding)
        message.raw = raw
        message._prefix = raw[: len(raw) - len(body)]  # noqa: SLF001 - its own class
        return message

    @classmethod
    def _parse(cls, raw: bytes, encoding: str | None) -> "Message":
        header = _header(raw)
        delimiters = _delimiters(header)
        declared = _declared_charset(header, delimiters)
        if len(raw) > _large and raw.isascii():
            view = memoryview(raw)
            pieces, notes = _pieces((str(view[start:end], "ascii") for start, end in _spans(raw)), delimiters.field)
            return cls(raw, "ascii", delimiters, pieces, notes)
        text, codec, warnings = charset.decode(raw, declared, encoding)
        pieces, notes = _pieces(iter(text.split("\r")), delimiters.field)
        return cls(raw, codec, delimiters, pieces, warnings + notes)

    def emit(self) -> bytes:
        """Return the bytes again, put together from the tokens."""
        text = "".join(s.text + end for s, end in zip(self.segments, self._terminators, strict=True))
        return self._prefix + text.encode(self.codec)

    def first(self, name: str) -> Segment | None:
        """Return the first segment of this name, None when there is none."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        return None

    def get(self, path: str) -> str:
        """Return the first value at ``path``, unescaped once; ``""`` when absent, ``'""'`` when sent as null."""
        return next(self._find(_parse_path(path)), "")

    def values(self, path: str) -> list[str]:
        """Return every value at ``path`` (``[*]`` means all of them), unescaped once."""
        return list(self._find(_parse_path(path)))

    def split(self, text: str, delimiter: str) -> list[str]:
        """Split on a delimiter this message may not use (``""``)."""
        return text.split(delimiter) if delimiter else [text]

    def _find(self, path: Path) -> Iterator[str]:
        for segment in self.segments:
            if segment.name == path.segment and path.occurrence in (0, segment.position):
                yield from self._in_field(segment.field(path.field), path)

    def _in_field(self, text: str, path: Path) -> Iterator[str]:
        if path.segment in _headers and path.field <= 2:  # noqa: PLR2004 - MSH-1 and MSH-2 are the delimiters themselves
            yield text
            return
        repetitions = self.split(text, self.delimiters.repetition)
        for repetition in repetitions if path.repetition == 0 else repetitions[path.repetition - 1 : path.repetition]:
            part = repetition
            if path.component is not None:
                part = _part(self.split(part, self.delimiters.component), path.component)
            if path.subcomponent is not None:
                part = _part(self.split(part, self.delimiters.subcomponent), path.subcomponent)
            yield self.unescape(part)


def _part(parts: list[str], number: int) -> str:
    return parts[number - 1] if 0 < number <= len(parts) else ""


def _header(raw: bytes) -> str:
    """Return the first segment, read byte by byte as Latin-1 (UTF-16 by its byte order mark)."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = raw[:4096].decode("utf-16", "replace")
    else:
        end = min((at for at in (raw.find(b"\r"), raw.find(b"\n")) if at > 0), default=len(raw))
        text = raw[:end].decode("latin-1").removeprefix("\xef\xbb\xbf")
    text = text.lstrip("\r\n\t \ufeff")
    return text.split("\r")[0].split("\n")[0]


def _delimiters(header: str) -> Delimiters:
    separator = header[3:4]
    if header[:3] not in _headers or not separator or separator.isalnum() or separator.isspace():
        raise MalformedMessage("The message does not begin with MSH and a field separator.")
    characters = header[4:].split(separator, 1)[0]
    if any(character.isalnum() for character in characters[:5]):
        raise MalformedMessage("MSH-2 holds letters or digits where delimiters belong.")
    return Delimiters(separator, *(characters[at : at + 1] for at in range(5)))


def _declared_charset(header: str, delimiters: Delimiters) -> str:
    fields = header.split(delimiters.field)
    value = fields[17] if len(fields) > 17 else ""  # noqa: PLR2004 - MSH-18: MSH-1 is the separator, so one less
    declared = value.split(delimiters.repetition)[0] if delimiters.repetition else value
    return declared.strip()


def _spans(raw: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    while (end := raw.find(b"\r", start)) >= 0:
        yield start, end
        start = end + 1
    yield start, len(raw)


def _pieces(lines: Iterator[str], separator: str) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """Return (segment text, terminator) pairs from what stands between carriage returns.

    A line feed ends a segment only before a segment id or the end; any other one is text inside a field.
    """
    pieces: list[tuple[str, str]] = []
    normalised = False
    last = next(lines)
    for line in lines:
        normalised |= _add(pieces, last, "\r", separator)
        last = line
    normalised |= _add(pieces, last, "", separator)
    return pieces, ("segments end in LF or CRLF; read as CR",) if normalised else ()


def _add(pieces: list[tuple[str, str]], line: str, end: str, separator: str) -> bool:
    """Append the segments of one line; tell whether a line feed ended one."""
    if "\n" not in line:
        _append(pieces, line, end)
        return False
    start = found = 0
    while (at := line.find("\n", found)) >= 0:
        found = at + 1
        if _ends_segment(line, found, separator):
            _append(pieces, line[start:at], "\n")
            start = found
    _append(pieces, line[start:], end)
    return start > 0


def _append(pieces: list[tuple[str, str]], text: str, end: str) -> None:
    """Append a segment; an empty one is only a longer terminator of the segment before."""
    if text or not pieces:
        pieces.append((text, end))
    else:
        pieces[-1] = (pieces[-1][0], pieces[-1][1] + end)


def _ends_segment(line: str, after: int, separator: str) -> bool:
    """Tell whether what follows a line feed, and any more of them, is a segment or the end."""
    while line[after : after + 1] == "\n":
        after += 1
    if after >= len(line):
        return True
    return _segment_id.match(line, after) is not None and line[after + 3 : after + 4] in (separator, "", "\n")


def _number(pieces: list[tuple[str, str]], separator: str) -> list[Segment]:
    counts: dict[str, int] = {}
    segments: list[Segment] = []
    for text, _ in pieces:
        name = text[:3] if text[3:4] in (separator, "") else text.split(separator, 1)[0]
        if not segments:
            name = name.strip("\ufeff \t")[:3] or "MSH"
        counts[name] = position = counts.get(name, 0) + 1
        segments.append(Segment(name, text, separator, position))
    return segments
