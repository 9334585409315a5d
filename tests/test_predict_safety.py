"""Faults are found before a model is loaded; what is stopped or broken leaves nothing and takes nothing away."""

from __future__ import annotations

import hashlib
import os
import time

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy
from rasterio.windows import Window as RasterioWindow

import rsov.models.registry as registry
from rsov.errors import ExitCode, InputError, Interrupted, OutputError, ResourceError, RsovError, UsageError
from rsov.jobs.predict import predict
from rsov.jobs.predict_progress import Silent
from rsov.jobs.stop import Stop
from rsov.raster import preflight
from rsov.raster.workfile import WorkRaster
from tests.support.maps import labels, run
from tests.support.models import ColourSegmenter
from tests.support.places import Watch, picture
from tests.support.rasters import write


class Told(Silent):
    """Keeps the warnings."""

    def __init__(self):
        self.all = []

    def notice(self, notice):
        self.all.append(notice)


@pytest.mark.parametrize("prompts", ["", "forest,forest", "a\tb", "@missing.txt"])
def test_bad_prompts_are_found_first(prompts, tmp_path):
    with pytest.raises(UsageError):
        predict(
            tmp_path / "missing.tif",
            prompts,
            out=tmp_path / "nowhere" / "at" / "all",
            model=ColourSegmenter(),
        )


def test_errors_come_before_the_model_is_loaded(ortho, out, monkeypatch):
    monkeypatch.setattr(registry, "load_segmenter", lambda *_: pytest.fail("the model was loaded"))
    for options in (
        {"bands": (1, 2, 9)},
        {"crs": "EPSG:0"},
        {"bounds": (0.0, 0.0, 1.0, 1.0)},
        {"overlap": "99%"},
        {"scale": "x"},
    ):
        with pytest.raises((UsageError, InputError)):
            predict(ortho, "forest", out=out, **options)
    with pytest.raises(InputError):
        predict(ortho.with_name("missing.tif"), "forest", out=out)
    assert list(out.iterdir()) == []


def test_a_name_with_a_zero_byte_is_no_input(out):
    with pytest.raises(InputError):
        run("a\0b.tif", out)


def test_the_checksum_of_an_input_is_computed_once(ortho, out, monkeypatch):
    digest = hashlib.sha256(ortho.read_bytes()).hexdigest()
    hashed = []
    check = preflight.check_sha256
    monkeypatch.setattr(
        preflight, "check_sha256", lambda path, *rest: (hashed.append(path), check(path, *rest))
    )
    run(ortho, out, input_sha256=digest, dry_run=True)
    assert hashed == [ortho]


def test_M09_too_little_memory_says_how_much_is_needed(ortho, out):
    with pytest.raises(ResourceError) as caught:
        predict(ortho, "forest", out=out, max_memory="20M")
    assert "--max-memory" in caught.value.fix
    assert list(out.iterdir()) == []


def test_tiles_made_smaller_by_the_memory_allowed_are_told(tmp_path, out):
    path = write(tmp_path / "wide.tif", np.full((3, 1500, 1500), 90, np.uint8))
    told = {}
    for memory in ("900M", "4G"):
        seen = Told()
        predict(path, "forest", out=out, dry_run=True, max_memory=memory, watcher=seen)
        told[memory] = "W-memory-tile" in [notice.id for notice in seen.all]
    assert told == {"900M": True, "4G": False}


def test_a_dry_run_writes_nothing_and_loads_no_model(ortho, out, tmp_path):
    watch = Watch(tmp_path)
    model = ColourSegmenter()
    result = predict(ortho, "forest", out=out, model=model, dry_run=True)
    assert model.calls == []
    assert result.map.planned
    assert "6 of 64 x 64 px" in str(result)
    watch.unchanged()


def test_a_stop_leaves_nothing(tmp_path, out):
    path = picture(tmp_path / "big.tif", 400, 400)
    stop = Stop()

    class Stopping(ColourSegmenter):
        def features(self, pixels):
            if len(self.calls) == 2:
                stop.event.set()
            return super().features(pixels)

    watch = Watch(tmp_path)
    with pytest.raises(Interrupted) as caught:
        predict(path, "forest,road", out=out, model=Stopping(), stop=stop)
    assert caught.value.exit_code == 130
    watch.unchanged()


def test_a_fault_in_the_model_leaves_nothing_and_an_older_map_as_it_was(ortho, out, tmp_path):
    run(ortho, out)

    class Broken(ColourSegmenter):
        def scores(self, features, head):
            raise ZeroDivisionError

    watch = Watch(tmp_path)
    with pytest.raises(ZeroDivisionError):
        predict(ortho, "forest", out=out, model=Broken(), overwrite=True)
    watch.unchanged()


class Meanwhile(ColourSegmenter):
    """Does something when the first tile was read."""

    def __init__(self, deed):
        super().__init__()
        self._deed = deed

    def features(self, pixels):
        if not self.calls:
            self._deed()
        return super().features(pixels)


