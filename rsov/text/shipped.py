"""Vectors of the shipped vocabulary, computed beforehand by ``scripts/build_text_vectors.py``.

float16 in a safetensors file whose metadata name the texts and the sha256 of the sentence encoder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ASSET = "text_vectors.safetensors"


@dataclass(frozen=True)
class ShippedVectors:
    """``vectors[rows[text]]`` is the unit vector of a text, float32; ``model_sha`` names the encoder."""

    model_sha: str
    rows: dict[str, int]
    vectors: NDArray[np.float32]


@cache
def shipped_vectors() -> ShippedVectors:
    """The packaged vectors; none when the file is not there (they save time, nothing else)."""
    from safetensors import safe_open
    from safetensors.numpy import load

    asset = resources.files("rsov").joinpath("assets", ASSET)
    if not asset.is_file():
        return ShippedVectors("", {}, np.zeros((0, 0), np.float32))
    with resources.as_file(asset) as path, safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    vectors = load(asset.read_bytes())["vectors"].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = {text: row for row, text in enumerate(json.loads(metadata["texts"]))}
    return ShippedVectors(metadata["model_sha256"], rows, vectors)
