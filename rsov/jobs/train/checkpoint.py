"""Checkpoints: weights, averaged weights, optimiser and step in one safetensors file, written whole."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rsov.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORMAT = "rsov-checkpoint-1"


class Average:
    """Exponential mean of every floating tensor of a network (weights and batch statistics)."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {k: v.detach().clone() for k, v in network.state_dict().items()}

    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step`; the mean starts short and lengthens (1 + n) / (10 + n)."""
        keep = min(self.decay, (1 + step) / (10 + step))
        live = network.state_dict()
        floats = [k for k, v in self.values.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.values[k] for k in floats], [live[k].detach() for k in floats], 1 - keep)
        for key, value in self.values.items():
            if not value.is_floating_point():
                value.copy_(live[key])


def save_checkpoint(
    path: Path,
    network: nn.Module,
    average: Average,
    optimiser: torch.optim.Optimizer,
    *,
    step: int,
    note: Mapping[str, str],
) -> None:
    """Write a checkpoint after `step` steps; the name appears only when everything is on disk."""
    tensors: dict[str, Tensor] = {f"network/{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average/{k}": v for k, v in average.values.items()}
    for name, parameter in network.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser/{key}/{name}"] = value
    plain = {k: v.detach().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    part = path.with_name(path.name + ".part")
    save_file(plain, part, metadata={"format": _FORMAT, "step": str(step), "note": json.dumps(dict(note))})
    with part.open("rb") as handle:
        os.fsync(handle.fileno())
    part.replace(path)


def load_checkpoint(
    path: Path, network: nn.Module, average: Average | None, optimiser: torch.optim.Optimizer | None
) -> int:
    """Fill network, average and optimiser from a checkpoint; returns the number of steps done."""
    with safe_open(path, framework="pt") as source:
        metadata = source.metadata() or {}
        if metadata.get("format") != _FORMAT:
            raise ModelError(
                "E-checkpoint", "this is no checkpoint of rsov", where=str(path), fix="start without --resume"
            )
        names = list(source.keys())
        tensors = {key: source.get_tensor(key) for key in names}
    network.load_state_dict(_under(tensors, "network/"))
    if average is not None:
        average.values = _under(tensors, "average/")
    if optimiser is not None:
        _fill_optimiser(optimiser, network, _under(tensors, "optimiser/"))
    return int(metadata["step"])


def load_weights(path: Path) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint: better than those of the last step (docs/model-card.md)."""
    prefix = "average/"
    with safe_open(path, framework="pt") as source:
        names = [name for name in list(source.keys()) if name.startswith(prefix)]
        return {name.removeprefix(prefix): source.get_tensor(name) for name in names}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _fill_optimiser(optimiser: torch.optim.Optimizer, network: nn.Module, flat: Mapping[str, Tensor]) -> None:
    named = dict(network.named_parameters())
    for key, value in flat.items():
        slot, name = key.split("/", 1)
        parameter = named[name]
        kept = (
            value if slot == "step" else value.clone(memory_format=torch.preserve_format).to(parameter.dtype)
        )
        if slot != "step" and parameter.dim() == 4:
            kept = torch.empty_like(parameter).copy_(kept)
        optimiser.state[parameter][slot] = kept
