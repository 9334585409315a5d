"""What a weights file really is, told by its bytes: what can run code on loading is refused."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

from rsov.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

_HEADER_LIMIT = 100 * 2**20  # the safetensors library's own limit of a header
_STARTS: tuple[tuple[str, bytes | tuple[bytes, ...]], ...] = (
    ("numpy", b"\x93NUMPY"),
    ("hdf5", b"\x89HDF"),
    ("pickle", tuple(bytes([0x80, protocol]) for protocol in range(2, 6))),
)
_OLD_PICKLE = (b"(", b"c", b"]", b"}", b"\x80")


def identify(path: Path) -> str:
    """The sort of a file: safetensors, a sort of pickle, torchscript, onnx, numpy, hdf5 or unknown.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        with path.open("rb") as handle:
            head = handle.read(64)
        return _archive(path) if head.startswith(b"PK") else _by_head(head)
    except OSError as error:
        raise ModelError(
            "E-model-read", "the weights cannot be read", where=str(path), why=str(error)
        ) from error


def _by_head(head: bytes) -> str:
    for kind, starts in _STARTS:
        if head.startswith(starts):
            return kind
    if len(head) > 9 and int.from_bytes(head[:8], "little") <= _HEADER_LIMIT and head[8:9] == b"{":
        return "safetensors"
    if head.startswith(_OLD_PICKLE):
        return "pickle"
    return "onnx" if head.startswith(b"\x08") and b"\x12" in head[:8] else "unknown"


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "torch pickle"
    bases = {name.rsplit("/", 1)[-1] for name in names}
    if any("/code/" in f"/{name}" for name in names) or "constants.pkl" in bases:
        return "torchscript"
    if bases & {"archive_format", "serialized_exported_program.json", "model.json"} or any(
        name.startswith("aotinductor") or "/data/weights/" in name for name in names
    ):
        return "torch export"
    if "data.pkl" in bases or any(name.endswith(".pkl") for name in bases):
        return "torch pickle"
    return "numpy" if bases and all(name.endswith(".npy") for name in bases) else "unknown"


def require_safetensors(path: Path) -> None:
    """Refuse every file that is not safetensors, by its content; the name of the file does not count."""
    kind = identify(path)
    if kind == "safetensors":
        return
    foreign = kind not in ("unknown", "hdf5")
    raise ModelError(
        "E-model-format",
        f"{path.name} is not a safetensors file",
        where=str(path),
        why=f"its content is: {kind}" + ("; such files can run code when they are loaded" if foreign else ""),
        fix="ask for a .safetensors file",
    )


def read_json(path: Path) -> dict[str, object]:
    """A JSON object; raises ModelError when it is something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(
            "E-model-card", "the model's card cannot be read", where=str(path), why=str(error)
        ) from error
    if not isinstance(value, dict):
        raise ModelError("E-model-card", "the model's card is not a JSON object", where=str(path))
    return value
