"""The class raster, as other programs read it."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from affine import Affine
from rasterio.control import GroundControlPoint
from rio_cogeo import cog_validate

from rsov.raster.cog import (
    CogSpec,
    class_spec,
    kept_points,
    provenance,
    score_spec,
    stamp,
    write_cog,
)
from rsov.raster.workfile import WorkRaster, profile
from rsov.types import Grid, Window
from tests.support.cogs import NORTH_UP, UTM, make_legend, make_map, patches, write_work


def test_the_map_is_a_valid_cog(finished_map: tuple[Path, Path, CogSpec]) -> None:
    valid, errors, warnings = cog_validate(finished_map[0], strict=True)
    assert (valid, errors, warnings) == (True, [], [])


def test_another_reader_finds_the_same_pixels(
    finished_map: tuple[Path, Path, CogSpec], map_pixels: np.ndarray
) -> None:
    with tifffile.TiffFile(finished_map[0]) as tiff:
        assert np.array_equal(tiff.pages[0].asarray(), map_pixels)
        assert [page.shape for page in tiff.pages[1:]] == [(650, 550), (325, 275)]


def test_names_colours_and_provenance_are_in_the_file_and_no_sidecar_is_needed(
    finished_map: tuple[Path, Path, CogSpec],
) -> None:
    with rasterio.open(finished_map[0]) as dataset:
        assert dataset.nodata == 0
        assert dataset.descriptions == ("class",)
        assert dataset.tags(1)["class_2"] == "class 2"
        assert dataset.tags(1)["class_255"] == "none of them"
        assert dataset.colormap(1)[2] == (2, 0, 77, 255)
        assert dataset.tags()["RSOV_MODEL_SHA256"] == "ab" * 32
        assert json.loads(dataset.tags()["RSOV_LEGEND"]) == [{"id": 1, "name": "Wald & <Wiese>"}]
        assert dataset.tags()["AREA_OR_POINT"] == "Area"
        assert dataset.crs == UTM
        assert dataset.transform == NORTH_UP
    assert sorted(path.name for path in finished_map[0].parent.iterdir()) == ["map.tif", "work.tif"]


@pytest.mark.parametrize("classes", [3, 300])
def test_Z53_every_overview_holds_only_values_of_the_map(tmp_path: Path, classes: int) -> None:
    legend = make_legend(classes)
    values = [0, *range(1, classes + 1), legend.none_id]
    target = make_map(
        tmp_path, patches(1300, 1100, values, cell=2).astype(legend.dtype), class_spec(legend, {})
    )
    with rasterio.open(target) as dataset:
        levels = dataset.overviews(1)
    assert levels == [2, 4]
    for level in range(len(levels)):
        with rasterio.open(target, overview_level=level) as overview:
            assert set(np.unique(overview.read(1))) <= set(values)


def test_Z53_an_overview_shows_the_most_frequent_class(tmp_path: Path) -> None:
    blocks = patches(1024, 1024, [1, 2, 3], cell=2)
    blocks[::2, ::2] = 3  # one pixel in four of another class
    target = make_map(tmp_path, blocks.astype(np.uint8), class_spec(make_legend(3), {}))
    with rasterio.open(target, overview_level=0) as overview:
        assert np.array_equal(overview.read(1), blocks[1::2, 1::2])


def test_Z52_a_wrong_type_is_refused_and_300_classes_keep_their_numbers(tmp_path: Path) -> None:
    assert make_legend(254).dtype == "uint8"
    assert make_legend(255).dtype == "uint16"
    grid = Grid(10, 10, NORTH_UP, UTM)
    with (
        WorkRaster(tmp_path / "a.tif", grid, "uint8") as work,
        pytest.raises(ValueError, match="does not fit"),
    ):
        work.write(grid.window, np.full((10, 10), 300, np.uint16))
    numbers = np.arange(301, dtype=np.uint16).reshape(7, 43)
    target = make_map(tmp_path, numbers, class_spec(make_legend(300), {}))
    with rasterio.open(target) as dataset:
        assert np.array_equal(dataset.read(1), numbers)


def test_Z38_the_map_of_a_jpeg_picture_is_lossless(tmp_path: Path) -> None:
    source = tmp_path / "jpeg.tif"
    options = {"driver": "GTiff", "width": 600, "height": 600, "count": 3, "dtype": "uint8", "tiled": True}
    with rasterio.open(
        source, "w", **options, compress="jpeg", photometric="ycbcr", crs=UTM, transform=NORTH_UP
    ) as dataset:
        dataset.write(np.zeros((3, 600, 600), np.uint8))
        grid = Grid(dataset.width, dataset.height, dataset.transform, dataset.crs)
    assert (
        "jpeg"
        not in json.dumps({key: str(value) for key, value in profile(grid, "uint8", 1, 0).items()}).lower()
    )
    noise = np.random.default_rng(1).integers(1, 4, (600, 600), dtype=np.uint8)
    target = make_map(tmp_path, noise, class_spec(make_legend(3), {}))
    with rasterio.open(target) as dataset:
        assert dataset.profile["compress"] == "deflate"
        assert dataset.tags(ns="IMAGE_STRUCTURE").keys() <= {
            "COMPRESSION",
            "INTERLEAVE",
            "LAYOUT",
            "OVERVIEW_RESAMPLING",  # since GDAL 3.12
            "PREDICTOR",
        }
        assert np.array_equal(dataset.read(1), noise)


@pytest.mark.parametrize(
    "transform",
    [
        NORTH_UP,
        Affine(0.25, 0, 1e5, 0, 0.25, 1e6),
        Affine(0.257, 0.154, 5e5, 0.154, -0.257, 5e6),
        Affine(0.5, 0, 5e5, 0, -1.0, 5e6),
        Affine(-0.5, 0, 5e5, 0, -0.5, 5e6),
    ],
    ids=["north-up", "south-up", "rotated", "non-square", "mirrored"],
)
def test_the_map_lies_exactly_on_the_grid(tmp_path: Path, map_pixels: np.ndarray, transform: Affine) -> None:
    target = make_map(tmp_path, map_pixels[:600, :600], class_spec(make_legend(3), {}), transform=transform)
    with rasterio.open(target) as dataset:
        assert dataset.transform.almost_equals(transform, precision=1e-9)
        assert dataset.crs == UTM


def test_a_picture_without_georeference_gives_a_map_without(tmp_path: Path, map_pixels: np.ndarray) -> None:
    target = make_map(
        tmp_path, map_pixels, class_spec(make_legend(3), {}), transform=Affine.identity(), crs=None
    )
    with rasterio.open(target) as dataset:
        assert dataset.crs is None
        assert dataset.transform == Affine.identity()
        assert np.array_equal(dataset.read(1), map_pixels)


def test_ground_control_points_are_kept_where_they_lie_on_the_new_grid(
    tmp_path: Path, map_pixels: np.ndarray
) -> None:
    corners = ((0, 0), (0, 1200), (1400, 0), (1400, 900))
    points = [GroundControlPoint(r, c, 500_000 + c / 4, 5_000_000 - r / 4, 0.0, f"{r}") for r, c in corners]
    cropped = Grid(1100, 1300, Affine(2, 0, 40, 0, 2, 100), None)  # from pixel (40, 100) on, twice as coarse
    spec = class_spec(make_legend(3), {}, gcps=kept_points(points, UTM, cropped))
    target = make_map(tmp_path, map_pixels, spec, transform=cropped.transform, crs=None)
    with rasterio.open(target) as dataset:
        found, crs = dataset.gcps
        assert dataset.transform == Affine.identity()
    assert crs == UTM
    assert [(2 * p.row + 100, 2 * p.col + 40) for p in found] == [*corners]
    assert [(p.x, p.y) for p in found] == [(p.x, p.y) for p in points]


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (64, 1), (2, 3), (512, 512), (513, 1025)])
def test_Z45_any_size_can_be_written(tmp_path: Path, shape: tuple[int, int]) -> None:
    data = patches(*shape, [1, 2], cell=1).astype(np.uint8)
    target = make_map(tmp_path, data, class_spec(make_legend(2), {}))
    with rasterio.open(target) as dataset:
        assert np.array_equal(dataset.read(1), data)


def test_confidence_is_averaged_without_its_nodata(tmp_path: Path) -> None:
    confidence = np.full((1024, 1024), 200, np.uint8)
    confidence[:, 1::2] = 255
    target = make_map(tmp_path, confidence, score_spec(["confidence"], {}))
    with rasterio.open(target) as dataset:
        assert dataset.nodata == 255
        assert dataset.overviews(1)
    with rasterio.open(target, overview_level=0) as overview:
        assert (overview.read(1) == 200).all()


@pytest.mark.parametrize("names", [("forest", "road", "Öde"), ("forest", "road", "Öde", "water")])
def test_probabilities_have_a_named_band_a_class_and_none_is_a_colour(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    probs = np.random.default_rng(0).integers(0, 251, (len(names), 700, 600), dtype=np.uint8)
    target = make_map(tmp_path, probs, score_spec(list(names), {}))
    with rasterio.open(target) as dataset:
        assert dataset.descriptions == names
        assert {role.name for role in dataset.colorinterp} <= {"gray", "undefined"}
        assert np.array_equal(dataset.read(), probs)


def test_an_empty_map_takes_no_room(tmp_path: Path) -> None:
    target = make_map(tmp_path, np.zeros((2000, 2000), np.uint8), class_spec(make_legend(2), {}))
    assert target.stat().st_size < 10_000


def test_the_bytes_do_not_depend_on_threads_or_the_order_of_windows(
    tmp_path: Path, map_pixels: np.ndarray
) -> None:
    spec = class_spec(make_legend(3), {"RSOV_VERSION": "0.1"})
    grid = Grid(1100, 1300, NORTH_UP, UTM)
    with WorkRaster(tmp_path / "strips.tif", grid, "uint8") as work:
        for col, width in ((700, 400), (0, 700)):
            for row in range(0, 1300, 170):
                window = Window(col, row, width, min(170, 1300 - row))
                work.write(window, map_pixels[row : window.bottom, col : window.right])
    rows = write_work(tmp_path / "rows.tif", map_pixels)
    for source, threads in ((rows, 1), (rows, 2), (tmp_path / "strips.tif", 2)):
        stamp(source, spec)
        write_cog(source, tmp_path / f"{source.stem}{threads}.tif", spec, threads=threads)
    first, *others = [(tmp_path / f"{name}.tif").read_bytes() for name in ("rows1", "rows2", "strips2")]
    assert all(first == other for other in others)


def test_a_copy_can_be_ended_between_any_rows(tmp_path: Path, map_pixels: np.ndarray) -> None:
    spec = class_spec(make_legend(3), {})
    work = write_work(tmp_path / "work.tif", map_pixels)
    stamp(work, spec)
    left = 0

    def going_on() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise CancelledError

    write_cog(work, tmp_path / "map.tif", spec, going_on=going_on)
    asked = -left
    assert asked == (3 + 2) + (3 + 2)  # rows of blocks of both levels, of the map and the finer level
    for number in (1, asked):
        left = number
        with pytest.raises(CancelledError):
            write_cog(work, tmp_path / "map.tif", spec, going_on=going_on)


@pytest.mark.parametrize("text", [" lead.tif", "trail.tif ", "\ta b", " ", ""])
def test_blanks_around_a_tag_do_not_make_a_map_look_damaged(tmp_path: Path, text: str) -> None:
    """GDAL's XML drops them, and tags of nothing else."""
    spec = class_spec(make_legend(3), provenance({"input": text, "model": "m"}))
    target = make_map(tmp_path, np.ones((9, 9), np.uint8), spec)
    with rasterio.open(target) as dataset:
        assert dataset.tags().get("RSOV_INPUT", "") == text.strip()


_FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
from affine import Affine
from rsov.errors import ExitCode, OutputError
from rsov.raster import cog
from rsov.raster.cog import class_spec, stamp, write_cog
from rsov.raster.publish import Publication
from rsov.raster.workfile import WorkRaster
from rsov.types import Grid, Legend, LegendClass

folder, stage = Path(sys.argv[2]), sys.argv[3]
grid = Grid(1100, 1100, Affine.identity(), None)
labels = np.random.default_rng(0).integers(1, 4, (1100, 1100), dtype=np.uint8)
spec = class_spec(Legend(tuple(LegendClass(i, str(i), (str(i),), (i, i, i)) for i in (1, 2, 3))), {"RSOV_A": "b" * 500})
target = folder / "map.tif"
target.write_bytes(b"old")
full = resource.RLIM_INFINITY
make_levels, level_bytes = cog.with_overviews, 0

def make(limit):
    def limited_levels(*arguments):
        global level_bytes
        if stage == "levels":
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, full))
        made = make_levels(*arguments)
        resource.setrlimit(resource.RLIMIT_FSIZE, (full if stage == "levels" else limit, full))
        level_bytes = made[0].stat().st_size
        return made

    cog.with_overviews = limited_levels
    with Publication([target], overwrite=True) as publication:
        if stage == "work":
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        with WorkRaster(publication.scratch("work.tif"), grid, "uint8") as work:
            work.write(grid.window, labels)
        if stage != "levels":
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, full))
        stamp(work.path, spec)
        work.check()
        write_cog(work.path, publication.part(target), spec)
        publication.commit()

