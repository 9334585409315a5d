"""The names that compete with the prompts, so that a lake is not painted as the road that it is not.

By default the shipped land-cover vocabulary competes, less every name too close to a prompt: a name stays
only if its concept excludes every text of every class. A prompt that neither the concept table nor the list
of words knows stands for the concepts whose texts are its nearest neighbours in the sentence space.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rsov.errors import UsageError
from rsov.text.concepts import ConceptTable, Relation, background_concepts, concepts
from rsov.text.legend_file import read_drafts
from rsov.text.normalise import comparison_key
from rsov.types import Background, BackgroundTerm, Legend

Embed = Callable[[Sequence[str]], NDArray[np.float32]]

NEAR = 0.55
"""Cosine from which two names may mean one surface: unlike names reach 0.5 (wood and building 0.49, tundra
and truck 0.50), like ones begin a little above (herbaceous vegetation and grass 0.59)."""

NEAR_MARGIN = 0.1
"""Of the near concepts those count whose cosine is at most this below the best one's: `farm` means farm
fields (0.83), not solar farms (0.67)."""


def choose_background(
    legend: Legend, option: str | None, embed: Embed, base: Path | None = None
) -> Background:
    """The competing names for a legend.

    Args:
        legend: the prompts.
        option: ``None`` or ``default``, ``none``, or a file like a legend file (colours are ignored).
        embed: texts to unit vectors [N, D]; called only when a prompt is in neither table.
        base: folder that a file name is relative to.

    Raises:
        UsageError: a fault of the file, with its line.
    """
    if option is None or option == "default":
        return _without_close(legend, embed)
    if option == "none":
        return Background((), source="none")
    if option in {"-", "@-"}:
        raise UsageError(
            "E-background-file",
            "standard input can be read once, by --prompts only",
            where="--background",
            fix="write the names into a file",
        )
    return _from_file(legend, (base or Path.cwd()) / Path(option.removeprefix("@")).expanduser())


@cache
def shipped_words() -> dict[str, str]:
    """Word -> name of the concept that it stands for (``assets/words.toml``)."""
    text = resources.files("rsov").joinpath("assets", "words.toml").read_text(encoding="utf-8")
    return {word: concept for concept, words in tomllib.loads(text)["words"].items() for word in words}


def meanings(text: str, embed: Embed, table: ConceptTable) -> tuple[str, ...]:
    """Names of the concepts that a prompt may stand for; none where nothing is near."""
    found = table.find(text)
    if found is not None:
        return (found.name,)
    key = comparison_key(text)
    for form in (key, key.removesuffix("s"), key + "s"):
        if form in shipped_words():
            return (shipped_words()[form],)
    names, texts = _neighbourhood(table)
    vectors = embed([text, *texts])
    cosines: dict[str, float] = {}
    for name, cosine in zip(names, vectors[1:] @ vectors[0], strict=True):
        cosines[name] = max(cosines.get(name, -1.0), float(cosine))
    limit = max(NEAR, max(cosines.values(), default=0.0) - NEAR_MARGIN)
    return tuple(name for name, cosine in cosines.items() if cosine >= limit)


def _neighbourhood(table: ConceptTable) -> tuple[list[str], list[str]]:
    pairs = [(c.name, text) for c in table.concepts.values() for text in (*c.trained, *c.held_out)]
    pairs += [(concept, word) for word, concept in shipped_words().items() if concept in table.concepts]
    return [name for name, _ in pairs], [text for _, text in pairs]


def _from_file(legend: Legend, path: Path) -> Background:
    """The file's names as they are, less those that are a prompt themselves."""
    prompts = {comparison_key(text): text for entry in legend for text in entry.texts}
    terms, dropped = [], []
    for draft in read_drafts(path, "--background"):
        same = [prompts[comparison_key(text)] for text in draft.texts if comparison_key(text) in prompts]
        if same:
            dropped.append((draft.name, same[0]))
        else:
            terms.append(BackgroundTerm(draft.name, draft.texts))
    return Background(tuple(terms), tuple(dropped), str(path))


def _without_close(legend: Legend, embed: Embed) -> Background:
    table = concepts()
    prompts = [text for entry in legend for text in entry.texts]
    meant = {text: meanings(text, embed, table) for text in prompts}
    terms, dropped = [], []
    for concept in background_concepts():
        cause = next((text for text in prompts if _touches(table, meant[text], concept.name)), None)
        if cause is None:
            terms.append(BackgroundTerm(concept.name, concept.texts))
        else:
            dropped.append((concept.name, cause))
    return Background(tuple(terms), tuple(dropped), "default")


def _touches(table: ConceptTable, names: Sequence[str], other: str) -> bool:
    return any(table.relation(name, other) is not Relation.EXCLUDES for name in names)
