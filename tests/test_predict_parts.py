"""A part of a map has the pixels of the whole map, however the part is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.features import rasterize
from rasterio.windows import from_bounds

from rsov.jobs.predict import predict
from rsov.types import Window
from tests.support.models import RandomSegmenter
from tests.support.rasters import write

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

UTM = Affine(0.5, 0, 400_000, 0, -0.5, 5_700_000)
TRIANGLE = [(400_031.13, 5_699_970.07), (400_110.2, 5_699_985.1), (400_060.3, 5_699_900.4)]
TRIANGLE += TRIANGLE[:1]


@pytest.fixture(scope="module")
def ortho(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(3)
    coarse = random.integers(0, 256, (3, 20, 22)).repeat(16, 1).repeat(16, 2)[:, 5:290, 3:325]
    data = np.clip(coarse + random.integers(-20, 21, coarse.shape), 1, 255).astype(np.uint8)
    data[:, 100:130, 200:260] = 0
    return write(tmp_path_factory.mktemp("in") / "ortho.tif", data, transform=UTM, nodata=0)


def run(ortho: Path, out: Path, **options: Any) -> tuple[NDArray[np.uint8], Any, dict[str, Any]]:
    """Labels and confidence [2, h, w], the bounds, and the report."""
    out.mkdir()
    result = predict(
        ortho, ["a", "b", "c"], out=out, model=RandomSegmenter(), confidence=True, quicklook=True, **options
    )
    with rasterio.open(result.map.outputs["classes"]) as classes:
        labels, bounds = classes.read(1), classes.bounds
    with rasterio.open(result.map.outputs["confidence"]) as confidence:
        return np.stack([labels, confidence.read(1)]), bounds, result.map.report


@pytest.mark.parametrize("work_gsd", [None, 0.35, 1.2])
@pytest.mark.parametrize(
    "part",
    [
        {"window": Window(70, 60, 150, 140)},
        {"window": Window(300, 270, 22, 15)},
        {"bounds": (400_040.2, 5_699_880.3, 400_099.9, 5_699_951.0)},
        {"window": Window(64, 64, 1, 1)},
    ],
    ids=["window", "corner", "bounds", "pixel"],
)
def test_a_part_has_the_pixels_of_the_whole(
    ortho: Path, tmp_path: Path, part: dict[str, Any], work_gsd: float | None
) -> None:
    whole, _, everything = run(ortho, tmp_path / "whole", work_gsd=work_gsd)
    found, bounds, report = run(ortho, tmp_path / "part", work_gsd=work_gsd, **part)
    place = from_bounds(*bounds, transform=UTM).round_offsets().round_lengths()
    rows, columns = place.toslices()
    assert (found == whole[:, rows, columns]).all()
    assert report["metrics"]["tiles"] <= everything["metrics"]["tiles"]


@pytest.mark.parametrize(
    "part",
    [
        {"window": Window(70, 60, 151, 141)},
        {"bounds": (400_035.0, 5_699_899.5, 400_110.5, 5_699_970.0)},
    ],
)
def test_a_part_on_coarser_pixels_has_those_of_the_whole_to_its_edges(
    ortho: Path, tmp_path: Path, part: dict[str, Any]
) -> None:
    """Its last row and column reach beyond the part, where the picture goes on."""
    whole, _, _ = run(ortho, tmp_path / "whole", res=2.5)
    found, _, _ = run(ortho, tmp_path / "part", res=2.5, **part)
    rows, columns = (
        slice(start // 5, start // 5 + size) for start, size in zip((60, 70), found.shape[1:], strict=True)
    )
    assert found.shape[1:] == (29, 31)
    assert (found == whole[:, rows, columns]).all()


def test_a_part_reads_few_tiles(ortho: Path, tmp_path: Path) -> None:
    _, _, report = run(ortho, tmp_path / "part", window=Window(300, 270, 22, 15))
    assert report["metrics"]["tiles"] == report["settings"]["plan"]["tiles"] <= 4


def test_an_area_has_the_pixels_of_the_whole_and_none_outside(ortho: Path, tmp_path: Path) -> None:
    whole, _, _ = run(ortho, tmp_path / "whole")
    area = tmp_path / "area.geojson"
    area.write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}},
                "features": [
                    {
                        "type": "Feature",
                        "properties": {},
                        "geometry": {"type": "Polygon", "coordinates": [TRIANGLE]},
                    }
                ],
            }
        )
    )
    found, bounds, _ = run(ortho, tmp_path / "part", aoi=area)
    rows, columns = from_bounds(*bounds, transform=UTM).round_offsets().round_lengths().toslices()
    transform = UTM @ Affine.translation(columns.start, rows.start)
    inside = rasterize(
        [{"type": "Polygon", "coordinates": [TRIANGLE]}], out_shape=found.shape[1:], transform=transform
    ).astype(bool)
    assert (found == np.where(inside, whole[:, rows, columns], [[[0]], [[255]]])).all()


def test_a_window_limits_what_lies_on_another_grid(ortho: Path, tmp_path: Path) -> None:
    whole, _, _ = run(ortho, tmp_path / "whole", like=ortho)
    window = Window(70, 60, 150, 140)
    found, _, _ = run(ortho, tmp_path / "part", like=ortho, window=window)
    rows, columns = slice(60, 200), slice(70, 220)
    assert (found[:, rows, columns] == whole[:, rows, columns]).all()
    found[:, rows, columns] = [[[0]], [[255]]]
    assert (found == np.array([[[0]], [[255]]])).all()
