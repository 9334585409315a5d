"""Every file of the zoo and every ortho through `predict`: a code of the table, never 1, nothing left behind."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import fiona
import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize
from rio_cogeo.cogeo import cog_validate

from rsov.errors import ExitCode, RsovError
from rsov.jobs.predict import predict
from tests.support.models import ColourSegmenter
from tests.support.places import Watch

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("RSOV_SHARED", ROOT.parent / "shared"))
ALLOWED = {ExitCode.OK, ExitCode.USAGE, ExitCode.INPUT, ExitCode.RESOURCES}
SECONDS = 60
"""Far above what any of them takes (the largest: 8 s on two busy cores)."""


def files(*parts: str) -> list[Path]:
    """What lies in a folder of the reference data; one visible skip where there is none."""
    folder = SHARED.joinpath(*parts)
    found = sorted(path for path in folder.glob("*") if path.is_file())
    absent = pytest.mark.skip(reason=f"no reference data at {folder} (RSOV_SHARED)")
    return found or [pytest.param(folder, marks=absent)]  # type: ignore[list-item]  # a skip in place of paths


def code_of(path: Path, out: Path, **options) -> ExitCode:
    failure: RsovError | None = None
    try:
        predict(path, "forest,road,water", out=out, model=ColourSegmenter(), **options)
    except RsovError as error:
        failure = error
    if failure is None:
        return ExitCode.OK
    assert failure.id.startswith("E-")
    assert failure.what
    return failure.code


@pytest.mark.parametrize("path", files("data", "zoo"), ids=lambda path: path.name)
def test_a_file_of_the_zoo(path, tmp_path):
    watch = Watch(tmp_path)
    start = time.monotonic()
    code = code_of(path, tmp_path)
    assert time.monotonic() - start < SECONDS
    assert code in ALLOWED
    if code is ExitCode.OK:
        stem = path.stem
        watch.unchanged(
            f"{stem}_{end}" for end in ("classes.tif", "classes.qml", "classes.gpkg", "report.json")
        )
        verify(tmp_path, stem)
    else:
        watch.unchanged()


@pytest.mark.slow
@pytest.mark.parametrize("path", files("data", "zoo"), ids=lambda path: path.name)
def test_a_file_of_the_zoo_as_grey(path, tmp_path):
    """One band three times: single-band files get past the check of bands."""
    assert code_of(path, tmp_path, bands=(1, 1, 1), vector_format=("gpkg", "fgb", "shp")) in ALLOWED
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "path", [p for p in files("data", "orthos") if getattr(p, "suffix", ".tif") == ".tif"], ids=str
)
def test_an_ortho_runs_to_the_end(path, tmp_path):
    watch = Watch(path.parent)
    assert code_of(path, tmp_path) is ExitCode.OK
    verify(tmp_path, path.stem)
    watch.unchanged()


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [p for p in files("data", "orthos") if getattr(p, "suffix", ".tif") == ".tif"], ids=str
)
def test_an_ortho_with_the_bundled_model(path, tmp_path):
    predict(path, "forest,road,water,building", out=tmp_path, quicklook=True, confidence=True)
    verify(tmp_path, path.stem)


def verify(folder: Path, stem: str) -> None:
    """COG valid; polygons equal to the raster; the report's sums those of the raster."""
    assert cog_validate(folder / f"{stem}_classes.tif", quiet=True)[0]
    report = json.loads((folder / f"{stem}_report.json").read_text(encoding="utf-8"))
    with rasterio.open(folder / f"{stem}_classes.tif") as dataset:
        labels, transform = dataset.read(1), dataset.transform
    counts = dict(zip(*(values.tolist() for values in np.unique(labels, return_counts=True)), strict=True))
    assert {row["id"]: row["pixels"] for row in report["areas"] if row["pixels"]} == counts
    with fiona.open(folder / f"{stem}_classes.gpkg") as source:
        shapes = [(f.geometry, f.properties["class_id"]) for f in source]
    assert len(shapes) == report["metrics"]["polygons"]
    wanted = np.where(labels == 255, 0, labels)
    if shapes:
        back = rasterize(shapes, out_shape=labels.shape, transform=transform, dtype="uint8")
        np.testing.assert_array_equal(back, wanted)
    else:
        assert not wanted.any()
