"""One linear scale for a whole scene: samples to 0..255, the same for all tiles and all three bands.

The automatic rule is the one the shipped model is trained with: one joint pair of percentiles over the
three bands, so that colours keep their balance.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsov.errors import InputError, UsageError
from rsov.kernels.scaling import count_values

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LOW_PERCENT, HIGH_PERCENT = 0.5, 99.5
LOW_TARGET, HIGH_TARGET = 0.02 * 255, 0.98 * 255
MAX_GAIN = 4.0
"""For integer samples: a flat grey field must not become noise. In counts of the file, so a picture of 0..255
gives the same result as uint8 and as uint16; floats have no natural step and no limit."""
SETTLING_PIXELS = 250_000
"""Work pixels that count as seen over the whole 0..255 before a picture of 8 bits is looked at: a small one
may be all meadow, and its percentiles say what grows there rather than how bright the day was."""
TAG = "RSOV_RADIOMETRY"
_BANDS = 3
_8_BITS = 255
_ROUNDED = 1 - 1e-6
"""Of one step, where its ends are decimals."""
_HALF = 0.5
"""What rounds to 0 or 255 is not clipped."""


@dataclass(frozen=True)
class Radiometry:
    """``sample * gain + offset`` gives 0..255, per band.

    ``lo`` and ``hi`` are the values (samples after the file's own scale and offset) that became
    :data:`LOW_TARGET` and :data:`HIGH_TARGET`, or 0 and 255.
    """

    gain: tuple[float, float, float]
    offset: tuple[float, float, float]
    lo: tuple[float, float, float]
    hi: tuple[float, float, float]
    rule: str

    def clipped(self, sample: NDArray[Any]) -> float:
        """Share of raw samples (3, N) that end below 0 or above 255."""
        scaled = sample * np.asarray(self.gain)[:, None] + np.asarray(self.offset)[:, None]
        return float(np.mean((scaled < -_HALF) | (scaled > 255 + _HALF)))

    def tags(self) -> dict[str, str]:
        """For the metadata of an output, so that ``--stats OUTPUT`` can reuse it."""
        return {TAG: self.to_json()}

    def to_json(self) -> str:
        """As JSON text; floats keep all their digits."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str) -> Radiometry:
        """From :meth:`to_json`, or a report that has it under ``radiometry``; raises :class:`InputError`."""
        try:
            fields = _find(json.loads(text))
            vectors = {name: _vector(fields[name]) for name in ("gain", "offset", "lo", "hi")}
            return cls(**vectors, rule=str(fields["rule"]))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise InputError(
                "E-stats",
                "the file given with --stats holds no radiometry of rsov",
                where=where,
                fix=_STATS,
            ) from error


_STATS = "give the _report.json or the _classes.tif of an earlier map"


def _find(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        if "gain" in value and "offset" in value:
            return value
        for inner in value.values():
            found = _find(inner)
            if found:
                return found
    if isinstance(value, list):
        for inner in value:
            found = _find(inner)
            if found:
                return found
    return {}


def _vector(values: Any) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    if not np.isfinite([a, b, c]).all():
        raise ValueError(f"{values} is not finite")
    return a, b, c


def _unreadable(path: Path) -> InputError:
    return InputError("E-stats", f"{path} cannot be read", where="--stats", fix=_STATS)


def read_stats(path: Path) -> Radiometry:
    """Radiometry from a JSON file, a report, or the tags of a raster written by rsov."""
    if not path.is_file():
        raise InputError("E-stats", f"{path} is not a file, or not there", where="--stats", fix=_STATS)
    if path.suffix.lower() in (".tif", ".tiff"):
        import rasterio
        from rasterio.errors import RasterioError

        try:
            with rasterio.open(path, driver="GTiff") as output:
                text = output.tags().get(TAG, "")
        except RasterioError as error:
            raise _unreadable(path) from error
        return Radiometry.from_json(text, str(path))
    try:
        return Radiometry.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path) from error


@dataclass(frozen=True)
class Rule:
    """What ``--scale`` asks for: ``auto``, ``none``, ``range`` (two values) or ``percent`` (two percents)."""

    kind: str
    low: float = 0.0
    high: float = 0.0
    text: str = "auto"


def parse_rule(text: str | None) -> Rule:
    """Parse ``auto|none|MIN,MAX|pLOW,pHIGH``; raises :class:`UsageError` (E-scale)."""
    text = (text or "auto").strip().lower()
    if text in ("auto", "none"):
        return Rule(text, LOW_PERCENT, HIGH_PERCENT, text)
    parts = [part.strip() for part in text.split(",")]
    percent = len(parts) == 2 and all(part.startswith("p") for part in parts)
    try:
        low, high = (float(part.removeprefix("p") if percent else part) for part in parts)
    except ValueError:
        low = high = np.nan
    if not low < high or not np.isfinite([low, high]).all() or (percent and not 0 <= low < high <= 100):
        raise UsageError(
            "E-scale",
            f'--scale "{text}" is not understood',
            fix="auto, none, MIN,MAX (values of the file), or pLOW,pHIGH (percentiles, e.g. p2,p98)",
        )
    return Rule("percent" if percent else "range", low, high, text)


def percentile_pair(values: NDArray[Any], low: float, high: float) -> tuple[float, float] | None:
    """The two percentiles (values that occur: inverted CDF) of a sample; None if it is empty."""
    if values.size == 0:
        return None
    if values.dtype in (np.uint8, np.uint16):
        counts = np.zeros(np.iinfo(values.dtype).max + 1, np.int64)
        count_values(values.reshape(1, 1, -1), np.ones((1, values.size), bool), counts)
        share = np.cumsum(counts) / values.size
        low, high = max(low / 100, share[share > 0][0]), high / 100  # of 0 %, the least that occurs
        return float(np.searchsorted(share, low)), float(np.searchsorted(share, high))
    pair = np.percentile(values, [low, high], method="inverted_cdf")
    return float(pair[0]), float(pair[1])


def settled(low: float, high: float, pixels: float) -> tuple[float, float]:
    """Percentiles of an 8-bit picture of so many work pixels, drawn towards 0 and 255 where they are few."""
    share = 1 - SETTLING_PIXELS / (pixels + SETTLING_PIXELS)
    return share * low, share * high + (1 - share) * 255


def estimate(
    sample: NDArray[Any],
    rule: Rule,
    scales: tuple[float, float, float],
    offsets: tuple[float, float, float],
    max_value: int | None,
    *,
    pixels: float = math.inf,
) -> Radiometry:
    """Radiometry of a scene from its sample.

    Args:
        sample: (3, N) valid raw values of the used bands.
        rule: what is asked for.
        scales: per band, raw to value (the file's own scale; negative for MINISWHITE).
        offsets: the same, added after the scale.
        max_value: largest raw value of an integer type by its bits (255, 4095, 65535), None for floats.
        pixels: work pixels of the whole scene.

    Raises:
        UsageError: two values (E-scale) that samples of this type cannot tell apart.
    """
    if rule.kind == "none":
        return _none(scales, offsets, max_value)
    s, o = np.asarray(scales), np.asarray(offsets)
    low, high = rule.low, rule.high
    if rule.kind == "range":
        _check_range(rule, sample.dtype, float(np.abs(s).min()))
    if rule.kind != "range":
        same = bool((s == s[0]).all() and (o == o[0]).all() and s[0] > 0)
        values = sample if same else sample.astype(np.float64) * s[:, None] + o[:, None]
        pair = percentile_pair(values.ravel(), rule.low, rule.high)
        if pair is None:
            pair = (0.0, float(max_value or 1)) if same else (0.0, 1.0)
        # as stored, in whatever type (robustness Z56): reflectances of 0 to 1 are no picture of 8 bits
        counts = max_value is not None and (same or bool((np.abs(s) == 1).all()))
        if rule.kind == "auto" and counts and pair[0] >= 0 and pair[1] <= _8_BITS:
            pair = settled(*pair, pixels)
        low, high = (pair[0] * s[0] + o[0], pair[1] * s[0] + o[0]) if same else pair
    span = (HIGH_TARGET - LOW_TARGET) if rule.kind != "range" else 255.0
    step = float(np.abs(s).min())
    if max_value is not None and rule.kind != "range":
        gain = min(span / max(high - low, step), MAX_GAIN / step)
    else:
        gain = span / (high - low) if high > low else 1.0  # constant: middle grey, whatever the gain
    shift = 127.5 - gain * (low + high) / 2
    return _linear(gain, shift, s, o, low=low, high=high, rule=rule.text)


def _check_range(rule: Rule, dtype: np.dtype[Any], step: float) -> None:
    """See that ``--scale MIN,MAX`` spans a step of the type at least: below, all is black or white."""
    largest = max(abs(rule.low), abs(rule.high))
    if dtype.kind == "f":
        info = np.finfo(dtype)
        step = max(float(info.tiny) * _8_BITS * step, float(info.eps) * largest)
    if rule.high - rule.low < step * _ROUNDED or not math.isfinite(2 * largest):
        raise UsageError(
            "E-scale",
            f'--scale "{rule.text}" is no range of values for this picture',
            why=f"its samples are {dtype}, in steps of {step:.3g} at the least"
            if math.isfinite(2 * largest)
            else "the values are larger than can be computed with",
            fix="MIN,MAX in values of the file, for example 0,255 or 0,10000; or leave it out: auto",
        )


def _none(scales: tuple[float, ...], offsets: tuple[float, ...], max_value: int | None) -> Radiometry:
    """``--scale none``: raw values as they are, clipped to 0..255 (MINISWHITE still turned over)."""
    s, o = np.ones(_BANDS), np.zeros(_BANDS)
    if max_value is not None and min(scales) < 0:
        s, o = np.asarray(scales), np.asarray(offsets)
    return _linear(1.0, 0.0, s, o, low=0.0, high=255.0, rule="none")


def _linear(
    gain: float,
    shift: float,
    s: NDArray[np.float64],
    o: NDArray[np.float64],
    *,
    low: float,
    high: float,
    rule: str,
) -> Radiometry:
    a, b = s * gain, o * gain + shift
    return Radiometry(
        (float(a[0]), float(a[1]), float(a[2])),
        (float(b[0]), float(b[1]), float(b[2])),
        (low, low, low),
        (high, high, high),
        rule,
    )
