"""A chest drawn in numbers: contrast-enhanced CT attenuation (HU) on a patient grid, deterministic, in millimetres.

Axes are DICOM's patient axes (PS3.3 C.7.6.2.1.1): +x to the patient's left, +y to the back, +z to the head. ``z`` runs
from 0 (upper abdomen) to 300 (root of the neck). Not a clinical model: a picture that reads as a body.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Points = NDArray[np.float64]

AIR, LUNG, FAT, MUSCLE, BLOOD, LIVER = -1000.0, -865.0, -100.0, 58.0, 215.0, 112.0
FIELD_OF_VIEW_MM = 380.0
HEIGHT_MM = 300.0
NODULE_MM = (-66.0, -12.0, 212.0)


@dataclass(slots=True)
class Canvas:
    """One axial slice being painted: square, ``size`` pixels over the field of view, at height ``z`` mm."""

    size: int
    z: float
    image: Image = field(init=False)
    axis: NDArray[np.float32] = field(init=False)
    pixel: float = field(init=False)

    def __post_init__(self) -> None:
        self.pixel = FIELD_OF_VIEW_MM / self.size
        self.axis = ((np.arange(self.size) - (self.size - 1) / 2) * self.pixel).astype(np.float32)
        self.image = np.full((self.size, self.size), AIR, np.float32)

    def window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Return the (rows, columns) around a point that a shape of this reach can touch."""
        low, high = self.axis[0], self.pixel

        def part(centre: float) -> slice:
            first = int((centre - reach - low) / high)
            return slice(max(first, 0), max(int((centre + reach - low) / high) + 2, 0))

        return part(y), part(x)

    def ellipse(
        self,
        x: float,
        y: float,
        a: float,
        b: float,
        value: float,
        *,
        turn: float = 0,
        power: float = 2,
        soft: float = 1,
    ) -> None:
        """Paint a (super)ellipse of half-axes ``a``, ``b`` mm, turned by ``turn`` radians, edge ``soft`` mm wide."""
        if a <= 0 or b <= 0:
            return
        rows, columns = self.window(x, y, max(a, b) + 2 * soft)
        cover = coverage(
            self.axis[columns] - x,
            (self.axis[rows] - y)[:, None],
            a,
            b,
            turn=turn,
            power=power,
            soft=soft + self.pixel / 2,
        )
        target = self.image[rows, columns]
        target += cover * (value - target)

    def blend(self, cover: Image, value: float | Image) -> None:
        """Paint ``value`` where ``cover`` (0..1, full size) says so."""
        self.image += cover * (value - self.image)


def coverage(x: Image, y: Image, a: float, b: float, *, turn: float = 0, power: float = 2, soft: float = 1) -> Image:
    """Return 0..1: how far each point is inside the (super)ellipse around the origin, blurred over ``soft`` mm."""
    if turn:
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        x, y = x * cos + y * sin, y * cos - x * sin
    squared = np.abs(x / a) ** power + np.abs(y / b) ** power if power != 2 else (x / a) ** 2 + (y / b) ** 2
    scale = min(a, b) / soft / power  # r**p - 1 is p * (r - 1) near the edge, which is all that is seen of it
    cover: Image = np.clip((1 - squared) * np.float32(scale) + np.float32(0.5), 0, 1, dtype=np.float32)
    return cover


def torso(z: float) -> tuple[float, float]:
    """Half-width and half-depth of the body at height z."""
    shoulder = np.clip((z - 225) / 75, 0, 1)
    return float(162 - 6 * np.sin(z / 90) - 82 * shoulder**2.2), float(108 - 21 * shoulder**1.2)


def cavity(z: float) -> tuple[float, float]:
    """Half-width and half-depth of the rib cage's inside at height z: a barrel that closes at the apex."""
    up = np.clip((z - 120) / 155, 0, 1)
    return float(127 * np.sqrt(1 - 0.93 * up**2.6)), float(86 * np.sqrt(1 - 0.85 * up**2.3))


def tube(points: Points, step_mm: float = 1.5) -> Points:
    """Return points every ``step_mm`` along the polyline of rows (x, y, z, radius)."""
    parts = []
    for start, end in pairwise(points):
        count = max(int(np.linalg.norm(end[:3] - start[:3]) / step_mm), 1)
        parts.append(start + (end - start) * np.linspace(0, 1, count, endpoint=False)[:, None])
    return np.concatenate([*parts, points[-1:]])


