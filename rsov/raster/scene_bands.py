"""Which bands are red, green and blue, what their samples mean, and which pixels are valid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rsov.errors import InputError, UsageError
from rsov.raster.sensors import sensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from rsov.raster.scene_options import ReadOptions
    from rsov.types import Notices

_COLOURS = ("red", "green", "blue")
_OPAQUE = 128
"""Of 255: alpha of a palette entry from which its pixels are valid."""
_NODATA_RTOL = 1e-6
"""Nodata written as text with seven digits differs from the float32 in the pixels."""


@dataclass(frozen=True)
class MaskPlan:
    """Where validity comes from: ``mask`` (band or .msk), ``alpha``, ``nodata``, or ``none``.

    ``nodata`` has one value per used band (None = that band has none). ``threshold``: alpha from which a
    pixel is valid. ``finite``: NaN and infinity are invalid whatever else.
    """

    kind: Literal["none", "mask", "alpha", "nodata"]
    alpha: int = 0
    threshold: float = 0.0
    nodata: tuple[float | None, ...] = ()
    every: bool = False
    tolerance: float = 0.0
    finite: bool = False

    @property
    def absent(self) -> bool:
        """All pixels are valid."""
        return self.kind == "none" and not self.finite


@dataclass(frozen=True)
class BandPlan:
    """The used bands.

    ``indexes``: bands to read, from 1, three (or the one that holds palette indices). ``scales`` and
    ``offsets``: raw to value, per colour. ``bits``: bits of an integer sample, 0 for floats. ``palette``
    (N, 4) RGBA turns indices into colours.
    """

    indexes: tuple[int, ...]
    names: tuple[str, ...]
    dtype: str
    bits: int
    scales: tuple[float, float, float]
    offsets: tuple[float, float, float]
    mask: MaskPlan
    palette: NDArray[np.uint8] | None = None
    how: str = ""

    @property
    def max_value(self) -> int | None:
        """Largest raw value of an integer type by its bits, None for floats; 255 behind a palette."""
        if self.palette is not None:
            return 255
        if self.bits == 0:
            return None
        return int((1 << (self.bits - (np.dtype(self.dtype).kind == "i"))) - 1)

    @property
    def opaque(self) -> NDArray[np.bool_] | None:
        """Palette entries (N,) that are not seen through: the others are invalid; None if all are valid."""
        if self.palette is None or self.palette[:, 3].all():
            return None
        return self.palette[:, 3] >= _OPAQUE


def plan_bands(ds: DatasetReader, options: ReadOptions, name: str, notices: Notices) -> BandPlan:
    """Choose bands and the source of validity.

    Raises:
        UsageError: bands that do not exist, not three of them, or none to choose from; an alpha band that is
            asked for and cannot be the mask.
        InputError: complex samples, or bands of different types.
    """
    if ds.count == 0:
        raise InputError("E-input-bands", f"{name} has no bands", fix="name one of its subdatasets")
    _refuse_complex(ds, name)
    alpha = _alpha_band(ds)
    colormap = _palette(ds, options, notices)
    indexes: tuple[int, ...] = (1,)
    how = "palette"
    if colormap is None:
        indexes, how = choose_bands(ds, options, alpha, name, notices)
    dtype = str(np.result_type(*(ds.dtypes[i - 1] for i in indexes)))
    bits = _bits(ds, indexes[0], dtype)
    plain = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    scales, offsets = _units(ds, indexes, bits) if colormap is None else plain
    if alpha in indexes or options.alpha == "no":
        alpha = 0
    mask = _mask(ds, indexes, alpha, options, dtype, name=name, notices=notices)
    if options.alpha == "yes" and mask.kind != "alpha":
        raise _no_alpha(ds, indexes, mask, name)
    names = tuple((ds.descriptions[i - 1] or f"band {i}") for i in indexes)
    return BandPlan(indexes, names, dtype, bits, scales, offsets, mask, colormap, how)


def _refuse_complex(ds: DatasetReader, name: str) -> None:
    for dtype in ds.dtypes:
        if "complex" in dtype:
            raise InputError(
                "E-input-complex",
                f"{name} has complex samples ({dtype})",
                why="radar data before detection",
                fix="convert to intensity first",
            )


def choose_bands(
    ds: DatasetReader, options: ReadOptions, alpha: int, name: str, notices: Notices
) -> tuple[tuple[int, ...], str]:
    """Numbers of the red, green and blue bands, and how they were found."""
    descriptions = [text or "" for text in ds.descriptions]
    roles = [interp.name.lower() for interp in ds.colorinterp]
    if options.bands is not None:
        if len(options.bands) != len(_COLOURS):
            raise UsageError(
                "E-bands",
                f"--bands names {len(options.bands)} bands, the model takes 3 (red, green, blue)",
                fix="--bands 1,2,3; a grey picture: --bands 1,1,1",
            )
        return tuple(_band_number(band, descriptions, roles, name) for band in options.bands), "--bands"
    if options.sensor is not None:
        return sensor(options.sensor).bands(descriptions), f"sensor {options.sensor}"
    if all(colour in roles for colour in _COLOURS):
        return tuple(roles.index(colour) + 1 for colour in _COLOURS), "colour interpretation"
    lowered = [text.strip().lower() for text in descriptions]
    if all(colour in lowered for colour in _COLOURS):
        return tuple(lowered.index(colour) + 1 for colour in _COLOURS), "band names"
    usable = [i for i in range(1, ds.count + 1) if i != alpha or options.alpha == "no"]
    if len(usable) < len(_COLOURS):
        raise UsageError(
            "E-bands-few",
            f"{name} has {len(usable)} of the 3 bands (red, green, blue) that the model takes",
            where=_listing(descriptions, roles),
            fix="if it is a grey picture: --bands 1,1,1",
        )
    if ds.count > len(_COLOURS) + 1:
        notices.warn(
            "W-bands",
            f"{name} has {ds.count} bands and does not say which are red, green, blue; "
            "the first three are taken (--bands R,G,B or --sensor)",
        )
    return tuple(usable[:3]), "first three"


def _band_number(band: int | str, descriptions: Sequence[str], roles: Sequence[str], name: str) -> int:
    text = str(band).strip()
    if text.isdecimal() and 1 <= int(text) <= len(descriptions):
        return int(text)
    lowered = [d.strip().lower() for d in descriptions]
    for known in (lowered, roles):
        if text.lower() in known:
            return known.index(text.lower()) + 1
    raise UsageError(
        "E-bands",
        f'{name} has no band "{text}"',
        where=_listing(descriptions, roles),
        fix="--bands takes numbers or names",
    )


def _listing(descriptions: Sequence[str], roles: Sequence[str]) -> str:
    rows = [f"{n} {d or r}" for n, (d, r) in enumerate(zip(descriptions, roles, strict=True), 1)]
    return "bands: " + ", ".join(rows[:16]) + (" ..." if len(rows) > 16 else "")


def _alpha_band(ds: DatasetReader) -> int:
    """Number of the alpha band, 0 if there is none. CMYK shown as RGBA has a made-up one."""
    if ds.tags(ns="IMAGE_STRUCTURE").get("SOURCE_COLOR_SPACE"):
        return 0
    roles = [interp.name.lower() for interp in ds.colorinterp]
    return roles.index("alpha") + 1 if "alpha" in roles else 0


def _no_alpha(ds: DatasetReader, indexes: Sequence[int], mask: MaskPlan, name: str) -> UsageError:
    """Why ``--alpha yes`` cannot be done."""
    alpha = _alpha_band(ds)
    if not alpha:
        what, fix = f"{name} has no band marked as alpha", "leave out --alpha, or mark the band in the file"
    elif alpha in indexes:
        what, fix = f"the alpha band of {name} is one of its colours", "leave out --alpha, or other --bands"
    else:
        first = "its mask" if mask.kind == "mask" else "--nodata"
        what = f"the alpha band of {name} is not used: {first} goes first"
        fix = "leave out one of the two"
    listing = _listing([text or "" for text in ds.descriptions], [i.name.lower() for i in ds.colorinterp])
    return UsageError("E-alpha", f"--alpha yes: {what}", where=listing, fix=fix)


def _palette(ds: DatasetReader, options: ReadOptions, notices: Notices) -> NDArray[np.uint8] | None:
    """Colours of the indices (N, 4), N = 256 or 65536; None if band 1 holds no indices."""
    if ds.colorinterp[0].name.lower() != "palette":
        return None
    try:
        table = ds.colormap(1)
    except ValueError:
        return None
    if options.bands is not None and len(set(options.bands)) > 1:
        return None
    colours = np.zeros((65536 if ds.dtypes[0] == "uint16" else 256, 4), np.uint8)
    for index, rgba in table.items():
        if 0 <= index < len(colours):
            colours[index] = rgba
    notices.warn("W-palette", "the picture stores colour numbers; they are expanded to red, green, blue")
    return colours


def _bits(ds: DatasetReader, index: int, dtype: str) -> int:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return 0
    nbits = ds.tags(index, ns="IMAGE_STRUCTURE").get("NBITS", "")
    return int(nbits) if nbits.isdecimal() and int(nbits) > 0 else kind.itemsize * 8


def _units(
    ds: DatasetReader, indexes: Sequence[int], bits: int
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The file's own scale and offset per colour; a MINISWHITE picture is turned over."""
    chosen = [indexes[min(n, len(indexes) - 1)] for n in range(3)]
    scales = [float(ds.scales[i - 1]) or 1.0 for i in chosen]
    offsets = [float(ds.offsets[i - 1]) for i in chosen]
    if ds.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE", "").upper() == "YES" and bits:
        top = float((1 << bits) - 1)
        offsets = [o + s * top for s, o in zip(scales, offsets, strict=True)]
        scales = [-s for s in scales]
    return (scales[0], scales[1], scales[2]), (offsets[0], offsets[1], offsets[2])


