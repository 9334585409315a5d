"""Where the files of a map go, and what they may not hit."""

from __future__ import annotations

import os

import pytest

from rsov.errors import OutputError, UsageError
from rsov.jobs.predict import predict
from tests.support.maps import run
from tests.support.models import ColourSegmenter
from tests.support.places import Watch, picture


@pytest.mark.parametrize(
    ("where", "name"),
    [("folder/", "folder/ortho_classes.tif"), ("town.tif", "town.tif"), ("new/town.tif", "new/town.tif")],
)
def test_where_the_outputs_go(ortho, out, where, name):
    run(ortho, f"{out}/{where}")
    assert (out / name).is_file()
    stem = "town" if "town" in where else "ortho"
    assert (out / name).with_name(f"{stem}_report.json").is_file()
    assert (out / name).with_name(f"{stem}_classes.gpkg").is_file()


def test_without_out_the_current_folder_is_used(ortho, out, monkeypatch):
    monkeypatch.chdir(out)
    run(ortho, None)
    assert (out / "ortho_classes.tif").is_file()
    assert {path.name for path in ortho.parent.iterdir()} == {"ortho.tif"}


def test_a_name_that_is_no_raster_is_refused_with_both_ways_out(ortho, out):
    with pytest.raises(UsageError) as caught:
        run(ortho, out / "town")
    assert "town/" in caught.value.fix
    assert "town.tif" in caught.value.fix
    with pytest.raises(UsageError):
        run(ortho, out / "town.png")
    assert list(out.iterdir()) == []


def test_C15_existing_outputs_are_all_named_and_kept(ortho, out):
    (out / "ortho_classes.gpkg").write_bytes(b"mine")
    (out / "ortho_report.json").write_bytes(b"mine")
    watch = Watch(out)
    with pytest.raises(OutputError) as caught:
        run(ortho, out)
    assert caught.value.id == "E-output-exists"
    assert "ortho_classes.gpkg" in caught.value.where
    assert "ortho_report.json" in caught.value.where
    watch.unchanged()


@pytest.mark.parametrize("target", ["", "town.tif"])
def test_outputs_of_an_earlier_run_that_stay_beside_a_new_map_are_named(ortho, out, target):
    where = out / target
    stem = "town" if target else "ortho"
    run(ortho, where, quicklook=True, confidence=True, probs=True, vector_format=("gpkg", "shp"))
    watch = {path: path.read_bytes() for path in out.iterdir()}
    found = run(ortho, where, overwrite=True, confidence=True, vector_format=("gpkg",)).map
    (warning,) = found.warnings
    assert warning.id == "W-older-outputs"
    for end in ("probs.tif", "quicklook.png", "classes.shp"):
        assert f"{stem}_{end}" in warning.message
        assert (out / f"{stem}_{end}").read_bytes() == watch[out / f"{stem}_{end}"]
    for end in ("confidence.tif", "classes.gpkg", "report.json"):
        assert f"{stem}_{end}" not in warning.message
    everything = {"quicklook": True, "confidence": True, "probs": True, "vector_format": ("gpkg", "shp")}
    assert run(ortho, where, overwrite=True, **everything).map.warnings == ()


def test_C14_folders_that_cannot_be_written_are_found_before_the_model(ortho, out):
    (out / "file").write_text("x")
    for where in (f"{out}/missing/two/levels/", f"{out}/file/x.tif"):
        model = ColourSegmenter()
        with pytest.raises(OutputError):
            predict(ortho, "forest", out=where, model=model)
        assert model.calls == []
    assert {path.name for path in out.iterdir()} == {"file"}


def test_C17_an_output_may_not_be_an_input(ortho, tmp_path):
    link = tmp_path / "link.tif"
    os.link(ortho, link)
    watch = Watch(tmp_path)
    for target in (ortho, link, tmp_path / "in" / ".." / "link.tif"):
        with pytest.raises(UsageError) as caught:
            run(ortho, target, overwrite=True)
        assert caught.value.id == "E-output-is-input"
    watch.unchanged()


def test_C17_nor_any_other_file_that_is_read(ortho, out, tmp_path):
    words = out / "ortho_classes.gpkg"
    words.write_text("forest\nroad\n")
    watch = Watch(tmp_path)
    with pytest.raises(UsageError) as caught:
        predict(ortho, f"@{words}", out=out, model=ColourSegmenter(), overwrite=True)
    assert caught.value.id == "E-output-is-input"
    watch.unchanged()


def test_C18_two_inputs_with_one_stem_collide(tmp_path, out):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        picture(tmp_path / folder / "x.tif")
    with pytest.raises(UsageError) as caught:
        run([tmp_path / "a" / "x.tif", tmp_path / "b" / "x.tif"], out)
    assert caught.value.id == "E-output-collision"
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("end", ["", "/", "/map.tif", ".tif"])
def test_a_name_that_no_file_system_takes_is_refused(ortho, end):
    with pytest.raises(OutputError) as caught:
        run(ortho, "x" * 300 + end, dry_run=True)
    assert caught.value.id == "E-output-name"
