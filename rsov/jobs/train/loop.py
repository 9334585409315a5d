"""The training loop that every trainer shares: optimiser, schedule, averaged weights, checkpoints, log."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor, nn

from rsov.engine.runtime import keep_freed_memory
from rsov.errors import ModelError
from rsov.jobs.train.checkpoint import Average, load_checkpoint, save_checkpoint
from rsov.jobs.train.feed import MakesBatch, feed
from rsov.jobs.train.schedule import Schedule

if TYPE_CHECKING:
    from pathlib import Path

B = TypeVar("B")
Loss = Callable[[nn.Module, int, B], Mapping[str, Tensor]]

LAST = "last.safetensors"
LOG = "log.csv"


@dataclass(frozen=True)
class LoopSettings:
    """Numbers of the loop that do not depend on what is trained."""

    steps: int
    decay_steps: int
    warmup_steps: int = 100
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    average: float = 0.999
    save_every: int = 100
    keep_every: int = 500
    log_every: int = 10
    workers: int = 1
    threads: int = 0
    seed: int = 0


MAY_CHANGE = frozenset(
    {"steps", "decay_steps", "save_every", "keep_every", "log_every", "workers", "threads"}
)
"""Settings that may differ where a run goes on: when it ends and how it runs, not what a step does."""


@dataclass(frozen=True)
class Trainee(Generic[B]):
    """What is trained: the network, the learning rate of a parameter by its name, batches by step, the loss.

    `loss` returns named terms; `total` is the one that is minimised. It must draw from (seed, step) only.
    """

    network: nn.Module
    rate: Callable[[str], float]
    batch: MakesBatch[B]
    loss: Loss[B]


def make_optimiser(
    network: nn.Module, rate: Callable[[str], float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW; vectors and scalars (norms, biases, scales) are not decayed."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        decay = weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((rate(name), decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "lr": lr, "peak": lr, "weight_decay": decay} for (lr, decay), p in groups.items()],
        fused=True,
    )


def forget(out: Path) -> None:
    """Remove from `out` what a run would go on from, and its log; kept checkpoints stay until replaced."""
    for name in (LAST, LOG):
        (out / name).unlink(missing_ok=True)


def run_loop(
    trainee: Trainee[B],
    settings: LoopSettings,
    out: Path,
    *,
    note: Mapping[str, str] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Train until `settings.steps`, or until `should_stop`; returns the number of steps done.

    Writes `last.safetensors`, one kept checkpoint every `keep_every` steps and `log.csv` into `out`. A run
    that was cut off goes on from `last.safetensors` and gives the same weights as one that was not. `note`
    says what the steps are made of: a checkpoint with another one is refused.

    Raises:
        UsageError: the checkpoint in `out` has another note.
        ModelError: it is no checkpoint, is damaged, or belongs to another network; or the training diverged.
        ResourceError: a loader process ended.
    """
    out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    network = trainee.network.train()
    optimiser = make_optimiser(network, trainee.rate, settings.weight_decay)
    average = Average(network, settings.average)
    step = load_checkpoint(out / LAST, network, average, optimiser, note) if (out / LAST).is_file() else 0
    schedule = Schedule(settings.steps, settings.decay_steps, settings.warmup_steps)
    log = _Log(out / LOG, settings.log_every)
    for batch in feed(trainee.batch, step, settings.steps, settings.workers):
        factor = schedule.factor(step)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        terms = trainee.loss(network, step, batch)
        optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()  # type: ignore[no-untyped-call]  # torch
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm)
        if not math.isfinite(float(norm)):
            raise ModelError(
                "E-train-diverged",
                "the training diverged",
                where=f"step {step}",
                fix="lower the learning rate",
            )
        optimiser.step()
        step += 1
        average.update(network, step)
        log.add(step, factor, terms)
        stop = should_stop()
        if stop or step % settings.save_every == 0 or step == settings.steps:
            save_checkpoint(out / LAST, network, average, optimiser, step=step, note=note or {})
        if step % settings.keep_every == 0 or step == settings.steps:
            save_checkpoint(
                out / f"step_{step:06d}.safetensors", network, average, optimiser, step=step, note=note or {}
            )
        if stop:
            break
    return step


class _Log:
    """Mean of the loss terms and seconds per step, one line every few steps."""

    def __init__(self, path: Path, every: int) -> None:
        self.path = path
        self.every = every
        self.sums: dict[str, float] = {}
        self.count = 0
        self.since = time.monotonic()

    def add(self, step: int, factor: float, terms: Mapping[str, Tensor]) -> None:
        for key, value in terms.items():
            self.sums[key] = self.sums.get(key, 0.0) + float(value.detach())
        self.count += 1
        if step % self.every:
            return
        now = time.monotonic()
        row = {
            "step": step,
            "rate": round(factor, 5),
            "s_per_step": round((now - self.since) / self.count, 3),
        }
        row |= {key: round(value / self.count, 5) for key, value in self.sums.items()}
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, row)
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.sums, self.count, self.since = {}, 0, now
