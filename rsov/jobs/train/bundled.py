"""Training of the shipped model: many small data sets, one text space.

`rsov train bundled` calls :func:`train_bundled`, then export.py;
`python -m rsov.jobs.train.export CHECKPOINT` makes a bundle of any checkpoint.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rsov.datasets.cache import cache_set
from rsov.datasets.crops import Batch, CropSampler, CropSettings, SetSource
from rsov.datasets.sets import IGNORE, DataSet, find_sets
from rsov.errors import InputError
from rsov.jobs.train.contrast import Contrast, contrast_loss
from rsov.jobs.train.loop import LoopSettings, Trainee, run_loop
from rsov.models.bundled.network import BundledNetwork, NetworkShape, channels_last
from rsov.models.bundled.trunk_weights import load_trunk_weights
from rsov.text.concepts import concepts, negative_concepts
from rsov.text.encoder import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_TEXT_STREAM = 7  # keeps the draws of texts apart from those of crops


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, the data aside."""

    loop: LoopSettings
    crops: CropSettings = field(default_factory=CropSettings)
    boost: dict[str, float] = field(default_factory=dict)
    seed: int = 1
    batch: int = 12
    rate_trunk: float = 3e-4
    rate_rest: float = 1e-3
    sigmoid_weight: float = 0.25
    text_noise: float = 0.1
    exclude_sets: tuple[str, ...] = ()


def training_sets(data_dir: Path, exclude: Sequence[str] = ()) -> list[DataSet]:
    """The sets whose licence lets weights be given away (bundle yes or cite) and that have train pictures."""
    found, _ = find_sets(data_dir)
    chosen = [s for s in found if s.bundle != "no" and s.train and s.name not in exclude]
    if not chosen:
        raise InputError(
            "E-train-data",
            "no data set to train on",
            where=str(data_dir),
            fix="name the folder that holds the data sets",
        )
    return chosen


class BundledLoss:
    """Loss of one batch; the texts of a step follow from (seed, step)."""

    def __init__(self, contrast: Contrast, recipe: Recipe) -> None:
        self.contrast = contrast
        self.recipe = recipe

    def __call__(self, network: nn.Module, step: int, batch: Batch) -> dict[str, Tensor]:
        """Named terms of the loss; `total` is the one to minimise."""
        if not isinstance(network, BundledNetwork):
            raise TypeError("the loss belongs to BundledNetwork")
        rng = np.random.default_rng((self.recipe.seed, step, _TEXT_STREAM))
        which = sorted({int(index) for index in batch.sets})
        texts = self.contrast.draw(which, rng, self.recipe.text_noise)
        pairs = np.stack(
            [np.repeat(batch.sets, batch.classes.shape[1]), batch.classes.ravel().astype(np.int64)], 1
        )
        labelled = pairs[:, 1] != IGNORE
        keys, rows = np.unique(pairs[labelled], axis=0, return_inverse=True)
        masks = self.contrast.masks(which, keys)
        rules = masks.rows(torch.from_numpy(rows.reshape(-1)))

        images = torch.from_numpy(batch.images).float().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            features = network.features(images)
        points = sample_points(features.float(), torch.from_numpy(batch.xy), batch.images.shape[-1])
        vectors = functional.normalize(
            functional.linear(
                points[torch.from_numpy(labelled)], network.project.weight[:, :, 0, 0], network.project.bias
            ),
            dim=1,
        )
        softmax, sigmoid = contrast_loss(
            vectors @ texts.T, rules, network.scale, network.sigmoid_scale, network.sigmoid_bias
        )
        total = softmax + self.recipe.sigmoid_weight * sigmoid
        return {"total": total, "softmax": softmax, "sigmoid": sigmoid, "scale": network.scale}


def sample_points(features: Tensor, xy: Tensor, size: int) -> Tensor:
    """Features [B, C, h, w] at pixel centres xy [B, P, 2] (column, row) -> [B * P, C], bilinear."""
    grid = (xy.float() + 0.5) / size * 2 - 1
    drawn = functional.grid_sample(
        features, grid[:, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return drawn[:, :, 0].transpose(1, 2).reshape(-1, features.shape[1])


def train_bundled(
    recipe: Recipe,
    data_dir: Path,
    out: Path,
    resume: bool = True,
    *,
    report: Callable[[str], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Train into `out` (checkpoints, log, cached pictures); returns the steps done."""
    sets = training_sets(data_dir, recipe.exclude_sets)
    sources = [
        SetSource(item.name, tuple(cache_set(item, item.train, out / "cache", report))) for item in sets
    ]
    table, general = concepts(), negative_concepts()
    texts = Contrast.texts(sets, general, table)
    contrast = Contrast(sets, general, table, dict(zip(texts, encode(texts), strict=True)))
    torch.manual_seed(recipe.seed)
    network = BundledNetwork(NetworkShape())
    load_trunk_weights(network.trunk)
    channels_last(network)
    sampler = CropSampler(sources, recipe.crops, recipe.seed, recipe.boost)
    trainee = Trainee(
        network=network,
        rate=lambda name: recipe.rate_trunk if name.startswith("trunk.") else recipe.rate_rest,
        batch=functools.partial(sampler.batch, size=recipe.batch),
        loss=BundledLoss(contrast, recipe),
    )
    return run_loop(trainee, recipe.loop, out, resume=resume, should_stop=should_stop)