def _mask(
    ds: DatasetReader,
    indexes: Sequence[int],
    alpha: int,
    options: ReadOptions,
    dtype: str,
    *,
    name: str,
    notices: Notices,
) -> MaskPlan:
    finite = np.dtype(dtype).kind == "f"
    flags = [flag.name for flag in ds.mask_flag_enums[indexes[0] - 1]]
    plan = MaskPlan(
        "none", finite=finite, every=options.mask_rule == "all", tolerance=options.nodata_tolerance
    )
    nodata = _nodata(ds, indexes, options, dtype, name=name, notices=notices)
    if options.nodata is not None:
        return replace(plan, kind="nodata", nodata=nodata) if any(v is not None for v in nodata) else plan
    if "per_dataset" in flags and "alpha" not in flags:
        return replace(plan, kind="mask")
    if alpha:
        return replace(plan, kind="alpha", alpha=alpha, threshold=_opaque(ds, alpha))
    if any(v is not None for v in nodata):
        if len(set(nodata)) > 1:
            notices.warn("W-nodata-per-band", f"{name}: nodata differs by band: {nodata}")
        return replace(plan, kind="nodata", nodata=nodata)
    return plan


def _opaque(ds: DatasetReader, alpha: int) -> float:
    """Alpha from which a pixel counts as valid: half of the range, any but 0 for a range of two values."""
    nbits = ds.tags(alpha, ns="IMAGE_STRUCTURE").get("NBITS", "")
    kind = np.dtype(ds.dtypes[alpha - 1])
    if nbits == "1":
        return 1.0
    if kind.kind == "f":
        return 0.5
    bits = int(nbits) if nbits.isdecimal() else kind.itemsize * 8
    return float(1 << (bits - 1))


