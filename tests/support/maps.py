"""Maps of plain colours, made by the whole job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rasterio

from rsov.jobs.predict import PredictResult, predict
from tests.support.models import ColourSegmenter
from tests.support.places import WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def run(
    inputs: Path | Sequence[Path], out: Path | str | None, *, background: str = "none", **options: Any
) -> PredictResult:
    """Maps of :data:`WORDS` by the model that knows colours; no rivals and no percentiles that move colours."""
    options.setdefault("scale", "none")
    return predict(inputs, list(WORDS), out=out, model=ColourSegmenter(), background=background, **options)


def labels(path: Path) -> NDArray[np.uint8]:
    """The first band."""
    with rasterio.open(path) as dataset:
        found: NDArray[np.uint8] = dataset.read(1)
    return found
