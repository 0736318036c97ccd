"""Reads the header of a DICOM file within limits: structure only, no pixel is touched, nothing is guessed.

A small scanner of our own, because the file comes from outside: every length is checked against the bytes that are
there, depth and number of elements are bounded, a deflated data set may only grow so far.
PS3.10 §7 and PS3.5 §7: https://dicom.nema.org/medical/dicom/current/output/chtml/part10/chapter_7.html
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = (IMPLICIT_LITTLE, "1.2.840.10008.1.2.1", DEFLATED, EXPLICIT_BIG)

_uid = re.compile(r"[0-9]+(\.[0-9]+)*")
_long_form = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_short_form = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT"}
    | {b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)
_undefined = 0xFFFFFFFF
_item, _item_end, _sequence_end = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_pixels = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


class InvalidDicom(ValueError):
    """Not a DICOM file, or one that breaks a limit; ``reason`` is a short code without patient data."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The DICOM object cannot be read: {reason}.")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one header may cost."""

    elements: int = 100_000
    depth: int = 32
    inflated_bytes: int = 64 * 1024 * 1024
    value_bytes: int = 16 * 1024 * 1024
    total_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Element:
    """One data element: its bytes, or its items when it is a sequence."""

    tag: int
    vr: str
    value: bytes = b""
    items: tuple[tuple["Element", ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Pixels:
    """Where PixelData lies in the data set: one native value, or the fragments of an encapsulated one."""

    offset: int
    length: int
    fragments: tuple[tuple[int, int], ...] = ()
    offset_table: bytes = b""


@dataclass(frozen=True, slots=True)
class Header:
    """The elements before PixelData, in order. ``big_endian`` tells how their numbers are written."""

    transfer_syntax: str
    media_sop_class: str
    media_sop_instance: str
    elements: tuple[Element, ...]
    pixels: Pixels | None
    big_endian: bool


def is_uid(text: str) -> bool:
    """Tell whether ``text`` is a UID (PS3.5 §9.1, leading zeros forgiven): digits and points, 64 at most."""
    return len(text) <= 64 and bool(_uid.fullmatch(text))  # noqa: PLR2004 - the standard's figure


def read_header(data: memoryview, limits: Limits | None = None) -> Header:
    """Return the header of the DICOM file in ``data``. Raises InvalidDicom."""
    limits = limits or Limits()
    if len(data) < 132 or bytes(data[128:132]) != b"DICM":  # noqa: PLR2004 - preamble and magic, PS3.10 §7.1
        raise InvalidDicom("no-dicm-prefix")
    meta, start = _read_meta(data, limits)
    syntax = _text(meta, 0x00020010)
    if not is_uid(syntax):
        raise InvalidDicom("transfer-syntax-missing")
    body = data[start:]
    if syntax == DEFLATED:
        body, start = memoryview(_inflate(body, limits.inflated_bytes)), 0
    scanner = _Scanner(body, limits, explicit=syntax != IMPLICIT_LITTLE, big_endian=syntax == EXPLICIT_BIG, base=start)
    elements = tuple(scanner.elements(0, len(body), 0))
    return Header(
        transfer_syntax=syntax,
        media_sop_class=_text(meta, 0x00020002),
        media_sop_instance=_text(meta, 0x00020003),
        elements=elements,
        pixels=scanner.pixels,
        big_endian=scanner.big_endian,
    )


def _read_meta(data: memoryview, limits: Limits) -> tuple[dict[int, bytes], int]:
    scanner = _Scanner(data, limits, explicit=True, big_endian=False, base=0)
    found: dict[int, bytes] = {}
    at = 132
    while at + 8 <= len(data) and bytes(data[at : at + 2]) == b"\x02\x00":
        tag, _, length, value = scanner.element_head(at)
        if length == _undefined:
            raise InvalidDicom("undefined-length-in-meta")
        at = scanner.checked(value, length, len(data))
        found[tag] = bytes(data[value:at])
        scanner.count()
    return found, at


def _text(meta: dict[int, bytes], tag: int) -> str:
    return meta.get(tag, b"").rstrip(b"\0 ").decode("ascii", "replace")


def _inflate(data: memoryview, limit: int) -> bytes:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        out = engine.decompress(data, limit + 1)
    except zlib.error as error:
        raise InvalidDicom("deflate-broken") from error
    if len(out) > limit:
        raise InvalidDicom("deflate-bomb")
    if not engine.eof:
        raise InvalidDicom("truncated")
    return out


@dataclass(slots=True)
class _Scanner:
    """Walks elements. ``base`` is added to positions that leave the scanner (where pixels lie in the file)."""

    data: memoryview
    limits: Limits
    explicit: bool
    big_endian: bool
    base: int
    seen: int = 0
    kept: int = 0
    pixels: Pixels | None = None

    def count(self) -> None:
        self.seen += 1
        if self.seen > self.limits.elements:
            raise InvalidDicom("too-many-elements")

    def checked(self, at: int, length: int, end: int) -> int:
        """Return where a value of ``length`` at ``at`` ends. Raises InvalidDicom when the bytes are not there."""
        if at + length > end:
            raise InvalidDicom("truncated")
        return at + length

    def number(self, at: int, size: int) -> int:
        if at + size > len(self.data):
            raise InvalidDicom("truncated")
        return int.from_bytes(self.data[at : at + size], "big" if self.big_endian else "little")

    def tag(self, at: int) -> int:
        return self.number(at, 2) << 16 | self.number(at + 2, 2)

    def element_head(self, at: int) -> tuple[int, str, int, int]:
        """Return tag, VR, length and where the value begins."""
        tag = self.tag(at)
        if not self.explicit:
            return tag, _known_vr(tag), self.number(at + 4, 4), at + 8
        vr = bytes(self.data[at + 4 : at + 6])
        if vr in _long_form:
            return tag, vr.decode(), self.number(at + 8, 4), at + 12
        if vr in _short_form:
            return tag, vr.decode(), self.number(at + 6, 2), at + 8
        raise InvalidDicom("unknown-vr")

    def elements(self, at: int, end: int, depth: int) -> Iterator[Element]:
        """Yield the elements from ``at`` to ``end``, or to PixelData."""
        while at < end:
            head = self.element_head(at)
            if head[0] in _pixels and depth == 0:
                self._find_pixels(*head[1:])
                return
            element, at = self._element(head, end, depth)
            yield element

    def _element(self, head: tuple[int, str, int, int], end: int, depth: int) -> tuple[Element, int]:
        tag, vr, length, value = head
        self.count()
        if length == _undefined or vr == "SQ":
            items, at = self._sequence(value, length, end, depth + 1, implicit=vr == "UN")
            return Element(tag, "SQ", items=items), at
        at = self.checked(value, length, end)
        if vr == "UN" and _known_vr(tag) != "SQ":  # some archives write UN for what they do not know
            vr = _known_vr(tag)
        if length > self.limits.value_bytes:
            return Element(tag, vr), at
        self.kept += length
        if self.kept > self.limits.total_bytes:
            raise InvalidDicom("header-too-large")
        return Element(tag, vr, bytes(self.data[value:at])), at

    def _sequence(
        self, at: int, length: int, end: int, depth: int, *, implicit: bool
    ) -> tuple[tuple[tuple[Element, ...], ...], int]:
        """Read the items of a sequence; an undefined-length UN is written implicit little endian (PS3.5 §6.2.2)."""
        if depth > self.limits.depth:
            raise InvalidDicom("nested-too-deeply")
        stop = end if length == _undefined else self.checked(at, length, end)
        before, self.explicit = self.explicit, self.explicit and not implicit
        items: list[tuple[Element, ...]] = []
        try:
            while at < stop:
                tag, size = self.tag(at), self.number(at + 4, 4)
                at += 8
                if tag == _sequence_end:
                    return tuple(items), at
                if tag != _item:
                    raise InvalidDicom("item-expected")
                self.count()
                item, at = self._read_item(at, size, stop, depth)
                items.append(item)
        finally:
            self.explicit = before
        if length == _undefined:
            raise InvalidDicom("truncated")
        return tuple(items), at

    def _read_item(self, at: int, size: int, stop: int, depth: int) -> tuple[tuple[Element, ...], int]:
        if size != _undefined:
            end = self.checked(at, size, stop)
            return tuple(self.elements(at, end, depth)), end
        found: list[Element] = []
        while at < stop:
            if self.tag(at) == _item_end:
                return tuple(found), at + 8
            element, at = self._element(self.element_head(at), stop, depth)
            found.append(element)
        raise InvalidDicom("truncated")

    def _find_pixels(self, vr: str, length: int, value: int) -> None:
        if length != _undefined:
            self.checked(value, length, len(self.data))
            self.pixels = Pixels(self.base + value, length)
            return
        if vr not in ("OB", "OW", "UN"):
            raise InvalidDicom("pixel-data-vr")
        fragments, at = [], value
        while True:
            self.count()
            tag, size = self.tag(at), self.number(at + 4, 4)
            if tag == _sequence_end:
                break
            if tag != _item or size == _undefined:
                raise InvalidDicom("item-expected")
            fragments.append((self.base + at + 8, size))
            at = self.checked(at + 8, size, len(self.data))
        table = bytes(self.data[value + 8 : value + 8 + fragments[0][1]]) if fragments else b""
        self.pixels = Pixels(self.base + value, at - value, tuple(fragments[1:]), table)


def _known_vr(tag: int) -> str:
    from pydicom.datadict import dictionary_VR  # noqa: PLC0415 - slow to load, and only implicit VR asks

    group, element = tag >> 16, tag & 0xFFFF
    if element == 0:
        return "UL"
    if group % 2:
        return "LO" if 0x10 <= element <= 0xFF else "UN"  # noqa: PLR2004 - private creators, PS3.5 §7.8.1
    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return "UN"
