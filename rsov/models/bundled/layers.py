"""Blocks of trunk and pyramid: convolution with normalisation, inverted residual, separable block."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from rsov.models.bundled.depthwise import DepthwiseConv2d

_BN_EPS = 1e-3  # of the published EfficientNet and MobileNetV3 checkpoints
_WIDTH_STEP = 8


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
    """MobileNetV2 block (arXiv 1801.04381): expand 1x1, depth-wise, project 1x1 without activation.

    The width between is a multiple of 8.
    """

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expansion: float) -> None:
        super().__init__()
        mid = int(cin * expansion + _WIDTH_STEP / 2) // _WIDTH_STEP * _WIDTH_STEP
        self.expand = ConvNorm(cin, mid) if expansion != 1 else nn.Identity()
        self.depthwise = ConvNorm(mid, mid, kernel, stride=stride, groups=mid)
        self.project = ConvNorm(mid, cout, act=False)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        """X [B, cin, H, W] -> [B, cout, H / stride, W / stride]."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


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