def bronchial_tree(random: np.random.Generator) -> Points:
    """Return balls (x, y, z, radius) of the lung vessels: two trees that fork away from the hila."""
    found: list[Points] = []
    for side in (-1.0, 1.0):
        hilum = np.array([side * 42, 4, 158.0])
        for _ in range(24):
            aim = random.normal(size=3) * (0.75, 0.8, 1.6) + (side * 0.75, 0.05, 0)
            found.extend(_branch(random, hilum, aim / np.linalg.norm(aim), 4.6, 6))
    return np.concatenate(found)


def _branch(random: np.random.Generator, at: Points, aim: Points, radius: float, depth: int) -> Iterator[Points]:
    length = random.uniform(13, 26) * (0.72 + 0.06 * depth)
    end = at + aim * length
    yield tube(np.array([[*at, radius], [*end, radius * 0.8]]))
    if depth == 0 or radius < 0.5:
        return
    for _ in range(2):
        turned = aim + random.normal(size=3) * 0.5
        yield from _branch(random, end, turned / np.linalg.norm(turned), radius * random.uniform(0.62, 0.78), depth - 1)


def ribs() -> Points:
    """Return balls (x, y, z, radius) of twelve pairs of ribs, each falling from the spine to the front."""
    found = []
    for number in range(12):
        back = 276.0 - number * 24
        reach = 0.93 if number < 7 else 0.93 - 0.075 * (number - 6)
        angle = np.linspace(0.09, reach, 150) * np.pi
        z = back - 72 * (angle / np.pi) ** 1.25 - 4 * np.sin(angle)
        inside = np.array([cavity(float(height)) for height in z])
        for side in (-1, 1):
            x = side * (inside[:, 0] + 7) * np.sin(angle)
            y = (inside[:, 1] + 7) * np.cos(angle) * np.where(angle < 0.5, 0.93, 1.0)
            found.append(np.stack([x, y, z, np.full_like(z, 5.0)], axis=1))
    return np.concatenate(found)


def great_vessels() -> Points:
    """Return balls (x, y, z, radius) of the aortic arch with its branches, the pulmonary arteries and the azygos."""
    arch = [(-13, -26, 196, 15.5), (-8, -18, 206, 15), (4, 2, 213, 14.5), (15, 22, 209, 13.5), (23, 40, 196, 13)]
    paths = (
        arch,
        [(-6, -14, 214, 7), (-18, -10, 240, 6.5), (-30, -6, 262, 6), (-44, -2, 282, 5)],
        [(2, 0, 222, 5), (10, -2, 250, 4), (18, -4, 300, 3.5)],
        [(10, 14, 218, 6), (22, 12, 250, 5.5), (46, 4, 280, 5)],
        [(16, -36, 148, 15), (14, -26, 164, 14), (2, -6, 168, 11), (-22, 0, 164, 10), (-44, 4, 158, 8)],
        [(16, -26, 166, 13), (30, 2, 172, 11), (46, 8, 166, 8)],
        [(-28, -26, 238, 8), (4, -38, 244, 6), (40, -22, 258, 6)],
    )
    return np.concatenate([tube(np.array(path, float)) for path in paths])


def airway() -> Points:
    """Return balls (x, y, z, radius) of trachea and main bronchi."""
    paths = (
        [(0, 6, 300, 9), (-1, 12, 188, 9)],
        [(-1, 12, 188, 8), (-22, 14, 168, 7), (-46, 10, 150, 5), (-58, 16, 128, 3)],
        [(-1, 12, 188, 7), (24, 16, 164, 6), (46, 14, 148, 5), (58, 20, 126, 3)],
        [(-22, 14, 170, 5), (-44, 4, 186, 4), (-56, -4, 202, 2.5)],
    )
    return np.concatenate([tube(np.array(path, float)) for path in paths])


def noise_tile(random: np.random.Generator, size: int, sigma_hu: float) -> Image:
    """Return one periodic tile of CT-like noise: band-passed, as a soft reconstruction kernel leaves it."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    shape = frequency * np.exp(-((frequency / 0.17) ** 2))
    tile = np.fft.irfft2(np.fft.rfft2(random.normal(size=(size, size))) * shape, s=(size, size))
    scaled: Image = (tile * (sigma_hu / tile.std())).astype(np.float32)
    return scaled
