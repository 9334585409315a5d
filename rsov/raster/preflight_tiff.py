"""What the directories of a TIFF say, read without GDAL and without pixels (TIFF 6.0, BigTIFF).

GDAL opens a file whose data are missing and fails, or returns zeros, only at the block concerned; a bomb
shows in the directory. So the directories are read here first.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_NEW_SUBFILE, _WIDTH, _HEIGHT, _COMPRESSION = 254, 256, 257, 259
_SAMPLES, _ROWS, _PLANAR, _SUB_IFDS = 277, 278, 284, 330
_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS = 273, 279, 324, 325
_TILE_WIDTH, _TILE_HEIGHT, _GDAL_NODATA = 322, 323, 42113
_REDUCED, _MASK = 1, 4
_LONGEST_NUMBER = 64
_MAX_DIRECTORIES = 4096
"""Pages, overviews and masks of one file; more is a crafted chain."""

_TYPES = {
    1: "u1",
    2: "u1",
    3: "u2",
    4: "u4",
    6: "i1",
    7: "u1",
    8: "i2",
    9: "i4",
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
CODECS = {
    1: "none", 2: "CCITT RLE", 3: "CCITT fax 3", 4: "CCITT fax 4", 5: "LZW", 6: "old-style JPEG", 7: "JPEG",
    8: "DEFLATE", 32773: "PackBits", 32946: "DEFLATE", 34676: "SGI LogLuv", 34677: "SGI LogLuv 24",
    34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "ZSTD", 50001: "WebP", 50002: "JPEG XL",
    52546: "JPEG XL (DNG)",
}  # fmt: skip


class TiffDamageError(Exception):
    """The directories are damaged; the text says where."""


@dataclass(frozen=True)
class Directory:
    """One picture of a TIFF: page, overview or mask. Block arrays are as stored, empty when absent."""

    width: int
    height: int
    samples: int
    compression: int
    planar: bool
    subfile: int
    block: tuple[int, int]
    """(rows, columns) of a tile or strip."""
    offsets: NDArray[np.uint64]
    counts: NDArray[np.uint64]
    nodata: str = ""
    """As written; GDAL does not pass on what the samples cannot hold."""

    @property
    def reduced(self) -> bool:
        """An overview or thumbnail."""
        return bool(self.subfile & _REDUCED)

    @property
    def mask(self) -> bool:
        """A transparency mask."""
        return bool(self.subfile & _MASK)

    @property
    def blocks(self) -> tuple[int, int]:
        """(rows, columns) of blocks in one plane."""
        return -(-self.height // self.block[0]), -(-self.width // self.block[1])

    @property
    def data_end(self) -> int:
        """First byte after the last block."""
        n = min(len(self.offsets), len(self.counts))
        if n == 0:
            return 0
        ends = self.offsets[:n].astype(np.float64) + self.counts[:n].astype(np.float64)
        worst = int(ends.argmax())
        return int(self.offsets[worst]) + int(self.counts[worst])

    def first_block_beyond(self, size: int) -> tuple[int, int, int]:
        """(block row, block column, offset) of the first block that ends after ``size``."""
        n = min(len(self.offsets), len(self.counts))
        beyond = self.offsets[:n].astype(np.float64) + self.counts[:n].astype(np.float64) > size
        index = int(beyond.argmax())
        rows, columns = self.blocks
        inside = index % max(1, rows * columns)
        return inside // columns, inside % columns, int(self.offsets[index])

    def stored(self) -> NDArray[np.uint64] | None:
        """Bytes of each block (block rows, block columns), of all planes; None if the file does not say."""
        rows, columns = self.blocks
        planes = self.samples if self.planar else 1
        if len(self.counts) != rows * columns * planes:
            return None
        total: NDArray[np.uint64] = self.counts.reshape(planes, rows, columns).sum(0, dtype=np.uint64)
        return total

    def sparse(self) -> NDArray[np.bool_] | None:
        """(block rows, block columns), true where no plane has data; None if all blocks are there."""
        stored = self.stored()
        if stored is None or stored.all():
            return None
        absent: NDArray[np.bool_] = stored == 0
        return absent


def read_directories(file: BinaryIO) -> list[Directory]:
    """All directories: the chain from the header, and the sub-directories named in them.

    Raises:
        TiffDamageError: header or first directory cannot be followed. Damage further back ends the list: GDAL
            reads the first picture all the same.
    """
    size = os.fstat(file.fileno()).st_size
    return list(_Reader(file, size).directories())


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        head = self._bytes(0, 8)
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = struct.unpack(self.order + "H", head[2:4])[0] == 43
        self.start = (
            struct.unpack(self.order + "Q", self._bytes(8, 8))[0]
            if self.big
            else struct.unpack(self.order + "I", head[4:8])[0]
        )

    def _bytes(self, offset: int, count: int) -> bytes:
        if offset < 0 or offset + count > self.size:
            raise TiffDamageError(
                f"points to bytes {offset}..{offset + count} of a file of {self.size} bytes"
            )
        self.file.seek(offset)
        return self.file.read(count)

    def directories(self) -> Iterator[Directory]:
        queue, seen = [self.start], set[int]()
        while queue and len(seen) < _MAX_DIRECTORIES:
            offset = queue.pop(0)
            if offset == 0 or offset in seen:
                continue
            first = not seen
            seen.add(offset)
            try:
                tags, following = self._tags(offset)
                yield self._directory(tags)
            except TiffDamageError:
                if first:
                    raise
                continue
            queue.append(following)
            queue.extend(int(v) for v in self._values(tags, _SUB_IFDS)[:_MAX_DIRECTORIES])
        return

    def _tags(self, offset: int) -> tuple[dict[int, tuple[int, int, bytes]], int]:
        count_format, entry, inline = ("Q", 20, 8) if self.big else ("H", 12, 4)
        width = struct.calcsize(self.order + count_format)
        (count,) = struct.unpack(self.order + count_format, self._bytes(offset, width))
        if count > 65535:
            raise TiffDamageError(f"directory at byte {offset} claims {count} tags")
        body = self._bytes(offset + width, count * entry)
        tail_format = "Q" if self.big else "I"
        try:
            tail = self._bytes(offset + width + count * entry, struct.calcsize(self.order + tail_format))
            (following,) = struct.unpack(self.order + tail_format, tail)
        except TiffDamageError:
            following = 0
        tags = {}
        for n in range(count):
            part = body[n * entry : (n + 1) * entry]
            tag, kind = struct.unpack(self.order + "HH", part[:4])
            (values,) = struct.unpack(self.order + ("Q" if self.big else "I"), part[4 : 4 + inline])
            tags[tag] = (kind, values, part[4 + inline :])
        return tags, following

    def _values(self, tags: dict[int, tuple[int, int, bytes]], tag: int) -> NDArray[np.uint64]:
        if tag not in tags:
            return np.empty(0, np.uint64)
        kind, count, inline = tags[tag]
        if kind not in _TYPES or count == 0:
            return np.empty(0, np.uint64)
        dtype = np.dtype(self.order + _TYPES[kind])
        nbytes = count * dtype.itemsize
        if nbytes <= len(inline):
            raw = inline[:nbytes]
        else:
            (offset,) = struct.unpack(self.order + ("Q" if self.big else "I"), inline)
            raw = self._bytes(offset, nbytes)
        return np.frombuffer(raw, dtype).astype(np.uint64)

    def _one(self, tags: dict[int, tuple[int, int, bytes]], tag: int, default: int) -> int:
        values = self._values(tags, tag)
        return int(values[0]) if len(values) else default

    def _directory(self, tags: dict[int, tuple[int, int, bytes]]) -> Directory:
        width, height = self._one(tags, _WIDTH, 0), self._one(tags, _HEIGHT, 0)
        if width <= 0 or height <= 0:
            raise TiffDamageError(f"a picture of {width} x {height} pixels")
        tiled = _TILE_WIDTH in tags
        if tiled:
            block = self._one(tags, _TILE_HEIGHT, 0), self._one(tags, _TILE_WIDTH, 0)
        else:
            block = min(self._one(tags, _ROWS, height), height), width
        if min(block) <= 0:
            raise TiffDamageError(f"blocks of {block[1]} x {block[0]} pixels")
        return Directory(
            width,
            height,
            self._one(tags, _SAMPLES, 1),
            self._one(tags, _COMPRESSION, 1),
            self._one(tags, _PLANAR, 1) == 2,
            self._one(tags, _NEW_SUBFILE, 0),
            block,
            self._values(tags, _TILE_OFFSETS if tiled else _STRIP_OFFSETS),
            self._values(tags, _TILE_COUNTS if tiled else _STRIP_COUNTS),
            bytes(self._values(tags, _GDAL_NODATA)[:_LONGEST_NUMBER].astype(np.uint8))
            .decode("latin-1")
            .strip("\0 "),
        )
