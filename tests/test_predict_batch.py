"""Several inputs in one call: what fails alone stays alone."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

from rsov.cli import main
from rsov.errors import ResourceError
from rsov.jobs.predict import BatchError, BatchStopped, predict
from rsov.jobs.stop import Stop
from rsov.raster.scene import Scene
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
    assert not [each for each in gc.get_objects() if type(each) is Scene]


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
