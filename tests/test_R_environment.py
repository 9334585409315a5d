"""What the environment protects from: files beside a picture, drivers from elsewhere, settings of the user."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio
from affine import Affine

from rsov.raster.env import prepare_gdal
from tests.support.rasters import read, scene, texture, write

PROTECTIONS = {
    "GDAL_PAM_ENABLED": ("YES", "NO"),
    "GDAL_VRT_ENABLE_PYTHON": ("YES", "NO"),
    "GDAL_VRT_ENABLE_RAWRASTERBAND": ("YES", "NO"),
    "GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE": ("ALL", "SIBLING_OR_CHILD_OF_VRT_PATH"),
    "CPL_VSIL_CURL_HEADER_FILE_KVP_ENABLED": ("YES", "NO"),
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": (".tif", "{none}"),
    "GDAL_DRIVER_PATH": ("/tmp", "disable"),
    "GDAL_PYTHON_DRIVER_PATH": ("/tmp", "disable"),
    "OGR_DRIVER_PATH": ("/tmp", "disable"),
    "GTIFF_POINT_GEO_IGNORE": ("TRUE", "FALSE"),
    "GDAL_ERROR_ON_LIBJPEG_WARNING": ("FALSE", "TRUE"),
    "GTIFF_FORCE_RGBA": ("YES", "NO"),
}
DRIVERS = {"tif": "GTiff", "png": "PNG", "jpg": "JPEG"}
ASIDE = (
    "<PAMDataset><SRS>EPSG:32632</SRS><GeoTransform>500000, 2, 0, 5600000, 0, -2</GeoTransform>"
    '<PAMRasterBand band="1"><NoDataValue>7</NoDataValue><ColorInterp>Blue</ColorInterp>'
    "<Scale>0.5</Scale></PAMRasterBand></PAMDataset>"
)


@pytest.mark.parametrize("name", PROTECTIONS)
def test_a_protection_is_set_and_stands_above_the_users_value(name: str) -> None:
    hostile, wanted = PROTECTIONS[name]
    for environ in ({}, {name: hostile}):
        prepare_gdal(environ)
        assert environ[name] == wanted


def test_settings_of_speed_and_talk_are_the_users() -> None:
    environ = {"GDAL_CACHEMAX": "33", "GDAL_NUM_THREADS": "2", "CPL_LOG": "gdal.log", "PROJ_DEBUG": "2"}
    before = dict(environ)
    prepare_gdal(environ)
    assert {name: environ[name] for name in before} == before


@pytest.mark.parametrize("kind", DRIVERS)
def test_a_metadata_file_beside_a_picture_says_nothing(tmp_path: Path, kind: str) -> None:
    """GDAL would take place, nodata, colours and scales of ``.aux.xml`` from anybody who can write there."""
    path = tmp_path / f"a.{kind}"
    write(path, texture(), crs=None, transform=None, driver=DRIVERS[kind])
    plain = read(path).data
    Path(f"{path}.aux.xml").write_text(ASIDE)
    opened = scene(path)
    assert opened.grid.transform == Affine.identity()
    assert opened.grid.crs is None
    assert opened.all_valid
    assert opened.decoder.raw.bands.scales == (1, 1, 1)
    assert (read(path).data == plain).all()


def test_nothing_is_written_beside_a_picture_that_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", texture(), crs=None, transform=None, driver="PNG")
    with rasterio.open(path) as picture:
        picture.statistics(1)
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]
