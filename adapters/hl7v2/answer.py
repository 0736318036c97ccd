"""How an accepted message is answered: most by an ACK, a referral by its own response message.

REF^I12 to I15 are answered by RRI of the same event (HL7 v2.9 §11.5.1), which repeats the referral, its providers and
its patient with RF1-1 "pending": whether the case is taken is decided later.
"""

from collections.abc import Iterator
from itertools import takewhile

from adapters.hl7v2.ack import acknowledge
from adapters.hl7v2.header import Header

_REPEATED = (b"RF1", b"PRD", b"CTD", b"PID")
_PENDING = (b"P", b"Pending", b"HL70283")
_EVENTS = ("I12", "I13", "I14", "I15")


def accepted(header: Header, raw: bytes, *, id: str = "") -> bytes:
    """Return the answer AA to a message; with ``id`` it is a message of its own, as ``acknowledge`` makes it."""
    answer = acknowledge(header, "AA", id=id)
    if header.text(9) != "REF" or header.event not in _EVENTS:
        return answer
    component, event = header.separators[:1], header.event.encode()
    acknowledged = header.separator + component.join((b"ACK", event, b"ACK")) + header.separator
    response = header.separator + component.join((b"RRI", event, b"RRI_I12")) + header.separator
    return answer.replace(acknowledged, response, 1) + b"".join(_repeated(header, raw))


def _repeated(header: Header, raw: bytes) -> Iterator[bytes]:
    """Yield RF1 with its new status, the providers and the patient, as the message has them up to what follows PID."""
    lines = raw.replace(b"\r\n", b"\r").replace(b"\n", b"\r").split(b"\r")
    names = [line[:3] for line in lines]
    end = names.index(b"PID") + 1 if b"PID" in names else 0
    for line in takewhile(bool, lines[:end]):
        if line[:3] in _REPEATED:
            yield (_pending(header, line) if line.startswith(b"RF1") else line) + b"\r"


def _pending(header: Header, line: bytes) -> bytes:
    fields = line.split(header.separator)
    return header.separator.join([fields[0], header.separators[:1].join(_PENDING), *fields[2:]])
