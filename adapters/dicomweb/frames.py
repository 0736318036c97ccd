"""Where each frame of an instance lies in its file, so that a frame is one read and never the whole object.

PS3.5 A.4 (encapsulated pixel data, Basic Offset Table) and PS3.18 §8.7.3 (media types of frames):
https://dicom.nema.org/medical/dicom/current/output/chtml/part05/sect_A.4.html
"""

import struct
from dataclasses import dataclass
from typing import Any

from adapters.dicomweb import dicomjson
from adapters.dicomweb.part10 import EXPLICIT_BIG, Pixels
from fhir_server.kernel import json
from fhir_server.kernel.errors import NotAcceptable, NotFound
from fhir_server.store.imaging import StoredInstance

Span = tuple[int, int]

_media_types = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """What the header says about the shape of the pixels."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    frames: int

    @classmethod
    def of(cls, dataset: dict[str, Any]) -> "Layout | None":
        """Return the layout, None when the instance has no image or says nonsense."""
        tags = ("00280010", "00280011", "00280002", "00280100", "00280008")
        found = [dicomjson.value(dataset, tag, 1 if tag == "00280008" else 0) for tag in tags]
        return cls(*found) if all(isinstance(number, int) and number > 0 for number in found) else None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame; 0 when frames do not begin at whole bytes."""
        bits = self.rows * self.columns * self.samples * self.bits_allocated
        return 0 if bits % 8 else bits // 8


def media_type(transfer_syntax: str) -> str:
    """Return the media type of one frame."""
    return _media_types.get(transfer_syntax, "application/octet-stream")


def frame_table(pixels: Pixels, frames: Any) -> list[list[Span]]:
    """Return the fragments of every encoded frame; empty for native pixels or when they cannot be told apart."""
    fragments = list(pixels.fragments)
    if not fragments or not isinstance(frames, int) or frames < 1:
        return []
    if frames == 1:
        return [fragments]
    if len(fragments) == frames:
        return [[fragment] for fragment in fragments]
    return _by_offset_table(fragments, pixels.offset_table, frames)


def _by_offset_table(fragments: list[Span], table: bytes, frames: int) -> list[list[Span]]:
    if len(table) != frames * 4:
        return []
    first = fragments[0][0] - 8
    starts = {first + offset for (offset,) in struct.iter_unpack("<I", table)}
    found: list[list[Span]] = []
    for fragment in fragments:
        if fragment[0] - 8 in starts:
            found.append([])
        if not found:
            return []
        found[-1].append(fragment)
    return found if len(found) == frames else []


def spans(instance: StoredInstance, dataset: dict[str, Any], number: int) -> list[Span]:
    """Return where frame ``number`` (from 1) lies. Raises NotFound, or NotAcceptable when it cannot be cut out."""
    if instance.frames:
        table = json.decode(instance.frames)
        if not 1 <= number <= len(table):
            raise NotFound("The instance has no such frame.")
        return [(offset, length) for offset, length in table[number - 1]]
    layout = Layout.of(dataset)
    if layout is None or (instance.pixel_offset is None and instance.transfer_syntax != "1.2.840.10008.1.2.1.99"):
        raise NotFound("The instance has no image.")
    if not 1 <= number <= layout.frames:
        raise NotFound("The instance has no such frame.")
    start = instance.pixel_offset
    if start is None or instance.transfer_syntax == EXPLICIT_BIG or media_type(instance.transfer_syntax)[:5] == "image":
        raise NotAcceptable("Frames of this transfer syntax cannot be taken out singly; retrieve the instance.")
    size = layout.frame_bytes
    if size == 0 or start + number * size > instance.size:
        raise NotAcceptable("The frames of this instance cannot be told apart; retrieve the instance.")
    return [(start + (number - 1) * size, size)]
