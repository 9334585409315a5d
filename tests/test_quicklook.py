"""The picture of a result shows input, map and legend."""

from __future__ import annotations

import io

import numpy as np
import pytest
from affine import Affine
from PIL import Image, ImageChops
from rasterio.crs import CRS

from rsov.report.drawing import GAP, MARGIN, Pen, hatch, length_text, round_length
from rsov.report.quicklook import MAX_WIDTH, Quicklook
from rsov.report.summary import class_areas
from rsov.types import NONE_COLOUR, Grid, Legend, LegendClass

LEGEND = Legend(
    (LegendClass(1, "forest", ("forest",), (10, 120, 40)), LegendClass(2, "road", ("road",), (90, 80, 85)))
)


def draw(labels: np.ndarray, *, metres: tuple[float, float] | None = None, legend: Legend = LEGEND, title: str = "a",
         blocks: int = 512) -> tuple[Image.Image, Quicklook]:  # fmt: skip
    grid = Grid(labels.shape[1], labels.shape[0], Affine.identity(), None)
    look = Quicklook(grid, legend, metres)
    for row in range(0, labels.shape[0], blocks):
        look.add(row, labels[row : row + blocks])
    picture = np.full((look.picture_size[1], look.picture_size[0], 3), (200, 180, 160), np.uint8)
    counts = {value: int((labels == value).sum()) for value in np.unique(labels).tolist()}
    data = look.render(
        picture, class_areas(legend, counts, {k: float(v) for k, v in counts.items()}), title=title
    )
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.format == "PNG"
    assert image.mode == "RGB"
    return image, look


def panels(transform: Affine, crs: str | None) -> list[list[list[tuple[int, ...]]]]:
    """Colours of the quarters of input and map, rows from the top, of a map whose stored first one is a road."""
    labels = np.ones((300, 300), np.uint8)
    labels[:150, :150] = 2
    look = Quicklook(Grid(300, 300, transform, CRS.from_user_input(crs) if crs else None), LEGEND)
    look.add(0, labels)
    width, height = look.picture_size
    picture = np.full((height, width, 3), (200, 180, 160), np.uint8)
    picture[: height // 2, : width // 2] = (20, 10, 0)
    image = Image.open(
        io.BytesIO(look.render(picture, class_areas(LEGEND, {1: 3, 2: 1}), title="a"))
    ).convert("RGB")
    pixels = np.asarray(image)
    top = int(np.flatnonzero((pixels == (200, 180, 160)).all(axis=2).any(axis=1))[0])
    return [
        [
            [tuple(pixels[top + int(y * height), left + int(x * width)].tolist()) for x in (0.25, 0.75)]
            for y in (0.25, 0.75)
        ]
        for left in (MARGIN, MARGIN + width + GAP)
    ]


@pytest.mark.parametrize(
    ("a", "e", "crs", "corner"),
    [
        (1, -1, "EPSG:32632", (0, 0)),
        (1, 1, "EPSG:32632", (1, 0)),
        (-1, -1, "EPSG:32632", (0, 1)),
        (-1, 1, "EPSG:32632", (1, 1)),
        (1, 1, None, (0, 0)),
    ],
    ids=["north up", "Z10 south up", "Z11 mirrored", "turned by 180", "pixel coordinates"],
)
def test_the_sheet_shows_north_up_as_a_gis_does(
    a: int, e: int, crs: str | None, corner: tuple[int, int]
) -> None:
    transform = Affine(a, 0, 5e5, 0, e, 5e6) if crs else Affine.identity()
    for panel, colour in zip(panels(transform, crs), ((20, 10, 0), (90, 80, 85)), strict=True):
        found = [(y, x) for y in (0, 1) for x in (0, 1) if panel[y][x] == colour]
        assert found == [corner]


def test_a_rotated_sheet_stays_as_stored() -> None:
    panel = panels(Affine(1, 1, 5e5, 1, -1, 5e6) @ Affine.scale(-1, -1), "EPSG:32632")[1]
    assert panel[0][0] == (90, 80, 85)


def quarters(height: int = 900, width: int = 1000) -> np.ndarray:
    labels = np.ones((height, width), np.uint8)
    labels[: height // 2, width // 2 :] = 2
    labels[height // 2 :, : width // 2] = 255
    labels[height // 2 :, width // 2 :] = 0
    return labels


def test_input_and_map_lie_side_by_side_and_the_colours_are_those_of_the_legend() -> None:
    image, look = draw(quarters())
    pixels = np.asarray(image)
    width, height = look.picture_size
    assert image.width <= MAX_WIDTH
    top = int(np.flatnonzero((pixels[:, MARGIN + 5] == (200, 180, 160)).all(axis=1))[0])
    left = image.width - MARGIN - width
    for name, (y, x), colour in (
        ("input", (0.5, -1.01), (200, 180, 160)),
        ("forest", (0.25, 0.25), (10, 120, 40)),
        ("road", (0.25, 0.75), (90, 80, 85)),
        ("none", (0.75, 0.25), NONE_COLOUR),
    ):
        place = pixels[top + int(y * height), max(left + int(x * width), MARGIN + 9)]
        assert tuple(place) == colour, name
    corner = pixels[
        top + int(0.6 * height) : top + int(0.9 * height), left + int(0.6 * width) : left + int(0.9 * width)
    ]
    assert 0 < (corner.min(axis=-1) < 250).mean() < 0.4  # white paper with thin lines


@pytest.mark.parametrize("blocks", [1, 77, 512, 5000])
def test_the_picture_does_not_depend_on_the_row_blocks(blocks: int) -> None:
    labels = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (700, 500))
    assert np.array_equal(np.asarray(draw(labels, blocks=blocks)[0]), np.asarray(draw(labels, blocks=700)[0]))


@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 3), (1, 64), (64, 1), (30, 3000), (3000, 30), (40, 50), (5000, 4000)]
)
def test_any_shape_gives_a_sheet_that_fits_a_screen(shape: tuple[int, int]) -> None:
    image, look = draw(np.ones(shape, np.uint8))
    assert 300 < image.width <= MAX_WIDTH
    assert image.height <= 2000
    assert look.stacked == (shape[1] > 1.9 * shape[0])