def test_R19_an_input_rewritten_during_a_run_gives_no_map_and_keeps_the_older_one(ortho, out):
    run(ortho, out)
    watch = Watch(out)

    def rewrite():
        with ortho.open("r+b") as file:
            file.seek(ortho.stat().st_size // 2)
            file.write(bytes(1000))
        os.utime(ortho, ns=(1, 1))

    with pytest.raises(InputError) as caught:
        predict(ortho, "forest,road", out=out, model=Meanwhile(rewrite), overwrite=True)
    assert caught.value.id == "E-input-changed"
    assert caught.value.code == ExitCode.INPUT
    watch.unchanged()


def test_R20_an_input_replaced_by_another_during_a_run_is_mapped_as_it_was_and_told(ortho, out):
    """Of the same size, so that only the place on the disk tells them apart."""
    before = labels(run(ortho, out / "before.tif").map.outputs["classes"])
    other = ortho.with_name("other.tif")
    with rasterio.open(ortho) as source:
        write(other, source.read()[:, ::-1], transform=source.transform)
    model = Meanwhile(lambda: other.replace(ortho))
    options = {"background": "none", "scale": "none"}
    found = predict(ortho, ["forest", "road", "water"], out=out, model=model, **options).map
    assert [each["id"] for each in found.report["warnings"]] == ["W-input-replaced"]
    np.testing.assert_array_equal(labels(found.outputs["classes"]), before)


def test_R18_an_input_cut_during_a_run_gives_no_map(tmp_path, out):
    path = picture(tmp_path / "big.tif", 400, 400)
    model = Meanwhile(lambda: os.truncate(path, path.stat().st_size // 3))
    with pytest.raises(InputError) as caught:
        predict(path, "forest,road", out=out, model=model)
    assert caught.value.id == "E-input-changed"
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("min_area", [0.0, 4.0])
def test_every_work_file_is_read_back_once(ortho, out, monkeypatch, min_area):
    checked, check = [], WorkRaster.check

    def counted(raster, *given):
        checked.append(raster.path.name)
        check(raster, *given)

    monkeypatch.setattr(WorkRaster, "check", counted)
    run(ortho, out, min_area=min_area, confidence=True, probs=True)
    assert sorted(checked) == ["confidence.tif", "labels.tif", "probs.tif"]


def test_a_fault_in_the_polygons_does_not_wait_for_the_copies(ortho, out, monkeypatch):
    copied = []

    def long_copy(*_, going_on, **__):
        for _ in range(300):
            going_on()
            time.sleep(0.01)
        copied.append(True)

    monkeypatch.setattr("rsov.jobs.finish.write_cog", long_copy)
    with pytest.raises(ResourceError) as caught:
        run(ortho, out, max_features=1)
    assert caught.value.id == "E-too-many-polygons"
    assert not copied


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Interrupted(ExitCode.TERMINATED, "stopped"), "E-stopped"),
        (ResourceError("E-too-many-polygons", "noise"), "E-too-many-polygons"),
        (OutputError("E-shapefile-limit", "large"), "E-output-damaged"),
    ],
)
def test_lost_work_files_explain_faults_of_the_outputs_only(ortho, out, monkeypatch, fault, told):
    def lost(raster, going_on):
        raise OutputError.damaged(raster.path, "lost")

    def broken(*_, **__):
        raise fault

    monkeypatch.setattr(WorkRaster, "check", lost)
    monkeypatch.setattr("rsov.jobs.finish.write_polygons", broken)
    with pytest.raises(RsovError) as caught:
        run(ortho, out)
    assert caught.value.id == told


@pytest.mark.parametrize("options", [{}, {"min_area": 400.0}])
def test_a_work_file_that_lost_a_block_never_becomes_a_map(ortho, out, monkeypatch, options):
    """As a disk does that says it has written: the block is zeros when it is read."""
    close = WorkRaster.close

    def lossy(raster):
        close(raster)
        with rasterio.open(raster.path, "r+") as dataset:
            block = np.zeros((1, *(min(64, n) for n in dataset.shape)), np.uint8)
            dataset.write(block, window=RasterioWindow(0, 0, block.shape[2], block.shape[1]))

    monkeypatch.setattr(WorkRaster, "close", lossy)
    with pytest.raises(OutputError) as caught:
        run(ortho, out, **options)
    assert caught.value.id == "E-output-damaged"
    assert list(out.iterdir()) == []


def test_C17_the_members_of_a_virtual_raster_are_inputs(ortho, out):
    """Of any input of the call, not of the one whose output it is alone."""
    member, virtual = out / "ortho_classes.tif", out / "town.vrt"
    member.write_bytes(ortho.read_bytes())
    with rasterio.open(member) as source:
        copy(source, virtual, driver="VRT")
    for inputs in ([virtual, ortho], [ortho, virtual]):
        with pytest.raises(UsageError, match=r"ortho_classes\.tif is the input") as caught:
            predict(inputs, "forest", out=out, model=ColourSegmenter(), allow_vrt=True, overwrite=True)
        assert caught.value.id == "E-output-is-input"
    assert member.read_bytes() == ortho.read_bytes()


@pytest.mark.parametrize("world", ["scene.jgw", "scene.jpgw", "scene.wld"])
def test_C17_the_world_file_of_an_input_is_not_taken_away(ortho, out, world):
    scene, place = out / "scene.jpg", "0.5\n0\n0\n-0.5\n500000\n5600000\n"
    with rasterio.open(ortho) as source:
        copy(source, scene, driver="JPEG")
    (out / world).write_text(place)
    if world == "scene.wld":  # programs would apply it to the map as well
        with pytest.raises(UsageError, match=r"scene\.wld is the input"):
            predict(scene, "forest", out=out / "scene.tif", model=ColourSegmenter())
    else:
        predict(scene, "forest", out=out / "scene.tif", model=ColourSegmenter(), crs="EPSG:32632")
    assert (out / world).read_text() == place
