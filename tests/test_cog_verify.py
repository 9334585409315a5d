"""What the verification of a written class raster finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import tifffile

from rsov.errors import OutputError
from rsov.raster.cog import CogSpec, class_spec, score_spec, verify_cog
from rsov.raster.overviews import with_overviews
from tests.support.cogs import make_legend, make_map

if TYPE_CHECKING:
    from pathlib import Path


def _refused(path: Path, work: Path, spec: CogSpec) -> str:
    with pytest.raises(OutputError) as caught:
        verify_cog(path, work, spec)
    return caught.value.why


def test_a_file_that_reads_as_zeros_is_found(
    tmp_path: Path, finished_map: tuple[Path, Path, CogSpec]
) -> None:
    _, work, spec = finished_map
    zeros = make_map(tmp_path, np.zeros((1300, 1100), np.uint8), spec)
    assert "differ from what was computed" in _refused(zeros, work, spec)


def test_M02_wide_maps_are_checked_piece_by_piece(
    tmp_path: Path,
    finished_map: tuple[Path, Path, CogSpec],
    map_pixels: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, work, spec = finished_map
    monkeypatch.setattr("rsov.raster.cog.CHECKED_SAMPLES", 1)
    verify_cog(path, work, spec)
    changed = map_pixels.copy()
    changed[-1, -1] = 1 if map_pixels[-1, -1] != 1 else 2
    assert "differ from what was computed" in _refused(make_map(tmp_path, changed, spec), work, spec)


def test_a_lost_overview_is_found(
    tmp_path: Path, finished_map: tuple[Path, Path, CogSpec], map_pixels: np.ndarray
) -> None:
    path, work, spec = finished_map
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[1].tags["TileByteCounts"]
        place, size = tag.valueoffset, tag.count * 4
    data = bytearray(path.read_bytes())
    data[place : place + size] = bytes(size)  # tiles of no bytes: absent, so read as nodata
    (tmp_path / "map.tif").write_bytes(data)
    assert "overview 0" in _refused(tmp_path / "map.tif", work, spec)


@pytest.mark.parametrize("kind", ["mode", "average"])
def test_overviews_made_wrongly_are_found(
    tmp_path: Path, map_pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    spec = class_spec(make_legend(3), {}) if kind == "mode" else score_spec(["a", "b"], {})
    pixels = map_pixels if kind == "mode" else np.stack([map_pixels, map_pixels[::-1]])
    kernel = {"mode": "halve_mode", "average": "halve_mean"}[kind]
    monkeypatch.setattr(f"rsov.raster.overviews.{kernel}", lambda *given: given[-1].fill(1))
    with pytest.raises(OutputError) as caught:
        make_map(tmp_path, pixels, spec)
    assert "overview 0" in caught.value.why


@pytest.mark.parametrize("level", [1, 2])
def test_a_level_that_loses_a_few_rows_before_the_copy_is_found(
    tmp_path: Path, map_pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    """As on a disk that fills up while the levels are written: their files read as zeros there."""

    def lossy(work: Path, *rest) -> list[Path]:
        made = with_overviews(work, *rest)
        with rasterio.open(made[level - 1], "r+") as dataset:
            rows = dataset.height * 7 // 100
            dataset.write(
                np.zeros((1, rows, dataset.width), np.uint8), window=((0, rows), (0, dataset.width))
            )
        return made

    monkeypatch.setattr("rsov.raster.cog.with_overviews", lossy)
    with pytest.raises(OutputError) as caught:
        make_map(tmp_path, map_pixels, class_spec(make_legend(3), {}))
    assert f"overview {level - 1}" in caught.value.why


def test_missing_tags_colours_and_names_are_found(finished_map: tuple[Path, Path, CogSpec]) -> None:
    path, work, spec = finished_map
    tags, band_tags, colours = dict(spec.tags), dict(spec.band_tags), dict(spec.colours or {})
    changed = {
        "tags are missing": class_spec(make_legend(3), tags | {"RSOV_RUN": "x"}),
        "class names are missing": CogSpec(
            "mode", 0, ("class",), tags, band_tags | {"class_9": "x"}, colours
        ),
        "the colour table": CogSpec("mode", 0, ("class",), tags, band_tags, colours | {1: (9, 9, 9)}),
        "names of the bands": CogSpec("mode", 0, ("other",), tags, band_tags, colours),
    }
    for why, other in changed.items():
        assert why in _refused(path, work, other)


def test_a_plain_tiff_is_no_cog(tmp_path: Path, map_pixels: np.ndarray) -> None:
    spec = class_spec(make_legend(3), {})
    make_map(tmp_path, map_pixels, spec)
    assert "layout" in _refused(tmp_path / "work.tif", tmp_path / "work.tif", spec)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.97])
def test_a_cut_file_is_found(tmp_path: Path, finished_map: tuple[Path, Path, CogSpec], share: float) -> None:
    path, work, spec = finished_map
    data = path.read_bytes()
    (tmp_path / "map.tif").write_bytes(data[: int(share * len(data))])
    assert _refused(tmp_path / "map.tif", work, spec)
