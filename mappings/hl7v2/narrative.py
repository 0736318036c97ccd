"""Narrative reports: text lines in order to one presented form, the impression to the conclusion.

Pathology and radiology send prose as TX/FT lines (or ST, where the department writes prose only).
"""

import base64
from pathlib import Path
from typing import Any

from mappings.engine.context import Context
from mappings.engine.protocol import Segment
from mappings.engine.source import split
from mappings.engine.tables import load_tables
from mappings.hl7v2.attachments import ENCAPSULATED
from mappings.hl7v2.results import TEXT, obx_text

_tables = load_tables(Path(__file__).parent / "tables")
_prose_sections = _tables["narrative-sections"].rows
_impressions = _tables["impression-codes"].rows


def report_text(_: Any, context: Context) -> str | None:
    """All narrative lines of the order, in order, with a heading where OBX-3 changes."""
    parts: list[str] = []
    heading = ""
    for segment in _prose(context):
        text = obx_text(segment, context)
        name = _heading(segment, context)
        if name and name != heading:
            parts.append(f"\n{name}\n" if parts else f"{name}\n")
            heading = name
        parts.append(text or "")
    return "\n".join(parts).strip("\n") or None


def report_form(frame: Any, context: Context) -> dict[str, Any] | None:
    """The narrative as Attachment: text/plain, in ``data``."""
    text = report_text(frame, context)
    return _plain_text(text) if text else None


def report_conclusion(_: Any, context: Context) -> str | None:
    """The lines whose OBX-3 is an impression or diagnosis code, or has the suffix ``&IMP``."""
    lines = [obx_text(segment, context) or "" for segment in _prose(context) if _is_impression(segment, context)]
    return "\n".join(lines).strip("\n") or None


def document_form(_: Any, context: Context) -> dict[str, Any] | None:
    """All text OBX of a document message as one Attachment."""
    lines = [
        obx_text(segment, context) or ""
        for segment, _ in context.group.walk("OBX")
        if segment.field(2) not in ENCAPSULATED
    ]
    text = "\n".join(lines).strip("\n")
    return _plain_text(text) if text else None


def _plain_text(text: str) -> dict[str, Any]:
    return {"contentType": "text/plain; charset=utf-8", "data": base64.b64encode(text.encode()).decode()}


def _prose(context: Context) -> list[Segment]:
    segments = [segment for segment, _ in context.group.walk("OBX")]
    order = context.nearest("OBR")
    section = split(order.field(24), context.component)[0].upper() if order else ""
    kinds = (*TEXT, "ST") if section in _prose_sections else TEXT
    return [segment for segment in segments if segment.field(2) in kinds]


def _heading(segment: Segment, context: Context) -> str:
    parts = split(segment.field(3), context.component)
    return context.plain(split(parts[1] if len(parts) > 1 else parts[0], context.subcomponent)[0])


def _is_impression(segment: Segment, context: Context) -> bool:
    parts = split(split(segment.field(3), context.component)[0], context.subcomponent)
    codes = [context.plain(part).upper() for part in parts]
    return any(code in _impressions for code in codes)


FRAMES: dict[str, Any] = {
    "report_form": report_form,
    "report_conclusion": report_conclusion,
    "document_form": document_form,
}
