"""Recipes: TOML files read into frozen dataclasses, unknown keys refused, `--set key=value` on top."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from rsov.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

R = TypeVar("R")

_LIMITS = {
    "seed": (0, 2**32), "members": (1, 100), "batch": (1, 4096), "rate_trunk": (0, 1), "rate_rest": (0, 1),
    "sigmoid_weight": (0, 100), "text_noise": (0, 100), "boost": (0, 1e6),
    "steps": (1, 10**8), "decay_steps": (0, 10**8), "warmup_steps": (0, 10**8), "weight_decay": (0, 100),
    "gradient_norm": (1e-9, 1e9), "average": (0, 1), "save_every": (1, 10**8), "keep_every": (1, 10**8),
    "log_every": (1, 10**8), "workers": (0, 256), "threads": (0, 1024),
    "size": (32, 8192), "points": (1, 10**6), "finest": (1e-3, 1e3), "coarsest": (1e-3, 1e3),
    "enlarge_to": (1e-3, 1e3), "shrink_to": (1e-3, 1e3), "free_turn": (0, 1), "set_power": (0, 4),
    "class_power": (0, 4), "plain": (0, 1), "read_at": (1e-3, 1e3),
}  # fmt: skip
"""Least and greatest number by the last part of a key: outside of it there is no training."""


def _build(kind: type[R], table: Mapping[str, Any], where: str) -> R:
    hints = get_type_hints(kind)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise UsageError(
            "E-recipe-key",
            f"the recipe has no key {unknown[0]!r}",
            where=where,
            fix=f"keys: {', '.join(sorted(hints))}",
        )
    values: dict[str, Any] = {}
    for key, value in table.items():
        hint = hints[key]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            if not isinstance(value, Mapping):
                raise UsageError("E-recipe-value", f"{key!r} must be a table", where=where)
            values[key] = _build(hint, value, f"{where} [{key}]")
        else:
            values[key] = _checked(hint, value, f"{where}: {key}")
            _within(key, values[key], f"{where}: {key}")
    try:
        return kind(**values)
    except TypeError as error:
        raise UsageError("E-recipe-value", "the recipe is incomplete", where=where, why=str(error)) from error


def _checked(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) is dict and isinstance(value, Mapping):
        return {key: _checked(get_args(hint)[1], item, f"{where}.{key}") for key, item in value.items()}
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_checked(get_args(hint)[0], item, where) for item in value)
    if get_origin(hint) in (dict, tuple):
        kind = "table" if get_origin(hint) is dict else "list"
        raise UsageError("E-recipe-value", f"a {kind} is wanted, not {value!r}", where=where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if get_origin(hint) is Literal and value not in get_args(hint):
        wanted = " or ".join(map(repr, get_args(hint)))
        raise UsageError("E-recipe-value", f"{wanted} is wanted, not {value!r}", where=where)
    if hint in (int, float, str, bool) and (type(value) is not hint):
        raise UsageError("E-recipe-value", f"a {hint.__name__} is wanted, not {value!r}", where=where)
    return value


def _within(key: str, value: Any, where: str) -> None:
    """A number, or each of a table of numbers, lies within the limits of its key; NaN does not."""
    low, high = _LIMITS.get(key, (-math.inf, math.inf))
    for number in value.values() if isinstance(value, Mapping) else [value]:
        if isinstance(number, (int, float)) and not isinstance(number, bool) and not low <= number <= high:
            raise UsageError("E-recipe-value", f"{low:g} to {high:g} is possible, not {number}", where=where)


def _override(table: dict[str, Any], changes: Sequence[str]) -> None:
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign:
            raise UsageError(
                "E-recipe-set", f"{change!r} is not key=value", fix="for example --set loop.steps=3000"
            )
        try:
            value = tomllib.loads(f"x = {text}")["x"]
        except (ValueError, RecursionError):
            value = text
        *path, last = key.strip().split(".")
        place = table
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise UsageError("E-recipe-set", f"{part!r} is no table, so it has no {last!r}", where=change)
        place[last] = value


def flat(recipe: Any) -> dict[str, str]:
    """Every key of a recipe as `--set` names it, with its value as JSON."""
    found: dict[str, str] = {}
    for key, value in dataclasses.asdict(recipe).items():
        inner = value.items() if isinstance(value, Mapping) else None
        found |= (
            {key: json.dumps(value)} if inner is None else {f"{key}.{k}": json.dumps(v) for k, v in inner}
        )
    return found


def load_recipe(kind: type[R], path: Path | None, shipped: str, changes: Sequence[str] = ()) -> R:
    """Read a recipe file, or the shipped one, and apply `key=value` changes (dots go into tables).

    Raises:
        UsageError: the file cannot be read, or a key or a value is not one of the recipe.
    """
    try:
        if path is None:
            text = (
                resources.files("rsov")
                .joinpath("assets", "recipes", f"{shipped}.toml")
                .read_text(encoding="utf-8")
            )
        else:
            text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            "E-recipe", "the recipe cannot be read", where=str(path or shipped), why=str(error)
        ) from error
    _override(table, changes)
    return _build(kind, table, str(path or shipped))
