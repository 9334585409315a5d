"""How samples become 0..255: ranges that the caller gives, and statistics used again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rsov.errors import InputError, UsageError
from rsov.types import Notices, Window
from tests.support.rasters import ids, read, scene, texture, write

if TYPE_CHECKING:
    from pathlib import Path

    import rasterio


def test_stats_are_reusable_from_json_and_from_an_output(tmp_path: Path) -> None:
    first = write(tmp_path / "a.tif", texture(top=200))
    other = write(tmp_path / "b.tif", texture(top=90, seed=5))
    radiometry = scene(first, scale="auto").radiometry
    (tmp_path / "stats.json").write_text(radiometry.to_json())
    assert scene(other, stats=tmp_path / "stats.json").radiometry == radiometry
    tagged = write(
        tmp_path / "map.tif", texture(), after=lambda out: out.update_tags(**scene(first, scale="auto").tags)
    )
    assert scene(other, stats=tagged).radiometry == radiometry
    for bad in (tmp_path / "none.json", other, first):
        with pytest.raises(InputError) as caught:
            scene(other, stats=bad)
        assert caught.value.id == "E-stats"
        assert "_report.json" in caught.value.fix
        assert not caught.value.why  # a parser's own words help nobody
    huge = f'{{"gain": [{10**400}, 1, 1], "offset": [0, 0, 0], "lo": [0, 0, 0], "hi": [1, 1, 1], "rule": ""}}'
    for text in ('{"gain": [1, 2], "offset": "x"}', huge, "[" * 100_000):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InputError):
            scene(other, stats=tmp_path / "bad.json")


def test_radiometry_is_the_same_for_all_tiles_and_any_window(tmp_path: Path) -> None:
    data = texture(600, 700, dtype="uint16", top=4000)
    data[:, :, :300] //= 4
    opened = scene(write(tmp_path / "a.tif", data, tiled=True, blockxsize=128, blockysize=128), scale="auto")
    with opened.open_reader() as reader:
        whole = reader.read(Window(0, 0, 700, 600)).data
        for col, row in ((0, 0), (250, 100), (333, 77)):
            assert (
                reader.read(Window(col, row, 200, 200)).data == whole[:, row : row + 200, col : col + 200]
            ).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_a_range_that_samples_cannot_tell_apart_is_refused(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "a.tif", texture().astype(dtype))
    narrow = ["0,1e-320", "1e308,1.7e308", "-1.7e308,1.7e308"]
    narrow += ["1,1.0000000000000002"] * (dtype != "float64")
    for scale in narrow + ["0,1e-5", "7,7.5"] * (dtype in {"uint8", "int16"}):
        with pytest.raises(UsageError) as caught:
            scene(path, scale=scale)
        assert caught.value.id == "E-scale"
        assert scale in caught.value.what
        assert caught.value.fix
    assert np.ptp(read(path, scale="100,101").data) == 255, "a step of the type is a range"


def test_a_range_in_steps_of_the_file_s_own_scale_is_taken(tmp_path: Path) -> None:
    def reflectance(out: rasterio.io.DatasetWriter) -> None:
        out.scales = (0.0001,) * 3

    path = write(tmp_path / "a.tif", texture(dtype="uint16"), after=reflectance)
    assert np.ptp(read(path, scale="0.01,0.0101").data) == 255, "one step, rounded"
    with pytest.raises(UsageError):
        scene(path, scale="0.01,0.01005")


@pytest.mark.parametrize(("scale", "lost"), [("0,1", "black or white"), ("0,65535", "contrast")])
def test_a_range_that_leaves_little_of_the_picture_is_told(tmp_path: Path, scale: str, lost: str) -> None:
    path = write(tmp_path / "a.tif", texture(200, 200))
    notices = Notices()
    scene(path, notices, scale=scale)
    assert ids(notices) == ["W-scale-range"]
    assert f"--scale {scale}" in notices.items[0].message
    assert lost in notices.items[0].message
    notices = Notices()
    scene(path, notices, scale="0,255")
    assert ids(notices) == []


def told_of_stats(path: Path, stats: Path) -> list[str]:
    notices = Notices()
    scene(path, notices, stats=stats, scale="auto")
    return [notice.message for notice in notices.items if notice.id == "W-stats-range"]


def test_stats_of_another_kind_of_picture_are_told(tmp_path: Path) -> None:
    """Bytes under the scale of reflectances become black, reflectances under that of bytes white."""
    values = texture(200, 200)
    paths = {
        "bytes": write(tmp_path / "bytes.tif", values),
        "reflectances": write(tmp_path / "reflectances.tif", values.astype(np.uint16) * 30 + 1000),
    }
    stats = {}
    for name, path in paths.items():
        stats[name] = tmp_path / f"{name}.json"
        stats[name].write_text(scene(path, scale="auto").radiometry.to_json())
        assert not told_of_stats(path, stats[name])
    for path, other in (("bytes", "reflectances"), ("reflectances", "bytes")):
        (message,) = told_of_stats(paths[path], stats[other])
        assert "100%" in message
        assert str(int(values.max()) - 5)[:1] in message


def test_stats_that_leave_no_contrast_are_told(tmp_path: Path) -> None:
    wide = tmp_path / "wide.json"
    path = write(tmp_path / "wide.tif", texture(200, 200, dtype="uint16") * 100)
    wide.write_text(scene(path, scale="auto").radiometry.to_json())
    (message,) = told_of_stats(write(tmp_path / "narrow.tif", texture(200, 200, dtype="uint16") + 1000), wide)
    assert "contrast" in message


@pytest.mark.parametrize("gains", [(0, 0, 0), (1, 0, 1), (1, 1, 0.01)])
def test_stats_that_leave_no_contrast_in_one_band_are_told(
    tmp_path: Path, gains: tuple[float, float, float]
) -> None:
    path, stats = write(tmp_path / "a.tif", texture(200, 200)), tmp_path / "stats.json"
    own = scene(path, scale="none").radiometry
    stats.write_text(replace(own, gain=(1, 1, 1)).to_json())
    assert not told_of_stats(path, stats)
    stats.write_text(replace(own, gain=gains).to_json())
    (message,) = told_of_stats(path, stats)
    assert "contrast" in message


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(("share", "value"), [(0.9, 0), (0.9, 255)], ids=["night", "snow"])
def test_night_and_snow_under_their_own_stats_are_no_slip(
    tmp_path: Path, dtype: str, share: float, value: int
) -> None:
    data = texture(200, 200).astype(dtype)
    data[:, : int(200 * share)] = value
    path = write(tmp_path / "scene.tif", data)
    for scale in ("auto", "none", "0,255"):
        own = tmp_path / "own.json"
        own.write_text(scene(path, scale=scale).radiometry.to_json())
        assert not told_of_stats(path, own), scale