make(full)
size = level_bytes if stage == "levels" else target.stat().st_size
for share in [0.01, 0.2, 0.25, 0.5, 0.78, 0.9, 0.99, 0.999]:
    target.write_bytes(b"old")
    try:
        make(int(size * share))
    except OutputError as error:
        assert error.code is ExitCode.OUTPUT
    else:
        print("no error at", share)
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, full))
    if target.read_bytes() != b"old":
        print("old output changed at", share)
    if [path.name for path in folder.iterdir()] != ["map.tif"]:
        print("left over at", share)
"""


@pytest.mark.parametrize("stage", ["work", "levels", "cog"])
def test_C09_C10_a_full_disk_at_any_point_ends_with_an_error_and_no_file(tmp_path: Path, stage: str) -> None:
    """The size limit hits the work file, the files of the overviews, or the COG; the old output stays (C16)."""
    root = str(Path(__file__).resolve().parent.parent)
    command = [sys.executable, "-c", _FULL_DISK, root, str(tmp_path), stage]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


_MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from affine import Affine
from rsov.raster.cog import class_spec, stamp, write_cog
from rsov.raster.workfile import WorkRaster
from rsov.types import Grid, Legend, LegendClass, Window

side, folder = int(sys.argv[3]), Path(sys.argv[2])
spec = class_spec(Legend((LegendClass(1, "a", ("a",), (1, 2, 3)),)), {})
def make(size, name):
    grid = Grid(size, size, Affine.identity(), None)
    rows = np.tile(np.repeat(np.array([1, 255], np.uint8), 64), (128, size // 128))
    with WorkRaster(folder / name, grid, "uint8") as work:
        for row in range(0, size, 128):
            work.write(Window(0, row, size, 128), rows)
    stamp(folder / name, spec)
    write_cog(folder / name, folder / ("cog" + name), spec)
make(1024, "small.tif")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
make(side, "large.tif")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_M24_memory_does_not_grow_with_the_raster(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parent.parent)
    command = [sys.executable, "-c", _MEMORY, root, str(tmp_path), str(7_680)]
    environment = {"GDAL_CACHEMAX": "16", "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    assert int(done.stdout) * 1024 < 7_680**2 / 2  # the raster in memory would be twice as much
