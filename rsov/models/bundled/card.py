"""The card of a bundle, without its weights: enough to plan a run, and read without torch."""

from __future__ import annotations

import dataclasses
import math
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from rsov.errors import ModelError
from rsov.models.bundled.content import read_json
from rsov.models.protocol import ModelCard
from rsov.text import encoder

if TYPE_CHECKING:
    from rsov.models.bundled.network import NetworkShape

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
        """The sizes of the network.

        Raises:
            ModelError: this rsov has no such trunk.
        """
        from rsov.models.bundled.network import NetworkShape
        from rsov.models.bundled.trunk import TRUNKS

        if self.trunk not in TRUNKS:
            raise ModelError("E-model-card", f"there is no trunk {self.trunk!r}", fix="update rsov")
        return NetworkShape(self.coarse_channels, self.fine_channels, self.dim, self.trunk)


def shipped_path() -> Path:
    """Where the weights of the installed package lie."""
    return Path(str(resources.files("rsov").joinpath("assets", "weights", f"{NAME}.safetensors")))


def read_card(path: Path) -> BundledCard:
    """The card beside a weights file; unknown keys are refused: a newer format is not half understood.

    Raises:
        ModelError: it cannot be read, is of another form, or of a model that was trained with another text
            encoder.
    """
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
        card = BundledCard(**values)  # type: ignore[arg-type]  # a JSON object: types are checked below
        wrong = [
            field.name
            for field in dataclasses.fields(BundledCard)
            if not _fits(str(field.type), getattr(card, field.name))
        ]
    except TypeError as error:
        raise ModelError(
            "E-model-card", "the card is incomplete", where=str(place), why=str(error)
        ) from error
    if wrong:
        raise ModelError("E-model-card", f"the card's {wrong[0]} has the wrong type", where=str(place))
    if card.text_encoder_sha256 not in ("", encoder.SHA256):
        raise ModelError(
            "E-model-card",
            "the model was trained with a text encoder that this rsov does not have",
            where=str(place),
            why=f"{card.text_encoder} of sha256 {card.text_encoder_sha256}, here is {encoder.SHA256}",
            fix="update rsov",
        )
    return card


_KINDS = {"int": (int,), "float": (int, float), "str": (str,)}


def _fits(kind: str, value: object) -> bool:
    """Whether a value is of the annotated type of a field; numbers are finite."""
    if kind.startswith("tuple["):
        first, second = kind.removeprefix("tuple[").removesuffix("]").split(", ")
        if not isinstance(value, tuple) or (second != "..." and len(value) != 2):
            return False
        return all(_fits(first, item) for item in value)
    return type(value) in _KINDS[kind] and not (isinstance(value, float) and not math.isfinite(value))
