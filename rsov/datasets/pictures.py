"""Reading one picture of a data set: 8-bit RGB, the valid pixels, the labels."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from rsov.datasets.sets import IGNORE, PictureRef
from rsov.errors import InputError
from rsov.raster.radiometry import (
    HIGH_PERCENT,
    HIGH_TARGET,
    LOW_PERCENT,
    LOW_TARGET,
    MAX_GAIN,
    settled,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_TIFF = (".tif", ".tiff")


def read_rgb(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Picture [H, W, 3] uint8 and its valid pixels [H, W]; three bands, alpha and nodata obeyed."""
    try:
        if path.suffix.lower() in _TIFF:
            return _read_tiff(path)
        with Image.open(path) as image:
            rgb = np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise InputError(
            "E-dataset-picture", "a picture of the data set cannot be read", where=str(path), why=str(error)
        ) from error
    return rgb, np.ones(rgb.shape[:2], bool)


def _read_tiff(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as source:
                bands = [1, 2, 3] if source.count >= 3 else [1, 1, 1]
                data = source.read(bands)
                valid = source.dataset_mask() > 0
        except RasterioIOError as error:
            raise OSError(str(error)) from error
    valid &= np.isfinite(data).all(0)
    data = np.where(valid, data, 0)
    return np.ascontiguousarray(data.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)), valid


def read_label(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Class ids [H, W] uint8, 255 for no label; InputError when the size is not the picture's."""
    with Image.open(path) as image:
        label = np.asarray(image)
    if label.ndim != 2 or label.shape != size:
        raise InputError(
            "E-dataset-label",
            "a label does not fit its picture",
            where=str(path),
            why=f"label {label.shape}, picture {size}",
        )
    return label.astype(np.uint8)


def read_picture(ref: PictureRef) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint8]]:
    """Picture [H, W, 3], valid pixels [H, W], labels [H, W] (255 where the picture is not valid)."""
    rgb, valid = read_rgb(ref.image)
    label = read_label(ref.label, rgb.shape[:2])
    return rgb, valid, np.where(valid, label, np.uint8(IGNORE))


def joint_percentiles(rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> tuple[float, float]:
    """The 0.5 and 99.5 percentile of all bands together, over the valid pixels; (0, 255) without any."""
    counts = np.bincount(rgb[valid].ravel(), minlength=256)
    total = counts.sum()
    if total == 0:
        return 0.0, 255.0
    share = np.cumsum(counts) / total
    low = float(np.searchsorted(share, LOW_PERCENT / 100))
    return low, float(np.searchsorted(share, HIGH_PERCENT / 100))


def joint_stretch(low: float, high: float, pixels: float) -> tuple[float, float]:
    """Gain and offset of a picture of so many work pixels, as in prediction: `low` to 2 %, `high` to 98 %."""
    low, high = settled(low, high, pixels)
    gain = min((HIGH_TARGET - LOW_TARGET) / max(high - low, 1.0), MAX_GAIN)
    return gain, 127.5 - gain * (low + high) / 2
