"""A landscape drawn from code: seeded, georeferenced, labelled; for the demo and the tests.

Everything is a function of the pixel's place, so that a block of rows drawn alone has the same bytes as
in the whole picture. Only operations that IEEE 754 rounds exactly are used (no sine, no BLAS): the same
seed gives the same picture everywhere. Lengths are in metres, x to the right and y downwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Bytes = NDArray[np.uint8]

CLASSES = ("forest", "road", "field", "water", "building", "grass")
"""Names of the labels 1..6."""

FOREST, ROAD, FIELD, WATER, BUILDING, GRASS = range(1, 7)

BLOCK_ROWS = 512
"""Rows drawn at a time: 10,000 columns of them need about 400 MB."""

ORIGIN = (500_000.0, 5_600_000.0)
"""Upper left corner in EPSG:32632, on the meridian of its zone."""

LIGHT = (-0.6, -0.8)
"""Where the light comes from, a unit vector: the upper left, as map readers expect it."""

CROPS = np.array([(187, 168, 121), (104, 129, 68), (132, 106, 80), (148, 155, 88), (84, 112, 62)], np.float32)
ROOFS = np.array([(158, 88, 66), (133, 74, 60), (118, 116, 116), (92, 92, 98), (176, 122, 92)], np.float32)


def make_scene(
    path: Path, size: tuple[int, int] = (1024, 1024), gsd: float = 0.3, seed: int = 0
) -> NDArray[np.uint8]:
    """Write an RGB GeoTIFF (EPSG:32632, tiled, DEFLATE) and return its labels.

    Args:
        path: file to create or replace.
        size: columns and rows.
        gsd: metres per pixel.
        seed: another landscape for every number.

    Returns:
        Labels 1..6 as in `CLASSES`, uint8 [rows, columns].
    """
    import rasterio
    from affine import Affine
    from rasterio.windows import Window

    scene = _Scene(size[0] * gsd, size[1] * gsd, seed)
    labels = np.empty((size[1], size[0]), np.uint8)
    profile = {
        "driver": "GTiff", "width": size[0], "height": size[1], "count": 3, "dtype": "uint8",
        "crs": "EPSG:32632", "transform": Affine(gsd, 0, ORIGIN[0], 0, -gsd, ORIGIN[1]),
        "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "photometric": "RGB",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        for row in range(0, size[1], BLOCK_ROWS):
            rows = min(BLOCK_ROWS, size[1] - row)
            colours, labels[row : row + rows] = _draw(scene, size[0], row, rows, gsd)
            target.write(colours, window=Window(0, row, size[0], rows))
    return labels


def draw_scene(size: tuple[int, int] = (1024, 1024), gsd: float = 0.3, seed: int = 0) -> tuple[Bytes, Bytes]:
    """Colours uint8 [3, rows, columns] and labels uint8 [rows, columns] of `make_scene`, without a file."""
    return _draw(_Scene(size[0] * gsd, size[1] * gsd, seed), size[0], 0, size[1], gsd)


def _draw(scene: _Scene, columns: int, row: int, rows: int, gsd: float) -> tuple[Bytes, Bytes]:
    """One block of rows; a pixel more is drawn on each side for the optics."""
    c = np.arange(-1, columns + 1)
    r = np.arange(row - 1, row + rows + 1)
    view = _View(((c + 0.5) * gsd).astype(np.float32), ((r + 0.5) * gsd).astype(np.float32), c, r, gsd)
    colours, labels = scene.paint(view)
    blurred = (colours[:, :-2] + 2 * colours[:, 1:-1] + colours[:, 2:]) / np.float32(4)
    blurred = (blurred[:, :, :-2] + 2 * blurred[:, :, 1:-1] + blurred[:, :, 2:]) / np.float32(4)
    grain = _hash(c[1:-1], r[1:-1], scene.seed) - np.float32(0.5)
    return np.clip(blurred + grain * 9, 0, 255).astype(np.uint8), labels[1:-1, 1:-1]


@dataclass(frozen=True)
class _View:
    """The pixels at hand: centres in metres and indices, each axis by itself."""

    x: Floats
    y: Floats
    columns: NDArray[np.int64]
    rows: NDArray[np.int64]
    gsd: float

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.y), len(self.x)


@dataclass(frozen=True)
class _House:
    """A gabled roof: centre, half sides along its own axes, the axis's direction, colour."""

    x: float
    y: float
    half_length: float
    half_width: float
    along: tuple[float, float]
    colour: Floats


