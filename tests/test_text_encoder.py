"""The sentence encoder gives the published vectors, one text at a time or many."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rsov.engine.torchvision import prepare_torchvision
from rsov.errors import ModelError
from rsov.text import encoder

TEXTS = ["forest", "a road with the vehicles on it", "solar panel", "Straße", "", "water " * 400]


def test_vectors_are_those_of_sentence_transformers() -> None:
    prepare_torchvision()
    library = pytest.importorskip("sentence_transformers")
    oracle = library.SentenceTransformer(str(encoder._model_dir()), device="cpu")
    expected = oracle.encode(TEXTS, normalize_embeddings=True)
    assert np.abs(encoder.encode(TEXTS) - expected).max() < 1e-5


def test_a_vector_does_not_depend_on_its_neighbours() -> None:
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-5


def test_vectors_are_unit_and_float32() -> None:
    vectors = encoder.encode(["road", "river"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (2, encoder.DIM)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_no_texts_give_no_vectors() -> None:
    assert encoder.encode([]).shape == (0, encoder.DIM)


def test_near_names_are_nearer_than_far_ones() -> None:
    road, street, lake = encoder.encode(["road", "street", "lake"])
    assert road @ street > road @ lake + 0.2


def test_other_weights_are_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(encoder, "_model_dir", lambda: tmp_path)
    encoder._load.cache_clear()
    try:
        with pytest.raises(ModelError, match="not the expected one") as caught:
            encoder.encode(["road"])
        assert caught.value.code == 4
    finally:
        encoder._load.cache_clear()


def test_importing_the_module_does_not_import_torch() -> None:
    code = "import sys, rsov.text.encoder, rsov.text.concepts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
