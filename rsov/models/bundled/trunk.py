"""Trunks that the network can stand on: convolutions made for CPUs, with published ImageNet weights.

EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946; the Lite variants have no squeeze-and-excitation),
MobileNetV2 (arXiv 1801.04381) and the "minimalistic" MobileNetV3-Large (arXiv 1905.02244). All have ReLU6
here, and symmetric padding: what differs from the published networks is trained away.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from rsov.models.bundled.layers import ConvNorm, InvertedResidual

Stage = tuple[int, int, int, tuple[float, ...] | float, int]
"""Blocks, kernel, stride of the first block, expansion (of each block where they differ), channels."""


@dataclass(frozen=True)
class TrunkShape:
    """One trunk: channels of the stem, stages, which of them are kept, and how its input is normalised.

    ``taps`` are the stages whose output is kept, at strides 4, 8, 16 and 32; ``mean`` and ``std`` are of
    values 0..255.
    """

    stages: tuple[Stage, ...]
    taps: tuple[int, int, int, int]
    stem: int = 32
    mean: float = 127.0
    std: float = 128.0

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Channels at strides 4, 8, 16 and 32."""
        a, b, c, d = (self.stages[place][4] for place in self.taps)
        return a, b, c, d


TRUNK = "efficientnet-lite0"
TRUNKS = {
    TRUNK: TrunkShape(
        (
            (1, 3, 1, 1, 16),
            (2, 3, 2, 6, 24),
            (2, 5, 2, 6, 40),
            (3, 3, 2, 6, 80),
            (3, 5, 1, 6, 112),
            (4, 5, 2, 6, 192),
            (1, 3, 1, 6, 320),
        ),
        taps=(1, 2, 4, 6),
    ),
    "efficientnet-lite2": TrunkShape(
        (
            (1, 3, 1, 1, 16),
            (3, 3, 2, 6, 24),
            (3, 5, 2, 6, 48),
            (4, 3, 2, 6, 88),
            (4, 5, 1, 6, 120),
            (5, 5, 2, 6, 208),
            (1, 3, 1, 6, 352),
        ),
        taps=(1, 2, 4, 6),
    ),
    "mobilenet-v2": TrunkShape(
        (
            (1, 3, 1, 1, 16),
            (2, 3, 2, 6, 24),
            (3, 3, 2, 6, 32),
            (4, 3, 2, 6, 64),
            (3, 3, 1, 6, 96),
            (3, 3, 2, 6, 160),
            (1, 3, 1, 6, 320),
        ),
        taps=(1, 2, 4, 6),
        mean=114.5,  # of the three bands together: published are 123.7, 116.3, 103.5
        std=57.6,
    ),
    "mobilenet-v3-minimal": TrunkShape(
        (
            (1, 3, 1, 1, 16),
            (2, 3, 2, (4, 3), 24),
            (3, 3, 2, 3, 40),
            (4, 3, 2, (6, 2.5, 2.3, 2.3), 80),
            (2, 3, 1, 6, 112),
            (3, 3, 2, 6, 160),
        ),
        taps=(1, 2, 4, 5),
        stem=16,
        mean=127.5,
        std=127.5,
    ),
}


class Trunk(nn.Module):
    """Features at strides 4, 8, 16 and 32."""

    def __init__(self, shape: TrunkShape) -> None:
        super().__init__()
        self.shape = shape
        self.stem = ConvNorm(3, shape.stem, 3, stride=2)
        stages: list[nn.Module] = []
        cin = shape.stem
        for repeats, kernel, stride, expansion, cout in shape.stages:
            each = expansion if isinstance(expansion, tuple) else (expansion,) * repeats
            blocks = []
            for index, ratio in enumerate(each):
                blocks.append(InvertedResidual(cin, cout, kernel, 1 if index else stride, ratio))
                cin = cout
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """X [B, 3, H, W] in 0..255 -> the four levels, finest first."""
        x = self.stem((x - self.shape.mean) * (1.0 / self.shape.std))
        taps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.shape.taps:
                taps.append(x)
        return taps
