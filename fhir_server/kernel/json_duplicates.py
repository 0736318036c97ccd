"""Find a name that occurs twice in one JSON object: most parsers keep one of the two, and not all the same one.

https://hl7.org/fhir/R4/json.html ("property names SHALL be unique within an object") and
https://datatracker.ietf.org/doc/html/rfc8259#section-4

A duplicate that was dropped took its colon along. So the colons of the body are counted against those of the decoded
value written out again, which costs a fraction of the decoding; only where they differ is the body walked.
"""

import re
from typing import NamedTuple

import msgspec

_escaped_colon = re.compile(rb"(?<!\\)(?:\\\\)*\\u003[aA]")
_tokens = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],]')
_colon = re.compile(rb"\s*:")
_opening = b"{["
_closing = b"}]"


class Duplicate(NamedTuple):
    """The second occurrence of a name: the name as it is written, and its line and column, from 1."""

    name: str
    line: int
    column: int


def may_have_duplicates(body: bytes, written: bytes) -> bool:
    """Tell whether names were lost between a valid body and what was decoded from it, ``written`` again."""
    colons = body.count(b":")
    if b"\\u003" in body:
        colons += sum(1 for _ in _escaped_colon.finditer(body))
    return colons != written.count(b":")


def find_duplicate(body: bytes) -> Duplicate | None:
    """Return the first name of a valid JSON body that its object has already, None if there is none."""
    objects: list[set[bytes] | None] = []
    for token in _tokens.finditer(body):
        text = token[0]
        if text in _opening:
            objects.append(set() if text == b"{" else None)
        elif text in _closing:
            objects.pop()
        elif text != b"," and objects and (names := objects[-1]) is not None and _colon.match(body, token.end()):
            name = _unescaped(text)
            if name in names:
                return _placed(body, name, token.start())
            names.add(name)
    return None


def _unescaped(text: bytes) -> bytes:
    """Return the name in a JSON string, its escapes resolved."""
    return text[1:-1] if b"\\" not in text else msgspec.json.decode(text, type=str).encode()


def _placed(body: bytes, name: bytes, at: int) -> Duplicate:
    start_of_line = body.rfind(b"\n", 0, at) + 1
    return Duplicate(name.decode(), body.count(b"\n", 0, at) + 1, at - start_of_line + 1)
