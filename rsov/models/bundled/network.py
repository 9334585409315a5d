"""The network of the shipped model: a light trunk, a light top-down pyramid, 1x1 to the text space.

Pyramid: Lin et al. 2017 (arXiv 1612.03144) with depth-wise separable blocks. Context: a windowed mean at
stride 32, never a global one, so that the interior of a tile does not depend on the size of the tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from rsov.models.bundled.layers import ConvNorm, SeparableBlock
from rsov.models.bundled.trunk import TRUNK, TRUNKS, Trunk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CONTEXT_KERNEL = 9  # 9 x 32 = 288 px: what a training crop sees as a whole
_NORM_FLOOR = 1e-6

STRIDE = 4
SIZE_MULTIPLE = 32


@dataclass(frozen=True)
class NetworkShape:
    """What a card records: channels of the coarse levels, of the fine level, of the text space; the trunk."""

    coarse: int = 128
    fine: int = 96
    dim: int = 384
    trunk: str = TRUNK

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> NetworkShape:
        """The sizes of weights by the names of :class:`BundledNetwork`.

        Raises:
            KeyError: they are of another network.
        """
        levels = [state[f"pyramid.lateral{stride}.conv.weight"].shape for stride in (4, 8, 16, 32)]
        channels = [shape[1] for shape in levels]
        trunk = {str(list(each.channels)): name for name, each in TRUNKS.items()}[str(channels)]
        return cls(levels[1][0], levels[0][0], state["project.weight"].shape[0], trunk)


class Pyramid(nn.Module):
    """Top-down path over the four trunk levels; the finest level is at stride 4 and has fewer channels."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        coarse, fine = shape.coarse, shape.fine
        c4, c8, c16, c32 = TRUNKS[shape.trunk].channels
        self.lateral4 = ConvNorm(c4, fine, act=False)
        self.lateral8 = ConvNorm(c8, coarse, act=False)
        self.lateral16 = ConvNorm(c16, coarse, act=False)
        self.lateral32 = ConvNorm(c32, coarse, act=False)
        self.context = ConvNorm(coarse, coarse, act=False)
        self.block32 = SeparableBlock(coarse, coarse)
        self.block16 = SeparableBlock(coarse, coarse)
        self.block8 = SeparableBlock(coarse, coarse)
        self.reduce = ConvNorm(coarse, fine, act=False)
        self.block4 = SeparableBlock(fine, fine)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """The four levels of the trunk -> [B, fine, H/4, W/4]."""
        c4, c8, c16, c32 = taps
        top = self.lateral32(c32)
        window = functional.avg_pool2d(top, _CONTEXT_KERNEL, 1, _CONTEXT_KERNEL // 2, count_include_pad=False)
        p32 = self.block32(top + self.context(window))
        p16 = self.block16(self.lateral16(c16) + _double(p32))
        p8 = self.block8(self.lateral8(c8) + _double(p16))
        p4: Tensor = self.block4(self.lateral4(c4) + _double(self.reduce(p8)))
        return p4


def _double(x: Tensor) -> Tensor:
    """Twice the size, bilinear; `scale_factor` keeps height and width symbolic for `torch.export`."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class FoldedHead(nn.Module):
    """The last 1x1 layer, the cosine and the text vectors as one convolution on the C feature channels.

    With g = (f, 1) and A = (W | b): cosine_k = t_k A g / ||A g||, and ||A g||^2 = g' M g with M = A'A = L
    L', so the norm is that of L'g and no pixel ever has `dim` channels. `offset` [T] is added to the scores
    of the texts; of each of the `groups` of texts that follow each other the best one counts.
    """

    offset: Tensor | None

    def __init__(
        self, weight: Tensor, bias: Tensor, groups: Sequence[int], offset: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("offset", None if offset is None else offset[:, None, None])
        self.groups = list(groups)
        self.texts = sum(groups)
        self.conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
        self.conv.weight = nn.Parameter(weight[:, :, None, None].contiguous(), requires_grad=False)
        self.conv.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C, h, w] -> scores [B, groups, h, w] float32, cosine times scale."""
        y = self.conv(features)
        root = y[:, self.texts :]
        norm = torch.linalg.vector_norm(root, dim=1, keepdim=True, dtype=torch.float32)
        parts = y[:, : self.texts]
        if self.offset is not None:
            parts = parts + self.offset * norm
        parts = parts.split(self.groups, 1)
        best = torch.cat([p if p.shape[1] == 1 else p.amax(1, keepdim=True) for p in parts], 1)
        scores: Tensor = best.float() / norm.clamp_min(_NORM_FLOOR)
        return scores


class BundledNetwork(nn.Module):
    """Picture to pixel vectors of the text space."""

    def __init__(self, shape: NetworkShape | None = None) -> None:
        super().__init__()
        self.shape = shape or NetworkShape()
        self.trunk = Trunk(TRUNKS[self.shape.trunk])
        self.pyramid = Pyramid(self.shape)
        self.project = nn.Conv2d(self.shape.fine, self.shape.dim, 1)
        self.log_scale = nn.Parameter(torch.tensor(1.0 / 0.07).log())
        self.sigmoid_scale = nn.Parameter(torch.tensor(10.0))
        self.sigmoid_bias = nn.Parameter(torch.tensor(-4.8))
        self.text_bias: Tensor  # fitted after the training, so not in its checkpoints
        self.register_buffer("text_bias", torch.zeros(self.shape.dim), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        """X [B, 3, H, W] in 0..255, H and W multiples of 32 -> [B, C, H/4, W/4], before the last layer."""
        y: Tensor = self.pyramid(self.trunk(x))
        return y

    def forward(self, x: Tensor) -> Tensor:
        """X [B, 3, H, W] in 0..255 -> unit pixel vectors [B, dim, H/4, W/4]."""
        return functional.normalize(self.project(self.features(x)), dim=1, eps=_NORM_FLOOR)

    @property
    def scale(self) -> Tensor:
        """Logit scale of the softmax, at most 100 (as in CLIP, arXiv 2103.00020)."""
        return self.log_scale.exp().clamp(max=100.0)

    def fold(
        self, vectors: Tensor, groups: Sequence[int] | None = None, scale: float | None = None
    ) -> FoldedHead:
        """Head for text vectors [T, dim] of any length; computed in float64.

        The score of a text t is (cosine + t @ `text_bias` / own scale) * `scale`, the own scale by default.
        `groups` are numbers of texts that mean one thing, in the order of the vectors; by default each is
        one of its own.
        """
        texts = functional.normalize(vectors.detach().double(), dim=1)
        weight = self.project.weight.detach()[:, :, 0, 0].double()
        bias = self.project.bias
        full = torch.cat(
            [weight, torch.zeros_like(weight[:, :1]) if bias is None else bias.detach().double()[:, None]], 1
        )
        gram = full.T @ full
        ridge = torch.eye(gram.shape[0], dtype=gram.dtype) * gram.diagonal().mean() * 1e-10
        root = torch.linalg.cholesky(gram + ridge).T
        factor = float(self.scale.detach()) if scale is None else scale
        stacked = torch.cat([texts @ full * factor, root]).float()
        offset = None
        if self.text_bias.any():
            offset = (texts @ self.text_bias.double() * (factor / float(self.scale.detach()))).float()
        return FoldedHead(stacked[:, :-1], stacked[:, -1].contiguous(), groups or [1] * len(texts), offset)

    def fuse(self) -> BundledNetwork:
        """Fold every normalisation into its convolution, in place; for a network in evaluation mode."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fuse()
        return self
