"""Training of the shipped model: many small data sets, one text space.

`rsov train bundled` calls :func:`train_bundled`, then export.py;
`python -m rsov.jobs.train.export CHECKPOINT` makes a bundle of any checkpoint.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rsov.datasets.cache import cache_set
from rsov.datasets.crops import Batch, CropSampler, CropSettings, SetSource
from rsov.datasets.sets import IGNORE, DataSet, find_sets
from rsov.errors import InputError, UsageError
from rsov.jobs.train.checkpoint import save_mean
from rsov.jobs.train.closed import ClosedLoss, ClosedNetwork
from rsov.jobs.train.contrast import Contrast, contrast_loss
from rsov.jobs.train.loop import LAST, MAY_CHANGE, LoopSettings, Loss, Trainee, forget, run_loop
from rsov.jobs.train.points import sample_points
from rsov.jobs.train.recipe import flat
from rsov.models.backend import channels_last
from rsov.models.bundled.network import BundledNetwork, NetworkShape
from rsov.models.bundled.trunk import TRUNK, TRUNKS
from rsov.models.bundled.trunk_weights import load_trunk_weights
from rsov.text.concepts import background_concepts, concepts, unambiguous_concepts
from rsov.text.encoder import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TEXT_STREAM = 7  # keeps the draws of texts apart from those of crops


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, the data aside.

    `seed` gives the first weights; member `m` of the `members`, counted from 0, draws its crops and words
    from `seed + m`, and the weights of all are averaged at the end (model soup, arXiv 2203.05482).
    `trunk_weights` is the file of the trunk's ImageNet weights, where no package has them. `negatives` are
    the concepts that pixels are contrasted with: `unambiguous` ones, or only those of the default
    `background`. `closed` trains a layer of classes per set instead of the text space: the yardstick of
    closed.py.
    """

    loop: LoopSettings
    crops: CropSettings = field(default_factory=CropSettings)
    boost: dict[str, float] = field(default_factory=dict)
    seed: int = 1
    members: int = 1
    trunk: str = TRUNK
    trunk_weights: str = ""
    batch: int = 12
    rate_trunk: float = 3e-4
    rate_rest: float = 1e-3
    sigmoid_weight: float = 0.25
    text_noise: float = 0.1
    negatives: Literal["unambiguous", "background"] = "unambiguous"
    exclude_sets: tuple[str, ...] = ()
    exclude_pictures: tuple[str, ...] = ()
    closed: bool = False

    def __post_init__(self) -> None:
        if self.trunk not in TRUNKS:
            raise UsageError(
                "E-recipe-value", f"there is no trunk {self.trunk!r}", fix=f"trunks: {', '.join(TRUNKS)}"
            )


def training_sets(data_dir: Path, exclude: Sequence[str] = (), pictures: Sequence[str] = ()) -> list[DataSet]:
    """The sets whose licence lets weights be given away (bundle yes or cite) and that have train pictures.

    Left out are the sets in `exclude` and the `pictures`, given as `set/file`.

    Raises:
        InputError: nothing is left, or a set or picture to leave out is not there.
    """
    found, _ = find_sets(data_dir)
    kept = [
        replace(s, train=tuple(ref for ref in s.train if f"{s.name}/{ref.name}" not in pictures))
        for s in found
    ]
    known = {s.name for s in found} | {f"{s.name}/{ref.name}" for s in found for ref in s.pictures("all")}
    unknown = sorted({*exclude, *pictures} - known)
    if unknown:
        raise InputError(
            "E-train-data",
            f"there is no data set or picture {unknown[0]!r} to leave out",
            where=str(data_dir),
        )
    chosen = [s for s in kept if s.bundle != "no" and s.train and s.name not in exclude]
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

    def __init__(self, contrast: Contrast, recipe: Recipe, seed: int) -> None:
        self.contrast = contrast
        self.recipe = recipe
        self.seed = seed

    def __call__(self, network: nn.Module, step: int, batch: Batch) -> dict[str, Tensor]:
        """Named terms of the loss; `total` is the one to minimise."""
        if not isinstance(network, BundledNetwork):
            raise TypeError("the loss belongs to BundledNetwork")
        rng = np.random.default_rng((self.seed, step, _TEXT_STREAM))
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


