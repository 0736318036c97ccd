"""How a rendered frame shall look, as asked for in the URL.

PS3.18 §8.3.5 (rendered resources): https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_8.3.5.html
"""

from dataclasses import dataclass

from fhir_server.kernel.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Look:
    """How a frame shall look: window (centre, width) or the header's, media type, JPEG quality, largest side."""

    window: tuple[float, float] | None = None
    kind: str = "image/jpeg"
    quality: int = 90
    viewport: tuple[int, int] | None = None


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
