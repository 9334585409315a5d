"""Checkpoints: weights, averaged weights, optimiser and step in one safetensors file, written whole."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rsov.errors import ModelError, UsageError
from rsov.models.bundled.network import BundledNetwork, NetworkShape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_FORMAT = "rsov-checkpoint-1"
_SHOWN = 3  # differences that a message names


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
    _write(path, tensors, step, note)


def save_mean(path: Path, members: Sequence[Path], *, step: int) -> None:
    """Write the mean of the averaged weights of several checkpoints: one for :func:`load_weights` only.

    Counters, which no mean has, are those of the first member.

    Raises:
        ModelError: a member cannot be read, or is of another network.
    """
    states = [load_weights(member) for member in members]
    first = states[0]
    for member, state in zip(members, states, strict=True):
        _same_shapes(member, first, state)
    mean = {
        key: torch.stack([state[key] for state in states]).mean(0) if value.is_floating_point() else value
        for key, value in first.items()
    }
    _write(path, {f"average/{key}": value for key, value in mean.items()}, step, {})


def _write(path: Path, tensors: Mapping[str, Tensor], step: int, note: Mapping[str, str]) -> None:
    plain = {k: v.detach().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    part = path.with_name(path.name + ".part")
    save_file(plain, part, metadata={"format": _FORMAT, "step": str(step), "note": json.dumps(dict(note))})
    with part.open("rb") as handle:
        os.fsync(handle.fileno())
    part.replace(path)


def load_checkpoint(
    path: Path,
    network: nn.Module,
    average: Average | None,
    optimiser: torch.optim.Optimizer | None,
    note: Mapping[str, str] | None = None,
) -> int:
    """Fill network, average and optimiser from a checkpoint; returns the number of steps done.

    Raises:
        UsageError: the checkpoint has a note, one is given, and they differ.
        ModelError: the file is no checkpoint, is damaged, or belongs to another network.
    """
    with _opened(path) as (source, metadata):
        _check_note(path, json.loads(metadata.get("note", "{}")), note or {})
        tensors = _tensors(source, "")
    fill(network, _under(tensors, "network/"), path)
    if average is not None:
        average.values = _under(tensors, "average/")
    if optimiser is not None:
        _fill_optimiser(optimiser, network, _under(tensors, "optimiser/"))
    return int(metadata["step"])


def load_weights(path: Path) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint: better than those of the last step (docs/model-card.md).

    Raises:
        ModelError: the file is no checkpoint, or is damaged.
    """
    with _opened(path) as (source, _):
        return _tensors(source, "average/")


def network_of(state: Mapping[str, Tensor], path: Path) -> BundledNetwork:
    """The network of weights that were read from `path`; raises ModelError where they are another one's."""
    try:
        network = BundledNetwork(NetworkShape.of(state))
    except KeyError as error:
        raise _refused(path, "the checkpoint belongs to another network", f"it lacks {error}") from error
    fill(network, state, path)
    return network


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load weights that were read from `path`; raises ModelError where they are another network's."""
    _same_shapes(path, network.state_dict(), state)
    network.load_state_dict(state)


def _same_shapes(path: Path, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    shapes = [{key: tuple(value.shape) for key, value in each.items()} for each in (own, state)]
    odd = sorted(key for key, _ in shapes[0].items() ^ shapes[1].items())
    if odd:
        raise _refused(path, "the checkpoint belongs to another network", f"they differ in {odd[0]}")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """The tensors and the metadata of a checkpoint."""
    try:
        with safe_open(path, framework="pt") as source:
            metadata = source.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise _refused(path, "this is no checkpoint of rsov")
            yield source, metadata
    except (SafetensorError, OSError) as error:
        raise _refused(path, "the checkpoint cannot be read", str(error)) from error


def _refused(path: Path, what: str, why: str = "") -> ModelError:
    fix = "start the training anew with --restart, or name another checkpoint"
    return ModelError("E-checkpoint", what, where=str(path), why=why, fix=fix)


def _check_note(path: Path, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Steps made by two recipes are no training; checkpoints without a note are taken as they are."""
    if not old or not new:
        return
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if changed:
        shown = [f"{key} was {old.get(key, 'not there')}, is {new.get(key, 'not there')}" for key in changed]
        more = f", and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        raise UsageError(
            "E-train-changed",
            "the checkpoint was made with another recipe or other data",
            where=str(path),
            why="; ".join(shown[:_SHOWN]) + more,
            fix="take these back, start anew with --restart, or write to another folder",
        )


def _tensors(source: Any, prefix: str) -> dict[str, Tensor]:
    """Those of an open file whose names begin with a prefix, without it."""
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
