"""Raster zoo: units that people mistake, and sizes that are stated (robustness.md, Z02, Z03, Z06)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from affine import Affine
from pyproj import Geod

from rsov.errors import UsageError
from rsov.raster.area import pixel_area
from rsov.types import Notices
from tests.support.rasters import ids, scene, texture, write


@pytest.mark.parametrize(
    "transform", [None, Affine(0.5, 0, 0, 0, -0.5, 32)], ids=["no coordinates", "no CRS"]
)
def test_Z02_with_a_stated_gsd_one_warning_says_where_areas_come_from(
    tmp_path: Path, transform: Affine | None
) -> None:
    path = write(tmp_path / "a.tif", texture(), crs=None, transform=transform)
    notices = Notices()
    opened = scene(path, notices, gsd=0.1)
    (told,) = notices.items
    assert told.id == "W-no-crs"
    assert "no georeference" in told.message
    assert "--gsd 0.1 m" in told.message
    assert opened.output_grid.crs is None
    assert pixel_area(opened.measured_grid, opened.measured_grid.window) == pytest.approx(0.01)


DEGREES = Affine(5e-6, 0, 13.4, 0, -5e-6, 52.5)


def test_Z03_metres_given_to_res_for_degrees_are_refused_with_the_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture(400, 600), crs="EPSG:4326", transform=DEGREES)
    with pytest.raises(UsageError) as caught:
        scene(path, res=0.5)
    assert caught.value.id == "E-res"
    text = str(caught.value)
    assert "0.5 degree" in text
    assert "0.003 x 0.002 degree" in text
    geod = Geod(ellps="WGS84")
    sides = [float(number) for number in re.search(r"([0-9.]+) m x ([0-9.]+) m", text).groups()]
    places = ((13.403, 52.499), (13.4, 52.497))
    assert sides == pytest.approx([geod.inv(13.4, 52.499, *place)[2] for place in places], rel=1e-3)
    hint = float(re.search(r"0.5 m would be --res ([0-9.e-]+)", text)[1])
    assert 100 < scene(path, res=hint).output_grid.width < 600


def test_Z03_degrees_given_to_res_for_metres_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture(40, 60))
    with pytest.raises(UsageError, match="pixels") as caught:
        scene(path, res=5e-6)
    assert caught.value.id == "E-res"


def test_a_res_that_leaves_a_handful_of_pixels_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture(400, 600))
    for res, told in ((0.5, False), (4, False), (15, False), (50, True), (300, True)):
        notices = Notices()
        scene(path, notices, res=res)
        assert ("W-res" in ids(notices)) is told, res
    assert "300 x 200 metre" in notices.items[0].message
    notices = Notices()
    scene(write(tmp_path / "small.tif", texture(1, 1)), notices, res=0.5)
    assert not notices.items


def test_Z06_units_that_proj_looks_up_leave_nothing_on_stderr(tmp_path: Path) -> None:
    """libgeotiff asks a PROJ without its data for angular units other than degrees."""
    wkt = (
        'GEOGCS["mils",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],'
        'UNIT["mil_6400",0.000981747704246810]]'
    )
    path = write(tmp_path / "a.tif", texture(), crs=wkt, transform=Affine(1e-3, 0, 100, 0, -1e-3, 100))
    code = (
        "import sys; from pathlib import Path; from tests.support.rasters import scene;"
        "print(scene(Path(sys.argv[1])).gsd)"
    )
    root = Path(__file__).resolve().parent.parent
    kept = {key: value for key, value in os.environ.items() if key != "PROJ_DEBUG"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        cwd=root,
        env=kept,
        check=True,
    )
    assert done.stderr == ""
