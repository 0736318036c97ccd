"""Embedded documents: OBX-5 as ED or RP, checked piece by piece so that a large one is never held twice.

HL7 v2.9 §2A.3.26 (ED), §2A.3.72 (RP); https://hl7.org/fhir/R4/datatypes.html#Attachment
"""

import base64
import binascii
import re
from typing import Any

from mappings.engine.context import Context
from mappings.engine.errors import ValueFault
from mappings.engine.protocol import Segment
from mappings.engine.source import split

ENCAPSULATED = ("ED", "RP")
_chunk = 1 << 20
_blank = re.compile(r"\s+|\\\.br\\|\\X0[DdAa](?:0[Aa])?\\")
_types = {
    "PDF": "application/pdf", "RTF": "application/rtf", "HTML": "text/html", "XML": "application/xml",
    "JPEG": "image/jpeg", "JPG": "image/jpeg", "PNG": "image/png", "TIFF": "image/tiff", "TIF": "image/tiff",
    "GIF": "image/gif", "PLAIN": "text/plain", "TXT": "text/plain", "DICOM": "application/dicom",
}  # fmt: skip
_mime = re.compile(r"[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+")


def obx_attachment(segment: Segment, context: Context) -> dict[str, Any] | None:
    """ED → Attachment with ``data``; RP → Attachment with ``url``. Raises ValueFault (102) on undecodable base64."""
    raw = segment.field(5)
    parts = raw.split(context.component) if context.component else [raw]
    title = _title(segment, context)
    if context.plain(segment.field(2)) == "RP":
        pointer = context.plain(parts[0].split(context.subcomponent)[0] if context.subcomponent else parts[0])
        if not pointer:
            return None
        shown = {"contentType": media_type(parts[1:3], context, b""), "url": pointer.replace(" ", "%20")}
        return {**shown, **title}
    parts += [""] * (5 - len(parts))
    data = _clean(parts[4])
    if not data:
        return None
    where = f"OBX^{segment.position}^5^1^5"
    encoding = context.plain(parts[3]).upper()
    if encoding in ("A", ""):
        data = base64.b64encode(context.unescape(parts[4]).encode()).decode()
    elif encoding == "HEX":
        data = _from_hex(data, where)
    else:
        check_base64(data, where)
    head = binascii.a2b_base64(data[:64])
    return {"contentType": media_type(parts[1:3], context, head), "data": data, **title}


def _title(segment: Segment, context: Context) -> dict[str, str]:
    parts = split(segment.field(3), context.component)
    text = context.plain(parts[1]) if len(parts) > 1 else ""
    return {"title": text} if text else {}


def _clean(text: str) -> str:
    """Take line breaks out of base64, only where there are any."""
    if "\\" in text or "\n" in text or " " in text or "\t" in text:
        return _blank.sub("", text)
    return text


def _from_hex(data: str, where: str) -> str:
    try:
        return base64.b64encode(bytes.fromhex(data)).decode()
    except ValueError as error:
        raise ValueFault("embedded data is not valid hexadecimal", location=where) from error


def check_base64(data: str, where: str) -> None:
    """Decode piece by piece, keeping nothing. Raises ValueFault (102) where it is not base64."""
    if len(data) % 4:
        raise ValueFault("embedded data is not valid base64", location=where)
    try:
        for start in range(0, len(data), _chunk):
            piece = data[start : start + _chunk]
            if "=" in piece and start + _chunk < len(data):
                raise ValueFault("embedded data is not valid base64", location=where)
            binascii.a2b_base64(piece, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise ValueFault("embedded data is not valid base64", location=where) from error


def media_type(named: list[str], context: Context, head: bytes) -> str:
    """Return the content type: what the bytes say (``%PDF``) beats what ED-2 and ED-3 say."""
    if head.startswith(b"%PDF"):
        return "application/pdf"
    main, sub = ([context.plain(part) for part in named] + ["", ""])[:2]
    for text in (sub, main):
        if text.upper() in _types:
            return _types[text.upper()]
        if _mime.fullmatch(text):
            return text.lower()
    joined = f"{main}/{sub}".lower()
    whole = {"application", "text", "image", "audio", "video"}
    if main.lower() in whole and sub and _mime.fullmatch(joined):
        return joined
    return "text/plain" if main.upper() == "TEXT" else "application/octet-stream"


def _embedded(segment: Segment, context: Context) -> dict[str, Any]:
    """Return the Attachment of an OBX, made once per run."""
    known = context.memo.get(segment)
    if known is None:
        context.memo[segment] = known = obx_attachment(segment, context) or {}
    return known


def _content_type(segment: Segment, context: Context) -> str | None:
    return _embedded(segment, context).get("contentType")


def _data(segment: Segment, context: Context) -> str | None:
    return _embedded(segment, context).get("data")


def _pointer(segment: Segment, context: Context) -> dict[str, Any] | None:
    """Attachment of an RP, or the title of an ED whose Binary gives it the rest."""
    if context.plain(segment.field(2)) == "RP":
        return obx_attachment(segment, context)
    return _title(segment, context) or None


FRAMES: dict[str, Any] = {
    "attachment.contentType": _content_type,
    "attachment.data": _data,
    "attachment.pointer": _pointer,
}
