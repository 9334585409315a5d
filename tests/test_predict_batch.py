"""Several inputs in one call: what fails alone stays alone."""

from __future__ import annotations

import gc
import json
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine

from rsov.cli import main
from rsov.errors import ExitCode, InputError, Interrupted, ResourceError
from rsov.jobs.predict import BatchError, BatchStopped, predict
from rsov.jobs.stop import Stop
from rsov.raster.scene import Scene
from tests.support.maps import run
from tests.support.models import ColourSegmenter
from tests.support.places import WORDS, picture

if TYPE_CHECKING:
    from pathlib import Path


class Failing(ColourSegmenter):
    """A model that has no memory for any tile."""

    def features(self, pixels):
        raise ResourceError("E-memory-forward", "no memory")


def grey(path: Path) -> Path:
    with rasterio.open(path, "w", driver="GTiff", width=64, height=64, count=1, dtype="uint8") as dataset:
        dataset.write(np.zeros((1, 64, 64), np.uint8))
    return path


def test_errors_come_back_from_other_processes(ortho, out, tmp_path):
    with pytest.raises(BatchError) as caught:
        predict([ortho, grey(tmp_path / "grey.tif")], WORDS, out=out, model=ColourSegmenter(), scale="none")
    for error in (caught.value, *(failure.error for failure in caught.value.result.failures)):
        back = pickle.loads(pickle.dumps(error))
        assert type(back) is type(error)
        assert str(back) == str(error)
        assert back.exit_code is error.exit_code
    back = pickle.loads(pickle.dumps(Interrupted(ExitCode.TERMINATED, "stopped")))
    assert back.exit_code is ExitCode.TERMINATED


def test_an_input_given_twice_is_read_once(ortho, out, tmp_path):
    (tmp_path / "same.tif").symlink_to(ortho)
    result = run([ortho, tmp_path / "same.tif"], out)
    assert len(result.maps) == 1
    assert not (out / "same_classes.tif").exists()


def test_C36_one_damaged_input_of_three(tmp_path, out):
    good = [picture(tmp_path / f"{name}.tif") for name in "abc"]
    good[1].write_bytes(good[1].read_bytes()[:5000])
    with pytest.raises(BatchError) as caught:
        run(good, out)
    result = caught.value.result
    assert [each.input.name for each in result.maps] == ["a.tif", "c.tif"]
    assert [failure.input.name for failure in result.failures] == ["b.tif"]
    assert caught.value.exit_code == 6
    assert (out / "a_report.json").is_file()
    assert (out / "c_report.json").is_file()
    assert not list(out.glob("b*"))
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("isolate", [False, True])
def test_C36_an_input_that_is_removed_while_another_is_mapped(tmp_path, out, isolate):
    good = [picture(tmp_path / f"{name}.tif") for name in "ab"]

    class Removing(ColourSegmenter):
        def features(self, pixels):
            good[1].unlink(missing_ok=True)
            return super().features(pixels)

    with pytest.raises(BatchError) as caught:
        predict(good, WORDS, out=out, model=Removing(), scale="none", isolate=isolate)
    assert caught.value.exit_code == 6
    assert [each.input.name for each in caught.value.result.maps] == ["a.tif"]
    (failure,) = caught.value.result.failures
    assert failure.error.id == ("E-input-block" if isolate else "E-input-changed")
    assert failure.error.exit_code == 3
    assert not list(out.glob("b*"))


def test_C36_fail_fast_stops_at_the_first(tmp_path, out):
    good = [picture(tmp_path / f"{name}.tif") for name in "ab"]
    good[0].write_bytes(b"")
    with pytest.raises(InputError):
        run(good, out, fail_fast=True)
    assert list(out.iterdir()) == []


def test_a_batch_that_fails_in_one_way_has_that_code(tmp_path, out):
    bad = [tmp_path / f"{name}.tif" for name in "ab"]
    for path in bad:
        path.write_bytes(b"<html>")
    with pytest.raises(BatchError) as caught:
        run(bad, out)
    assert caught.value.exit_code == 3


def test_a_picture_that_the_options_do_not_fit_fails_alone(tmp_path):
    inputs = [picture(tmp_path / "a.tif"), grey(tmp_path / "grey.tif"), picture(tmp_path / "c.tif")]
    with pytest.raises(BatchError) as caught:
        predict(inputs, list(WORDS), out=tmp_path, model=ColourSegmenter(), background="none")
    result = caught.value.result
    assert [each.input.name for each in result.maps] == ["a.tif", "c.tif"]
    assert [(each.input.name, each.error.exit_code) for each in result.failures] == [("grey.tif", 2)]
    assert caught.value.exit_code == 6


def test_failed_inputs_leave_no_scene_in_memory(tmp_path):
    inputs = [picture(tmp_path / f"{name}.tif") for name in "abc"]
    with pytest.raises(BatchError) as caught:
        predict(inputs, list(WORDS), out=tmp_path, model=Failing(), background="none")
    assert caught.value.exit_code == 7
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is Scene and each.path.parent == tmp_path]


def test_a_batch_that_fails_in_one_way_ends_with_that_code(tmp_path, capsys):
    bad = [tmp_path / f"{name}.tif" for name in "ab"]
    for path in bad:
        path.write_bytes(b"<html>")
    arguments = ["predict", *map(str, bad), "--prompts", "forest,road", "-o", f"{tmp_path}/", "--json"]
    assert main(arguments) == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["exit_code"]) == ("error", 3)


def test_C36_fail_fast_after_a_finished_map_is_partial_and_names_it(tmp_path):
    inputs = [picture(tmp_path / "a.tif"), grey(tmp_path / "grey.tif"), picture(tmp_path / "c.tif")]
    with pytest.raises(BatchError) as caught:
        predict(inputs, list(WORDS), out=tmp_path, model=ColourSegmenter(), background="none", fail_fast=True)
    assert caught.value.exit_code == 6
    assert [each.input.name for each in caught.value.result.maps] == ["a.tif"]
    assert [each.input.name for each in caught.value.result.failures] == ["grey.tif"]
    assert not list(tmp_path.glob("c_*"))


def test_a_stop_after_a_finished_map_says_that_it_is_there(tmp_path):
    stop = Stop()

    class Stopping(ColourSegmenter):
        def features(self, pixels):
            if (tmp_path / "a_report.json").is_file():
                stop.event.set()
            return super().features(pixels)

    inputs = [picture(tmp_path / f"{name}.tif", 400, 400) for name in "ab"]
    with pytest.raises(BatchStopped, match="1 map is written") as caught:
        predict(inputs, list(WORDS), out=tmp_path, model=Stopping(), background="none", stop=stop)
    assert caught.value.exit_code == 130
    assert [each.input.name for each in caught.value.result.maps] == ["a.tif"]
    assert not list(tmp_path.glob("b_*"))
    assert not list(tmp_path.glob(".*"))


def test_of_several_inputs_every_warning_names_its_own(tmp_path, out):
    for name, gsd in (("fine", 0.5), ("coarse", 7.0)):
        picture(tmp_path / f"{name}.tif", transform=Affine(gsd, 0, 400_000, 0, -gsd, 5_700_000))
    result = run([tmp_path / "fine.tif", tmp_path / "coarse.tif"], out)
    fine, coarse = (
        [each.message for each in made.warnings if each.id == "W-coarse-gsd"] for made in result.maps
    )
    assert fine == []
    assert len(coarse) == 1
    assert coarse[0].startswith("coarse.tif: pixels of 7 m")
