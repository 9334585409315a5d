"""Compute the vectors of all names in the concept table and the word list.

They go into `rsov/assets/text_vectors.safetensors`. After a change of `concepts.toml` or `words.toml`:
`python scripts/build_text_vectors.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from rsov.text.background import shipped_words
from rsov.text.concepts import concepts
from rsov.text.encoder import SHA256, encode
from rsov.text.shipped import ASSET


def texts_of_the_vocabulary() -> list[str]:
    """Every name and synonym of the table, and every word of the list, each once."""
    named = [
        text for concept in concepts().concepts.values() for text in (*concept.trained, *concept.held_out)
    ]
    return sorted({*named, *shipped_words()})


def main() -> None:
    """Write the asset."""
    texts = texts_of_the_vocabulary()
    vectors = encode(texts).astype(np.float16)
    path = Path(__file__).resolve().parent.parent / "rsov" / "assets" / ASSET
    save_file({"vectors": vectors}, path, metadata={"model_sha256": SHA256, "texts": json.dumps(texts)})
    print(f"{path}: {len(texts)} texts, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
