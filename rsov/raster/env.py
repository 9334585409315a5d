"""The GDAL environment: what may be opened at all, set before a GDAL is loaded.

rasterio, fiona and pyogrio carry a GDAL each; all of them read these variables when they register
their drivers, so the list of drivers to leave out covers every name known to any of them. Drivers are
the attack surface (remote services, scripts, formats that open other files): only those that rsov
reads or writes stay.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rsov.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

ALLOWED_DRIVERS = frozenset(
    {
        *("GTiff", "COG", "JPEG", "PNG", "JP2OpenJPEG", "VRT", "MEM", "Memory"),
        *("GPKG", "GeoJSON", "GeoJSONSeq", "FlatGeobuf", "ESRI Shapefile"),
    }
)
"""VRT stays for warped views; a VRT given as input is parsed and rebuilt by ``raster/vrt.py`` first."""

_SKIPPED_DRIVERS = (
    "AAIGrid|ACE2|ADBC|ADRG|AIG|AirSAR|AIVector|AmigoCloud|Arrow|AVCBin|AVCE00|AVIF|BAG|BASISU|BIGGIF|"
    "BLX|BMP|BSB|BT|BYN|CAD|CALS|Carto|CEOS|COASP|COSAR|CPG|CSV|CSW|CTable2|CTG|DAAS|DB2ODBC|DDS|DERIVED|"
    "DGN|DGNv8|DIMAP|DIPEx|DOQ1|DOQ2|DTED|DWG|DXF|ECRGTOC|ECW|EDIGEO|EEDA|EEDAI|EHdr|EIR|ELAS|"
    "Elasticsearch|ENVI|ERS|ESAT|ESRIC|ESRIJSON|EXR|FAST|FileGDB|FIT|FITS|GDALG|GenBin|Geoconcept|"
    "GeoRaster|GeoRSS|GFF|GIF|GML|GMLAS|GNMDatabase|GNMFile|GPSBabel|GPX|GRASSASCIIGrid|GRIB|GS7BG|GSAG|"
    "GSBG|GSC|GTFS|GTI|GTX|GXF|HANA|HDF4|HDF4Image|HDF5|HDF5Image|HEIF|HF2|HFA|HTTP|IDB|Idrisi|ILWIS|"
    "Ingres|Interlis 1|Interlis 2|IRIS|ISCE|ISG|ISIS2|ISIS3|JAXAPALSAR|JDEM|JML|JP2ECW|JP2KAK|JP2Lura|"
    "JP2MrSID|JPEGXL|JSONFG|KEA|KML|KMLSUPEROVERLAY|KRO|KTX2|L1B|LAN|LCP|LERC|Leveller|LIBERTIFF|LIBKML|"
    "LOSLAS|LVBAG|MAP|MapInfo File|MapML|MBTiles|MFF|MFF2|MiraMon|MiraMonRaster|MiraMonVector|MongoDBv3|"
    "MRF|MrSID|MSG|MSGN|MSSQLSpatial|MVT|MySQL|NAS|NDF|netCDF|NGSGEOID|NGW|NITF|NOAA_B|NSIDCbin|NTv2|"
    "NWT_GRC|NWT_GRD|OAPIF|OCI|ODBC|ODS|OGCAPI|OGDI|OGR_GMT|OGR_PDS|OGR_VRT|OpenFileGDB|OpenJPEG|OSM|OZI|"
    "Parquet|PAux|PCIDSK|PCRaster|PDF|PDS|PDS4|PGDUMP|PGEO|PLMOSAIC|PLSCENES|PMTiles|PNM|PostGISRaster|"
    "PostgreSQL|PRF|R|Rasterlite|RCM|RIK|RMF|ROI_PAC|RPFTOC|RRASTER|RS2|RST|S102|S104|S111|S57|SAFE|SAGA|"
    "SAR_CEOS|SDTS|Selafin|SENTINEL2|SGI|SIGDEM|SNAP_TIFF|SNODAS|SOSI|SQLite|SRP|SRTMHGT|STACIT|STACTA|"
    "SVG|SXF|Terragen|TGA|TIGER|TIL|TileDB|TopoJSON|TSX|UK .NTF|USGSDEM|VDV|VFK|VICAR|Walk|WAsP|WCS|WEBP|"
    "WFS|WMS|WMTS|XLS|XLSX|XODR|XPM|XYZ|Zarr|ZMap"
)
SKIPPED_DRIVERS = tuple(_SKIPPED_DRIVERS.split("|"))
"""Every other driver of GDAL 3.9 to 3.13, optional ones included."""

CACHE_MB = 96
"""GDAL's block cache. Decoded pixels are kept by rsov itself, so blocks are needed once."""
_FILES_KEPT_FREE = 40
"""File handles left to everything but the sources of a VRT."""