class _Noise:
    """Smooth random values of 0..1 over the plane: random values on a lattice, interpolated."""

    def __init__(self, rng: np.random.Generator, width: float, height: float, cell: float) -> None:
        self.cell = np.float32(cell)
        self.lattice = rng.random((int(height / cell) + 4, int(width / cell) + 4), dtype=np.float32)

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Values [len(y), len(x)]."""
        i, u = self._place(x)
        j, v = self._place(y)
        across = self.lattice[:, i] * (1 - u) + self.lattice[:, i + 1] * u
        return np.asarray(across[j] * (1 - v)[:, None] + across[j + 1] * v[:, None], np.float32)

    def _place(self, along: Floats) -> tuple[NDArray[np.int64], Floats]:
        cells = along / self.cell + 1
        index = np.floor(cells).astype(np.int64)
        t = (cells - index).astype(np.float32)
        return index, t * t * (3 - 2 * t)


class _Scene:
    """The landscape's plan; `paint` draws any view of it."""

    def __init__(self, width: float, height: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.seed = seed
        self.width, self.height = width, height
        self.flip_x, self.flip_y = (bool(rng.integers(2)) for _ in range(2))
        self.light = (LIGHT[0] * (-1 if self.flip_x else 1), LIGHT[1] * (-1 if self.flip_y else 1))
        extent = min(width, height)
        self.large = _Noise(rng, width, height, extent / 5)
        self.middle = _Noise(rng, width, height, 17.0)
        self.small = _Noise(rng, width, height, 3.7)
        self.bend = _Noise(rng, width, height, extent / 2.2)
        self.road_half = 3.2
        self.lake = (0.72 * width, 0.76 * height, 0.17 * extent)
        self.turn = _direction(rng)
        self.houses = tuple(self._place_houses(rng))

    # The plan

    def main_road(self, x: Floats) -> Floats:
        """The main road's axis: y at every x."""
        bend = self.bend(x, np.array([0.0], np.float32))[0]
        return np.asarray((0.46 + 0.16 * (bend - 0.5)) * self.height, np.float32)

    def side_road(self, y: Floats) -> Floats:
        """The side road's axis: x at every y."""
        bend = self.bend(np.array([0.0], np.float32), y)[:, 0]
        return np.asarray((0.45 + 0.18 * (bend - 0.5)) * self.width, np.float32)

    def _place_houses(self, rng: np.random.Generator) -> Iterator[_House]:
        """Two rows of houses along the middle third of the main road."""
        along, step = 0.30 * self.width, 21.0
        while along < 0.74 * self.width:
            x = along + float(rng.random()) * 4
            for side in (-1, 1):
                axis = self.main_road(np.array([x - 2, x, x + 2], np.float32))
                slope = float(axis[2] - axis[0]) / 4
                length = (1 + slope * slope) ** 0.5
                y = float(axis[1]) + side * (15 + float(rng.random()) * 4)
                size = (5.0 + float(rng.random()) * 3.5, 3.8 + float(rng.random()) * 1.6)
                colour = ROOFS[int(rng.integers(len(ROOFS)))]
                clear = abs(x - float(self.side_road(np.array([y], np.float32))[0])) > self.road_half + 11
                if clear and rng.random() < 0.9:
                    yield _House(x, y, *size, (1 / length, slope / length), colour)
            along += step

    # The picture

    def paint(self, view: _View) -> tuple[Floats, Bytes]:
        """Colours 0..255 [3, h, w] and labels [h, w] of a view."""
        if self.flip_x or self.flip_y:
            view = self._mirror(view)
        large, middle, small = (noise(view.x, view.y) for noise in (self.large, self.middle, self.small))
        texture = (middle - 0.5) * 0.5 + (small - 0.5) * 0.5
        labels = np.full(view.shape, GRASS, np.uint8)
        colours = _tint((121, 134, 84), texture, 0.35)
        colours[0] += 14 * (large - 0.5)

        road = self._road_distance(view)
        shore = self._shore_distance(view, middle, small)
        wooded = self._wooded(view, large, middle)
        self._fields(view, colours, labels, texture, open_land=(road > 42) & (shore > 9))
        self._roads(colours, labels, road, small)
        self._crowns(view, colours, labels, wooded & (road > 7.5) & (shore > 2.5))
        self._water(colours, labels, shore, texture)
        self._roofs(view, colours, labels)
        colours *= 0.95 + 0.1 * large
        return colours, labels

    def _mirror(self, view: _View) -> _View:
        x = np.float32(self.width) - view.x if self.flip_x else view.x
        y = np.float32(self.height) - view.y if self.flip_y else view.y
        return _View(x, y, view.columns, view.rows, view.gsd)

    def _road_distance(self, view: _View) -> Floats:
        """Metres to the nearest road axis (measured across the road)."""
        main = np.abs(view.y[:, None] - self.main_road(view.x)[None])
        side = np.abs(view.x[None] - self.side_road(view.y)[:, None]) + np.float32(0.7)
        return np.asarray(np.minimum(main, side), np.float32)

    def _shore_distance(self, view: _View, middle: Floats, small: Floats) -> Floats:
        """Metres from the shore, negative on the lake."""
        x, y, radius = self.lake
        dx, dy = (view.x - x) / np.float32(1.35), view.y - np.float32(y)
        distance = np.sqrt(dx[None] ** 2 + dy[:, None] ** 2) - np.float32(radius)
        return np.asarray(
            distance + (middle - 0.5) * np.float32(0.5 * radius) + (small - 0.5) * 3, np.float32
        )

    def _wooded(self, view: _View, large: Floats, middle: Floats) -> NDArray[np.bool_]:
        """Forest above a wavy line from corner to corner, groves elsewhere."""
        far = view.y[:, None] / np.float32(self.height) + 0.35 * view.x[None] / np.float32(self.width)
        return np.asarray(far + 0.5 * (large - 0.5) + 0.12 * (middle - 0.5) < 0.47, np.bool_)

    def _fields(
        self, view: _View, colours: Floats, labels: Bytes, texture: Floats, open_land: NDArray[np.bool_]
    ) -> None:
        """Long parcels turned by the scene's direction, with rows of crops and grass borders."""
        cos, sin = self.turn
        u = view.x[None] * np.float32(cos) + view.y[:, None] * np.float32(sin)
        v = view.y[:, None] * np.float32(cos) - view.x[None] * np.float32(sin)
        band = np.floor(v / 46)
        along = u / 74 + _hash_of(band, np.zeros(1), self.seed) * 5
        strip = np.floor(along)
        chance = _hash_of(band, strip, self.seed + 1)
        inside = np.minimum(_edge_distance(v / 46) * 46, _edge_distance(along) * 74)
        field = open_land & (chance < 0.86) & (inside > 1.4)
        crop = np.minimum(
            (_hash_of(strip, band, self.seed + 2) * len(CROPS)).astype(np.int64), len(CROPS) - 1
        )
        period = np.float32(max(1.8, 5 * view.gsd))
        rows = np.abs(np.mod(v / period, 1) - np.float32(0.5)) * 4 - 1
        shade = 1 + 0.055 * rows + 0.22 * texture
        colours[:] = np.where(field, np.moveaxis(CROPS[crop], -1, 0) * shade, colours)
        labels[field] = FIELD

    def _roads(self, colours: Floats, labels: Bytes, distance: Floats, small: Floats) -> None:
        """Grey asphalt with worn edges and a gravel verge."""
        verge = np.clip((self.road_half + 2.2 - distance) / 1.6, 0, 1) * (0.45 + 0.4 * small)
        _mix(colours, (158, 148, 124), verge)
        surface = np.clip((self.road_half + 0.15 - distance) / 0.3, 0, 1)
        grey = 138 + 9 * (small - 0.5) - 5 * np.clip(1 - np.abs(distance - 1.5) / 0.7, 0, 1)
        _mix(colours, (grey, grey, grey - 3), surface)
        labels[distance < self.road_half] = ROAD

    def _crowns(self, view: _View, colours: Floats, labels: Bytes, wooded: NDArray[np.bool_]) -> None:
        """Tree crowns: domes on a jittered grid, lit from one side, dark between them."""
        cell = np.float32(4.6)
        x, y = view.x / cell, view.y / cell
        i, j = np.floor(x), np.floor(y)
        height = np.full(view.shape, -1.0, np.float32)
        light = np.zeros(view.shape, np.float32)
        tone = np.zeros(view.shape, np.float32)
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                ci, cj = (i + di)[None], (j + dj)[:, None]
                radius = 0.42 + 0.43 * _hash_of(ci, cj, self.seed + 3)
                dx = x[None] - ci - _hash_of(ci, cj, self.seed + 4)
                dy = y[:, None] - cj - _hash_of(ci, cj, self.seed + 5)
                own = _hash_of(ci, cj, self.seed + 6)
                top = 1 - (dx * dx + dy * dy) / (radius * radius) + 0.6 * (own - 0.5)
                higher = top > height
                height = np.where(higher, top, height)
                light = np.where(higher, (dx * self.light[0] + dy * self.light[1]) / radius, light)
                tone = np.where(higher, own, tone)
        leaves = _hash(view.columns, view.rows, self.seed + 7) - 0.5
        leaves += _hash(view.columns // 3, view.rows // 3, self.seed + 8) - 0.5
        shade = 0.5 + 0.36 * np.clip(height, -0.4, 1) + 0.34 * light + 0.25 * leaves
        shade = np.clip(shade, 0.24, 1.3) * (0.82 + 0.36 * tone)
        crown = np.stack([76 + 22 * tone, 98 + 12 * tone, 62 + 4 * tone]) * shade
        colours[:] = np.where(wooded, crown, colours)
        labels[wooded] = FOREST

    def _water(self, colours: Floats, labels: Bytes, shore: Floats, texture: Floats) -> None:
        """A lake that grows darker from a wet, reedy shore."""
        _mix(colours, (128, 120, 88), np.clip(1 - shore / 2.4, 0, 1) * 0.75)
        depth = np.clip(-shore / 14, 0, 1)
        water = (74 - 34 * depth + 5 * texture, 88 - 30 * depth + 5 * texture, 82 - 18 * depth + 5 * texture)
        _mix(colours, water, np.clip(0.5 - shore / 1.6, 0, 1))
        labels[shore < 0] = WATER

    def _roofs(self, view: _View, colours: Floats, labels: Bytes) -> None:
        """Shadows first, then roofs, each in the small window it touches."""
        shadow = np.zeros(view.shape, np.float32)
        near = [(house, _around(view, house, 14.0)) for house in self.houses]
        for house, window in near:
            for fall in (1.2, 2.4, 3.4):
                u, v = _house_axes(view, house, window, (-self.light[0] * fall, -self.light[1] * fall))
                cover = _cover(house, u, v)
                shadow[window] = np.maximum(shadow[window], cover)
        colours *= 1 - 0.58 * shadow
        for house, window in near:
            u, v = _house_axes(view, house, window)
            cover = _cover(house, u, v)
            ridge = np.where(v < 0, 1.12, 0.86) + 0.03 * np.where(np.mod(u, 1) < 0.5, 1, -1)
            for band in range(3):
                part = colours[band][window]
                part += (house.colour[band] * ridge - part) * cover
            labels[window][cover > 0.5] = BUILDING


def _direction(rng: np.random.Generator) -> tuple[float, float]:
    """A unit vector at most 35 degrees off the x axis, made without sine and cosine."""
    slope = (float(rng.random()) - 0.5) * 1.4
    length = (1 + slope * slope) ** 0.5
    return 1 / length, slope / length


def _tint(colour: tuple[float, float, float], texture: Floats, strength: float) -> Floats:
    return np.stack([np.float32(value) * (1 + strength * texture) for value in colour]).astype(np.float32)


def _mix(colours: Floats, colour: tuple[Any, Any, Any], cover: Floats) -> None:
    """Lay a colour (numbers or arrays [h, w]) over the picture, ``cover`` 0..1."""
    for band in range(3):
        colours[band] += (colour[band] - colours[band]) * cover


def _edge_distance(cells: NDArray[Any]) -> Floats:
    """Distance to the nearest whole number."""
    part = np.mod(cells, 1)
    return np.asarray(np.minimum(part, 1 - part), np.float32)


def _around(view: _View, house: _House, reach: float) -> tuple[slice, slice]:
    """Rows and columns within ``reach`` metres of a house."""
    near_y = np.flatnonzero(np.abs(view.y - house.y) < reach)
    near_x = np.flatnonzero(np.abs(view.x - house.x) < reach)
    return (
        slice(int(near_y[0]), int(near_y[-1]) + 1) if near_y.size else slice(0, 0),
        slice(int(near_x[0]), int(near_x[-1]) + 1) if near_x.size else slice(0, 0),
    )


def _house_axes(
    view: _View, house: _House, window: tuple[slice, slice], shift: tuple[float, float] = (0.0, 0.0)
) -> tuple[Floats, Floats]:
    """Metres along and across a house that is shifted, for the pixels of a window."""
    x = view.x[window[1]][None] - np.float32(house.x + shift[0])
    y = view.y[window[0]][:, None] - np.float32(house.y + shift[1])
    cos, sin = np.float32(house.along[0]), np.float32(house.along[1])
    return x * cos + y * sin, y * cos - x * sin


def _cover(house: _House, u: Floats, v: Floats) -> Floats:
    """1 inside a house, 0 outside, a soft step between."""
    inside = np.minimum(house.half_length - np.abs(u), house.half_width - np.abs(v))
    return np.asarray(np.clip(inside / 0.3 + 0.5, 0, 1), np.float32)


def _hash(columns: NDArray[np.int64], rows: NDArray[np.int64], seed: int) -> Floats:
    """A random value of 0..1 for every pixel, from its indices only."""
    return _hash_of(columns[None], rows[:, None], seed)


def _hash_of(a: NDArray[np.generic], b: NDArray[np.generic], seed: int) -> Floats:
    """A random value of 0..1 for every pair of whole numbers (any shapes that broadcast).

    The mixing steps are those of MurmurHash3's 32-bit finaliser.
    """
    mixed = (
        a.astype(np.int64).astype(np.uint32) * np.uint32(0x9E3779B1)
        + b.astype(np.int64).astype(np.uint32) * np.uint32(0x85EBCA77)
        + np.uint32((seed * 0xC2B2AE3D + 0x27D4EB2F) & 0xFFFFFFFF)
    )
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    mixed ^= mixed >> np.uint32(16)
    return (mixed >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)
