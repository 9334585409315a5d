"""What a report says about the process that made a map."""

from __future__ import annotations

from importlib import metadata

import rsov

VERSIONS = ("rsov", "torch", "rasterio", "fiona", "numpy", "numba", "shapely", "pyproj")
"""Packages whose version can change a pixel or a coordinate."""


def versions() -> dict[str, str]:
    """Versions of what takes part in a result."""
    import rasterio

    found = {"gdal": str(rasterio.__gdal_version__)}
    for name in VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = rsov.__version__ if name == "rsov" else ""
    return found


def peak_rss() -> int | None:
    """Most memory that this process ever held, in bytes; ``None`` where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
