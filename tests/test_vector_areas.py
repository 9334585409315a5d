"""Areas by a stated pixel size, and regions too small for --min-area, through the whole job."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import fiona
import numpy as np
import pytest
import rasterio
from PIL import Image

from rsov.jobs.predict import predict
from tests.support.models import ColourSegmenter
from tests.support.places import WORDS, picture

if TYPE_CHECKING:
    from pathlib import Path

    from rsov.jobs.predict_map import MapResult


def run(path: Path, out: Path, **options: Any) -> MapResult:
    out.mkdir(exist_ok=True)
    return predict(
        path, list(WORDS), out=out, model=ColourSegmenter(), background="none", scale="none", **options
    ).map


def told(result: MapResult) -> list[str]:
    return [notice.id for notice in result.warnings]


def sheet(result: MapResult) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(result.outputs["quicklook"].read_bytes())).convert("RGB"))


def test_areas_come_from_a_stated_gsd_where_there_is_no_georeference(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.tif", crs=None, transform=None)
    result = run(path, tmp_path / "out", gsd=0.5, quicklook=True, overwrite=True)
    assert told(result) == ["W-no-crs"]
    with rasterio.open(result.outputs["classes"]) as classes:
        assert classes.crs is None
        counts = np.bincount(classes.read(1).ravel(), minlength=256)
    for row in result.areas:
        assert row.area_m2 == pytest.approx(counts[row.id] * 0.25)
    with fiona.open(tmp_path / "out" / "a_classes.gpkg") as polygons:
        found = [feature.properties for feature in polygons]
    for class_id in {properties["class_id"] for properties in found}:
        areas = sum(p["area_m2"] for p in found if p["class_id"] == class_id)
        assert areas == pytest.approx(counts[class_id] * 0.25)
    with_bar = sheet(result)
    unknown = run(path, tmp_path / "out", quicklook=True, overwrite=True)
    assert told(unknown) == ["W-no-gsd"]
    assert all(row.area_m2 is None for row in unknown.areas)
    dark = [(pixels.max(axis=2) < 60).sum() for pixels in (with_bar, sheet(unknown))]
    assert dark[0] > dark[1]  # the scale bar


@pytest.mark.parametrize("vectors", [("gpkg",), ()])
def test_a_min_area_above_every_region_is_told(tmp_path: Path, vectors: tuple[str, ...]) -> None:
    path = picture(tmp_path / "a.tif")
    plain = run(path, tmp_path / "plain", vector_format=vectors)
    with rasterio.open(plain.outputs["classes"]) as classes:
        labels = classes.read(1)
    most, everything = np.bincount(labels.ravel()).max() * 0.25, labels.size * 0.25
    for min_area, expected in (
        (0, []),
        (most, []),
        (most + 1, ["W-min-area"]),
        (everything + 1, ["W-min-area"]),
    ):
        result = run(path, tmp_path / f"{min_area}", vector_format=vectors, min_area=min_area)
        assert told(result) == expected, min_area


def test_a_min_area_of_nothing_to_merge_is_no_slip(tmp_path: Path) -> None:
    assert not told(run(picture(tmp_path / "a.tif"), tmp_path / "out", min_area=2.0))
