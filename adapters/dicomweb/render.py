"""Renders one frame for people: modality LUT, window, PNG or JPEG; foreign codecs run in a child that may die.

PS3.18 §8.3.5 (rendered resources) and PS3.3 C.11.2.1.2 (window):
https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_8.3.5.html
"""

import asyncio
import io
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from adapters.dicomweb import dicomjson
from adapters.dicomweb.frames import Layout
from fhir_server.kernel.errors import InvalidRequest, NotAcceptable, Unavailable

_max_pixels = 64 * 1024 * 1024
_child_memory_bytes = 2 * 1024**3
_child_seconds = 20
_colour = 3


@dataclass(frozen=True, slots=True)
class Look:
    """How a frame shall look: window (centre, width) or the header's, media type, JPEG quality, largest side."""

    window: tuple[float, float] | None = None
    kind: str = "image/jpeg"
    quality: int = 90
    viewport: tuple[int, int] | None = None


@dataclass(slots=True)
class Renderer:
    """Owns the child process; create one per server, close it at the end."""

    _pool: ProcessPoolExecutor | None = field(default=None)

    async def render(self, frame: bytes, dataset: dict[str, Any], transfer_syntax: str, look: Look) -> bytes:
        """Return the image file. Raises NotAcceptable when the frame cannot be decoded here."""
        layout = Layout.of(dataset)
        if layout is None or layout.rows * layout.columns * layout.samples > _max_pixels:
            raise NotAcceptable("The image has no size that can be rendered.")
        if transfer_syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"):
            return await asyncio.to_thread(_native, frame, dataset, layout, look)
        return await self._in_child(frame, dataset, transfer_syntax, look)

    async def _in_child(self, frame: bytes, dataset: dict[str, Any], transfer_syntax: str, look: Look) -> bytes:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1, mp_context=multiprocessing.get_context("spawn"), initializer=_confine, max_tasks_per_child=200
            )
        job = self._pool.submit(_encoded, frame, dataset, transfer_syntax, look)
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(job), _child_seconds)
        except (BrokenProcessPool, MemoryError) as error:
            self.close()
            raise NotAcceptable("The frame could not be decoded; retrieve the instance.") from error
        except TimeoutError as error:
            self.close()
            raise Unavailable("Decoding the frame took too long.") from error
        if answer is None:
            raise NotAcceptable("This transfer syntax cannot be rendered; retrieve the instance.")
        return answer

    def close(self) -> None:
        """End the child, even one that hangs."""
        pool, self._pool = self._pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):  # noqa: SLF001 - the pool offers no kill
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)


def _confine() -> None:
    """Runs in the child: bounded memory, no core files, no new files."""
    resource.setrlimit(resource.RLIMIT_AS, (_child_memory_bytes, _child_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _encoded(frame: bytes, dataset: dict[str, Any], transfer_syntax: str, look: Look) -> bytes | None:
    """Runs in the child: decode one encoded frame; None when no decoder here can."""
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


def _native(frame: bytes, dataset: dict[str, Any], layout: Layout, look: Look) -> bytes:
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
    if layout.samples == 1 and dicomjson.value(dataset, "00280103", 0) == 1:
        spare = layout.bits_allocated - int(dicomjson.value(dataset, "00280101", layout.bits_allocated))
        signed = shaped.astype(f"<i{layout.bits_allocated // 8}")
        shaped = (signed << spare) >> spare if 0 < spare < layout.bits_allocated else signed
    return _file(_shade(shaped, dataset, look), look)


def _shade(pixels: NDArray[Any], dataset: dict[str, Any], look: Look) -> NDArray[np.uint8]:
    if pixels.ndim == _colour:
        if dicomjson.text(dataset, "00280004") not in ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"):
            raise NotAcceptable("This colour format cannot be rendered; retrieve the instance.")
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


def parse_look(query: dict[str, str], kind: str) -> Look:
    """Return the look asked for by ``window``, ``quality`` and ``viewport``. Raises InvalidRequest."""
    unknown = set(query) - {"window", "quality", "viewport", "accept"}
    if unknown:
        raise InvalidRequest(f"Unknown parameter '{min(unknown)}'. Known are window, quality, viewport and accept.")
    window = viewport = None
    if "window" in query:
        words = query["window"].removesuffix(",linear").split(",")
        centre, width = _numbers(words, 2, "window=40,400,linear", -1e6, 1e6)
        window = (centre, max(width, 1))
    if "viewport" in query:
        across, down = _numbers(query["viewport"].split(","), 2, "viewport=512,512", 1, 8192)
        viewport = (int(across), int(down))
    (quality,) = _numbers([query.get("quality", "90")], 1, "quality=90", 1, 100)
    return Look(window, kind, int(quality), viewport)


def _numbers(words: list[str], count: int, example: str, low: float, high: float) -> list[float]:
    try:
        found = [float(word) for word in words]
    except ValueError:
        found = []
    if len(found) != count or not all(low <= number <= high for number in found):
        raise InvalidRequest(f"A parameter is malformed; write it like {example}.")
    return found
