"""Reading one picture of a data set: 8-bit RGB, the valid pixels, the labels."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
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
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_TIFF = (".tif", ".tiff")
_LARGEST = 255


@contextmanager
def _readable(path: Path, id: str, what: str) -> Iterator[None]:
    """What Pillow and GDAL raise for files that they cannot read, as InputError."""
    try:
        yield
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(id, f"{what} cannot be read", where=str(path), why=str(error)) from error


def read_rgb(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Picture [H, W, 3] uint8 and its valid pixels [H, W]; three bands, alpha and nodata obeyed.

    Raises:
        InputError: the picture cannot be read, or is not one of 8 bits (floats of 0 to 255 are).
    """
    with _readable(path, "E-dataset-picture", "a picture of the data set"):
        if path.suffix.lower() in _TIFF:
            return _read_tiff(path)
        with Image.open(path) as image:
            # Pillow has no mode for three bands of 16 bits: it drops the lower eight of each
            if image.mode.startswith(("I", "F")) or any(";16B" in str(part.args) for part in image.tile):
                raise _not_8_bits(path, f"mode {image.mode} of more than 8 bits")
            rgb = np.asarray(image.convert("RGB"))
    return rgb, np.ones(rgb.shape[:2], bool)


def _not_8_bits(path: Path, why: str) -> InputError:
    return InputError(
        "E-dataset-picture",
        "a picture of the data set is not one of 8 bits",
        where=str(path),
        why=why,
        fix="write it as uint8, scaled once for the whole picture",
    )


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
    if data.dtype != np.uint8 and valid.any():
        low, high = data.min(), data.max()
        if low < 0 or not 1 < high <= _LARGEST:  # up to 1: reflectances, which would all become black
            raise _not_8_bits(path, f"{data.dtype} of {low:g} to {high:g}")
    return np.ascontiguousarray(data.astype(np.uint8).transpose(1, 2, 0)), valid


def read_label(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Class ids [H, W] uint8, 255 for no label.

    Raises:
        InputError: the labels cannot be read, have another size than the picture, or are not all 0 to 255.
    """
    with _readable(path, "E-dataset-label", "a label of the data set"), Image.open(path) as image:
        label = np.asarray(image)
    if label.ndim != 2 or label.shape != size:
        raise InputError(
            "E-dataset-label",
            "a label does not fit its picture",
            where=str(path),
            why=f"label {label.shape}, picture {size}",
        )
    with np.errstate(invalid="ignore"):
        ids = label.astype(np.uint8)
    odd = label[ids != label]
    if odd.size:
        raise InputError(
            "E-dataset-label",
            f"a label holds {odd[0]:g}, which is no class",
            where=str(path),
            fix="classes are whole numbers of 0 to 254, and 255 is no label",
        )
    return ids


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
