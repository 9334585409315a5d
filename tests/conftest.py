"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from rsov.raster.cog import CogSpec
    from tests.support.models import ColourSegmenter

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the repository, or a visible skip."""
    folder = Path(os.environ.get("RSOV_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder} (RSOV_SHARED)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor write the user's cache; processes that they start inherit this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RSOV_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def ortho(tmp_path: Path) -> Path:
    """The picture of four plain quarters, alone in a folder."""
    from tests.support.places import picture

    folder = tmp_path / "in"
    folder.mkdir()
    return picture(folder / "ortho.tif")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ColourSegmenter:
    """The test segmenter in place of the shipped weights, and no variables of the user's."""
    import rsov.models.registry as registry
    from tests.support.models import ColourSegmenter

    segmenter = ColourSegmenter()
    monkeypatch.setattr(registry, "model_card", lambda *_: segmenter.card)
    monkeypatch.setattr(registry, "load_segmenter", lambda *_: segmenter)
    for name in [name for name in os.environ if name.startswith("RSOV_")]:
        if name not in {"RSOV_CACHE_DIR", "RSOV_SHARED"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    return segmenter


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: ColourSegmenter) -> Path:
    """The current folder, with one picture in it, for the command line and the test segmenter."""
    from tests.support.places import picture

    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    picture(folder / "ortho.tif")
    return folder


@pytest.fixture(scope="session")
def map_pixels() -> np.ndarray:
    """Classes 1 to 3, nodata and none of them."""
    import numpy as np

    from tests.support.cogs import patches

    return patches(1300, 1100, [0, 1, 2, 3, 255]).astype(np.uint8)


@pytest.fixture(scope="session")
def finished_map(
    tmp_path_factory: pytest.TempPathFactory, map_pixels: np.ndarray
) -> tuple[Path, Path, CogSpec]:
    """The class raster of these pixels, the work raster that it was made from, and what it says; not to be changed."""
    from rsov.raster.cog import class_spec, provenance
    from tests.support.cogs import make_legend, make_map

    folder = tmp_path_factory.mktemp("map")
    tags = provenance(
        {"version": "0.1", "legend": [{"id": 1, "name": "Wald & <Wiese>"}], "model_sha256": "ab" * 32}
    )
    spec = class_spec(make_legend(3), tags)
    return make_map(folder, map_pixels, spec), folder / "work.tif", spec
