"""Pixels to pictures: modality LUT, window, PNG or JPEG. Loaded when first needed: numpy and the codecs take long.

PS3.3 C.11.2.1.2 (window): https://dicom.nema.org/medical/dicom/current/output/chtml/part03/sect_C.11.2.html
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import UID

from adapters.dicomweb import dicomjson
from adapters.dicomweb.frames import Layout
from adapters.dicomweb.look import Look
from fhir_server.kernel.errors import NotAcceptable

_colour = 3


def encoded(frame: bytes, dataset: dict[str, Any], transfer_syntax: str, look: Look) -> bytes | None:
    """Return the image file of one encoded frame, None when no decoder here can read it; runs in the child."""
    layout = Layout.of(dataset)
    if layout is None:
        return None
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": layout.samples,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": dicomjson.value(dataset, "00280101", layout.bits_allocated),
        "number_of_frames": 1,
        "pixel_representation": dicomjson.value(dataset, "00280103", 0),
        "photometric_interpretation": dicomjson.text(dataset, "00280004"),
        "planar_configuration": dicomjson.value(dataset, "00280006", 0),
        "pixel_keyword": "PixelData",
    }
    try:
        decoder = get_decoder(UID(transfer_syntax))
        pixels, _ = decoder.as_array(encapsulate([frame]), index=0, **options)
    except (ValueError, TypeError, NotImplementedError, RuntimeError, AttributeError, OSError, IndexError):
        return None
    return _file(_shade(pixels, dataset, look), look)


def native(frame: bytes, dataset: dict[str, Any], layout: Layout, look: Look) -> bytes:
    """Return the image file of one frame that is not encoded. Raises NotAcceptable for a format we do not know."""
    depth = {8: "u1", 16: "<u2", 32: "<u4"}.get(layout.bits_allocated)
    if depth is None or len(frame) != layout.frame_bytes or layout.samples not in (1, _colour):
        raise NotAcceptable("This pixel format cannot be rendered; retrieve the instance.")
    pixels: NDArray[Any] = np.frombuffer(frame, depth)
    shaped: NDArray[Any]
    if layout.samples == _colour and dicomjson.value(dataset, "00280006", 0) == 1:
        shaped = pixels.reshape(_colour, layout.rows, layout.columns).transpose(1, 2, 0)
    elif layout.samples == _colour:
        shaped = pixels.reshape(layout.rows, layout.columns, _colour)
    else:
        shaped = pixels.reshape(layout.rows, layout.columns)
    if layout.samples == _colour and dicomjson.text(dataset, "00280004") == "YBR_FULL":
        shaped = convert_color_space(shaped, "YBR_FULL", "RGB")
    if layout.samples == 1 and dicomjson.value(dataset, "00280103", 0) == 1:
        spare = layout.bits_allocated - int(dicomjson.value(dataset, "00280101", layout.bits_allocated))
        signed = shaped.astype(f"<i{layout.bits_allocated // 8}")
        shaped = (signed << spare) >> spare if 0 < spare < layout.bits_allocated else signed
    return _file(_shade(shaped, dataset, look), look)


def _shade(pixels: NDArray[Any], dataset: dict[str, Any], look: Look) -> NDArray[np.uint8]:
    if pixels.ndim == _colour:
        if dicomjson.text(dataset, "00280004") not in ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"):
            raise NotAcceptable("This colour format cannot be rendered; retrieve the instance.")
        if pixels.dtype.itemsize > 1:
            raise NotAcceptable("Colour of more than 8 bits cannot be rendered; retrieve the instance.")
        return pixels.astype(np.uint8)
    if dicomjson.text(dataset, "00280004") == "PALETTE COLOR":
        raise NotAcceptable("Palette colour cannot be rendered; retrieve the instance.")
    slope, intercept = _number(dataset, "00281053", 1), _number(dataset, "00281052", 0)
    values = pixels.astype(np.float32) * slope + intercept
    centre, width = look.window or _window(dataset, values)
    low = centre - 0.5 - (width - 1) / 2
    grey = np.clip((values - low) * (255 / max(width - 1, 1e-6)), 0, 255)
    if dicomjson.text(dataset, "00280004") == "MONOCHROME1":
        grey = 255 - grey
    shaded: NDArray[np.uint8] = grey.astype(np.uint8)
    return shaded


def _window(dataset: dict[str, Any], values: NDArray[np.float32]) -> tuple[float, float]:
    centre, width = _number(dataset, "00281050", 0), _number(dataset, "00281051", 0)
    if width >= 1:
        return centre, width
    low, high = float(values.min()), float(values.max())
    return (low + high) / 2 + 0.5, high - low + 1


def _number(dataset: dict[str, Any], tag: str, default: float) -> float:
    try:
        return float(dicomjson.value(dataset, tag, default))
    except (TypeError, ValueError):
        return default


def _file(pixels: NDArray[np.uint8], look: Look) -> bytes:
    image = Image.fromarray(pixels)
    if look.viewport:
        image.thumbnail(look.viewport)
    target = io.BytesIO()
    if look.kind == "image/png":
        image.save(target, "PNG", compress_level=3)
    else:
        image.save(target, "JPEG", quality=look.quality)
    return target.getvalue()
