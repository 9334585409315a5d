"""Vectors of texts: the shipped ones, the cache on disk, and what happens when it is damaged or cannot be written."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rsov.text.cache import Embedder, cache_home, sentence_embedder
from rsov.text.concepts import background_concepts
from rsov.text.encoder import SHA256, encode
from rsov.text.shipped import shipped_vectors


class Encoder:
    """Deterministic vectors; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.asked.append(list(texts))
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
        return np.stack([np.random.default_rng(seed).normal(size=8) for seed in seeds]).astype(np.float32)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_vectors_are_unit_and_in_the_order_of_the_texts(tmp_path: Path, encoder: Encoder) -> None:
    rows = Embedder(encoder, "m", tmp_path, 8)(["b", "a", "b"])
    assert rows.dtype == np.float32
    assert rows.shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(rows[0], rows[2])
    assert encoder.asked == [["b", "a"]]


def test_a_second_run_encodes_nothing_and_gives_the_same_bytes(tmp_path: Path, encoder: Encoder) -> None:
    first = Embedder(encoder, "m", tmp_path, 8)(["forest", "wälder"])
    second = Embedder(encoder, "m", tmp_path, 8)(["wälder", "forest"])
    assert first[::-1].tobytes() == second.tobytes()
    assert len(encoder.asked) == 1


def test_only_missing_texts_are_encoded(tmp_path: Path, encoder: Encoder) -> None:
    embedder = Embedder(encoder, "m", tmp_path, 8)
    embedder(["a"])
    embedder(["a", "b"])
    assert encoder.asked == [["a"], ["b"]]


def test_another_model_has_other_entries(tmp_path: Path, encoder: Encoder) -> None:
    Embedder(encoder, "m", tmp_path, 8)(["a"])
    Embedder(encoder, "n", tmp_path, 8)(["a"])
    assert encoder.asked == [["a"], ["a"]]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"garbage", "cut", "zero", "shape", "dtype", "pickle"])
def test_damaged_entries_are_written_anew(tmp_path: Path, encoder: Encoder, damage: bytes | str) -> None:
    good = Embedder(encoder, "m", tmp_path, 8)(["a"])
    (entry,) = files(tmp_path)
    whole = entry.read_bytes()
    if isinstance(damage, bytes):
        entry.write_bytes(damage)
    elif damage == "cut":
        entry.write_bytes(whole[:-4])
    else:
        wrong = {
            "zero": np.zeros(8, np.float32),
            "shape": np.ones(9, np.float32) / 3,
            "dtype": np.eye(8)[0],
            "pickle": np.array([{"a": 1}], object),
        }[damage]
        np.save(entry.open("wb"), wrong, allow_pickle=True)
    np.testing.assert_array_equal(Embedder(encoder, "m", tmp_path, 8)(["a"]), good)
    assert entry.read_bytes() == whole


def test_entries_are_private_and_leave_no_parts(tmp_path: Path, encoder: Encoder) -> None:
    folder = tmp_path / "deep" / "cache"
    old = os.umask(0)
    try:
        Embedder(encoder, "m", folder, 8)(["a"])
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "text").stat().st_mode) == 0o700
    assert [path.suffix for path in files(folder)] == [".npy"]
    assert stat.S_IMODE(files(folder)[0].stat().st_mode) == 0o600


def test_a_cache_that_cannot_be_written_is_not_used(tmp_path: Path, encoder: Encoder) -> None:
    (tmp_path / "file").write_text("not a folder")
    rows = Embedder(encoder, "m", tmp_path / "file", 8)(["a"])
    np.testing.assert_array_equal(rows, Embedder(encoder, "m", None, 8)(["a"]))


def test_a_full_disk_leaves_no_part(
    tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    Embedder(encoder, "m", tmp_path, 8)(["a"])
    assert files(tmp_path) == []


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("RSOV_CACHE_DIR", raising=False)
    assert cache_home() == tmp_path / "xdg" / "rsov"
    monkeypatch.setenv("RSOV_CACHE_DIR", str(tmp_path / "own"))
    assert cache_home() == tmp_path / "own"


def test_shipped_vectors_are_the_encoders() -> None:
    shipped = shipped_vectors()
    texts = list(shipped.rows)[::17]
    np.testing.assert_allclose(shipped.vectors[[shipped.rows[t] for t in texts]], encode(texts), atol=1e-3)
    assert shipped.model_sha == SHA256


def test_shipped_vectors_cover_the_background_vocabulary() -> None:
    """Fails after a change of the concept table: run ``python scripts/build_text_vectors.py``."""
    missing = [
        text
        for concept in background_concepts()
        for text in concept.texts
        if text not in shipped_vectors().rows
    ]
    assert missing == []


def test_known_words_need_no_torch_and_cost_less_than_50_ms(tmp_path: Path) -> None:
    sentence_embedder(tmp_path)(["seventeen blue roofs"])
    code = f"""
import sys, time, pathlib, rich.text, numpy
from rsov.text.background import choose_background
from rsov.text.cache import sentence_embedder
from rsov.text.legend import parse_prompts
best = 9.0
for _ in range(3):
    start = time.perf_counter()
    embed = sentence_embedder(pathlib.Path({str(tmp_path)!r}))
    legend = parse_prompts("forest,road|street,seventeen blue roofs")
    terms = choose_background(legend, None, embed).terms
    embed([text for entry in (*legend, *terms) for text in entry.texts])
    best = min(best, time.perf_counter() - start)
print("torch" in sys.modules, best)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    torch, seconds = done.stdout.split()
    assert torch == "False"
    assert float(seconds) < 0.05


def test_long_texts_lose_their_end_in_the_encoder_as_said() -> None:
    from rsov.text.encoder import kept_part

    assert kept_part("a short text") == "a short text"
    kept = kept_part("森" * 400)
    assert kept == "森" * 254
    np.testing.assert_allclose(encode([kept]), encode(["森" * 400]), atol=1e-6)
