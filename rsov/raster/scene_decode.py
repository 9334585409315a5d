"""Windows of the picture as 8-bit colours and validity: read, scale, mask, mark what cannot be decoded."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rsov.errors import InputError
from rsov.kernels.scaling import apply_linear, apply_lut
from rsov.raster.scene_bands import BandPlan, valid_samples
from rsov.raster.scene_view import View, codec_error, deepest, gdal_errors, system_fault
from rsov.types import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from rasterio.io import DatasetReader

    from rsov.errors import RsovError
    from rsov.raster.radiometry import Radiometry

Valid = NDArray[np.bool_] | None
"""(h, w), or None where all pixels are valid."""
_PIECE_BYTES = 32 << 20
"""Raw samples in memory at once."""


@dataclass
class BadBlocks:
    """Blocks that could not be decoded and were marked invalid (``on_bad_block=nodata``)."""

    places: set[tuple[int, int]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, place: tuple[int, int]) -> None:
        """Remember a block by its first (row, column)."""
        with self.lock:
            self.places.add(place)


@dataclass(frozen=True)
class RawReader:
    """Raw samples and their validity, by windows of the view."""

    view: View
    bands: BandPlan
    block: tuple[int, int]
    sparse: NDArray[np.bool_] | None
    """Blocks (rows, columns) without data whose pixels are invalid; None if there are none."""
    skip_bad: bool
    bad: BadBlocks

    @property
    def all_valid(self) -> bool:
        """Every pixel is valid: there is no mark of no data to read."""
        return self.bands.mask.absent and self.bands.opaque is None and not self.skip_bad

    def absent(self, window: Window) -> bool:
        """All blocks under the window are sparse and invalid."""
        if self.sparse is None:
            return False
        h, w = self.block
        part = self.sparse[window.row // h : -(-window.bottom // h), window.col // w : -(-window.right // w)]
        return bool(part.all())

    def read(self, ds: DatasetReader, window: Window) -> tuple[NDArray[Any], Valid]:
        """Samples (B, h, w) of the used bands (B = 1 with a palette), and validity."""
        plan = self.bands.mask
        extra = (plan.alpha,) if plan.kind == "alpha" else ()
        raw, broken = self._samples(ds, (*self.bands.indexes, *extra), window)
        if raw.dtype == np.float16:  # GDAL before 3.11 gives float32; numba knows no halves
            raw = raw.astype(np.float32)
        valid: Valid = None
        if plan.kind == "alpha":
            valid = raw[-1] >= plan.threshold
            raw = raw[:-1]
        elif plan.kind == "mask":
            valid = self.mask(ds, window)
        own = valid_samples(raw, plan)
        if (opaque := self.bands.opaque) is not None:
            own = _both(own, opaque[raw[0]])
        return raw, _both(_both(valid, own), broken)

    def mask(self, ds: DatasetReader, window: Window) -> Valid:
        """What the mask of the file says, its other marks of no data apart."""

        def read(part: Window) -> NDArray[Any]:
            found: NDArray[Any] = ds.read_masks(self.bands.indexes[0], window=_gdal_window(part))
            return found

        try:
            mask = read(window)
        except gdal_errors() as error:
            if not self.skip_bad:
                raise self._fault(ds, window, error) from error
            mask = np.zeros((window.height, window.width), np.uint8)
            self._block_by_block(read, window, mask)
        return None if mask.all() else mask != 0

    def _samples(
        self, ds: DatasetReader, indexes: tuple[int, ...], window: Window
    ) -> tuple[NDArray[Any], Valid]:
        def read(part: Window) -> NDArray[Any]:
            if same:
                found: NDArray[Any] = ds.read(list(indexes), window=_gdal_window(part))
                return found
            return np.stack([ds.read(i, window=_gdal_window(part)).astype(dtype) for i in indexes])

        dtype = np.result_type(*(ds.dtypes[i - 1] for i in indexes))
        same = all(ds.dtypes[i - 1] == dtype for i in indexes)  # rasterio reads no others together
        try:
            return read(window), None
        except gdal_errors() as error:
            if not self.skip_bad:
                raise self._fault(ds, window, error) from error
        out = np.zeros((len(indexes), window.height, window.width), dtype)
        return out, self._block_by_block(read, window, out)

    def _block_by_block(
        self, read: Callable[[Window], NDArray[Any]], window: Window, out: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Fill ``out`` with the blocks that can be decoded; where that was possible."""
        good = np.ones((window.height, window.width), bool)
        for part in self._blocks(window):
            rows = slice(part.row - window.row, part.bottom - window.row)
            columns = slice(part.col - window.col, part.right - window.col)
            try:
                out[..., rows, columns] = read(part)
            except gdal_errors() as error:
                if (fault := system_fault(self.view.source, error)) is not None:
                    raise fault from error
                good[rows, columns] = False
                self.bad.add((part.row - part.row % self.block[0], part.col - part.col % self.block[1]))
        return good

    def _blocks(self, window: Window) -> list[Window]:
        h, w = self.block
        return [
            Window(c * w, r * h, w, h).intersect(window)
            for r in range(window.row // h, -(-window.bottom // h))
            for c in range(window.col // w, -(-window.right // w))
        ]

    def _fault(self, ds: DatasetReader, window: Window, error: BaseException) -> RsovError:
        """Say what is wrong: the system or the whole file, a codec missing, or which block is damaged."""
        source = self.view.source
        if (fault := system_fault(source, error)) is not None:
            return fault
        text = deepest(error)
        if (
            "codec" in text.lower()
            or "not configured" in text.lower()
            or "compression scheme" in text.lower()
        ):
            return codec_error(source, error)
        place = self._first_bad(ds, window)
        return InputError(
            "E-input-block",
            f"{source.path} cannot be decoded at block row {place.row // self.block[0]}, column "
            f"{place.col // self.block[1]} (rows {place.row}..{place.bottom - 1}, "
            f"columns {place.col}..{place.right - 1})",
            where=text,
            why="the file is damaged there",
            fix="copy it again, or --on-bad-block nodata marks the place as no data",
        )

    def _first_bad(self, ds: DatasetReader, window: Window) -> Window:
        for part in self._blocks(window):
            try:
                for index in self.bands.indexes:
                    ds.read(index, window=_gdal_window(part))
            except gdal_errors():
                return part
        return window


@dataclass(frozen=True)
class Decoder:
    """Windows as 8-bit RGB."""

    raw: RawReader
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    lut: NDArray[np.uint8] | None
    identity: bool

    @classmethod
    def build(cls, raw: RawReader, radiometry: Radiometry) -> Decoder:
        """A table for 8- and 16-bit unsigned samples, a line for all others."""
        bands = raw.bands
        gain, offset = np.asarray(radiometry.gain), np.asarray(radiometry.offset)
        lut: NDArray[np.uint8] | None = None
        if bands.palette is not None:
            values = bands.palette[:, :3].T.astype(np.float64)
            lut = _to_bytes(values * gain[:, None] + offset[:, None])
        elif bands.dtype in ("uint8", "uint16"):
            values = np.arange(256 if bands.dtype == "uint8" else 65536, dtype=np.float64)
            lut = _to_bytes(values * gain[:, None] + offset[:, None])
        plain = bands.palette is None and bands.dtype == "uint8"
        identity = plain and lut is not None and bool(np.array_equal(lut, np.tile(np.arange(256), (3, 1))))
        return cls(raw, gain, offset, lut, identity)

    def decode(self, ds: DatasetReader, window: Window) -> tuple[NDArray[np.uint8], Valid]:
        """Colours (3, h, w), undefined where not valid, and validity; in pieces of bounded memory."""
        bands = self.raw.bands
        per_row = window.width * (len(bands.indexes) + 1) * np.dtype(bands.dtype).itemsize
        step = max(1, _PIECE_BYTES // max(1, per_row))
        block = self.raw.block[0]
        step = max(block, step - step % block) if window.height > step else window.height
        if step >= window.height and not self.raw.absent(window):
            raw, valid = self.raw.read(ds, window)
            return self.colours(raw), valid
        out = np.zeros((3, window.height, window.width), np.uint8)
        good = np.ones((window.height, window.width), bool)
        row = window.row
        while row < window.bottom:
            stop = min(row - row % block + step, window.bottom)
            part = Window(window.col, row, window.width, stop - row)
            rows = slice(row - window.row, stop - window.row)
            if self.raw.absent(part):
                good[rows] = False
            else:
                raw, valid = self.raw.read(ds, part)
                out[:, rows] = self.colours(raw)
                if valid is not None:
                    good[rows] = valid
            row = stop
        return out, None if good.all() else good

    def validity(self, ds: DatasetReader, window: Window) -> Valid:
        """Validity alone."""
        raw, plan = self.raw, self.raw.bands.mask
        if plan.kind == "mask" and not plan.finite and not raw.skip_bad and raw.bands.opaque is None:
            return raw.mask(ds, window)
        return self.decode(ds, window)[1]

    def colours(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Samples (B, h, w) as 8-bit colours (3, h, w); may reuse the memory of ``raw``."""
        if self.identity:
            return raw
        shape = (3, *raw.shape[1:])
        if self.lut is None:
            out = np.empty(shape, np.uint8)
            apply_linear(raw, self.gain, self.offset, out)
            return out
        if raw.shape[0] == 1:
            raw = np.ascontiguousarray(np.broadcast_to(raw, shape))
        out = raw if raw.dtype == np.uint8 else np.empty(shape, np.uint8)
        apply_lut(raw, self.lut, out)
        return out


def _to_bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.floor(np.clip(values + 0.5, 0, 255)).astype(np.uint8)


def _both(a: Valid, b: Valid) -> Valid:
    if a is None or b is None:
        return b if a is None else a
    return a & b


def _gdal_window(window: Window) -> Any:
    from rasterio.windows import Window as GdalWindow

    return GdalWindow(window.col, window.row, window.width, window.height)
