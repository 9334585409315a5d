"""Reading data sets: every description in the reference folder, and what is wrong in a broken one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from PIL import Image

from rsov.datasets.cache import cache_picture, cache_set, halve
from rsov.datasets.crops import CropSampler, CropSettings, SetSource, draw_gsd, draw_points, resample
from rsov.datasets.pictures import joint_percentiles, joint_stretch, read_label, read_picture, read_rgb
from rsov.datasets.sets import IGNORE, DataSet, Skipped, find_sets, read_set
from rsov.errors import InputError
from rsov.raster.radiometry import estimate, parse_rule

if TYPE_CHECKING:
    from pathlib import Path

DESCRIPTION = """
name = "Toy"
bundle = "yes"
licence = "CC0"
gsd_m = {gsd}
kind = "{kind}"

[[class]]
id = 0
name = "{zero}"
synonyms = ["lake"]
description = "open water"
general = "water"

[[class]]
id = 1
name = "forest"

[[picture]]
file = "b.png"
gsd = 0.25

[split]
train = ["a.png"]
val = ["b.png"]
"""


def make_set(root: Path, name: str = "toy", kind: str = "dense", gsd: float = 0.5, side: int = 96) -> Path:
    """A set of two pictures: left half water (dark blue), right half forest (dark green), one column open."""
    folder = root / name
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    zero = "other" if kind == "single" else "water"
    (folder / "dataset.toml").write_text(DESCRIPTION.format(kind=kind, gsd=gsd, zero=zero), encoding="utf-8")
    rng = np.random.default_rng(len(name))
    for stem in "ab":
        label = np.zeros((side, side), np.uint8)
        label[:, side // 2 :] = 1
        label[:, side // 2] = IGNORE
        colour = np.array([[30, 50, 120], [40, 90, 30]])[np.minimum(label, 1)]
        picture = np.clip(colour + rng.normal(0, 8, (side, side, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"{stem}.png")
        Image.fromarray(label).save(folder / "labels" / f"{stem}.png")
    return folder


def test_a_set_is_read(tmp_path: Path) -> None:
    item = read_set(make_set(tmp_path))
    assert isinstance(item, DataSet)
    assert item.kind == "dense"
    assert [c.bag for c in item.classes] == [("water", "lake"), ("forest",)]
    assert [p.gsd for p in item.train] == [0.5]
    assert [p.gsd for p in item.val] == [0.25]
    assert [p.name for p in item.pictures("all")] == ["a.png", "b.png"]


def test_a_set_without_kind_is_skipped_with_its_task(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text('title = "dates"\ntask = "change"\n')
    assert read_set(tmp_path) == Skipped(tmp_path.name, "change")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('kind = "dense"', 'kind = "loose"'),
        ('bundle = "yes"', 'bundle = "maybe"'),
        ('bundle = "yes"', ""),
        ("gsd_m = 0.5", ""),
        ("gsd_m = 0.5", 'gsd_m = "half"'),
        ('train = ["a.png"]', 'train = ["c.png"]'),
        ("[split]", "[[split]]"),
        ("id = 0", ""),
        ("id = 1", "id = 255"),  # no label
        ("id = 1", "id = -1"),
        ("id = 1", "id = 1.0"),
        ("id = 1", "id = 0"),
        ('name = "forest"', 'name = "water"'),
        ('synonyms = ["lake"]', 'synonyms = "lake"'),
        ("gsd_m = 0.5", "gsd_m = 0"),
        ("gsd_m = 0.5", "gsd_m = nan"),
        ("gsd = 0.25", "gsd = -0.25"),
        ('name = "Toy"', "name = Toy"),
    ],
)
def test_a_broken_description_is_an_input_error(tmp_path: Path, before: str, after: str) -> None:
    folder = make_set(tmp_path)
    path = folder / "dataset.toml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(InputError) as caught:
        read_set(folder)
    assert caught.value.code == 3
    assert "dataset.toml" in caught.value.where


def test_two_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    make_set(tmp_path / "x")
    make_set(tmp_path / "y")
    with pytest.raises(InputError, match="two data sets"):
        find_sets(tmp_path)


def test_sets_behind_links_are_found_once(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "there")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "one").symlink_to(folder)
    (tmp_path / "here" / "again").symlink_to(tmp_path / "here")
    assert len(find_sets(tmp_path / "here")[0]) == 1


def test_every_description_of_the_reference_folder_is_valid(shared: Path) -> None:
    found, skipped = find_sets(shared / "data")
    names = {item.name for item in found}
    assert {"dubai_mbrsc", "orthos", "texas_cities", "road_patches"} <= names
    assert {"levir_cd", "eurosat_rgb", "landsat5_change"} <= {item.name for item in skipped}
    assert len(found) >= 51
    for item in found:
        ids = [c.id for c in item.classes]
        assert len(set(ids)) == len(ids)
        assert not {p.image for p in item.train} & {p.image for p in item.val}
        assert all(0.01 <= p.gsd <= 10 for p in item.pictures("all"))


def test_every_picture_of_the_orthos_fits_its_label(shared: Path) -> None:
    item = read_set(shared / "data" / "orthos")
    assert isinstance(item, DataSet)
    for ref in item.pictures("all"):
        rgb, valid, label = read_picture(ref)
        assert rgb.shape == (*label.shape, 3)
        assert rgb.dtype == np.uint8
        assert (label[~valid] == IGNORE).all()
        assert set(np.unique(label)) - {IGNORE} <= {c.id for c in item.classes}


def test_a_label_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = make_set(tmp_path)
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "labels" / "a.png")
    item = read_set(folder)
    assert isinstance(item, DataSet)
    with pytest.raises(InputError, match="does not fit"):
        read_picture(item.train[0])


def test_a_picture_that_is_none_is_refused(tmp_path: Path) -> None:
    for name in ("x.png", "x.tif"):
        (tmp_path / name).write_bytes(b"not a picture")
        with pytest.raises(InputError, match="cannot be read"):
            read_rgb(tmp_path / name)


def gdal_picture(path: Path, data: np.ndarray) -> Path:
    driver = "PNG" if path.suffix == ".png" else "GTiff"
    shape = dict(zip(("count", "height", "width"), data.shape, strict=True))
    with rasterio.open(path, "w", driver=driver, dtype=data.dtype, **shape) as sink:
        sink.write(data)
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("name", "bands", "kind", "top"),
    [
        ("a.tif", 3, "uint16", 4000),
        ("a.tif", 3, "int16", 4000),
        ("a.tif", 3, "float32", 0.9),
        ("a.tif", 3, "float32", 300),
        ("a.png", 3, "uint16", 4000),
        ("a.png", 1, "uint16", 4000),
    ],
)
def test_a_picture_that_is_not_of_8_bits_is_refused(
    tmp_path: Path, name: str, bands: int, kind: str, top: float
) -> None:
    ramp = np.linspace(0, top, bands * 64).reshape(bands, 8, 8).astype(kind)
    with pytest.raises(InputError, match="8 bits"):
        read_rgb(gdal_picture(tmp_path / name, ramp))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_floats_of_8_bits_are_read(tmp_path: Path) -> None:
    ramp = np.arange(192, dtype=np.float32).reshape(3, 8, 8)
    rgb, valid = read_rgb(gdal_picture(tmp_path / "a.tif", ramp))
    assert valid.all()
    assert (rgb.transpose(2, 0, 1) == ramp).all()


@pytest.mark.parametrize(
    ("value", "kind"),
    [(256, "uint16"), (257, "int32"), (-1, "int32"), (0.5, "float32"), (math.nan, "float32")],
)
def test_a_label_that_is_no_class_is_refused(tmp_path: Path, value: float, kind: str) -> None:
    label = np.zeros((8, 8), kind)
    label[3, 4] = value
    Image.fromarray(label).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="no class"):
        read_label(tmp_path / "a.tif", (8, 8))


@pytest.mark.parametrize("content", [b"not a picture", b""])
def test_labels_that_are_no_picture_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        read_label(tmp_path / "a.png", (8, 8))


def test_labels_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (64, 64)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match="cannot be read"):
        read_label(path, (64, 64))


def test_the_stretch_brings_the_percentiles_to_their_places() -> None:
    gain, offset = joint_stretch(50, 150, math.inf)
    assert gain * 50 + offset == pytest.approx(0.02 * 255)
    assert gain * 150 + offset == pytest.approx(0.98 * 255)
    assert joint_stretch(100, 101, math.inf)[0] == 4.0


@pytest.mark.parametrize("pixels", [1, 65_536, 250_000, 4_000_000, math.inf])
def test_pictures_are_stretched_in_training_as_in_prediction(pixels: float) -> None:
    rgb = np.random.default_rng(0).integers(60, 140, (50, 50, 3)).astype(np.uint8)
    gain, offset = joint_stretch(*joint_percentiles(rgb, np.ones((50, 50), bool)), pixels)
    scene = estimate(rgb.reshape(-1, 3).T, parse_rule("auto"), (1, 1, 1), (0, 0, 0), 255, pixels=pixels)
    assert (gain, offset) == pytest.approx((scene.gain[0], scene.offset[0]))
    assert 0.95 < gain < 250 / (140 - 60)


def test_percentiles_are_joint_and_see_valid_pixels_only() -> None:
    rgb = np.zeros((10, 10, 3), np.uint8)
    rgb[..., 2] = 200
    valid = np.ones((10, 10), bool)
    assert joint_percentiles(rgb, valid) == (0, 200)
    rgb[0] = 255
    valid[0] = False
    assert joint_percentiles(rgb, valid) == (0, 200)
    assert joint_percentiles(rgb, np.zeros_like(valid)) == (0, 255)


def test_the_cache_is_taken_again_until_the_picture_changes(tmp_path: Path) -> None:
    item = read_set(make_set(tmp_path, gsd=0.1))
    assert isinstance(item, DataSet)
    first = cache_picture(item.train[0], tmp_path / "cache")
    before = (tmp_path / "cache" / "level0.npy").stat().st_mtime_ns
    assert cache_picture(item.train[0], tmp_path / "cache") == first
    assert (tmp_path / "cache" / "level0.npy").stat().st_mtime_ns == before
    assert first.levels == 2
    assert first.level(1).shape == (48, 48, 3)
    assert first.counts == {"0": 48 * 96, "1": 47 * 96}
    Image.fromarray(np.full((96, 96, 3), 9, np.uint8)).save(item.train[0].image)
    assert cache_picture(item.train[0], tmp_path / "cache").high == 9


def test_a_label_of_an_unnamed_class_is_refused(tmp_path: Path) -> None:
    folder = make_set(tmp_path)
    Image.fromarray(np.full((96, 96), 7, np.uint8)).save(folder / "labels" / "a.png")
    item = read_set(folder)
    assert isinstance(item, DataSet)
    with pytest.raises(InputError, match="the class 7"):
        cache_set(item, item.train, tmp_path / "cache")


def test_halving_is_the_mean() -> None:
    rgb = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    expected = rgb[:4, :4].reshape(2, 2, 2, 2, 3).mean((1, 3))
    assert np.abs(halve(rgb).astype(float) - expected).max() <= 0.5


def source(tmp_path: Path, **options) -> SetSource:
    item = read_set(make_set(tmp_path, **options))
    assert isinstance(item, DataSet)
    return SetSource(item.name, tuple(cache_set(item, item.pictures("all"), tmp_path / "cache")))


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, 37.0])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("gsd", [0.3, 0.5, 1.0])
def test_labels_follow_the_picture_through_every_turn(
    tmp_path: Path, angle: float, flip: bool, gsd: float
) -> None:
    picture = source(tmp_path, gsd=0.25).pictures[0]
    image, label = resample(picture, (48.0, 48.0), gsd=gsd, angle=angle, flip=flip, size=64)
    water = image[..., 2].astype(int) > image[..., 1]
    assert image.shape == (64, 64, 3)
    known = label != IGNORE
    assert (water == (label == 0))[known].mean() > 0.97


def test_without_change_the_crop_is_the_picture(tmp_path: Path) -> None:
    picture = source(tmp_path).pictures[0]
    image, label = resample(picture, (48.0, 48.0), gsd=0.5, angle=0.0, flip=False, size=96)
    assert (image == picture.level(0)).all()
    assert (label == picture.label()).all()


def test_points_lie_on_their_classes_with_root_shares() -> None:
    label = np.zeros((100, 100), np.uint8)
    label[0] = 1
    label[1] = IGNORE
    xy, classes = draw_points(label, 5000, np.random.default_rng(0))
    assert (label[xy[:, 1], xy[:, 0]] == classes).all()
    expected = np.sqrt(100) / (np.sqrt(100) + np.sqrt(9800))
    assert (classes == 1).mean() == pytest.approx(expected, abs=0.02)
    assert (draw_points(np.full((4, 4), IGNORE, np.uint8), 8, np.random.default_rng(0))[1] == IGNORE).all()


def test_the_gsd_of_crops_keeps_to_its_range() -> None:
    settings, rng = CropSettings(), np.random.default_rng(0)
    for own in (0.05, 0.1, 0.25, 0.5, 1.0, 2.0):
        drawn = [draw_gsd(own, settings, rng) for _ in range(300)]
        assert min(drawn) >= settings.finest
        assert max(drawn) <= max(settings.coarsest, settings.shrink_to)
        assert min(drawn) <= settings.enlarge_to * 1.05


def test_a_step_gives_the_same_batch_every_time(tmp_path: Path) -> None:
    sources = [source(tmp_path / "1"), source(tmp_path / "2", name="toy2", kind="single")]
    settings = CropSettings(size=64, points=50)
    first = CropSampler(sources, settings, seed=3).batch(7, 4)
    again = CropSampler(sources, settings, seed=3).batch(7, 4)
    other = CropSampler(sources, settings, seed=3).batch(8, 4)
    for name in ("images", "xy", "classes", "sets"):
        assert (getattr(first, name) == getattr(again, name)).all()
    assert not (first.images == other.images).all()
    assert first.images.shape == (4, 3, 64, 64)
    assert (first.classes != IGNORE).all()


def test_a_boosted_set_is_drawn_more_often(tmp_path: Path) -> None:
    sources = [source(tmp_path / "1"), source(tmp_path / "2", name="toy2")]
    settings = CropSettings(size=32, points=4)
    sampler = CropSampler(sources, settings, seed=0, boost={"toy2": 9.0})
    sets = np.concatenate([sampler.batch(step, 20).sets for step in range(10)])
    assert sets.mean() == pytest.approx(0.9, abs=0.08)
