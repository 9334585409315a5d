"""From ``--model`` to a card, and to a model that runs. Only safetensors are ever loaded."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from rsov.errors import ModelError

if TYPE_CHECKING:
    from rsov.models.protocol import ModelCard, Segmenter

DEFAULT = "bundled"
NAMES = (DEFAULT,)
"""Models known by name; anything else is a path."""

_SUFFIX = ".safetensors"


def find_weights(model: str | Path) -> Path:
    """The weights file of a name, of a bundle's folder or of a path.

    Raises:
        ModelError: no such name or file, or a folder with no or several weights files.
    """
    from rsov.models.bundled.card import shipped_path

    if model == DEFAULT:
        return shipped_path()
    path = Path(model)
    if path.is_dir():
        found = sorted(path.glob(f"*{_SUFFIX}"))
        if len(found) == 1:
            return found[0]
        raise ModelError(
            "E-model-bundle",
            f"{path} is not a bundle",
            where=str(path),
            why=f"it holds {len(found)} files *{_SUFFIX}; a bundle has one",
            fix="give the path of the weights file",
        )
    if path.exists():
        return path
    near = difflib.get_close_matches(str(model).lower(), NAMES, n=1)
    raise ModelError(
        "E-model-unknown",
        f"no model {str(model)!r}",
        why="neither a name that rsov knows nor a file or folder",
        fix=f"did you mean --model {near[0]}?"
        if near
        else f"known: {', '.join(NAMES)}; or a path to a bundle",
    )


def model_card(model: str | Path = DEFAULT) -> ModelCard:
    """The card alone: enough to plan a run, and quick.

    Raises:
        ModelError: no such model, or its card cannot be read.
    """
    from rsov.models.bundled.card import read_card
    from rsov.models.bundled.content import require_safetensors

    path = find_weights(model)
    if not path.is_file():
        raise ModelError("E-model-missing", "the model's weights are not there", where=str(path))
    require_safetensors(path)
    return read_card(path)


def load_segmenter(model: str | Path = DEFAULT, device: str = "auto", precision: str = "auto") -> Segmenter:
    """A model ready to run.

    Args:
        model: a name, a bundle's folder, or a safetensors file with its card beside it.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        ModelError: no such model, or weights that are refused.
        UsageError: no such device.
    """
    from rsov.models.backend import choose_device, choose_dtype
    from rsov.models.bundled.segmenter import BundledSegmenter
    from rsov.models.bundled.weights import load_bundled

    where = choose_device(device)
    network, card = load_bundled(find_weights(model))
    return BundledSegmenter(network, card, where, choose_dtype(precision, where))
