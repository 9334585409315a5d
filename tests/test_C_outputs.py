"""Outputs that cannot or must not be written are refused in the plan, before anything is loaded."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from affine import Affine
from rasterio.errors import RasterioIOError

from rsov.errors import OutputError, RsovError, UsageError
from rsov.raster.cog import score_spec, stamp, write_cog
from rsov.raster.faults import writing
from rsov.raster.outputs import CONFIDENCE_BYTES, LABEL_BYTES, check_outputs, space_needed
from rsov.raster.workfile import WorkRaster
from rsov.types import Grid, Notices
from tests.support.rasters import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _refusal(kind: type[RsovError], *args, **options) -> RsovError:
    with pytest.raises(kind) as caught:
        check_outputs(*args, **options)
    assert caught.value.fix
    return caught.value


def test_outputs_that_fit_are_accepted_and_nothing_is_left(tmp_path: Path) -> None:
    check_outputs([tmp_path / "a_classes.tif", tmp_path / "a_classes.gpkg"], [tmp_path / "a.tif"])
    assert not list(tmp_path.iterdir())


def test_C14_a_folder_two_levels_below_what_exists_is_refused(tmp_path: Path) -> None:
    check_outputs([tmp_path / "new" / "a.tif"])
    assert not (tmp_path / "new").exists()
    error = _refusal(OutputError, [tmp_path / "new" / "newer" / "a.tif"])
    assert error.id == "E-output-folder"


def test_C14_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert _refusal(OutputError, [tmp_path / "file" / "a.tif"]).id == "E-output-folder"
    assert _refusal(OutputError, [tmp_path / "file" / "deeper" / "a.tif"]).id == "E-output-folder"


@pytest.mark.parametrize("probe", [True, False], ids=["run", "dry run"])
def test_C14_a_folder_without_permission_is_refused(tmp_path: Path, probe: bool) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.getuid() == 0:  # root may write anywhere: another user asks
        code = (
            "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
            "from rsov.raster.outputs import check_outputs\n"
            "from rsov.errors import OutputError\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "try: check_outputs([Path(sys.argv[2]) / 'a.tif'], probe=sys.argv[3] == 'True')\n"
            "except OutputError as error: sys.exit(40 + error.code)\n"
        )
        for path in (tmp_path, *tmp_path.parents):
            if not path.stat().st_mode & 0o001 and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o011)
        python = os.path.realpath(Path(os.sys.executable))
        root = Path(__file__).resolve().parent.parent
        command = [python, "-c", code, str(root), str(folder), str(probe)]
        done = subprocess.run(
            command, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(os.sys.path)}
        )
        assert done.returncode == 45
    else:
        assert _refusal(OutputError, [folder / "a.tif"], probe=probe).id == "E-output-folder"


def test_C15_all_existing_outputs_are_named(tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in ("a_classes.tif", "a_classes.gpkg", "a_report.json")]
    outputs[0].touch()
    outputs[2].touch()
    error = _refusal(OutputError, outputs)
    assert error.id == "E-output-exists"
    assert str(outputs[0]) in error.where
    assert str(outputs[1]) not in error.where
    assert str(outputs[2]) in error.where
    assert "--overwrite" in error.fix
    check_outputs(outputs, overwrite=True)


@pytest.mark.parametrize("name", ["a_classes.gpkg", "a_classes.dbf", "a_classes.tif.aux.xml"])
def test_C15_also_when_only_the_vector_or_a_part_of_an_output_exists(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    outputs = [tmp_path / f"a_classes{suffix}" for suffix in (".tif", ".gpkg", ".shp")]
    assert str(tmp_path / name) in _refusal(OutputError, outputs).where


def test_C15_a_broken_link_counts_as_existing_and_a_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "link.tif").symlink_to(tmp_path / "nowhere")
    assert _refusal(OutputError, [tmp_path / "link.tif"]).id == "E-output-exists"
    (tmp_path / "folder.tif").mkdir()
    assert _refusal(OutputError, [tmp_path / "folder.tif"], overwrite=True).id == "E-output-kind"
    os.mkfifo(tmp_path / "pipe.tif")
    assert _refusal(OutputError, [tmp_path / "pipe.tif"], overwrite=True).id == "E-output-kind"


@pytest.mark.parametrize("route", ["same", "dot", "symlink", "hard link", "link to the folder"])
def test_C17_an_output_that_is_an_input_is_refused_by_any_route(tmp_path: Path, route: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    source = folder / "a.tif"
    source.write_bytes(b"pixels")
    output = {
        "same": source,
        "dot": tmp_path / "data" / ".." / "data" / "a.tif",
        "symlink": tmp_path / "b.tif",
        "hard link": tmp_path / "b.tif",
        "link to the folder": tmp_path / "other" / "a.tif",
    }[route]
    if route == "symlink":
        output.symlink_to(source)
    elif route == "hard link":
        os.link(source, output)
    elif route == "link to the folder":
        output.parent.symlink_to(folder)
    error = _refusal(UsageError, [output], [source], overwrite=True)
    assert error.id == "E-output-is-input"
    assert source.read_bytes() == b"pixels"


def test_C17_a_file_that_belongs_to_an_input_is_refused(tmp_path: Path) -> None:
    for name in ("a.tif", "a.tif.ovr", "part.tif"):
        (tmp_path / name).touch()
    inputs = [tmp_path / "a.tif", tmp_path / "part.tif"]  # the second a member of a VRT
    assert _refusal(UsageError, [tmp_path / "a.tif.ovr"], inputs, overwrite=True).id == "E-output-is-input"
    assert _refusal(UsageError, [tmp_path / "part.tif"], inputs, overwrite=True).id == "E-output-is-input"


def test_C17_an_input_that_would_be_taken_away_as_a_stale_sidecar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tif.ovr").touch()
    error = _refusal(UsageError, [tmp_path / "x.tif"], [tmp_path / "x.tif.ovr"], overwrite=True)
    assert error.id == "E-output-is-input"


def test_C18_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    outputs = [tmp_path / "x.tif", tmp_path / "y.tif", tmp_path / "." / "x.tif"]
    error = _refusal(UsageError, outputs)
    assert error.id == "E-output-collision"
    assert "x.tif" in error.what


def test_C18_names_collide_through_links_and_parts_of_a_shapefile(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert (
        _refusal(UsageError, [tmp_path / "real" / "x.tif", tmp_path / "link" / "x.tif"]).id
        == "E-output-collision"
    )
    assert _refusal(UsageError, [tmp_path / "x.shp", tmp_path / "x.dbf"]).id == "E-output-collision"


def test_M21_too_little_room_is_refused_with_both_figures(tmp_path: Path) -> None:
    error = _refusal(OutputError, [tmp_path / "a.tif"], needed=10_000_000, free=lambda folder: 2_500_000)
    assert error.id == "E-output-full"
    assert "10 MiB needed" in error.why
    assert "2.4 MiB free" in error.why
    check_outputs([tmp_path / "a.tif"], needed=10_000_000, free=lambda folder: 12_000_000)


def test_M21_the_folder_that_will_be_made_is_asked_for_its_room(tmp_path: Path) -> None:
    asked: list[Path] = []

    def free(folder: Path) -> int:
        asked.append(folder)
        return 1 << 40

    check_outputs([tmp_path / "new" / "a.tif"], needed=1, free=free)
    assert asked == [tmp_path]


def test_M21_the_estimate_grows_with_what_is_asked_for() -> None:
    classes = space_needed(100_000_000, polygons=False)
    assert 5e6 < classes < 100e6
    assert space_needed(100_000_000, polygons=False, sieved=True) > classes + 5e6
    assert space_needed(100_000_000, confidence=True, polygons=False) > classes + 80e6
    assert space_needed(100_000_000, prob_bands=4, polygons=False) > classes + 4 * 80e6


@pytest.mark.parametrize("bands", [1, 3])
def test_M21_the_estimate_holds_for_what_stands_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bands: int
) -> None:
    """Scores of noise, which nothing compresses: sizes are known then, and only the files are counted."""
    noise = np.random.default_rng(0).integers(0, 251, (bands, 2048, 2048)).astype(np.uint8)
    grid, spec = Grid(2048, 2048, Affine.identity(), None), score_spec(["x"] * bands, {})
    with WorkRaster(tmp_path / "work.tif", grid, "uint8", bands=bands, nodata=255) as work:
        work.write(grid.window, noise)
    stamp(work.path, spec)
    alone, most = work.path.stat().st_size, 0
    unlink = Path.unlink

    def counted(path: Path, missing_ok: bool = False) -> None:
        nonlocal most
        most = max(most, sum(file.stat().st_size for file in tmp_path.iterdir()))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", counted)
    write_cog(work.path, tmp_path / "map.tif", spec)
    pixels = 1_000_000_000
    estimate = space_needed(pixels, prob_bands=bands, polygons=0) - space_needed(pixels, polygons=0)
    assert (
        2.4 * alone
        < most
        < (estimate + LABEL_BYTES / 3 * pixels) / (CONFIDENCE_BYTES * bands * pixels) * alone
    )


def test_M21_each_file_of_polygons_is_counted() -> None:
    one, three = (space_needed(1_000_000, polygons=count) for count in (1, 3))
    assert three - one == 2 * (one - space_needed(1_000_000, polygons=0))


def test_S19_a_folder_in_which_everyone_may_rename_is_warned_about(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    notices = Notices()
    check_outputs([tmp_path / "a.tif"], notices=notices)
    assert [notice.id for notice in notices.items] == ["W-output-open-folder"]
    tmp_path.chmod(0o1777)
    notices = Notices()
    check_outputs([tmp_path / "a.tif"], notices=notices)
    assert not notices.items


def test_a_name_that_is_too_long_is_refused_in_the_plan(tmp_path: Path) -> None:
    assert _refusal(OutputError, [tmp_path / ("x" * 300 + ".tif")]).id == "E-output-name"


@pytest.fixture
def limited() -> Iterator[Callable[[int], None]]:
    """Sets ``ulimit -f`` of this process, in bytes; Python ignores SIGXFSZ, so writing fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_limit_of_file_sizes_is_told_in_plain_words(tmp_path: Path, limited: Callable[[int], None]) -> None:
    data = np.random.default_rng(0).integers(0, 255, (1, 512, 512)).astype(np.uint8)
    limited(150_000)
    with pytest.raises(OutputError) as caught, writing(tmp_path / "a.tif"):
        write(tmp_path / "a.tif", data)
    error = caught.value
    assert (error.id, error.why) == (
        "E-output-limit",
        "no file of this process may be larger than 150,000 bytes",
    )
    assert "ulimit -f" in error.fix


def test_a_limit_that_no_file_comes_near_is_not_the_cause(
    tmp_path: Path, limited: Callable[[int], None]
) -> None:
    private = tmp_path / ".a.tif.rsov-1.part" / "scratch"
    private.mkdir(parents=True)
    limited(40_000_000)
    for size, told in ((1000, "E-output-write"), (25_000_000, "E-output-limit")):
        (private / "work.tif").write_bytes(bytes(size))
        for path in (private.parent / "a.tif", private / "b.tif", tmp_path / "a.gpkg"):
            with pytest.raises(OutputError) as caught, writing(path):
                raise RasterioIOError("Write error at scanline 0")
            assert caught.value.id == told
