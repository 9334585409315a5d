"""Vectors of texts, kept on disk: a second run with the same words starts no text encoder.

Names of the shipped vocabulary come with the package. For others there is one small file a text under
``<cache>/text/``, named by the sha256 of model and text: ``.npy``, float32, 384 values. A damaged file is
ignored and written anew; a cache that cannot be written is not used.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rsov.errors import UsageError
from rsov.text.shipped import shipped_vectors

if TYPE_CHECKING:
    from rsov.types import Notices

Encode = Callable[[Sequence[str]], NDArray[np.float32]]

_UNIT_TOLERANCE = 1e-3  # a stored vector of another length than 1 is damage
_ALWAYS_READ = 80  # characters: a character makes at most three of the encoder's 254 tokens
_PRIVATE = 0o700


def cache_home() -> Path:
    """``RSOV_CACHE_DIR``, else ``$XDG_CACHE_HOME/rsov``, else ``~/.cache/rsov``."""
    given = os.environ.get("RSOV_CACHE_DIR")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rsov"


def sentence_embedder(cache_dir: Path | None, notices: Notices | None = None) -> Embedder:
    """The embedder of the default sentence encoder; torch is imported when a text is in no cache."""
    from rsov.text.encoder import DIM, SHA256, encode, kept_part

    return Embedder(encode, SHA256, cache_dir, DIM, notices=notices, kept=kept_part)


class Embedder:
    """Texts to unit vectors [N, 384] float32, from the cache where they are known.

    Args:
        encode: texts to vectors [N, D]; called with the missing texts only, at most once a call.
        model_sha: sha256 of the encoder's weights; another model has other files.
        cache_dir: folder of the cache (``cache_home()`` is the usual one); ``None`` keeps nothing.
        dim: length of a vector.
        notices: told when the encoder reads only a part of a text.
        kept: the part of a text that the encoder reads; asked for long texts only.
    """

    def __init__(
        self,
        encode: Encode,
        model_sha: str,
        cache_dir: Path | None,
        dim: int = 384,
        *,
        notices: Notices | None = None,
        kept: Callable[[str], str] | None = None,
    ) -> None:
        self._encode = encode
        self._sha = model_sha
        self._folder = cache_dir / "text" if cache_dir is not None else None
        self._dim = dim
        self._notices = notices
        self._kept = kept

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of the texts, in their order.

        Raises:
            UsageError: the encoder gives a text no direction (zero, NaN or infinite).
        """
        self._warn_of_cuts(texts)
        known: dict[str, NDArray[np.float32]] = {}
        missing = []
        for text in dict.fromkeys(texts):
            vector = self._shipped(text)
            vector = self._load(text) if vector is None else vector
            if vector is None:
                missing.append(text)
            else:
                known[text] = vector
        if missing:
            for text, raw in zip(missing, self._encode(missing), strict=True):
                known[text] = _unit(raw, text)
                self._store(text, known[text])
        result = np.empty((len(texts), self._dim), np.float32)
        for row, text in enumerate(texts):
            result[row] = known[text]
        return result

    def _warn_of_cuts(self, texts: Sequence[str]) -> None:
        if self._notices is None or self._kept is None:
            return
        for text in texts:
            if len(text) > _ALWAYS_READ and (part := self._kept(text)) != text:
                self._notices.warn("W-prompt-cut", f"of a long prompt the encoder reads only {part!r}")

    def _shipped(self, text: str) -> NDArray[np.float32] | None:
        shipped = shipped_vectors()
        known = shipped.model_sha == self._sha and text in shipped.rows
        return shipped.vectors[shipped.rows[text]] if known else None

    def _path(self, text: str) -> Path | None:
        key = hashlib.sha256(f"{self._sha}\n{text}".encode()).hexdigest()
        return self._folder / f"{key}.npy" if self._folder is not None else None

    def _load(self, text: str) -> NDArray[np.float32] | None:
        path = self._path(text)
        if path is None:
            return None
        try:
            vector = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if not isinstance(vector, np.ndarray) or vector.dtype != np.float32 or vector.shape != (self._dim,):
            return None
        return vector if abs(float(np.linalg.norm(vector)) - 1) < _UNIT_TOLERANCE else None

    def _store(self, text: str, vector: NDArray[np.float32]) -> None:
        path = self._path(text)
        if path is None:
            return
        data = io.BytesIO()
        np.save(data, vector, allow_pickle=False)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            path.parent.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            path.parent.mkdir(mode=_PRIVATE, exist_ok=True)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data.getvalue())
                part.replace(path)
            except OSError:
                part.unlink(missing_ok=True)
        except OSError:
            return  # a cache that cannot be written costs time, not correctness


def _unit(vector: NDArray[np.float32], text: str) -> NDArray[np.float32]:
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(norm) or norm == 0:
        raise UsageError(
            "E-prompt-vector",
            f"the text encoder knows nothing about {text!r}",
            why="its vector has no direction (zero or not finite)",
            fix="use another word",
        )
    return (vector / norm).astype(np.float32)
