"""Small real raster files for the tests of reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine

import rsov.raster  # noqa: F401 - prepares GDAL before rasterio is imported
from rsov.raster.scene_open import open_scene
from rsov.raster.scene_options import ReadOptions
from rsov.types import Notices, Window

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from rsov.raster.scene import Pixels, Scene

UTM = Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000)
MODEL = (0.5, (0.25, 1.0))
"""GSD and range of the model that the tests pretend to have."""


def texture(
    height: int = 64, width: int = 64, bands: int = 3, seed: int = 0, dtype: str = "uint8", top: int = 250
) -> NDArray[Any]:
    """Noise of 5..top, (bands, height, width)."""
    rng = np.random.default_rng(seed)
    return rng.integers(5, top, (bands, height, width)).astype(dtype)


def write(
    path: Path,
    data: NDArray[Any],
    *,
    crs: str | None = "EPSG:32632",
    transform: Affine | None = UTM,
    **options: Any,
) -> Path:
    """Write (bands, height, width) as GeoTIFF."""
    extra = options.pop("after", None)
    options.setdefault(
        "photometric", "RGB" if data.shape[0] >= 3 and data.dtype == np.uint8 else "MINISBLACK"
    )
    profile = {
        "driver": "GTiff",
        "count": data.shape[0],
        "height": data.shape[1],
        "width": data.shape[2],
        "dtype": data.dtype,
        **options,
    }
    if crs is not None:
        profile["crs"] = crs
    if transform is not None:
        profile["transform"] = transform
    with rasterio.open(path, "w", **profile) as out:
        out.write(data)
        if extra is not None:
            extra(out)
    return path


def scene(path: Path, notices: Notices | None = None, **options: Any) -> Scene:
    """Open for the pretended model; ``scale="none"`` unless said, so that pixels can be compared."""
    options.setdefault("scale", "none")
    limits = {name: options.pop(name) for name in ("memory", "cache") if name in options}
    return open_scene(path, ReadOptions(**options), *MODEL, notices or Notices(), **limits)


def read(path: Path, window: Window | None = None, notices: Notices | None = None, **options: Any) -> Pixels:
    """All work pixels, or a window of them."""
    opened = scene(path, notices, **options)
    with opened.open_reader() as reader:
        return reader.read(window or Window(0, 0, opened.work.width, opened.work.height))


def valid(path: Path, notices: Notices | None = None, **options: Any) -> NDArray[np.bool_]:
    """Validity of the whole output grid."""
    opened = scene(path, notices, **options)
    with opened.open_reader() as reader:
        return reader.valid(opened.output_grid.window)


def ids(notices: Notices) -> list[str]:
    """Names of the warnings given."""
    return [notice.id for notice in notices.items]
