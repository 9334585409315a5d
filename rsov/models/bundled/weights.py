"""The weights file of the shipped model and its card: reading with every check, writing whole.

`NAME.safetensors` holds the tensors of :class:`BundledNetwork` (convolutions float16, the rest float32) and
its `text_bias`, `NAME.json` the card. The card's sha256, and the names, shapes and types that its sizes
imply, must fit the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rsov.errors import ModelError
from rsov.models.bundled.card import NAME, BundledCard, read_card, shipped_path
from rsov.models.bundled.content import require_safetensors
from rsov.models.bundled.network import BundledNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["NAME", "BundledCard", "load_bundled", "read_card", "save_bundled", "shipped_path"]


_BIAS = "text_bias"


def _expected(network: BundledNetwork) -> dict[str, Tensor]:
    kept = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    return kept | {_BIAS: network.text_bias}


def stored_dtype(value: Tensor) -> torch.dtype:
    """Convolutions are stored in float16; statistics and scales may leave its range and stay float32."""
    return torch.float16 if value.dim() == 4 else torch.float32


def _refuse(path: Path, why: str, what: str = "the weights do not fit their card") -> ModelError:
    return ModelError(
        "E-model-weights",
        what,
        where=str(path),
        why=why,
        fix="use --model bundled, or --model with the path of a whole bundle's folder",
    )


def load_bundled(path: Path | None = None) -> tuple[BundledNetwork, BundledCard]:
    """Network (float32, evaluation mode) and card of a bundle; the shipped one by default.

    Raises:
        ModelError: not safetensors, damaged, another sha256 than the card's, tensors of other names, shapes
        or types
            than the card implies, values that are not finite.
    """
    place = path or shipped_path()
    if not place.is_file():
        raise ModelError(
            "E-model-missing",
            "the model's weights are not there",
            where=str(place),
            fix="give the path of a bundle's folder with --model",
        )
    require_safetensors(place)
    card = read_card(place)
    data = place.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != card.sha256:
        raise _refuse(place, f"sha256 is {digest}, the card says {card.sha256}")
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _refuse(place, str(error), "the weights are damaged") from error
    network = BundledNetwork(card.network_shape)
    expected = _expected(network)
    tensors = {_BIAS: network.text_bias, **tensors}  # bundles before 1.2 have none
    check_tensors(place, tensors, expected)
    network.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=False)
    network.text_bias = tensors[_BIAS]
    return network.eval(), card


def check_tensors(place: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Names, shapes, types and finiteness; raises ModelError at the first difference."""
    for key in sorted(set(tensors) ^ set(expected)):
        raise _refuse(place, f"{key} is {'not expected' if key in tensors else 'missing'}")
    for key, value in expected.items():
        got = tensors[key]
        if got.shape != value.shape:
            raise _refuse(place, f"{key} has the shape {list(got.shape)}, not {list(value.shape)}")
        if got.dtype is not stored_dtype(value):
            raise _refuse(place, f"{key} is {got.dtype}, not {stored_dtype(value)}")
        if not bool(torch.isfinite(got).all()):
            raise _refuse(place, f"{key} holds values that are not finite")


def save_bundled(path: Path, state: Mapping[str, Tensor], card: BundledCard) -> BundledCard:
    """Write weights and card, whole or not at all; the card's sha256 and size are filled in.

    `state` is that of a network; without a `text_bias` beside it the names are not calibrated.
    """
    network = BundledNetwork(card.network_shape)
    expected = _expected(network)
    state = {_BIAS: network.text_bias, **state}
    tensors = {
        key: state[key].detach().to(stored_dtype(value)).contiguous() for key, value in expected.items()
    }
    check_tensors(path, tensors, expected)
    data = save(tensors)
    card = dataclasses.replace(card, sha256=hashlib.sha256(data).hexdigest(), weights_bytes=len(data))
    text = json.dumps(dataclasses.asdict(card), indent=2) + "\n"
    for place, content in ((path, data), (path.with_suffix(".json"), text.encode())):
        part = place.with_name(place.name + ".part")
        part.write_bytes(content)
        part.replace(place)
    return card
