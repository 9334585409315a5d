"""The network of the shipped model: EfficientNet-Lite0 trunk, light top-down pyramid, 1x1 to the text space.

Trunk: EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946; the Lite variants have no
squeeze-and-excitation and ReLU6 throughout). Pyramid: Lin et al. 2017 (arXiv 1612.03144) with depth-wise
separable blocks. Context: a windowed mean at stride 32, never a global one, so that the interior of a tile
does not depend on the size of the tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from rsov.models.bundled.depthwise import DepthwiseConv2d

if TYPE_CHECKING:
    from collections.abc import Sequence

# (repeats, kernel, stride of the first block, expansion, output channels), EfficientNet-B0 without width
# scaling.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_TAPS = (1, 2, 4, 6)  # stages whose output is kept: strides 4, 8, 16, 32
_TAP_CHANNELS = (24, 40, 112, 320)
_BN_EPS = 1e-3  # of the published checkpoint
_CONTEXT_KERNEL = 9  # 9 x 32 = 288 px: what a training crop sees as a whole
_NORM_FLOOR = 1e-6

STRIDE = 4
SIZE_MULTIPLE = 32
INPUT_MEAN = 127.0
INPUT_STD = 128.0


@dataclass(frozen=True)
class NetworkShape:
    """Sizes that a card records: channels of the coarse levels, of the fine level, of the text space."""

    coarse: int = 128
    fine: int = 96
    dim: int = 384


class ConvNorm(nn.Module):
    """Convolution, batch normalisation and, when asked, ReLU6; :meth:`fuse` folds the normalisation away."""

    def __init__(
        self, cin: int, cout: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv: nn.Conv2d = (
            DepthwiseConv2d(cin, kernel, stride)
            if groups > 1
            else nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False)
        )
        self.bn: nn.Module = nn.BatchNorm2d(cout, eps=_BN_EPS)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """X [B, cin, H, W] -> [B, cout, H / stride, W / stride]."""
        y = self.bn(self.conv(x))
        return functional.relu6(y) if self.act else y

    def fuse(self) -> None:
        """Fold the normalisation into the convolution, in place (evaluation only)."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = torch.nn.utils.fusion.fuse_conv_bn_eval(self.conv, self.bn)
            self.bn = nn.Identity()


class InvertedResidual(nn.Module):
    """MobileNetV2 block (arXiv 1801.04381): expand 1x1, depth-wise, project 1x1 without activation."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        mid = cin * expansion
        self.expand = ConvNorm(cin, mid) if expansion != 1 else nn.Identity()
        self.depthwise = ConvNorm(mid, mid, kernel, stride=stride, groups=mid)
        self.project = ConvNorm(mid, cout, act=False)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        """X [B, cin, H, W] -> [B, cout, H / stride, W / stride]."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class Lite0Trunk(nn.Module):
    """EfficientNet-Lite0: features at strides 4, 8, 16 and 32 (24, 40, 112 and 320 channels)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, stride=2)
        stages: list[nn.Module] = []
        cin = 32
        for repeats, kernel, stride, expansion, cout in _STAGES:
            blocks = []
            for index in range(repeats):
                blocks.append(InvertedResidual(cin, cout, kernel, stride if index == 0 else 1, expansion))
                cin = cout
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """X [B, 3, H, W], normalised -> the four levels, finest first."""
        x = self.stem(x)
        taps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _TAPS:
                taps.append(x)
        return taps


class SeparableBlock(nn.Module):
    """Depth-wise 3x3 and 1x1, each with normalisation and ReLU6."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.depthwise = ConvNorm(cin, cin, 3, groups=cin)
        self.pointwise = ConvNorm(cin, cout)

    def forward(self, x: Tensor) -> Tensor:
        """X [B, cin, H, W] -> [B, cout, H, W]."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class Pyramid(nn.Module):
    """Top-down path over the four trunk levels; the finest level is at stride 4 and has fewer channels."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        coarse, fine = shape.coarse, shape.fine
        self.lateral4 = ConvNorm(_TAP_CHANNELS[0], fine, act=False)
        self.lateral8 = ConvNorm(_TAP_CHANNELS[1], coarse, act=False)
        self.lateral16 = ConvNorm(_TAP_CHANNELS[2], coarse, act=False)
        self.lateral32 = ConvNorm(_TAP_CHANNELS[3], coarse, act=False)
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
    L', so the norm is that of L'g and no pixel ever has `dim` channels. Of each of the `groups` of texts that
    follow each other the best one counts.
    """

    def __init__(self, weight: Tensor, bias: Tensor, groups: Sequence[int]) -> None:
        super().__init__()
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
        parts = y[:, : self.texts].split(self.groups, 1)
        best = torch.cat([p if p.shape[1] == 1 else p.amax(1, keepdim=True) for p in parts], 1)
        scores: Tensor = best.float() / norm.clamp_min(_NORM_FLOOR)
        return scores


class BundledNetwork(nn.Module):
    """Picture to pixel vectors of the text space."""

    def __init__(self, shape: NetworkShape | None = None) -> None:
        super().__init__()
        self.shape = shape or NetworkShape()
        self.trunk = Lite0Trunk()
        self.pyramid = Pyramid(self.shape)
        self.project = nn.Conv2d(self.shape.fine, self.shape.dim, 1)
        self.log_scale = nn.Parameter(torch.tensor(1.0 / 0.07).log())
        self.sigmoid_scale = nn.Parameter(torch.tensor(10.0))
        self.sigmoid_bias = nn.Parameter(torch.tensor(-4.8))

    @staticmethod
    def preprocess(x: Tensor) -> Tensor:
        """Values 0..255 to the range of the trunk's published weights."""
        return (x - INPUT_MEAN) * (1.0 / INPUT_STD)

    def features(self, x: Tensor) -> Tensor:
        """X [B, 3, H, W] in 0..255, H and W multiples of 32 -> [B, C, H/4, W/4], before the last layer."""
        y: Tensor = self.pyramid(self.trunk(self.preprocess(x)))
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
        """Head for text vectors [T, dim] of any length, giving cosine * scale; computed in float64.

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
        return FoldedHead(stacked[:, :-1], stacked[:, -1].contiguous(), groups or [1] * len(texts))

    def fuse(self) -> BundledNetwork:
        """Fold every normalisation into its convolution, in place; for a network in evaluation mode."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fuse()
        return self


def channels_last(module: nn.Module) -> None:
    """Lay out every 4-D parameter with the channels last, in place: the fast layout on a CPU."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
