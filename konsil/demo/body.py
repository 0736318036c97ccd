"""Paints the chest of ``anatomy`` slice by slice: one function for each organ, from the skin inwards."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from konsil.demo.anatomy import (
    AIR,
    BLOOD,
    FAT,
    HEIGHT_MM,
    LIVER,
    LUNG,
    MUSCLE,
    NODULE_MM,
    Canvas,
    Image,
    Points,
    airway,
    bronchial_tree,
    cavity,
    coverage,
    great_vessels,
    noise_tile,
    ribs,
    torso,
)


@dataclass(frozen=True, slots=True)
class Body:
    """Everything that is computed once for a volume: the trees of vessels and bones, and the noise."""

    vessels: Points
    ribs: Points
    great_vessels: Points
    airway: Points
    noise: Image
    grain: Image

    @classmethod
    @lru_cache(maxsize=4)
    def grow(cls, size: int, seed: int) -> "Body":
        """Return the body that belongs to ``seed``."""
        random = np.random.default_rng(seed)
        return cls(
            vessels=bronchial_tree(random),
            ribs=ribs(),
            great_vessels=great_vessels(),
            airway=airway(),
            noise=noise_tile(random, size, 11),
            grain=noise_tile(random, size, 26),
        )

    def slice(self, size: int, z: float, thickness_mm: float, number: int) -> Image:
        """Return slice ``number`` at height ``z`` in HU, float32, shape (size, size), row 0 at the front."""
        canvas = Canvas(size, z)
        _table(canvas)
        _skin_fat_muscle(canvas)
        _shoulders(canvas)
        _abdomen(canvas)
        lungs = _lungs(canvas, self.grain, number)
        self._lung_vessels(canvas, lungs, thickness_mm)
        _nodule(canvas)
        _mediastinum(canvas)
        _heart(canvas)
        self._vessels(canvas)
        _spine(canvas)
        self._bones(canvas, thickness_mm)
        _sternum(canvas)
        _breath(canvas.image)
        shift = (number * 89) % size
        canvas.image += np.roll(self.noise, (shift, (shift * 7) % size), axis=(0, 1)) * _dose(canvas)
        return canvas.image

    def _lung_vessels(self, canvas: Canvas, lungs: Image, thickness_mm: float) -> None:
        layer = np.zeros_like(canvas.image)
        near = np.abs(self.vessels[:, 2] - canvas.z) < self.vessels[:, 3] + thickness_mm / 2
        for x, y, z, radius in self.vessels[near].tolist():
            apart = abs(z - canvas.z)
            size = float(np.sqrt(max(radius**2 - max(apart - thickness_mm / 2, 0) ** 2, 0.09)))
            rows, columns = canvas.window(x, y, size + 1.5)
            cover = coverage(
                canvas.axis[columns] - x, (canvas.axis[rows] - y)[:, None], size, size, soft=0.5 + canvas.pixel / 2
            )
            np.maximum(layer[rows, columns], cover * min(1.0, radius / thickness_mm + 0.35), out=layer[rows, columns])
        canvas.blend(layer * lungs, 60)

    def _vessels(self, canvas: Canvas) -> None:
        for wall, value, balls in ((0.0, BLOOD, self.great_vessels), (1.4, 20.0, self.airway), (0.0, AIR, self.airway)):
            for x, y, z, radius in balls[np.abs(balls[:, 2] - canvas.z) < balls[:, 3] + wall].tolist():
                size = float(np.sqrt((radius + wall) ** 2 - (z - canvas.z) ** 2))
                canvas.ellipse(x, y, size, size, value)
        canvas.ellipse(8, 27, 8.5, 5.5, 42)
        canvas.ellipse(8.5, 26, 2.6, 1.3, -500)

    def _bones(self, canvas: Canvas, thickness_mm: float) -> None:
        for value, wall in ((430.0, 0.0), (160.0, 1.9)):
            near = np.abs(self.ribs[:, 2] - canvas.z) < self.ribs[:, 3] * 1.35 + thickness_mm / 2
            for x, y, z, radius in self.ribs[near].tolist():
                size = float(radius - wall)
                apart = abs(z - canvas.z) / 1.35
                if apart < size + thickness_mm / 4:
                    size = float(np.sqrt(max(size**2 - max(apart - thickness_mm / 4, 0) ** 2, 0.6)))
                    canvas.ellipse(x, y, size, size, value, soft=0.7)


def _dose(canvas: Canvas) -> Image:
    """Noise grows with the path through the body: most in the middle of the shoulders, least in the air."""
    width, depth = torso(canvas.z)
    inside = coverage(canvas.axis, canvas.axis[:, None], width, depth, power=2.4, soft=60)
    grain: Image = (0.45 + inside * (1 + 0.5 * np.clip((canvas.z - 200) / 60, 0, 1))).astype(np.float32)
    return grain


def _breath(image: Image) -> None:
    """Blur by the point spread of the scanner: a 3 x 3 binomial kernel, in place."""
    for axis in (0, 1):
        side = np.roll(image, 1, axis) + np.roll(image, -1, axis)
        image *= 0.5
        image += 0.25 * side


def _table(canvas: Canvas) -> None:
    curve = canvas.axis**2 / 900
    for depth, thickness, value in (
        (117.5, 3.5, -870.0),
        (121.0, 2.4, -60.0),
        (123.4, 17.0, -925.0),
        (140.4, 2.0, 20.0),
    ):
        top = depth - curve
        y = canvas.axis[:, None]
        cover = np.clip(y - top + 0.5, 0, 1) * np.clip(top + thickness - y + 0.5, 0, 1)
        edge = np.clip((186 - np.abs(canvas.axis)) / 2, 0, 1)
        canvas.blend((cover * edge).astype(np.float32), value)


def _skin_fat_muscle(canvas: Canvas) -> None:
    width, depth = torso(canvas.z)
    _breasts(canvas, 12, 0)
    canvas.ellipse(0, 2, width, depth, 12, power=2.45)
    canvas.ellipse(0, 2, width - 2.2, depth - 2.2, FAT, power=2.45)
    _breasts(canvas, FAT, 2.2)
    inner = cavity(canvas.z)
    lean_a, lean_b = min(inner[0] + 22, width - 9), min(inner[1] + 15, depth - 7)
    canvas.ellipse(0, 1, lean_a, lean_b, MUSCLE, power=2.2)
    canvas.ellipse(0, 1, min(inner[0] + 13, lean_a - 5), min(inner[1] + 11, lean_b - 3), FAT * 0.7, power=2.2)
    canvas.ellipse(0, 1, inner[0] + 11, inner[1] + 9, 45, power=2.1)
    for side in (-1, 1):
        canvas.ellipse(side * 24, min(92, depth - 12), 21, 12, 50, turn=-0.15 * side)
        canvas.ellipse(side * 64, min(84, depth - 16), 30, 6, 48, turn=-0.45 * side)
        if 110 < canvas.z < 250:
            bulk = 9 * np.sin((canvas.z - 110) / 140 * np.pi)
            canvas.ellipse(side * 62, -inner[1] * 0.88 - 7, 44, bulk, 52, turn=0.38 * side)
            canvas.ellipse(side * (inner[0] + 17), 34, bulk * 0.9, 40, 50, turn=0.22 * side)


def _breasts(canvas: Canvas, value: float, inset: float) -> None:
    """Lying on the back they are flat and fall to the sides."""
    swell = 1 - ((canvas.z - 142) / 58) ** 2
    if swell <= 0:
        return
    size = float(np.sqrt(swell))
    _, depth = torso(canvas.z)
    for side in (-1, 1):
        x, y = side * 84, -depth * 0.72
        canvas.ellipse(x, y, 64 * size - inset, 33 * size - inset, value, turn=0.42 * side, power=2.2)
        if inset:
            for dx, dy, a, b in ((-6, -8, 19, 7), (12, -2, 15, 5), (2, 2, 24, 4), (-16, -1, 9, 5)):
                canvas.ellipse(x + side * dx, y + dy * size - 4, a * swell, b * swell, 22, turn=0.5 * side, soft=3)


def _shoulders(canvas: Canvas) -> None:
    rise = float(np.clip((canvas.z - 165) / 25, 0, 1) * np.clip((284 - canvas.z) / 24, 0, 1))
    width, depth = torso(canvas.z)
    if canvas.z > 205:
        _neck(canvas, float(np.clip((canvas.z - 205) / 45, 0, 1)), width, depth)
    if rise <= 0:
        return
    for side in (-1, 1):
        x, y, turn = side * min(width - 42, 104), min(56, depth - 34), -0.72 * side
        canvas.ellipse(x, y, 36, 13 * rise, 54, turn=turn)
        canvas.ellipse(x, y, 28, 3.2 * rise, 430, turn=turn)
        canvas.ellipse(x, y, 24, 1.4 * rise, 200, turn=turn)


def _neck(canvas: Canvas, rise: float, width: float, depth: float) -> None:
    """Trapezius, deltoid with the humeral head, strap muscles and clavicles: what closes the chest on top."""
    for side in (-1, 1):
        canvas.ellipse(side * 40, depth - 24, 44, 12 * rise, 54, turn=-0.3 * side)
        canvas.ellipse(side * 34, 30, 20 * rise, 26, 50, turn=0.3 * side)
        canvas.ellipse(side * 26, -18, 9 * rise, 17, 56, turn=0.5 * side)
        x = side * (width - 30)
        canvas.ellipse(x, 8, 25 * rise, 33 * rise, 50)
        ball = 1 - ((canvas.z - 262) / 30) ** 2
        if ball > 0:
            radius = 21 * float(np.sqrt(ball))
            canvas.ellipse(x, 10, radius, radius, 460)
            canvas.ellipse(x, 10, radius - 2, radius - 2, 190, soft=2)
        if 246 < canvas.z < 282:
            y = -40 + (canvas.z - 246) * 0.6
            canvas.ellipse(side * 50, y, 36, 5.5, 420, turn=-0.25 * side)
            canvas.ellipse(side * 50, y, 33, 3.2, 190, turn=-0.25 * side)


def _abdomen(canvas: Canvas) -> None:
    """Liver, stomach, spleen and fat below the diaphragm; the lungs are painted over what rises above it."""
    a, b = cavity(canvas.z)
    low = np.clip((112 - canvas.z) / 20, 0, 1)
    if low <= 0:
        return
    canvas.ellipse(0, 0, a - 1, b - 1, -92, power=2.1)
    canvas.ellipse(-48, -2, 76, 74, LIVER, power=2.3)
    canvas.ellipse(14, -44, 42, 26, LIVER, turn=0.15)
    for x, y, size in ((-70, -20, 3.2), (-52, 12, 3.8), (-34, -26, 2.8), (-84, 22, 2.5), (-40, 34, 4.2)):
        canvas.ellipse(x + canvas.z * 0.12, y, size, size * 1.7, 168, turn=0.6, soft=1.5)
    canvas.ellipse(62, -26, 40, 38, 22)
    canvas.ellipse(62, -42, 30, 17 * low, -960)
    canvas.ellipse(92, 36, 23, 44, 128, turn=-0.35)
    canvas.ellipse(-34, 42, 6, 12, 40, turn=0.5)
    canvas.ellipse(-22, 26, 11, 9, 165)


def _dome(canvas: Canvas, side: int) -> Image:
    """Height of the diaphragm (mm) over the slice for one half of the chest."""
    top = 98.0 if side < 0 else 86.0
    x, y = canvas.axis - side * 58, canvas.axis[:, None] + 12
    return (top - (x / 7.6) ** 2 - (np.maximum(y, 0) / 8.6) ** 2 - (np.minimum(y, 0) / 12) ** 2).astype(np.float32)


def _lungs(canvas: Canvas, grain: Image, number: int) -> Image:
    """Paint both lungs and return where they are (0..1)."""
    a, b = cavity(canvas.z)
    total = np.zeros_like(canvas.image)
    if canvas.z > 274:
        return total
    inside = coverage(canvas.axis, canvas.axis[:, None], a - 1.5, b - 1.5, power=2.15, soft=1.2)
    gap = 15 + 9 * np.clip((canvas.z - 200) / 70, 0, 1)
    for side in (-1, 1):
        half = np.clip((side * canvas.axis - gap + 3 * np.cos(canvas.axis[:, None] / 40)) / 1.5, 0, 1)
        above = np.clip((canvas.z - _dome(canvas, side)) / 2.5, 0, 1)
        total = np.maximum(total, inside * half * above)
    for side in (-1, 1):
        x, y = canvas.axis - side * 27, canvas.axis[:, None] - 62
        total *= 1 - coverage(x, y, 9, 15, soft=2)
    texture = np.roll(grain, number * 37, axis=0)
    gravity = canvas.axis[:, None] * 0.38
    canvas.blend(total.astype(np.float32), LUNG + texture + gravity)
    return total.astype(np.float32)


def _nodule(canvas: Canvas) -> None:
    """A spiculated 19 mm nodule in the right upper lobe."""
    x, y, z = NODULE_MM
    apart = abs(canvas.z - z)
    if apart > 16:
        return
    rows, columns = canvas.window(x, y, 22)
    dx, dy = canvas.axis[columns] - x, canvas.axis[rows][:, None] - y
    angle = np.arctan2(dy, dx)
    spike = 1 + 0.13 * np.cos(7 * angle + canvas.z / 5) + 0.09 * np.cos(11 * angle - canvas.z / 3)
    radius = np.sqrt(dx**2 + dy**2 + apart**2)
    spot = canvas.image[rows, columns]
    spot += np.clip((9.5 * spike + 6 - radius) / 9, 0, 0.35) * (-350 - spot)
    spot += np.clip((9.5 * spike - radius) / 1.8 + 0.5, 0, 1) * (46 - spot)


def _mediastinum(canvas: Canvas) -> None:
    z = canvas.z
    if z < 78:
        canvas.ellipse(22, 40, 13, 13, BLOOD - 5)
        return
    b = cavity(z)[1]
    waist = 29 - 7 * np.clip((z - 200) / 60, 0, 1)
    canvas.ellipse(0, -b * 0.36, waist, b * 0.58, FAT, power=2.5)
    canvas.ellipse(2, 14, waist * 0.95, 32, FAT * 0.8, power=2.5)
    for x, y, at in ((-16, 4, 190), (12, -2, 182), (-20, 18, 172), (6, 20, 165)):
        size = 5 - abs(z - at) / 2.2
        canvas.ellipse(x, y, size, size * 0.8, 48)
    if z > 250:
        canvas.ellipse(0, 10, 30, 24, 40)
        for side in (-1, 1):
            canvas.ellipse(side * 20, 2, 9, 12, 130 if z > 276 else 60)
    if z < 200:
        canvas.ellipse(23, 42, 13.2, 13.2, BLOOD)
    if 128 < z < 200:
        canvas.ellipse(-13, -27, 16, 15.5, BLOOD)
    if 128 < z < 240:
        canvas.ellipse(-31, -16 + (z - 150) * 0.03, 8.5, 10, 290)


def _heart(canvas: Canvas) -> None:
    up = (canvas.z - 112) / 50
    if abs(up) >= 1:
        return
    scale = float(np.sqrt(1 - up * up))
    x, y = 20 - 14 * up, -30 + 6 * up
    canvas.ellipse(x, y, 62 * scale, 47 * scale, FAT, turn=0.45, power=2.2, soft=1.5)
    canvas.ellipse(x, y, 57 * scale, 42 * scale, 112, turn=0.45, power=2.2)
    inside = scale * np.clip(scale, 0.3, 1)
    canvas.ellipse(x + 24, y + 8, 25 * inside, 16 * inside, BLOOD + 8, turn=0.55)
    canvas.ellipse(x - 6, y - 22, 29 * inside, 14 * inside, BLOOD - 20, turn=0.4)
    canvas.ellipse(x - 38, y - 4, 17 * inside, 22 * inside, BLOOD - 25, turn=0.2)
    canvas.ellipse(x - 10, y + 27, 27 * inside, 13 * inside, BLOOD + 2, turn=0.15)
    canvas.ellipse(x + 34, y - 2, 4 * inside, 5 * inside, 108, turn=0.4)


def _spine(canvas: Canvas) -> None:
    level = (canvas.z % 25) / 25
    disc = abs(level - 0.5) > 0.41
    size = 1 - 0.12 * np.sin(level * np.pi)
    y = 56 + 6 * np.cos(canvas.z / 75)
    a, b = 18.5 * size, 15.5 * size
    canvas.ellipse(0, y + 34, 5, 17, 330, soft=0.8)
    canvas.ellipse(0, y + 34, 2.6, 14, 160)
    for side in (-1, 1):
        canvas.ellipse(side * 19, y + 21, 19, 5, 390, turn=0.42 * side)
        canvas.ellipse(side * 20, y + 21, 15, 2.6, 190, turn=0.42 * side)
    canvas.ellipse(0, y + 22, 17, 14, 420)
    canvas.ellipse(0, y + 21.5, 9.5, 9, 4)
    canvas.ellipse(0, y + 21.5, 4.8, 4.4, 38)
    if disc:
        canvas.ellipse(0, y, a * 1.03, b * 1.03, 92)
        return
    canvas.ellipse(0, y, a, b, 520, power=2.3)
    canvas.ellipse(0, y, a - 2, b - 2, 185, power=2.3, soft=2)
    canvas.ellipse(0, y + b - 4, 4, 4, 120, soft=2)


def _sternum(canvas: Canvas) -> None:
    z = canvas.z
    if not 86 < z < 246:
        return
    y = -cavity(z)[1] - 5
    a = (25 if z > 205 else 16) * min(1, (z - 86) / 12, (246 - z) / 8)
    canvas.ellipse(0, y, a, 6.5, 360, power=2.6)
    canvas.ellipse(0, y, a - 2, 4.6, 165, power=2.6)


def heights(slices: int) -> tuple[float, list[float]]:
    """Return the slice thickness (mm) and the heights of ``slices`` slices, from the feet up."""
    thickness = HEIGHT_MM / slices
    return thickness, [thickness * (number + 0.5) for number in range(slices)]
