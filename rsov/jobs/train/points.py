"""Features at single pixels of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


def sample_points(features: Tensor, xy: Tensor, size: int) -> Tensor:
    """Features [B, C, h, w] at pixel centres xy [B, P, 2] (column, row) -> [B * P, C], bilinear."""
    grid = (xy.float() + 0.5) / size * 2 - 1
    drawn = functional.grid_sample(
        features, grid[:, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return drawn[:, :, 0].transpose(1, 2).reshape(-1, features.shape[1])
