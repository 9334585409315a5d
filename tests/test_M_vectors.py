"""Rows of group M (memory, size) as far as they concern polygons."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fiona
import numpy as np
import pytest
import shapely

from rsov.errors import ExitCode, OutputError, ResourceError
from rsov.types import Notices
from rsov.vector import write as module
from rsov.vector.trace import RowBlock, _Tracer
from rsov.vector.verify import verify_vector
from rsov.vector.write import write_polygons
from tests.support.vectors import START, grid_of, legend, polygons, smooth_labels, traced, write

ROOT = Path(__file__).resolve().parent.parent


def checkerboard(size: int) -> np.ndarray:
    return (np.indices((size, size)).sum(0) % 2 + 1).astype(np.uint8)


def islands(size: int, ground: int = 1, island: int = 255) -> np.ndarray:
    """One region with a hole at every second pixel."""
    labels = np.full((size, size), ground, np.uint8)
    labels[1:-1:2, 1:-1:2] = island
    return labels


def peak_mb(labels: str, fmt: str, folder: Path) -> float:
    """Peak memory of a process that writes the polygons of ``labels`` (an expression)."""
    script = (
        "import resource, sys; from pathlib import Path; from tests.test_M_vectors import *;"
        f"stats = write({labels}, Path(sys.argv[1]));"
        "print(stats.count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    path = folder / f"{abs(hash(labels))}.{fmt}"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return float(done.stdout.split()[1])


def test_M11_a_checkerboard_is_streamed_to_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "map.gpkg"
    stats = write(checkerboard(150), path, heights=[16])
    assert stats.count == 22_500
    verify_vector(path, "gpkg", 22_500)


def test_M11_the_store_of_a_checkerboard_is_a_few_rows(tmp_path: Path) -> None:
    tracer = _Tracer(500, (0,), 0.0, 10**9, 1000)
    labels = checkerboard(500)
    for _ in range(4):
        for batch in tracer.add(RowBlock(labels)):
            assert len(batch) <= 2000
    assert tracer.store.vertices.nbytes < 3e6


def test_M11_too_many_polygons_stop_the_run(tmp_path: Path) -> None:
    taken = []

    def blocks():
        for row in range(0, 300, 10):
            taken.append(row)
            yield RowBlock(checkerboard(300)[row : row + 10])

    labels = checkerboard(300)
    with pytest.raises(ResourceError) as caught:
        write_polygons(
            blocks(), grid_of(labels), legend("a", "b"), tmp_path / "map.gpkg", "gpkg",
            start_time=START, max_features=20_000, notices=Notices(),
        )  # fmt: skip
    assert caught.value.code == ExitCode.RESOURCES == 7
    assert "noise" in caught.value.why
    assert caught.value.fix.startswith("merge small regions with --min-area")
    assert taken[-1] < 290


def test_M11_few_large_polygons_above_the_limit_are_not_called_noise(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(1, 5, dtype=np.uint8), 100)[:, None].repeat(300, 1)
    with pytest.raises(ResourceError) as caught:
        write(labels, tmp_path / "map.gpkg", names=("a", "b", "c", "d"), max_features=3)
    assert caught.value.why == "the first 4 have 30,000 pixels on average"
    assert caught.value.fix.startswith("raise --max-features")


@pytest.mark.slow
def test_M11_a_million_polygons_need_little_memory(tmp_path: Path) -> None:
    assert (
        peak_mb("checkerboard(1000)", "fgb", tmp_path) < peak_mb("checkerboard(200)", "fgb", tmp_path) + 200
    )


def test_M12_one_polygon_with_very_many_holes(tmp_path: Path) -> None:
    labels = islands(401)
    path = tmp_path / "map.gpkg"
    notices = Notices()
    stats = write(labels, path, heights=[33], notices=notices)
    assert stats.count == 1
    assert not notices.items
    with fiona.open(path) as source:
        feature = next(iter(source))
    assert len(feature.geometry.coordinates) == 1 + 200 * 200
    assert feature.properties["area_m2"] == pytest.approx(0.25 * (401**2 - 200**2), rel=1e-2)


def test_M12_a_polygon_above_the_limit_is_cut_and_reported(tmp_path: Path) -> None:
    notices = Notices()
    path = tmp_path / "map.gpkg"
    stats = write(islands(101), path, max_vertices=2000, notices=notices)
    assert stats.count > 3
    assert stats.cut >= stats.count - 1
    assert [n.id for n in notices.items] == ["W-polygon-cut"]
    found = polygons(traced(islands(101), max_vertices=2000))
    assert shapely.is_valid(found).all()
    assert shapely.union_all(found).area == (islands(101) == 1).sum()


@pytest.mark.slow
def test_M12_a_million_holes_are_traced_and_written(tmp_path: Path) -> None:
    path = tmp_path / "map.fgb"
    stats = write(islands(2001), path, heights=[256])
    assert stats.count == 1
    assert stats.points == 5 * (1 + 1000 * 1000)
    verify_vector(path, "fgb", 1)


def test_M13_temporary_files_lie_beside_the_output_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, folder = tmp_path / "tmp", tmp_path / "out"
    elsewhere.mkdir()
    folder.mkdir()
    for name in ("TMPDIR", "TMP", "TEMP", "CPL_TMPDIR"):
        monkeypatch.setenv(name, str(elsewhere))
    labels = checkerboard(150)
    during: list[str] = []

    def blocks():
        for row in range(0, 150, 10):
            during.extend(p.name for p in elsewhere.iterdir())
            yield RowBlock(labels[row : row + 10])

    for fmt in ("gpkg", "fgb"):
        write_polygons(
            blocks(),
            grid_of(labels),
            legend("a", "b"),
            folder / f"map.{fmt}",
            fmt,
            start_time=START,
            notices=Notices(),
        )
    assert sorted(p.name for p in folder.iterdir()) == ["map.fgb", "map.gpkg"]
    assert not during
    assert not list(elsewhere.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("fmt", ["gpkg", "fgb"])
def test_M13_the_spatial_index_needs_few_bytes_a_polygon(fmt: str, tmp_path: Path) -> None:
    """5 million polygons stay below 1 GB: the index is what grows, by less than 200 bytes a polygon."""
    small, large = (peak_mb(f"checkerboard({size})", fmt, tmp_path) for size in (200, 550))
    assert (large - small) * 2**20 / (550**2 - 200**2) < 200


def test_M14_a_shapefile_that_would_pass_its_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.SHAPEFILE_LIMIT == 1_900_000_000
    monkeypatch.setattr(module, "SHAPEFILE_LIMIT", 100_000)
    with pytest.raises(OutputError) as caught:
        write(checkerboard(60), tmp_path / "map.shp")
    assert caught.value.code == ExitCode.OUTPUT == 5
    assert "gpkg" in caught.value.fix
    assert not (tmp_path / "map.shp").exists() or (tmp_path / "map.shp").stat().st_size < 100_000
    write(checkerboard(60), tmp_path / "map.gpkg")


def test_M14_the_estimate_is_above_the_size_that_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = smooth_labels(200, 200, sigma=2)
    labels[1::20, 1::20] = 255  # holes
    write(labels, tmp_path / "map.shp")
    size = max((tmp_path / f"map.{suffix}").stat().st_size for suffix in ("shp", "dbf"))
    monkeypatch.setattr(module, "SHAPEFILE_LIMIT", size - 1)
    with pytest.raises(OutputError):
        write(labels, tmp_path / "again.shp")
    monkeypatch.setattr(module, "SHAPEFILE_LIMIT", int(size * 1.01))
    write(labels, tmp_path / "third.shp")


def test_M15_a_large_geojson_is_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.GEOJSON_WARNING == 200 * 2**20
    notices = Notices()
    write(checkerboard(20), tmp_path / "small.geojson", notices=notices)
    assert not notices.items
    monkeypatch.setattr(module, "GEOJSON_WARNING", 10_000)
    stats = write(checkerboard(20), tmp_path / "map.geojson", notices=notices)
    assert [n.id for n in notices.items] == ["W-geojson-large"]
    verify_vector(tmp_path / "map.geojson", "geojson", stats.count)