def text_loss(sets: Sequence[DataSet], recipe: Recipe, seed: int) -> BundledLoss:
    """The loss of the text space over these sets; encodes every text that may be drawn."""
    table = concepts()
    negatives = unambiguous_concepts() if recipe.negatives == "unambiguous" else background_concepts()
    texts = Contrast.texts(sets, negatives, table)
    vectors = dict(zip(texts, encode(texts), strict=True))
    return BundledLoss(Contrast(sets, negatives, table, vectors), recipe, seed)


def _note(recipe: Recipe, sets: Sequence[DataSet]) -> dict[str, str]:
    """What the steps are made of: the recipe, and of each set its classes and files (name, GSD, sizes)."""
    free = {"members", "trunk_weights", *MAY_CHANGE}
    note = {key: value for key, value in flat(recipe).items() if key.removeprefix("loop.") not in free}
    for item in sets:
        files = [(r.name, r.gsd, r.image.stat().st_size, r.label.stat().st_size) for r in item.train]
        digest = hashlib.sha256(repr((item.classes, files)).encode()).hexdigest()[:8]
        note[f"data {item.name}"] = f"{len(files)} pictures, {len(item.classes)} classes ({digest})"
    return note


def train_bundled(
    recipe: Recipe,
    data_dir: Path,
    out: Path,
    resume: bool = True,
    *,
    report: Callable[[str], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Train into `out` (averaged weights, a folder with checkpoints and log per member, cached pictures).

    Without `resume` whatever an earlier training could go on from is removed first. Returns the steps done by
    all members; a training that was stopped writes no averaged weights.

    Raises:
        InputError: there is no data set to train on, or one cannot be read.
        UsageError, ModelError, ResourceError: as :func:`rsov.jobs.train.loop.run_loop`; the recipe (all but
            `members` and `MAY_CHANGE` of the loop) and the data are the note.
    """
    sets = training_sets(data_dir, recipe.exclude_sets, recipe.exclude_pictures)
    sources = []
    for item in sets:
        if should_stop():  # many pictures take minutes
            return 0
        sources.append(SetSource(item.name, tuple(cache_set(item, item.train, out / "cache", report))))
    odd = sorted(set(recipe.boost) - {item.name for item in sets} - set(recipe.exclude_sets))
    if odd:
        report(f"boost names sets that are not trained on: {', '.join(odd)}")
    note = _note(recipe, sets)
    steps = []
    folders = [out / f"member_{number + 1}" for number in range(recipe.members)]
    if not resume:
        for folder in (out, *out.glob("member_*")):  # of all at once: a member that waits must not be refused
            forget(folder)
    for number, folder in enumerate(folders):
        if recipe.members > 1:
            report(f"member {number + 1} of {recipe.members}")
        trainee = _trainee(recipe, sets, sources, recipe.seed + number)
        steps.append(run_loop(trainee, recipe.loop, folder, note=note, should_stop=should_stop))
        if steps[-1] < recipe.loop.steps:
            return sum(steps)
    save_mean(out / LAST, [folder / LAST for folder in folders], step=sum(steps))
    return sum(steps)


def _trainee(
    recipe: Recipe, sets: Sequence[DataSet], sources: Sequence[SetSource], seed: int
) -> Trainee[Batch]:
    """The network with its first weights, and what it learns from: drawn from a seed of its own."""
    torch.manual_seed(recipe.seed)
    network = BundledNetwork(NetworkShape(trunk=recipe.trunk))
    file = Path(recipe.trunk_weights) if recipe.trunk_weights else None
    load_trunk_weights(network.trunk, recipe.trunk, file)
    made: tuple[nn.Module, Loss[Batch]] = network, text_loss(sets, recipe, seed)
    if recipe.closed:
        made = ClosedNetwork(network, {item.name: len(item.classes) for item in sets}), ClosedLoss(sets)
    channels_last(made[0])
    sampler = CropSampler(sources, recipe.crops, seed, recipe.boost)
    return Trainee(
        network=made[0],
        rate=lambda name: recipe.rate_trunk if "trunk." in name else recipe.rate_rest,
        batch=functools.partial(sampler.batch, size=recipe.batch),
        loss=made[1],
    )
