"""Writes a header as DICOM JSON; a value that breaks its VR is kept as text instead of refusing the object.

PS3.18 Annex F: https://dicom.nema.org/medical/dicom/current/output/chtml/part18/chapter_F.html
"""

import base64
import math
import re
import struct
import threading
import warnings
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from adapters.dicomweb.part10 import Element, Header

_inline_bytes = 1024
_charset_tag = 0x00080005
_binary = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_numbers = {
    "FD": ("d", 8), "FL": ("f", 4), "SL": ("i", 4), "SS": ("h", 2),
    "SV": ("q", 8), "UL": ("I", 4), "US": ("H", 2), "UV": ("Q", 8),
}  # fmt: skip
_unsplit = frozenset({"ST", "LT", "UT", "UR"})
_localised = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})
_decimal = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_groups = ("Alphabetic", "Ideographic", "Phonetic")
_quiet = threading.Lock()


def to_json(header: Header) -> dict[str, Any]:
    """Return the DICOM JSON object of a header: bulk data left out, short binary values inline."""
    return _dataset(header.elements, ["ascii"], ">" if header.big_endian else "<")


def _dataset(elements: Iterable[Element], charsets: list[str], order: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for element in elements:
        if element.tag & 0xFFFF == 0:  # group lengths are retired
            continue
        if element.tag == _charset_tag:
            charsets = _charsets(element.value)
        found[f"{element.tag:08X}"] = _attribute(element, charsets, order)
    return found


def _attribute(element: Element, charsets: list[str], order: str) -> dict[str, Any]:
    vr = element.vr
    if vr == "SQ":
        values: list[Any] = [_dataset(item, charsets, order) for item in element.items]
    elif vr in _binary:
        if 0 < len(element.value) <= _inline_bytes:
            return {"vr": vr, "InlineBinary": base64.b64encode(element.value).decode()}
        values = []
    elif vr in _numbers:
        values = _unpack(element.value, vr, order)
    elif vr == "AT":
        pairs = struct.iter_unpack(f"{order}HH", element.value[: len(element.value) // 4 * 4])
        values = [f"{group:04X}{number:04X}" for group, number in pairs]
    else:
        values = _texts(element, charsets)
    return {"vr": vr, "Value": values} if any(item is not None for item in values) else {"vr": vr}


def _unpack(value: bytes, vr: str, order: str) -> list[Any]:
    code, size = _numbers[vr]
    numbers = [number for (number,) in struct.iter_unpack(order + code, value[: len(value) // size * size])]
    return [None if isinstance(number, float) and not math.isfinite(number) else number for number in numbers]


def _texts(element: Element, charsets: list[str]) -> list[Any]:
    vr = element.vr
    raw = element.value.rstrip(b"\0 ")
    if not raw:
        return []
    text = _decode(raw, charsets, vr) if vr in _localised else raw.decode("ascii", "backslashreplace")
    if vr in _unsplit:
        return [text]
    return [_typed(vr, part.strip(" \0") if vr != "PN" else part) for part in text.split("\\")]


def _typed(vr: str, text: str) -> Any:
    if not text:
        return None
    if vr == "PN":
        parts = {name: group.rstrip(" ^") for name, group in zip(_groups, text.split("="), strict=False)}
        return {name: group for name, group in parts.items() if group} or None
    if vr == "IS" and re.fullmatch(r"[+-]?\d{1,12}", text):
        return int(text)
    if vr == "DS" and _decimal.fullmatch(text):
        try:
            return Decimal(text)
        except InvalidOperation:
            return text
    return text


def _charsets(value: bytes) -> list[str]:
    from pydicom.charset import convert_encodings, python_encoding  # noqa: PLC0415 - pydicom takes half a second to load, which the server's start need not wait for

    names = [name.strip() for name in value.decode("ascii", "replace").strip("\0 ").split("\\")]
    known = [name for name in names if name in python_encoding]
    if not known:
        return ["utf-8"]
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unusual charset is not an error, and pydicom only warns
        return list(convert_encodings(known))


def _decode(raw: bytes, charsets: list[str], vr: str) -> str:
    """Decode by the data set's charset, else UTF-8, else Latin-1: a wrong charset never loses the object."""
    if len(charsets) == 1 and b"\x1b" not in raw:
        for codec in (charsets[0], "utf-8"):
            try:
                return raw.decode(codec)
            except (UnicodeDecodeError, LookupError):
                continue
        return raw.decode("latin-1")
    from pydicom.charset import decode_bytes  # noqa: PLC0415 - as above

    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        delimiters = {0x5E, 0x3D, 0x5C} if vr == "PN" else {0x5C, 0x0A, 0x0C, 0x0D}
        return decode_bytes(raw, charsets, delimiters)


def value(dataset: dict[str, Any], tag: str, default: Any = None) -> Any:
    """Return the first value of a tag such as ``"0020000D"``, or ``default``."""
    values = dataset.get(tag, {}).get("Value") or []
    return default if not values or values[0] is None else values[0]


def text(dataset: dict[str, Any], tag: str) -> str:
    """Return the first value as text, the alphabetic group of a person name; empty when there is none."""
    found = value(dataset, tag, "")
    if isinstance(found, dict):
        return str(found.get("Alphabetic", ""))
    return str(found)
