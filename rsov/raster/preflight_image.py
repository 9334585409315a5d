"""Whether a PNG, JPEG or JPEG 2000 file is complete, seen from its structure without decoding pixels."""

from __future__ import annotations

import mmap
import struct
import zlib
from typing import BinaryIO

_PNG_HEAD = 8
_MAX_CHUNK = 1 << 31
_JPEG_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_ORIENTATION = 0x0112
_STANDALONE = {0x01, *range(0xD0, 0xD8)}


def png_fault(file: BinaryIO) -> str:
    """What is wrong with the chunks of a PNG (PNG 1.2, 3.2: length, name, data, CRC); empty if complete.

    GDAL reads a cut PNG without an error and fills the rest, so every chunk's CRC is checked here.
    """
    file.seek(_PNG_HEAD)
    while True:
        head = file.read(8)
        if len(head) < 8:
            return "it ends before its last chunk (IEND)"
        length, name = struct.unpack(">I4s", head)
        if length >= _MAX_CHUNK:
            return f"chunk at byte {file.tell() - 8} claims {length} bytes"
        crc = zlib.crc32(name)
        left = length
        while left:
            data = file.read(min(left, 1 << 20))
            if not data:
                return f"chunk {name.decode('latin-1')} is cut off"
            crc = zlib.crc32(data, crc)
            left -= len(data)
        stored = file.read(4)
        if len(stored) < 4:
            return f"chunk {name.decode('latin-1')} is cut off"
        if struct.unpack(">I", stored)[0] != crc:
            return f"chunk {name.decode('latin-1')} has a wrong checksum"
        if name == b"IEND":
            return ""


def jpeg_fault(file: BinaryIO) -> str:
    """What is missing in a JPEG (ITU T.81, B.1.1); empty if its end marker follows the first scan.

    Inside a scan the bytes FF D9 cannot occur, so a cut file has none behind its first scan header.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = 2
        while position + 4 <= len(data):
            if data[position] != 0xFF:
                return f"no marker at byte {position}"
            marker = data[position + 1]
            if marker == 0xFF or marker in _STANDALONE:
                position += 1 if marker == 0xFF else 2
                continue
            if marker == _START_OF_SCAN:
                return "" if data.rfind(_JPEG_END) > position else "it has no end marker"
            position += 2 + struct.unpack(">H", data[position + 2 : position + 4])[0]
        return "it ends before its first scan"


def jp2_fault(file: BinaryIO, size: int) -> str:
    """What is missing in the boxes of a JP2 (ISO 15444-1, annex I); empty if a code stream is inside."""
    file.seek(0)
    head = file.read(12)
    if head[4:8] != b"jP  ":
        return ""  # a bare code stream: GDAL checks it
    position = 0
    while position + 8 <= size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))[0]
        elif length == 0:
            length = size - position
        if length < 8 or position + length > size:
            return f"box {kind.decode('latin-1')} ends at byte {position + length} of {size}"
        if kind == b"jp2c":
            return ""
        position += length
    return "it has no code stream"


def png_exif(file: BinaryIO) -> bytes:
    """The Exif data of a PNG that passed :func:`png_fault`, empty if there are none (GDAL does not tell)."""
    file.seek(_PNG_HEAD)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"eXIf":
            return file.read(length)
        file.seek(length + 4, 1)
    return b""


def orientation(exif: bytes) -> int:
    """Orientation 1..8 in Exif data, 1 if none is given."""
    from PIL.Image import Exif

    tags = Exif()
    try:
        tags.load(b"Exif\0\0" + exif)
        value = tags.get(_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, struct.error):
        return 1
    return int(value) if value in range(1, 9) else 1
