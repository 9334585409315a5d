"""The same network with one layer of classes per data set instead of the text space: what words cost.

A yardstick only: it cannot name anything that its sets do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from rsov.datasets.sets import IGNORE, DataSet
from rsov.jobs.train.points import sample_points
from rsov.models.bundled.network import BundledNetwork, NetworkShape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rsov.datasets.crops import Batch


class ClosedNetwork(nn.Module):
    """Features of the shipped network, and a 1x1 layer to the classes of each set."""

    def __init__(self, network: BundledNetwork, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.network = network
        self.heads = nn.ModuleDict({name: nn.Conv2d(network.shape.fine, n, 1) for name, n in classes.items()})

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> ClosedNetwork:
        """The network of a checkpoint."""
        classes = {
            key.split(".")[1]: len(value)
            for key, value in state.items()
            if key.startswith("heads.") and key.endswith(".bias")
        }
        shape = NetworkShape.of({key.removeprefix("network."): value for key, value in state.items()})
        made = cls(BundledNetwork(shape), classes)
        made.load_state_dict(state)
        return made


class ClosedLoss:
    """Cross entropy of each pixel over the classes of its own set, in the order of the set's list."""

    def __init__(self, sets: Sequence[DataSet]) -> None:
        self.names = [item.name for item in sets]
        self.columns = torch.zeros(len(sets), 256, dtype=torch.int64)
        for row, item in enumerate(sets):
            for place, each in enumerate(item.classes):
                self.columns[row, each.id] = place

    def __call__(self, network: nn.Module, _step: int, batch: Batch) -> dict[str, Tensor]:
        """`total` is the mean over all labelled points of a batch."""
        if not isinstance(network, ClosedNetwork):
            raise TypeError("the loss belongs to ClosedNetwork")
        images = torch.from_numpy(batch.images).float().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            features = network.network.features(images)
        points = sample_points(features.float(), torch.from_numpy(batch.xy), batch.images.shape[-1])
        points = points.reshape(len(batch.sets), -1, points.shape[1])
        total, count = points.new_zeros(()), 0
        for index in sorted({int(n) for n in batch.sets}):
            of_set = torch.from_numpy(batch.sets == index)
            labels = torch.from_numpy(batch.classes).long()[of_set].reshape(-1)
            known = labels != IGNORE
            head = network.heads[self.names[index]]
            scores = head(points[of_set].reshape(-1, points.shape[2])[known][:, :, None, None])[:, :, 0, 0]
            total = total + functional.cross_entropy(
                scores, self.columns[index][labels[known]], reduction="sum"
            )
            count += int(known.sum())
        return {"total": total / max(count, 1)}
