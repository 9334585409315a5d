"""The rival of mosaic.py: the same network in geoai's tiled inference. Runs where geoai-py is installed.

python benchmarks/mosaic_geoai.py MOSAIC MODEL HEAD.npz OUT.tif
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from geoai.inference import predict_geotiff

from rsov.models.protocol import Head
from rsov.models.registry import load_segmenter


class Wrapped(torch.nn.Module):
    """Tiles of 0..255 to logits at full resolution, as geoai expects them."""

    def __init__(self, model: str, head: Head) -> None:
        super().__init__()
        self.segmenter = load_segmenter(model, "cpu", "fp32")
        self.classes = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] float -> [B, K + 1, H, W]."""
        with torch.inference_mode():
            features = self.segmenter.features(x.to(torch.uint8).numpy())
            scores = self.segmenter.scores(features, self.classes)
            return torch.nn.functional.interpolate(
                scores, scale_factor=self.segmenter.card.stride, mode="bilinear"
            )


def main() -> None:
    mosaic, model, head_file, out = sys.argv[1:]
    arrays = np.load(head_file)
    wrapped = Wrapped(model, Head(arrays["texts"], tuple(arrays["counts"].tolist()), arrays["background"]))
    card = wrapped.segmenter.card
    predict_geotiff(
        wrapped,
        mosaic,
        out,
        tile_size=card.tile,
        overlap=card.overlap,
        batch_size=1,
        num_classes=len(arrays["counts"]) + 1,
        output_dtype="uint8",
        output_nodata=0,
        blend_mode="spline",
        preprocess_fn=lambda tile: tile.astype(np.float32),
        postprocess_fn=lambda scores: (scores.argmax(0, keepdims=True) + 1).astype(np.uint8),
        device="cpu",
        verbose=False,
    )


if __name__ == "__main__":
    main()
