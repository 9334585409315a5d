"""Raster zoo: west, south, east, north of pictures and maps in the report (robustness.md, Z02, Z16, Z17)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer

from rsov.types import Window
from tests.support.maps import run
from tests.support.places import picture
from tests.support.rasters import scene, texture, write

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from rsov.types import Grid


def outline(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes of 0 to 360 and latitudes of a dense outline, by pyproj."""
    side = np.linspace(0, 1, 200)
    across = np.concatenate([side, side * 0 + 1, side, side * 0]) * grid.width
    down = np.concatenate([side * 0, side, side * 0 + 1, side]) * grid.height
    lon, lat = Transformer.from_crs(grid.crs.to_wkt(), 4326, always_xy=True).transform(
        *(grid.transform @ (across, down))
    )
    return np.asarray(lon) % 360, np.asarray(lat)


@pytest.mark.parametrize(
    ("epsg", "transform"),
    [
        (32660, Affine(10_000, 0, 490_000, 0, -10_000, 7_000_000)),
        (3832, Affine(10_000, 0, 3_200_000, 0, -10_000, 1_000_000)),
        (4326, Affine(0.1, 0, 178, 0, -0.1, 10)),
        (4267, Affine(0.1, 0, -182, 0, -0.1, 10)),
    ],
)
def test_Z16_the_box_in_the_report_runs_from_west_to_east_over_180(
    tmp_path: Path, out: Path, epsg: int, transform: Affine
) -> None:
    """RFC 7946, 5.2: west is larger than east."""
    path = picture(tmp_path / "a.tif", 30, 40, crs=f"EPSG:{epsg}", transform=transform)
    found = run(path, out).map.report
    lon, lat = outline(scene(path).grid)
    expected = [lon.min(), lat.min(), lon.max() - 360, lat.max()]
    assert found["bbox"] == pytest.approx(expected, abs=2e-3)
    assert found["bbox"][0] > found["bbox"][2]
    assert found["inputs"][0]["bbox"] == found["bbox"]
    assert json.loads((out / "a_report.json").read_text())["bbox"] == found["bbox"]


@pytest.mark.parametrize(
    ("west", "box"), [(178, (178, 180)), (-182, (178, 180)), (190, (-170, -168)), (0, (0, 2))]
)
def test_Z16_the_box_counts_longitudes_from_minus_180_to_180(
    tmp_path: Path, west: int, box: tuple[int, int]
) -> None:
    place = Affine(1 / 32, 0, west, 0, -1 / 32, 10)
    found = scene(write(tmp_path / "a.tif", texture(), crs="EPSG:4326", transform=place)).info()["bbox"]
    assert found == pytest.approx([box[0], 8, box[1], 10])


def test_Z16_the_box_of_a_part_is_that_of_the_part(tmp_path: Path, out: Path) -> None:
    path = picture(tmp_path / "a.tif", crs="EPSG:4326", transform=Affine(1e-5, 0, 6, 0, -1e-5, 50))
    found = run(path, out, window=Window(10, 20, 30, 40)).map.report
    assert found["bbox"] == pytest.approx([6.0001, 49.9994, 6.0004, 49.9998], abs=1e-9)
    assert found["inputs"][0]["bbox"] == pytest.approx([6, 50 - 96e-5, 6 + 128e-5, 50], abs=1e-9)


def test_Z02_a_picture_without_a_place_has_no_box(tmp_path: Path) -> None:
    assert scene(write(tmp_path / "a.tif", texture(), crs=None, transform=None)).info()["bbox"] is None
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    assert scene(write(tmp_path / "b.tif", texture(), crs=local)).info()["bbox"] is None


@pytest.mark.parametrize(("epsg", "sign"), [(3413, 1), (3031, -1)])
def test_Z17_the_box_around_a_pole_holds_all_longitudes(tmp_path: Path, epsg: int, sign: int) -> None:
    place = Affine(1000, 0, -32_000, 0, -1000, 32_000)
    opened = scene(write(tmp_path / "a.tif", texture(), crs=f"EPSG:{epsg}", transform=place))
    _, lat = outline(opened.grid)
    nearest_equator = sign * np.abs(lat).min()
    south, north = sorted((nearest_equator, sign * 90.0))
    assert opened.info()["bbox"] == pytest.approx([-180, south, 180, north], abs=1e-4)