def test_thin_lines_of_a_large_map_stay_lines() -> None:
    labels = np.ones((3000, 3000), np.uint8)
    labels[:, 1500:1506] = 2  # a road, half as wide again as a cell of the picture
    image, look = draw(labels)
    road = (np.asarray(image)[:, image.width // 2 :] == (90, 80, 85)).all(axis=-1)
    assert road.any(axis=1).sum() >= look.picture_size[1]


def test_pixels_that_are_not_square_on_the_ground_keep_their_shape() -> None:
    _, look = draw(np.ones((1000, 1000), np.uint8), metres=(0.5, 1.0))
    width, height = look.picture_size
    assert height == pytest.approx(2 * width, rel=0.01)


def test_a_scale_bar_is_drawn_only_with_georeference() -> None:
    labels = quarters()
    plain, georeferenced = np.asarray(draw(labels)[0]), np.asarray(draw(labels, metres=(0.5, 0.5))[0])
    assert plain.shape == georeferenced.shape
    assert (plain != georeferenced).any()


@pytest.mark.parametrize(
    ("metres", "expected"), [(1.0, 1), (99.0, 50), (250.0, 200), (1999.0, 1000), (0.07, 0.05)]
)
def test_scale_bars_have_round_lengths(metres: float, expected: float) -> None:
    assert round_length(metres) == pytest.approx(expected)


def test_300_classes_and_strange_names_still_make_a_sheet() -> None:
    names = [
        "Öde Fläche",
        "中文",
        "🌲",
        "\x1b[31mred",
        "\u202eevil",
        "x" * 500,
        "",
        *(f"class {i}" for i in range(293)),
    ]
    legend = Legend(tuple(LegendClass(i, n, (n,), (i % 256, 0, i // 2)) for i, n in enumerate(names, 1)))
    labels = np.random.default_rng(0).integers(0, 301, (400, 400)).astype(legend.dtype)
    image, _ = draw(labels, legend=legend, title="title " * 100, metres=(0.1, 0.1))
    assert image.height <= 2000


def test_equal_maps_give_equal_bytes() -> None:
    first, second = draw(quarters())[0], draw(quarters())[0]
    assert first.tobytes() == second.tobytes()


def test_no_data_is_hatched() -> None:
    assert 0.05 < (hatch((60, 60)) < 250).all(axis=-1).mean() < 0.3


def test_square_metres_have_a_raised_two_in_the_bundled_typeface() -> None:
    def written(text: str) -> tuple[int, Image.Image]:
        sheet = Image.new("RGB", (120, 30), "white")
        return Pen(sheet, ["forest"]).write((5, 5), text, 16, room=100), sheet

    (plain_width, plain), (raised_width, raised), (flat_width, _) = map(written, ("5 m", "5 m²", "5 m2"))
    assert plain_width < raised_width < flat_width
    box = ImageChops.difference(plain, raised).getbbox()
    assert box is not None
    assert box[0] >= 5 + plain_width - 1
    assert box[3] < 5 + 16


@pytest.mark.parametrize(
    ("metres", "shown"),
    [
        (0.5, "0.5 m"),
        (0.1, "0.1 m"),
        (0.09998, "0.1 m"),
        (0.0969, "9.7 cm"),
        (20.0, "20 m"),
        (5000.0, "5 km"),
    ],
)
def test_lengths_read_well(metres: float, shown: str) -> None:
    assert length_text(metres) == shown