def _nodata(
    ds: DatasetReader,
    indexes: Sequence[int],
    options: ReadOptions,
    dtype: str,
    *,
    name: str,
    notices: Notices,
) -> tuple[float | None, ...]:
    if options.nodata is not None:
        given = options.nodata
        if len(given) not in (0, 1, len(indexes), ds.count):
            raise UsageError(
                "E-nodata",
                f"--nodata has {len(given)} values for {len(indexes)} used bands",
                fix="give one value for all of them, or one for each",
            )
        if not given:
            return (None,) * len(indexes)
        if len(given) == 1:
            raw = [given[0]] * len(indexes)
        else:
            raw = list(given) if len(given) == len(indexes) else [given[i - 1] for i in indexes]
    else:
        raw = [ds.nodatavals[i - 1] for i in indexes]
    return tuple(_fitting(value, dtype, name, notices) for value in raw)


def _fitting(value: float | None, dtype: str, name: str, notices: Notices) -> float | None:
    """A nodata value that samples of this type can have; a type that cannot has no nodata (Z26)."""
    kind = np.dtype(dtype)
    if value is None or kind.kind == "f":
        return value
    info = np.iinfo(kind)
    if not np.isfinite(value) or value != int(value) or not info.min <= int(value) <= info.max:
        notices.warn(
            "W-nodata-range", f"{name}: nodata {value:g} cannot occur in {dtype} samples and is ignored"
        )
        return None
    return value


def valid_samples(raw: NDArray[Any], plan: MaskPlan) -> NDArray[np.bool_] | None:
    """Validity [h, w] by nodata and finiteness of the used bands (B, h, w); None if all pixels are valid."""
    invalid: NDArray[np.bool_] | None = None
    if plan.kind == "nodata":
        for band, value in zip(raw, plan.nodata, strict=True):
            hit = _equals(band, value, plan.tolerance) if value is not None else np.zeros(band.shape, bool)
            if invalid is None:
                invalid = hit
            elif plan.every:
                invalid &= hit
            else:
                invalid |= hit
    if plan.finite:
        endless = ~np.isfinite(raw).all(0)
        invalid = endless if invalid is None else invalid | endless
    if invalid is None or not invalid.any():
        return None
    return ~invalid


def _equals(band: NDArray[Any], value: float, tolerance: float) -> NDArray[np.bool_]:
    if np.isnan(value):
        return np.isnan(band) if band.dtype.kind == "f" else np.zeros(band.shape, bool)
    if band.dtype.kind == "f":
        # compared as float64: float32 max minus text of it must not overflow
        near: NDArray[np.bool_] = np.abs(band.astype(np.float64) - value) <= max(
            tolerance, abs(value) * _NODATA_RTOL
        )
        return near
    if tolerance > 0:
        close: NDArray[np.bool_] = np.abs(band.astype(np.float64) - value) <= tolerance
        return close
    equal: NDArray[np.bool_] = band == band.dtype.type(int(value))
    return equal