_SECURITY = {
    "GDAL_SKIP": ",".join(SKIPPED_DRIVERS),
    "OGR_SKIP": ",".join(SKIPPED_DRIVERS),
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
    "GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE": "SIBLING_OR_CHILD_OF_VRT_PATH",
    "CPL_VSIL_CURL_HEADER_FILE_KVP_ENABLED": "NO",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "{none}",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_DRIVER_PATH": "disable",
    "GDAL_PYTHON_DRIVER_PATH": "disable",
    "OGR_DRIVER_PATH": "disable",
}
_CORRECTNESS = {
    "GTIFF_POINT_GEO_IGNORE": "FALSE",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE",
    "GTIFF_FORCE_RGBA": "NO",
    "OSR_WKT_FORMAT": "WKT2_2018",  # WKT 1 has no words for some projections: Equal Earth
}
_DEFAULTS = {
    "GDAL_CACHEMAX": str(CACHE_MB),
    "GDAL_NUM_THREADS": "1",
    "CPL_LOG": os.devnull,  # faults come as exceptions; GDAL's own lines would tear the progress bar
    "PROJ_DEBUG": "0",  # the same for PROJ, which a driver may use without GDAL's handler (units: mils)
}
_DOCUMENTED_VALUES = {
    "GDAL_VRT_ENABLE_PYTHON": {"YES", "NO", "TRUSTED_MODULES", "TRUE", "FALSE", "ON", "OFF", "0", "1"},
    "GDAL_VRT_ENABLE_RAWRASTERBAND": {"YES", "NO", "TRUE", "FALSE", "ON", "OFF", "0", "1"},
    "GDAL_PAM_ENABLED": {"YES", "NO", "TRUE", "FALSE", "ON", "OFF", "0", "1"},
    "GDAL_DISABLE_READDIR_ON_OPEN": {"YES", "NO", "TRUE", "FALSE", "EMPTY_DIR", "ON", "OFF", "0", "1"},
}
_RAW_BAND_SOURCES = {"SIBLING_OR_CHILD_OF_VRT_PATH", "ONLY_REMOTE", "ALL"}
_mistyped: list[UsageError] = []


def prepare_gdal(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set the environment for every GDAL that is loaded after this call, in this process and its children.

    Security and correctness values replace inherited ones; defaults of speed do not. A security variable
    with an undocumented value is remembered: :func:`check_environment` refuses to go on with it.
    """
    fault = mistyped_value(environ)
    if fault is not None:
        _mistyped.append(fault)
    environ.update(_SECURITY)
    environ.update(_CORRECTNESS)
    for name, value in _DEFAULTS.items():
        environ.setdefault(name, value)
    environ["GDAL_MAX_DATASET_POOL_SIZE"] = str(_pool_size())
    for logger in ("rasterio._env", "fiona._env"):
        logging.getLogger(logger).addFilter(_not_about_skipping)


def _not_about_skipping(record: logging.LogRecord) -> bool:
    """Each GDAL complains about the names in the list that only another one knows: hundreds of lines."""
    return "to unload from GDAL_SKIP" not in record.getMessage()


def mistyped_value(environ: MutableMapping[str, str]) -> UsageError | None:
    """The first security variable whose value GDAL does not document, as an error; None if all are right."""
    for name, allowed in _DOCUMENTED_VALUES.items():
        value = environ.get(name)
        if value is not None and value.upper() not in allowed:
            return _value_error(name, value, allowed)
    name = "GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE"
    value = environ.get(name)
    if value is not None and value not in _RAW_BAND_SOURCES and not Path(value).is_absolute():
        return _value_error(name, value, _RAW_BAND_SOURCES)
    return None


def check_environment() -> None:
    """Raise the :class:`UsageError` (E-gdal-value) that :func:`prepare_gdal` found, if any."""
    if _mistyped:
        raise _mistyped[0]


def forbidden_drivers() -> tuple[str, ...]:
    """Drivers of rasterio's GDAL that should not be there.

    Empty unless rasterio was loaded and used before rsov, or a new GDAL has a driver unknown here.
    """
    import rasterio

    with rasterio.Env() as env:
        return tuple(sorted(set(env.drivers()) - ALLOWED_DRIVERS))


def _value_error(name: str, value: str, allowed: set[str]) -> UsageError:
    return UsageError(
        "E-gdal-value",
        f"the environment variable {name} has a value that GDAL does not know",
        where=f"{name}={value}",
        fix=f"unset {name}, or use one of {', '.join(sorted(allowed))}",
    )


def _pool_size() -> int:
    """How many sources of a VRT stay open at once: GDAL's default of 100, or what ``ulimit -n`` leaves."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except ImportError:
        return 100
    return 100 if limit < 0 else max(2, min(100, (limit - _FILES_KEPT_FREE) // 2))
