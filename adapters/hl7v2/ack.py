"""The one builder of acknowledgements, on bytes: delimiters, charset and names are the sender's own.

HL7 v2.9 §2.9 (processing rules), §2.14.8 (MSA), §2.14.5 (ERR): http://www.hl7.eu/HL7v2x/v29/std29/ch02.html#Heading37
Codes of table 0357: http://terminology.hl7.org/CodeSystem/v2-0357
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.hl7v2.header import Header

CONDITIONS = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}
"""Table 0357, message error condition codes."""

_FALLBACK = Header(b"|", rb"^~\&", (b"MSH", b"|", rb"^~\&"))
_OUR_APPLICATION = b"KONSIL"
_MAX_CONTROL_ID = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """What ERR says: a code of table 0357, a location such as ``PID^1^3``, a text without patient data."""

    code: str
    text: str
    location: str = ""


def control_id() -> str:
    """Return a new MSH-10: 20 characters, the longest every version allows."""
    return secrets.token_hex(_MAX_CONTROL_ID // 2)


def acknowledge(header: Header | None, code: str, fault: Fault | None = None, *, id: str = "") -> bytes:
    """Return the acknowledgement ``code`` (AA AE AR CA CE CR) of the message with this header, without framing.

    MSH-3 to 6 are swapped with all their components; MSH-11, 12 and 18 are echoed; MSA-2 is their MSH-10 as it came.
    With ``id``, its MSH-10, it is a message of its own on another connection, to be commit-acknowledged (MSH-15 AL).
    """
    asked = header or _FALLBACK
    segments = [_msh(asked, id), _msa(asked, code, fault)]
    if fault is not None:
        segments.append(_err(asked, fault))
    return b"".join(segment.rstrip(asked.separator) + b"\r" for segment in segments)


def _msh(asked: Header, id: str) -> bytes:
    fields = [b""] * 19
    fields[0], fields[2] = b"MSH", asked.separators
    fields[3], fields[4] = asked.field(5) or _OUR_APPLICATION, asked.field(6)
    fields[5], fields[6] = asked.field(3), asked.field(4)
    fields[7] = datetime.now(UTC).strftime("%Y%m%d%H%M%S%z").encode()
    event = asked.event.encode()
    fields[9] = asked.separators[:1].join((b"ACK", event, b"ACK")) if event else b"ACK"
    fields[10] = (id or control_id()).encode()
    fields[15], fields[16] = (b"AL", b"NE") if id else (b"", b"")
    fields[11], fields[12] = asked.field(11) or b"P", asked.field(12) or b"2.5.1"
    fields[18] = asked.field(18)
    return asked.separator.join([fields[0], *fields[2:]])


def _msa(asked: Header, code: str, fault: Fault | None) -> bytes:
    text = _escape(asked, fault.text) if fault and asked.text(12) < "2.7" else b""
    return asked.separator.join((b"MSA", code.encode(), asked.field(10), text))


def _err(asked: Header, fault: Fault) -> bytes:
    component = asked.separators[:1]
    location = component.join(_escape(asked, part) for part in fault.location.split("^"))
    condition = component.join((fault.code.encode(), CONDITIONS.get(fault.code, "").encode(), b"HL70357"))
    return asked.separator.join(
        (b"ERR", b"", location, condition, b"E", b"", b"", b"", _escape(asked, fault.text)),
    )


def _escape(asked: Header, text: str) -> bytes:
    """Return ``text`` as ASCII with the sender's delimiters escaped and control characters gone."""
    delimiters = asked.separator + asked.separators[:4]
    escape = asked.separators[2:3]
    names = dict(zip(delimiters, b"FSRET", strict=False))
    written = bytearray()
    for byte in text.encode("ascii", "replace"):
        if byte in names:
            written += escape + bytes((names[byte],)) + escape if escape else b" "
        else:
            written.append(max(byte, ord(" ")))
    return bytes(written)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a receiver answered: MSA-1, MSA-2, and the first ERR or MSA-3 text."""

    code: str
    control_id: str
    text: str

    @classmethod
    def parse(cls, raw: bytes) -> "Acknowledgement | None":
        """Return what is in an ACK, or None when it has no MSA."""
        header = Header.parse(raw)
        if header is None:
            return None
        segments = [line.split(header.separator) for line in raw.replace(b"\n", b"\r").split(b"\r")]
        found = next((segment for segment in segments if segment[0] == b"MSA"), None)
        if found is None:
            return None
        error = next((segment for segment in segments if segment[0] == b"ERR"), [])
        words = [*found[1:4], *([b""] * 3)]
        detail = b" ".join(part for part in (words[2], *error[1:]) if part)
        return cls(*(word.decode("utf-8", "replace").strip() for word in (words[0], words[1], detail)))
