"""Learning rate over the steps: warm-up, constant, linear decay (WSD, Hu et al. 2024, arXiv 2404.06395)."""

from __future__ import annotations

from dataclasses import dataclass

FINAL_SHARE = 0.01


@dataclass(frozen=True)
class Schedule:
    """`steps` may be changed late: before the decay begins, the rate does not depend on it."""

    steps: int
    decay_steps: int
    warmup_steps: int = 100

    def factor(self, step: int) -> float:
        """Factor on the learning rate of a step (counted from 0)."""
        warm = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        left = (self.steps - step) / max(self.decay_steps, 1)
        return warm * max(FINAL_SHARE, min(1.0, left))
