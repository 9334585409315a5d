"""Checksums of inputs: the only way to see a bit that flipped in uncompressed or JPEG data (R05)."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rsov.errors import InputError, UsageError

if TYPE_CHECKING:
    from io import BufferedReader

_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_MAX_BYTES = 1 << 20
"""A file of checksums is not larger."""


def check_sha256(path: Path, file: BufferedReader, given: str | None) -> None:
    """Compare an open input with the checksum given, or that in ``<name>.sha256`` beside it, if any.

    ``given`` is 64 hex digits or a file in the format of ``sha256sum``: the line with the input's name counts
    or else the first.

    Raises:
        UsageError: ``given`` is neither, or its file holds no checksum.
        InputError: the checksum differs.
    """
    expected, source = _expected(path, given)
    if expected is None:
        return
    file.seek(0)
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise InputError(
            "E-input-sha256",
            f"{path} is not the file that was meant: its sha256 differs",
            where=f"{source} says {expected}, found {found}",
            fix="copy it again from its source",
        )


def _expected(path: Path, given: str | None) -> tuple[str | None, str]:
    """The digest in lower case, and who says so."""
    if given is not None and _DIGEST.fullmatch(given.strip()):
        return given.strip().lower(), "--input-sha256"
    listing = path.with_name(path.name + ".sha256") if given is None else Path(given)
    try:
        with listing.open("rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        if given is None:
            return None, ""
        raise UsageError(
            "E-option-sha256",
            f"--input-sha256 {given}: neither 64 hex digits nor a file that can be read",
            fix=f"sha256sum {path.name} > {path.name}.sha256",
        ) from error
    words = [line.split(maxsplit=1) for line in text.splitlines()]
    digests = {
        w[-1].lstrip("*").strip(): w[0].lower() for w in reversed(words) if w and _DIGEST.fullmatch(w[0])
    }
    if not digests:
        raise UsageError(
            "E-option-sha256", f"{listing} holds no sha256", fix=f"sha256sum {path.name} > {path.name}.sha256"
        )
    return digests.get(path.name, list(digests.values())[-1]), str(listing)
