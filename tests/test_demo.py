"""`make demo`: where its pictures come from and what it leaves."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from PIL import Image

from rsov.datasets.synthetic import make_scene
from rsov.jobs.preview import Preview
from rsov.raster.scene_open import open_scene
from rsov.raster.scene_options import ReadOptions
from rsov.types import Notices, Window

if TYPE_CHECKING:
    from types import ModuleType

    from rsov.raster.scene import Scene

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/demo.py as a module."""
    spec = importlib.util.spec_from_file_location("rsov_demo", ROOT / "scripts/demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "rsov_demo", module)
    spec.loader.exec_module(module)
    return module


def _package(demo: ModuleType, folder: Path) -> Path:
    """A package of the same layout, with tiny pictures in it."""
    wheel = folder / "deepforest-2.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as package:
        for name in demo.REAL:
            package.writestr(name, f"pixels of {name}")
        package.writestr("deepforest/main.py", "raise SystemExit('never run')")
    return wheel


def test_pictures_are_unzipped_from_the_package_that_was_fetched_before(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = _package(demo, tmp_path)
    monkeypatch.setattr(demo, "PACKAGE_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setattr(demo.subprocess, "run", lambda *_, **__: pytest.fail("nothing is to be fetched"))
    pictures = demo.real_pictures(tmp_path)
    assert [picture.path.read_text() for picture in pictures] == [f"pixels of {name}" for name in demo.REAL]
    assert [picture.options for picture in pictures] == [("--gsd", "0.1"), ("--nodata", "none")]
    assert not list(tmp_path.rglob("main.py"))


def test_a_package_with_another_checksum_is_not_opened(demo: ModuleType, tmp_path: Path) -> None:
    wheel = _package(demo, tmp_path)
    assert demo.real_pictures(tmp_path) == []
    assert not wheel.exists()
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_a_landscape_is_drawn(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    runs = []
    monkeypatch.setattr(demo, "predict", lambda picture, _: runs.append(picture) or 0)
    assert demo.main(["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]) == 0
    assert [picture.path.name for picture in runs] == ["landscape.tif"]
    assert runs[0].path.stat().st_size > 100_000
    said = capsys.readouterr().out.splitlines()
    assert any("cannot be had" in line for line in said)
    assert said[-1] == str((tmp_path / "out/landscape_quicklook.png").resolve())


def test_a_failed_run_is_the_demos_exit_code(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "predict", lambda *_: 3)
    assert demo.main(["--ortho", "missing.tif", "--out", str(tmp_path)]) == 3


def test_ones_own_picture_and_words_are_what_rsov_is_given(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command[1:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(demo.subprocess, "run", run)
    out = tmp_path / "out"
    demo.main(["--ortho", "a b.tif", "--prompts", "bare ground,road", "--gsd", "0.2", "--out", str(out)])
    words = ["predict", "a b.tif", "--prompts", "bare ground,road", "--gsd", "0.2"]
    assert commands == [[*words, "-o", f"{out}/", "--quicklook", "--overwrite"]]
    assert "$ rsov predict 'a b.tif' --prompts 'bare ground,road'" in capsys.readouterr().out


def test_two_maps_are_put_below_each_other(demo: ModuleType, tmp_path: Path) -> None:
    for name, size, colour in (("a", (200, 50), "red"), ("b", (100, 40), "blue")):
        Image.new("RGB", size, colour).save(tmp_path / f"{name}.png")
    demo.stack([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "both.png")
    with Image.open(tmp_path / "both.png") as both:
        assert both.size == (200, 50 + demo.GAP + 80)
        assert both.getpixel((100, 25)) == (255, 0, 0)
        assert both.getpixel((100, 50 + demo.GAP + 40)) == (0, 0, 255)


def test_the_readmes_picture_is_a_smaller_one(demo: ModuleType, tmp_path: Path) -> None:
    Image.new("RGB", (1600, 800), "red").save(tmp_path / "large.png")
    demo.shrink(tmp_path / "large.png", tmp_path / "small.jpg")
    with Image.open(tmp_path / "small.jpg") as small:
        assert small.size == (1000, 500)


def test_the_demo_leaves_a_picture_and_says_where(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ortho = tmp_path / "small.tif"
    make_scene(ortho, size=(256, 256), gsd=0.5)
    out = tmp_path / "out"
    assert demo.main(["--ortho", str(ortho), "--prompts", "forest,road", "--out", str(out)]) == 0
    picture = Path(capsys.readouterr().out.splitlines()[-1])
    assert picture == (out / "small_quicklook.png").resolve()
    with Image.open(picture) as image:
        assert image.width > 256
    assert {path.name for path in out.iterdir()} >= {
        "small_classes.tif", "small_classes.gpkg", "small_classes.qml", "small_report.json",
    }  # fmt: skip


def _preview(path: Path, gsd: float) -> tuple[Preview, Scene]:
    """The quicklook's picture of a scene, after the engine has read it all for a model of 0.4 m."""
    make_scene(path, size=(240, 200), gsd=gsd, seed=1)
    scene = open_scene(path, ReadOptions(scale="none"), 0.4, (0.3, 0.6), Notices())
    preview = Preview(scene, (720, 600))
    work = Window(0, 0, scene.work.width, scene.work.height)
    with scene.open_reader() as reader:
        preview.add(work, reader.read(work))
    return preview, scene


@pytest.mark.parametrize("gsd", [0.1, 0.4])
def test_a_small_picture_is_shown_in_its_own_detail_not_the_models(tmp_path: Path, gsd: float) -> None:
    preview, _ = _preview(tmp_path / "fine.tif", gsd)
    with rasterio.open(tmp_path / "fine.tif") as source:
        np.testing.assert_array_equal(preview.picture.transpose(2, 0, 1), source.read())


def test_R16_a_large_picture_is_not_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsov.jobs.preview.DETAIL_PIXELS", 0)
    preview, scene = _preview(tmp_path / "fine.tif", 0.1)
    assert preview.picture.shape == (scene.work.height, scene.work.width, 3)
    assert preview.picture.std() > 10
