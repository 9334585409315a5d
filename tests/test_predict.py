"""The predict job on small real files with the test segmenter: what is written, and that it is right."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import fiona
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.features import rasterize, sieve
from rio_cogeo.cogeo import cog_validate

import rsov
from rsov.errors import InputError
from rsov.jobs.predict import predict
from rsov.text.legend import parse_prompts
from rsov.types import Legend
from tests.support.maps import labels, run
from tests.support.models import COLOURS, ColourSegmenter
from tests.support.places import WORDS, Watch, picture
from tests.support.rasters import write


def test_the_default_is_a_class_raster_its_style_polygons_and_a_report(ortho, out, tmp_path):
    watch = Watch(tmp_path)
    result = predict(ortho, "forest,road,water", out=out, model=ColourSegmenter(), scale="none")
    watch.unchanged({"ortho_classes.tif", "ortho_classes.qml", "ortho_classes.gpkg", "ortho_report.json"})
    assert [path.name for path in result.paths][-1] == "ortho_report.json"
    found = labels(out / "ortho_classes.tif")
    assert [int(found[y, x]) for y, x in ((10, 10), (10, 100), (80, 10), (80, 100))] == [1, 2, 3, 255]


def test_all_outputs(ortho, out, tmp_path):
    watch = Watch(tmp_path)
    run(
        ortho,
        out,
        confidence=True,
        probs=True,
        quicklook=True,
        vector_format=("gpkg", "geojson", "fgb", "shp"),
    )
    rasters = {"ortho_classes.tif", "ortho_confidence.tif", "ortho_probs.tif"}
    shape = {f"ortho_classes.{end}" for end in ("shp", "shx", "dbf", "prj", "cpg")}
    vectors = {"ortho_classes.gpkg", "ortho_classes.geojson", "ortho_classes.fgb"}
    watch.unchanged(
        {*rasters, *shape, *vectors, "ortho_classes.qml", "ortho_quicklook.png", "ortho_report.json"}
    )
    for name in rasters:
        assert cog_validate(out / name, quiet=True)[0], name


def test_confidence_and_probabilities_are_bytes_of_250(ortho, out):
    run(ortho, out, confidence=True, probs=True)
    with (
        rasterio.open(out / "ortho_probs.tif") as probs,
        rasterio.open(out / "ortho_confidence.tif") as confidence,
    ):
        assert probs.count == 3
        assert probs.descriptions == WORDS
        assert probs.nodata == confidence.nodata == 255
        assert probs.dtypes[0] == confidence.dtypes[0] == "uint8"
        shares, best = probs.read().astype(int), confidence.read(1)
    assert (abs(shares.sum(0) - 250) <= 2).all()
    assert (abs(shares.max(0) - best.astype(int)) <= 1).all()


def test_the_grid_is_the_inputs(ortho, out):
    run(ortho, out)
    with rasterio.open(ortho) as a, rasterio.open(out / "ortho_classes.tif") as b:
        assert (a.width, a.height, a.transform, a.crs) == (b.width, b.height, b.transform, b.crs)
        assert b.nodata == 0
        assert b.dtypes == ("uint8",)
        assert len({b.colormap(1)[value][:3] for value in (1, 2, 3, 255)}) == 4
        tags = b.tags()
        assert tags["RSOV_PROMPTS"] == "forest,road,water"
        assert tags["RSOV_VERSION"] == rsov.__version__
        assert len(tags["RSOV_MODEL_SHA256"]) == 64
        assert "RSOV_RADIOMETRY" in tags


def test_polygons_and_raster_agree(ortho, out):
    run(ortho, out)
    raster = labels(out / "ortho_classes.tif")
    with (
        fiona.open(out / "ortho_classes.gpkg") as source,
        rasterio.open(out / "ortho_classes.tif") as dataset,
    ):
        shapes = [(f.geometry, f.properties["class_id"]) for f in source]
        back = rasterize(shapes, out_shape=raster.shape, transform=dataset.transform, dtype="uint8")
        assert set(source.schema["properties"]) == {"class", "class_id", "area_m2", "perim_m", "conf_mean"}
    np.testing.assert_array_equal(back, np.where(raster == 255, 0, raster))


def test_areas_of_report_raster_and_polygons_agree(ortho, out):
    result = run(ortho, out)
    report = json.loads((out / "ortho_report.json").read_text())
    raster = labels(out / "ortho_classes.tif")
    assert sum(row["pixels"] for row in report["areas"]) == raster.size
    for row in report["areas"]:
        assert row["pixels"] == np.count_nonzero(raster == row["id"])
    with fiona.open(out / "ortho_classes.gpkg") as source:
        for row in report["areas"][:3]:
            area = sum(f.properties["area_m2"] for f in source if f.properties["class_id"] == row["id"])
            assert area == pytest.approx(row["area_m2"], rel=1e-4)
    assert sum(row["share"] or 0 for row in report["areas"]) == pytest.approx(1)
    assert [area.pixels for area in result.map.areas] == [row["pixels"] for row in report["areas"]]


def test_the_report_names_and_hashes_every_output(ortho, out):
    result = run(ortho, out, quicklook=True)
    report = json.loads((out / "ortho_report.json").read_text())
    assert {entry["kind"] for entry in report["outputs"]} == {"classes", "style", "polygons", "quicklook"}
    for entry in report["outputs"]:
        data = (out / entry["path"].rsplit("/", 1)[-1]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["bytes"] == len(data)
    assert report["settings"]["quicklook"] is True
    assert report["settings"]["model"] == "colours"
    assert report["model"]["name"] == "colours"
    assert report["metrics"]["polygons"] >= 3
    assert report == result.map.report


@pytest.mark.parametrize("crs", ["EPSG:32632", None])
def test_the_report_hashes_every_file_of_a_shapefile(tmp_path, out, crs):
    path = picture(tmp_path / "ortho.tif", crs=crs)
    found = run(path, out, vector_format=("gpkg", "shp")).map.report["outputs"]
    listed = {Path(entry["path"]).name: entry for entry in found}
    assert len(listed) == len(found)
    assert {*listed, "ortho_report.json"} == {file.name for file in out.iterdir()}
    for name, entry in listed.items():
        assert entry["sha256"] == hashlib.sha256((out / name).read_bytes()).hexdigest()
    kinds = {name: entry["kind"] for name, entry in listed.items() if name.startswith("ortho_classes.")}
    assert kinds["ortho_classes.shp"] == "polygons_shp"
    assert {kinds[f"ortho_classes.{end}"] for end in ("dbf", "shx", "cpg")} == {"polygons_shp_part"}


def test_none_of_them_is_255_and_the_background_is_reported(ortho, out):
    predict(ortho, "forest,road", out=out, model=ColourSegmenter(), scale="none")
    report = json.loads((out / "ortho_report.json").read_text())
    assert set(np.unique(labels(out / "ortho_classes.tif"))) == {1, 2, 255}
    dropped = {entry["name"]: entry["too_close_to"] for entry in report["background"]["dropped"]}
    assert "forest" in dropped.values()
    assert len(report["background"]["terms"]) > 5


def test_without_background_every_pixel_has_a_class(ortho, out):
    run(ortho, out, background="none")
    assert 255 not in labels(out / "ortho_classes.tif")


def test_nodata_is_0_and_counted(ortho, out):
    with rasterio.open(ortho, "r+") as dataset:
        data = dataset.read()
        data[:, :20, :20] = 7
        dataset.write(data)
        dataset.nodata = 7
    result = run(ortho, out)
    assert (labels(out / "ortho_classes.tif")[:20, :20] == 0).all()
    assert result.map.areas[-1].pixels == 400


def test_min_area_is_gdals_sieve(ortho, out):
    rng = np.random.default_rng(1)
    with rasterio.open(ortho, "r+") as dataset:
        data = dataset.read()
        for _ in range(40):
            y, x = int(rng.integers(0, 90)), int(rng.integers(0, 120))
            data[:, y : y + 5, x : x + 5] = rng.integers(0, 255, (3, 1, 1))
        dataset.write(data)
    run(ortho, out)
    plain = labels(out / "ortho_classes.tif")
    run(ortho, out, min_area=16.0, overwrite=True)  # 64 pixels of 0.25 m2
    merged = labels(out / "ortho_classes.tif")
    wanted = sieve(plain, 64, connectivity=4)
    assert (plain != merged).any()
    np.testing.assert_array_equal(merged, wanted)


def test_min_area_counts_pixels_without_georeference(tmp_path, out):
    path = picture(tmp_path / "plain.tif", crs=None, transform=None)
    with rasterio.open(path, "r+") as dataset:
        data = dataset.read()
        data[:, 20:28, 20:28] = data[:, -1:, :1]
        dataset.write(data)
    for area, kept in ((20.0, True), (80.0, False)):
        result = run(path, out, min_area=area, overwrite=True)
        assert (labels(out / "plain_classes.tif")[:40, :40] == 3).any() == kept
    assert result.map.areas[0].area_m2 is None


def test_Z47_nothing_valid_is_a_map_without_polygons(ortho, out):
    with rasterio.open(ortho, "r+") as dataset:
        dataset.write(np.zeros((3, 96, 128), np.uint8))
        dataset.nodata = 0
    result = run(ortho, out)
    assert "W-input-empty" in [notice.id for notice in result.map.warnings]
    assert (labels(out / "ortho_classes.tif") == 0).all()
    with fiona.open(out / "ortho_classes.gpkg") as source:
        assert len(source) == 0
        assert "class_id" in source.schema["properties"]
    with pytest.raises(InputError):
        run(ortho, out, overwrite=True, fail_empty=True)


def test_tiles_do_not_show(tmp_path, out):
    path = picture(tmp_path / "big.tif", 300, 420)
    run(path, out)
    one = labels(out / "big_classes.tif")
    run(path, out, tile=128, overlap="16", overwrite=True)
    np.testing.assert_array_equal(one, labels(out / "big_classes.tif"))


def test_the_geopackage_carries_its_style(ortho, out):
    run(ortho, out)
    with closing(sqlite3.connect(out / "ortho_classes.gpkg")) as database:
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
        (qml,) = database.execute("SELECT styleQML FROM layer_styles WHERE useAsDefault").fetchone()
    assert "forest" in qml


def test_equal_runs_give_equal_maps(ortho, out):
    run(ortho, out / "a.tif")
    run(ortho, out / "b.tif")
    np.testing.assert_array_equal(labels(out / "a.tif"), labels(out / "b.tif"))


def test_the_quicklook_shows_the_input_and_the_map(ortho, out):
    run(ortho, out, quicklook=True)
    with Image.open(out / "ortho_quicklook.png") as image:
        image.load()
        assert image.format == "PNG"
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    assert any(abs(r - 25) < 6 and abs(g - 70) < 6 and abs(b - 30) < 6 for r, g, b in colours)


def test_the_result_prints_itself_and_is_exported(ortho, out):
    result = rsov.predict(ortho, {"wood": ["forest"], "way": ["road"]}, out=out, model=ColourSegmenter())
    text = str(result)
    assert text.splitlines()[0] == "ortho.tif"
    assert "wood" in text
    assert "none of them" in text
    assert "no data" in text
    assert max(map(len, text.splitlines())) <= 80


def test_prompts_may_be_a_legend(ortho, out):
    legend = parse_prompts("forest,road")
    assert isinstance(legend, Legend)
    result = predict(ortho, legend, out=out, model=ColourSegmenter())
    assert [area.name for area in result.map.areas][:2] == ["forest", "road"]


def test_area_of_interest_by_bounds(ortho, out):
    run(ortho, out, bounds=(400_010.0, 5_699_970.0, 400_030.0, 5_699_990.0))
    with rasterio.open(out / "ortho_classes.tif") as dataset:
        assert tuple(dataset.bounds) == (400_010.0, 5_699_970.0, 400_030.0, 5_699_990.0)


@pytest.mark.parametrize("side", ["columns", "rows"])
def test_slivers_of_valid_pixels_are_classified_where_no_work_pixel_is_valid(tmp_path, out, side):
    data = np.zeros((3, 384, 384), np.uint8)
    sliver = np.s_[:, :, 200] if side == "columns" else np.s_[:, 200]
    data[sliver] = np.array(COLOURS["road"])[:, None]
    path = write(tmp_path / "sliver.tif", data, nodata=0)
    run(path, out, work_gsd=2.0)  # a work pixel is four pixels wide: a quarter of it is valid
    found = labels(out / "sliver_classes.tif")
    valid = data[0] > 0
    assert (found[~valid] == 0).all()
    assert set(np.unique(found[valid])) <= {1, 2, 3}
