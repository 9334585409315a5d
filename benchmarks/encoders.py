"""Speed of the network on each of its trunks: what accuracy costs.

    python -m benchmarks.encoders [--threads 2] [--rounds 5]

One tile of 960 x 960 at a time, values to scores of four prompts and the default background, weights at
random (they do not change the time). The trunks take turns; the figure is the fastest of the rounds, beside
that of the shipped trunk. Accuracy: `rsov train bundled --set trunk=NAME`, then benchmarks/quality.py.
"""

from __future__ import annotations

import argparse
import time

import torch

from rsov.engine.runtime import keep_freed_memory, prepare_environment
from rsov.jobs.train.evaluate import ready
from rsov.models.bundled.network import BundledNetwork, NetworkShape
from rsov.models.bundled.trunk import TRUNK, TRUNKS

SIDE = 960
PROMPTS = 4
BACKGROUND = 28
KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    prepare_environment()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    runs = {(name, kind): Run(name, dtype) for name in TRUNKS for kind, dtype in KINDS.items()}
    best = dict.fromkeys(runs, 0.0)
    for _ in range(options.rounds):
        for key, run in runs.items():
            best[key] = max(best[key], run.speed())
    print(
        f"{'trunk':22s} {'parameters':>10s} {'MB':>5s}"
        + "".join(f"{k + ' Mpx/s':>12s}{'ratio':>7s}" for k in KINDS)
    )
    for name in TRUNKS:
        count = sum(each.numel() for each in BundledNetwork(NetworkShape(trunk=name)).parameters())
        cells = [f"{best[name, kind]:12.2f}{best[name, kind] / best[TRUNK, kind]:7.2f}" for kind in KINDS]
        print(f"{name:22s} {count / 1e6:8.2f} M {2 * count / 1e6:5.1f}{''.join(cells)}")


class Run:
    """One network in one number type."""

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        network = BundledNetwork(NetworkShape(trunk=name)).eval()
        vectors = torch.randn(PROMPTS + BACKGROUND, network.shape.dim)
        self._head = network.fold(vectors, [1] * PROMPTS + [BACKGROUND]).to(dtype)
        self._network = ready(network, dtype)
        self._tile = (torch.rand(1, 3, SIDE, SIDE) * 255).to(dtype, memory_format=torch.channels_last)

    @torch.inference_mode()
    def speed(self) -> float:
        """Mpx/s of one tile."""
        since = time.perf_counter()
        self._head(self._network.features(self._tile))
        return SIDE * SIDE / 1e6 / (time.perf_counter() - since)


if __name__ == "__main__":
    main()
