"""From a checkpoint of the trainer to a bundle: weights and card.

`python -m rsov.jobs.train.export CHECKPOINT -o FILE.safetensors --data DIR`
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

from rsov.jobs.train.bundled import training_sets
from rsov.jobs.train.calibrate import fit_text_bias
from rsov.jobs.train.checkpoint import load_weights, network_of
from rsov.jobs.train.evaluate import Reader
from rsov.models.bundled.network import SIZE_MULTIPLE, STRIDE
from rsov.models.bundled.weights import NAME, BundledCard, save_bundled
from rsov.text import encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rsov.datasets.sets import DataSet

GSD = 0.3
GSD_RANGE = (0.3, 1.0)
TEMPERATURE = 1.7
"""Between the best one on the validation pictures (1.6) and on sets that were never trained on (2.0)."""
LICENCE = "Apache-2.0; trained on the data sets named in docs/model-card.md, cite them"


def export_bundle(
    checkpoint: Path,
    target: Path,
    *,
    version: str,
    sets: Sequence[DataSet],
    gsd: float = GSD,
    gsd_range: tuple[float, float] = GSD_RANGE,
    temperature: float = TEMPERATURE,
    report: Callable[[str], None] = lambda _: None,
) -> BundledCard:
    """Write the averaged weights of a checkpoint as a bundle, its names calibrated on `sets` (calibrate.py).

    Raises:
        ModelError: the checkpoint cannot be read, or has a layer of classes per set (`closed = true`).
    """
    state = load_weights(checkpoint)
    with safe_open(checkpoint, framework="pt") as source:
        steps = int((source.metadata() or {}).get("step", "0"))
    network = network_of(state, checkpoint)
    shape = network.shape
    card = BundledCard(
        name=NAME,
        version=version,
        sha256="",
        gsd=gsd,
        gsd_range=gsd_range,
        licence=LICENCE,
        stride=STRIDE,
        size_multiple=SIZE_MULTIPLE,
        dim=shape.dim,
        text_encoder=encoder.NAME,
        radiometry="joint p0.5 p99.5",
        trunk=shape.trunk,
        coarse_channels=shape.coarse,
        fine_channels=shape.fine,
        text_encoder_sha256=encoder.SHA256,
        logit_scale=network.scale.item(),
        temperature=temperature,
        sigmoid_scale=network.sigmoid_scale.item(),
        sigmoid_bias=network.sigmoid_bias.item(),
        steps=steps,
        data_sets=tuple(item.name for item in sets),
    )
    bias = fit_text_bias(network.eval(), sets, Reader(gsd, gsd_range), report)
    return save_bundled(target, {**state, "text_bias": bias}, card)


def _main(argv: Sequence[str] | None = None) -> None:
    import argparse
    import logging

    parser = argparse.ArgumentParser(
        prog="python -m rsov.jobs.train.export", description="Write a bundle from a checkpoint."
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of the data sets: names and validation pictures"
    )
    parser.add_argument("--version", default="1")
    parser.add_argument("--gsd", type=float, default=GSD)
    parser.add_argument("--gsd-range", type=float, nargs=2, default=GSD_RANGE)
    parser.add_argument("--temperature", type=float, default=TEMPERATURE)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    card = export_bundle(
        options.checkpoint,
        options.out,
        version=options.version,
        sets=training_sets(options.data),
        gsd=options.gsd,
        gsd_range=tuple(options.gsd_range),
        temperature=options.temperature,
        report=logging.getLogger("rsov.train").info,
    )
    logging.getLogger("rsov.train").info(
        "%s", json.dumps({"sha256": card.sha256, "bytes": card.weights_bytes})
    )


if __name__ == "__main__":
    _main()
