r"""The MSH segment read as bytes: what framing, duplicates and acknowledgements need, of any message however broken.

HL7 v2.9 §2.14.9 (MSH) and §2.5.3 (delimiters): http://www.hl7.eu/HL7v2x/v29/std29/ch02.html#Heading95
"""

import hashlib
import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_SEGMENT_END = re.compile(rb"[\r\n]")
_TIMESTAMP = re.compile(r"(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(\d\d)(\d\d)?(?:\.(\d{1,6})\d*)?)?([+-]\d{4})?")
_BATCH_SEGMENTS = (b"FHS", b"BHS", b"BTS", b"FTS")
_DEFAULT_DELIMITERS = rb"^~\&"
_MSH_7 = 6


@dataclass(frozen=True, slots=True)
class Header:
    """MSH as bytes: ``fields[n]`` is MSH-n; absent fields are empty. ``separators`` is MSH-2."""

    separator: bytes
    separators: bytes
    fields: tuple[bytes, ...]

    @classmethod
    def parse(cls, raw: bytes) -> "Header | None":
        """Return the header of the message, or None when it does not begin with MSH and a usable separator."""
        start = raw.lstrip(b"\xef\xbb\xbf\r\n\x00 ")[:8192]
        if not start.startswith(b"MSH") or len(start) < len(b"MSH|^"):
            return None
        separator = start[3:4]
        if separator.isalnum() or separator <= b" ":
            return None
        parts = _SEGMENT_END.split(start, 1)[0].split(separator)
        separators = parts[1] if len(parts) > 1 and parts[1] else _DEFAULT_DELIMITERS
        return cls(separator, separators, (b"MSH", separator, *parts[1:]))

    def field(self, number: int) -> bytes:
        """Return MSH-``number`` as it came, ``b""`` when absent."""
        return self.fields[number] if number < len(self.fields) else b""

    def text(self, number: int, component: int = 1) -> str:
        """Return one component of MSH-``number`` as text, for comparing and showing."""
        parts = self.field(number).split(b"~" if not self.separators[1:2] else self.separators[1:2])[0]
        components = parts.split(self.separators[:1])
        found = components[component - 1] if component <= len(components) else b""
        return found.decode("utf-8", "replace").replace("\x00", "").strip()

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.field(10).decode("utf-8", "replace").replace("\x00", "").strip()

    @property
    def application(self) -> str:
        """MSH-3.1, the sending application."""
        return self.text(3)

    @property
    def facility(self) -> str:
        """MSH-4.1, the sending facility."""
        return self.text(4)

    @property
    def event(self) -> str:
        """MSH-9.2, the trigger event such as ``A01``."""
        return self.text(9, 2)

    @property
    def message_type(self) -> str:
        """MSH-9.1 and 9.2 as in ``ADT^A01``."""
        return "^".join(part for part in (self.text(9, 1), self.event) if part)

    def occurred_at(self, zone: tzinfo = UTC) -> datetime | None:
        """Return MSH-7, read in ``zone`` when it has no offset; None when absent or malformed."""
        return parse_timestamp(self.text(7), zone)


def parse_timestamp(text: str, zone: tzinfo) -> datetime | None:
    """Return a v2 DTM as an aware datetime, missing parts as the lowest; None when it is not one."""
    found = _TIMESTAMP.fullmatch(text)
    if not found:
        return None
    year, month, day, hour, minute, second, fraction = (int(part) if part else 0 for part in found.groups()[:7])
    microsecond = int((found[7] or "0").ljust(6, "0")) if fraction else 0
    try:
        return datetime(year, month or 1, day or 1, hour, minute, second, microsecond, _offset(found[8]) or zone)
    except ValueError:
        return None


def _offset(text: str | None) -> tzinfo | None:
    if not text:
        return None
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[3:5])))


def digest(raw: bytes) -> bytes:
    """Return SHA-256 of the message without MSH-7: a resend with a new time stamp is the same message."""
    header = Header.parse(raw)
    if header is None:
        return hashlib.sha256(raw).digest()
    start = raw.index(b"MSH")
    end = _SEGMENT_END.search(raw, start)
    stop = end.start() if end else len(raw)
    parts = raw[start:stop].split(header.separator)
    if len(parts) > _MSH_7:
        parts[_MSH_7] = b""
    hashed = hashlib.sha256(raw[:start] + header.separator.join(parts))
    hashed.update(memoryview(raw)[stop:])
    return hashed.digest()


def split_messages(payload: bytes) -> list[bytes]:
    """Return the messages in one frame, in order: several MSH, with or without a batch envelope (FHS, BHS, BTS, FTS).

    HL7 v2.9 §2.10.3. A frame with one MSH is returned as it came.
    """
    if payload.count(b"MSH") <= 1 and not payload.lstrip().startswith(_BATCH_SEGMENTS):
        return [payload]
    found = list(re.finditer(rb"(?:\A|(?<=[\r\n]))MSH(?=[^A-Za-z0-9\r\n])", payload))
    if not found:
        return [payload]
    bounds = [match.start() for match in found] + [len(payload)]
    messages = [payload[start:stop] for start, stop in itertools.pairwise(bounds)]
    return [_without_trailer(message) for message in messages]


def _without_trailer(message: bytes) -> bytes:
    """Cut batch segments after the message: the trailers BTS and FTS, and the header of a following batch."""
    found = re.search(rb"[\r\n](?=(?:BTS|FTS|BHS|FHS)[^A-Za-z0-9])", message)
    return message[: found.start() + 1] if found else message
