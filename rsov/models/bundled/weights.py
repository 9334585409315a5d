"""The weights file of the shipped model and its card: reading with every check, writing whole.

`NAME.safetensors` holds the tensors of :class:`BundledNetwork` (convolutions float16, the rest float32),
`NAME.json` the card. The card's sha256, and the names, shapes and types that its sizes imply, must fit the
file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rsov.errors import ModelError
from rsov.models.bundled.content import read_json, require_safetensors
from rsov.models.bundled.network import BundledNetwork, NetworkShape
from rsov.models.protocol import ModelCard

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "bundled"


@dataclasses.dataclass(frozen=True)
class BundledCard(ModelCard):
    """Card of a bundle: what the engine needs, and what the weights are.

    `halo` (px) is how far the edge of a tile is felt; `temperature` divides the logits before a softmax over
    prompts.
    """

    trunk: str = "efficientnet-lite0"
    coarse_channels: int = 128
    fine_channels: int = 96
    text_encoder_sha256: str = ""
    logit_scale: float = 1.0
    temperature: float = 1.0
    sigmoid_scale: float = 1.0
    sigmoid_bias: float = 0.0
    halo: int = 128
    steps: int = 0
    data_sets: tuple[str, ...] = ()

    @property
    def network_shape(self) -> NetworkShape:
        """The sizes of the network."""
        return NetworkShape(self.coarse_channels, self.fine_channels, self.dim)


def shipped_path() -> Path:
    """Where the weights of the installed package lie."""
    return Path(str(resources.files("rsov").joinpath("assets", "weights", f"{NAME}.safetensors")))


def _expected(network: BundledNetwork) -> dict[str, Tensor]:
    return {
        key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")
    }


def stored_dtype(value: Tensor) -> torch.dtype:
    """Convolutions are stored in float16; statistics and scales may leave its range and stay float32."""
    return torch.float16 if value.dim() == 4 else torch.float32


def _refuse(path: Path, why: str, what: str = "the weights do not fit their card") -> ModelError:
    return ModelError(
        "E-model-weights",
        what,
        where=str(path),
        why=why,
        fix="fetch the bundle again: rsov models pull bundled",
    )


def read_card(path: Path) -> BundledCard:
    """The card beside a weights file; unknown keys are refused: a newer format is not half understood."""
    place = path.with_suffix(".json")
    table = read_json(place)
    fields = {field.name for field in dataclasses.fields(BundledCard)}
    unknown = sorted(set(table) - fields)
    if unknown:
        raise ModelError(
            "E-model-card", f"the card has an unknown key {unknown[0]!r}", where=str(place), fix="update rsov"
        )
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    try:
        card = BundledCard(**values)  # type: ignore[arg-type]
        wrong = [
            field.name
            for field in dataclasses.fields(BundledCard)
            if field.type in ("int", "float", "str")
            and not isinstance(getattr(card, field.name), _TYPES[field.type])
        ]
    except TypeError as error:
        raise ModelError(
            "E-model-card", "the card is incomplete", where=str(place), why=str(error)
        ) from error
    if wrong:
        raise ModelError("E-model-card", f"the card's {wrong[0]} has the wrong type", where=str(place))
    return card


_TYPES: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str}


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
            "E-model-missing", "the model's weights are not there", where=str(place), fix="rsov models list"
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
    check_tensors(place, tensors, expected)
    network.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=False)
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
    """Write weights and card, whole or not at all; the card's sha256 and size are filled in."""
    network = BundledNetwork(card.network_shape)
    expected = _expected(network)
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
