"""The shipped network behind the engine's protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from rsov.models.backend import prepare
from rsov.models.protocol import ABSENT, Embed, Head, text_head

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from rsov.models.bundled.network import BundledNetwork, FoldedHead
    from rsov.models.bundled.weights import BundledCard
    from rsov.types import Background, Legend


class BundledSegmenter:
    """Network and card to :class:`rsov.models.protocol.Segmenter`.

    ``network`` is in evaluation mode and is changed: normalisations are folded in, weights converted.
    """

    def __init__(
        self, network: BundledNetwork, card: BundledCard, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.card = card
        self.device = device
        self.dtype = dtype
        self._scale = card.logit_scale / card.temperature
        self._network = network.fuse().requires_grad_(requires_grad=False)
        for part in (
            network.trunk,
            network.pyramid,
        ):  # the last layer stays: heads are folded from it in float64
            prepare(part, device, dtype)
        self._folded: tuple[Head, FoldedHead] | None = None

    def head(self, legend: Legend, background: Background, embed: Embed) -> Head:
        """Class and background vectors in the space of the text encoder."""
        return text_head(legend, background, embed, self.card.dim)

    def features(self, pixels: NDArray[np.uint8]) -> Tensor:
        """[B, 3, H, W] -> [B, fine_channels, H/4, W/4] in the network's own number type."""
        x = torch.from_numpy(pixels).to(self.device)
        return self._network.features(x.to(self.dtype, memory_format=torch.channels_last))

    def scores(self, features: Tensor, head: Head) -> Tensor:
        """Cosine times the calibrated scale; see the protocol for the channels."""
        best: Tensor = self._fold(head)(features)
        if not len(head.background):
            best = functional.pad(best, (0, 0, 0, 0, 1, 0), value=ABSENT)
        return best.cpu().contiguous()

    def _fold(self, head: Head) -> FoldedHead:
        """The head as one convolution; kept for the head last used."""
        if self._folded is None or self._folded[0] is not head:
            vectors = torch.from_numpy(np.concatenate([head.background, head.texts]))
            groups = [n for n in (len(head.background), *head.counts) if n]
            folded = self._network.fold(vectors, groups, self._scale)
            self._folded = (head, prepare(folded, self.device, self.dtype))
        return self._folded[1]
