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
from rsov.text.normalise import comparison_key, word_forms
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


def meanings(texts: Sequence[str], embed: Embed, table: ConceptTable) -> dict[str, tuple[str, ...]]:
    """Text -> names of the concepts that it may stand for; none where nothing is near."""
    known = {text: _looked_up(text, table) for text in texts}
    unknown = [text for text, name in known.items() if name is None]
    found: dict[str, tuple[str, ...]] = {text: (name,) for text, name in known.items() if name is not None}
    if not unknown:
        return found
    names, neighbours = _neighbourhood(table)
    vectors = embed([*unknown, *neighbours])
    for text, vector in zip(unknown, vectors, strict=False):
        found[text] = _nearest(names, vectors[len(unknown) :] @ vector)
    return found


def _looked_up(text: str, table: ConceptTable) -> str | None:
    concept = table.find(text)
    if concept is not None:
        return concept.name
    return next((shipped_words()[form] for form in word_forms(text) if form in shipped_words()), None)


def _nearest(names: Sequence[str], cosines: NDArray[np.float32]) -> tuple[str, ...]:
    """The concepts (one name a neighbour) that are near enough, each by the best of its texts."""
    limit = max(NEAR, float(cosines.max()) - NEAR_MARGIN)
    return tuple(dict.fromkeys(names[i] for i in np.flatnonzero(cosines >= limit).tolist()))


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
    meant = meanings(prompts, embed, table)
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
