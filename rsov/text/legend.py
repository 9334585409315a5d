"""Legends from words: ``--prompts``, legend files, lists; ids follow the order given, from 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rsov.errors import UsageError
from rsov.text.legend_file import read_drafts, read_standard_input
from rsov.text.legend_grammar import LEGEND_SUFFIXES, Draft, Place, check_text, parse_line, quoted
from rsov.text.normalise import comparison_key
from rsov.types import NODATA_NAME, NONE_NAME, Legend, LegendClass

MAX_CLASSES = 65_534
"""uint16 less 0 (nodata) and 65535 (none of the classes)."""

_EXAMPLE = 'for example: --prompts "forest,road,water=lake|river|sea", or --prompts @classes.txt'


def parse_prompts(text: str, base: Path | None = None) -> Legend:
    """The legend of a ``--prompts`` value.

    Args:
        text: classes parted by commas, or ``@FILE``, or an existing file's name, or ``-`` (standard input).
        base: folder that file names are relative to; the current one by default.

    Raises:
        UsageError: every fault in the words or in the file, with its position.
    """
    if text.strip() in {"-", "@-"}:
        return build_legend(read_standard_input())
    path = _named_file(text, base or Path.cwd())
    if path is not None:
        return read_legend(path)
    drafts = parse_line(text, "--prompts", in_file=False)
    return build_legend(drafts)


def read_legend(path: Path) -> Legend:
    """The legend of a ``.toml`` file, or of a text file with a class a line."""
    return build_legend(read_drafts(path))


def make_legend(
    prompts: str | Path | Legend | Sequence[str] | Mapping[str, Sequence[str]], base: Path | None = None
) -> Legend:
    """The legend of what a Python caller gives: a ``--prompts`` text, a path, names, or name -> texts."""
    if isinstance(prompts, Legend):
        return prompts
    if isinstance(prompts, Path):
        return read_legend(prompts)
    if isinstance(prompts, str):
        return parse_prompts(prompts, base)
    items = prompts.items() if isinstance(prompts, Mapping) else [(name, (name,)) for name in prompts]
    drafts = []
    for number, (shown, texts) in enumerate(items, 1):
        place = Place(f"class {number}", shown)
        text_places = tuple(Place(f"class {number}", text) for text in texts)
        if not text_places:
            raise UsageError(
                "E-prompt-empty",
                f"class {shown!r} has no texts",
                where=place.source,
                fix="give at least one text",
            )
        checked = tuple(check_text(where.line, where) for where in text_places)
        drafts.append(Draft(check_text(shown, place), checked, place, text_places))
    return build_legend(drafts)


def format_prompts(legend: Legend) -> str:
    """The legend as ``--prompts`` reads it back (colours and thresholds are not part of that grammar)."""
    parts = []
    for entry in legend:
        texts = "|".join(quoted(text) for text in entry.texts)
        parts.append(texts if entry.name == entry.texts[0] else f"{quoted(entry.name)}={texts}")
    return ",".join(parts)


def build_legend(drafts: Iterable[Draft]) -> Legend:
    """Number the classes, drop repeated texts of a class, refuse repetition between classes, give colours."""
    kept = [_without_repeats(draft) for draft in drafts]
    if not kept:
        raise UsageError("E-prompt-empty", "no class names given", where="--prompts", fix=_EXAMPLE)
    if len(kept) > MAX_CLASSES:
        raise UsageError(
            "E-prompt-count",
            f"{len(kept)} classes are more than a raster of 16 bits can hold ({MAX_CLASSES})",
            where=kept[MAX_CLASSES].place.source,
            fix="split the legend into several runs",
        )
    _refuse_reserved(kept)
    _refuse_duplicates(kept)
    colours = _colours(kept)
    return Legend(
        tuple(
            LegendClass(number, draft.name, draft.texts, colour, draft.threshold)
            for number, (draft, colour) in enumerate(zip(kept, colours, strict=True), 1)
        )
    )


def _named_file(text: str, base: Path) -> Path | None:
    """The file that a ``--prompts`` value names, ``None`` if it holds names of classes."""
    stripped = text.strip()
    explicit = stripped.startswith("@")
    name = stripped[1:] if explicit else stripped
    if not name or "\0" in name or len(name) > 4096:
        return None
    path = base / Path(name).expanduser()
    try:
        exists = path.is_file()
    except (OSError, UnicodeEncodeError):  # too long or not writable for the file system: not a file
        exists = False
    if exists or explicit:
        return path
    looks_like_file = name.lower().endswith(LEGEND_SUFFIXES) and not any(mark in name for mark in ',|="')
    return path if looks_like_file else None


def _without_repeats(draft: Draft) -> Draft:
    first: dict[str, int] = {}
    for index, text in enumerate(draft.texts):
        first.setdefault(comparison_key(text), index)
    if len(first) == len(draft.texts):
        return draft
    keep = tuple(first.values())
    texts = tuple(draft.texts[i] for i in keep)
    places = tuple(draft.text_places[i] for i in keep)
    return Draft(draft.name, texts, draft.place, places, draft.colour, draft.threshold)


def _refuse_reserved(drafts: Sequence[Draft]) -> None:
    """No class is shown by a name of the rows that every legend and report has besides the classes."""
    reserved = {comparison_key(name) for name in (NODATA_NAME, NONE_NAME)}
    for number, draft in enumerate(drafts, 1):
        if comparison_key(draft.name) in reserved:
            raise UsageError(
                "E-prompt-duplicate",
                f"class {draft.name!r} has a name that stands in every map already",
                where=_position(draft.place, number),
                why="the pixels that are no class are shown by it",
                fix=f"show the class by another name, for example: other={quoted(draft.texts[0])}",
            )


def _refuse_duplicates(drafts: Sequence[Draft]) -> None:
    """No text in two classes, and no two classes shown by one name."""
    for what, entries in (
        ("class", [(d.name, d.place, n) for n, d in enumerate(drafts, 1)]),
        (
            "text",
            [(t, p, n) for n, d in enumerate(drafts, 1) for t, p in zip(d.texts, d.text_places, strict=True)],
        ),
    ):
        seen: dict[str, tuple[str, Place, int]] = {}
        for text, place, number in entries:
            key = comparison_key(text)
            if key in seen:
                first, first_place, first_number = seen[key]
                raise UsageError(
                    "E-prompt-duplicate",
                    f"{what} {text!r} is given twice",
                    where=f"{_position(first_place, first_number)} and {_position(place, number)}",
                    why=f"{first!r} and {text!r} count as the same" if first != text else "",
                    fix="remove one of the two",
                )
            seen[key] = (text, place, number)


def _position(place: Place, number: int) -> str:
    return f"{place.source} class {number}" if place.source.startswith("--") else place.source


def _colours(drafts: Sequence[Draft]) -> list[tuple[int, int, int]]:
    """Given colours as they are, the others from the palette; no colour twice among the given ones."""
    taken: dict[tuple[int, int, int], Draft] = {}
    for draft in drafts:
        if draft.colour is not None:
            if draft.colour in taken:
                first = taken[draft.colour]
                raise UsageError(
                    "E-legend-colour",
                    f"classes {first.name!r} and {draft.name!r} have one colour",
                    where=f"{first.place.source} and {draft.place.source}: #{bytes(draft.colour).hex()}",
                    fix="change one of the two, or leave it out",
                )
            taken[draft.colour] = draft
    from rsov.text.palette import colour_for

    automatic = iter(colour_for([draft.name for draft in drafts if draft.colour is None], taken))
    return [draft.colour or next(automatic) for draft in drafts]
