"""Colours of classes: familiar ones for familiar names, distinct and stable ones for all others.

Distances are taken in OKLab (Ottosson 2020), as the smallest of normal, protanopic and
deuteranopic vision (Viénot, Brettel and Mollon 1999), so that classes differ for most eyes.
"""

from __future__ import annotations

import hashlib
import tomllib
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from rsov.text.normalise import word_forms
from rsov.types import NONE_COLOUR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

RGB = tuple[int, int, int]

RESERVED: tuple[RGB, ...] = (NONE_COLOUR, (255, 255, 255), (0, 0, 0))
"""None of them, paper and ink: never given to a class by itself."""

MIN_DISTANCE = 0.07
"""OKLab distance at which two flat areas of a legend are told apart at a glance."""

FAMILIAR_DISTANCE = 0.03
"""A familiar colour stays what it is down to this distance: blue water says more than the best contrast."""

BLIND_WEIGHT = 2.5
"""Colour-blind eyes see a smaller space, so the same distance in it says more."""

MOST_COMPARED = 400
"""So many colours are told apart by eye; further ones only differ, and cost no comparison with all others."""

MOST_DISTINCT = 48
"""Unknown names start from one of the first colours of the ordered list; later ones are closer together."""


def colour_for(names: Sequence[str], taken: Iterable[RGB] = ()) -> list[RGB]:
    """A colour for each name: all different, the same for the same set of names in any order.

    Args:
        names: class names, as shown.
        taken: colours that classes have been given by hand; kept away from.
    """
    table = _table()
    keys = {name: _key(name) for name in names}
    ideals = {name: table.get(key) or table.get(key.split()[-1] if key else "") for name, key in keys.items()}
    rank = {key: place for place, key in enumerate(table)}
    order = sorted(
        set(names), key=lambda name: (ideals[name] is None, rank.get(keys[name], len(rank)), keys[name], name)
    )
    used = _Used([*RESERVED, *taken])
    given = {}
    for place, name in enumerate(order):
        ideal = ideals[name]
        if place >= MOST_COMPARED:
            given[name] = used.any_other(keys[name])
        elif ideal is not None:
            given[name] = used.nearest(ideal, FAMILIAR_DISTANCE)
        else:
            given[name] = used.nearest(_hashed(keys[name]), MIN_DISTANCE)
    return [given[name] for name in names]


class _Used:
    """Colours in use, and how far every other one is from them."""

    def __init__(self, colours: Sequence[RGB]) -> None:
        self._colours = set(colours)
        self._candidates = _ordered()
        self._seen = _views(self._candidates)
        self._free = np.full(len(self._candidates), np.inf)
        for colour in colours:
            self._note(colour)

    def nearest(self, ideal: RGB, enough: float) -> RGB:
        """The ideal if it is at least ``enough`` from all in use, else the distinct colour most like it."""
        views = _views(np.array([ideal], dtype=np.uint8))
        used = _views(np.array(sorted(self._colours), dtype=np.uint8))
        if ideal not in self._colours and _distance(views, used).min() >= enough:
            return self._take(ideal)
        likeness = _distance(self._seen[:, :1], views[:, :1])
        threshold = MIN_DISTANCE
        while not (self._free >= threshold).any():
            threshold /= 2
        fits = np.flatnonzero(self._free >= threshold)
        best = fits[np.argmin(likeness[fits])]
        red, green, blue = (int(value) for value in self._candidates[best])
        return self._take((red, green, blue))

    def any_other(self, key: str) -> RGB:
        """A colour that none has, found from the name."""
        start = int.from_bytes(hashlib.sha256(key.encode()).digest()[:3], "big")
        for value in range(start, start + 2**24):
            red, green, blue = (value % 2**24).to_bytes(3, "big")
            if (red, green, blue) not in self._colours:
                break
        self._colours.add((red, green, blue))
        return red, green, blue

    def _take(self, colour: RGB) -> RGB:
        self._colours.add(colour)
        self._note(colour)
        return colour

    def _note(self, colour: RGB) -> None:
        view = _views(np.array([colour], dtype=np.uint8))
        self._free = np.minimum(self._free, _distance(self._seen, view))


def _key(name: str) -> str:
    """How the name stands in the table; other names without the s of a plural, so that both look alike."""
    forms = word_forms(name)
    unknown = forms[0] if forms[0].endswith("ss") else forms[0].removesuffix("s")
    return next((form for form in forms if form in _table()), unknown)


@lru_cache(maxsize=1)
def _table() -> dict[str, RGB]:
    """Name -> colour of ``assets/palette.toml``; the names that lead their lines come first."""
    text = resources.files("rsov").joinpath("assets/palette.toml").read_text(encoding="utf-8")
    rows = [
        (place, name, _rgb(colour))
        for colour, names in tomllib.loads(text).items()
        for place, name in enumerate(names)
    ]
    return {name: colour for _, name, colour in sorted(rows, key=lambda row: row[0])}


def _rgb(text: str) -> RGB:
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


def _hashed(key: str) -> RGB:
    """The colour an unknown name starts from; depends on the name alone."""
    index = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % MOST_DISTINCT
    red, green, blue = (int(value) for value in _ordered()[index])
    return red, green, blue


@lru_cache(maxsize=1)
def _ordered() -> NDArray[np.uint8]:
    """[N, 3] colours fit for areas; the first ones each as far as possible from those before."""
    lightness, chroma, hue = np.meshgrid(
        np.linspace(0.36, 0.92, 15),
        np.array([0.05, 0.09, 0.13, 0.17, 0.21]),
        np.arange(0, 360, 10),
        indexing="ij",
    )
    angle = np.deg2rad(hue)
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1).reshape(-1, 3)
    linear = (lab @ _LAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T
    inside = ((linear >= 0) & (linear <= 1)).all(axis=1)
    colours = np.unique(np.rint(255 * _gamma(linear[inside])).astype(np.uint8), axis=0)
    views = _views(colours)
    reach = _distance(views, _views(np.array(RESERVED, dtype=np.uint8))).min(axis=1)
    first: list[int] = []
    for _ in range(MOST_DISTINCT):
        first.append(int(np.argmax(reach)))
        reach = np.minimum(reach, _distance(views, views[first[-1:]]))
    rest = np.setdiff1d(np.arange(len(colours)), first)
    return colours[[*first, *rest]]


def _distance(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances of [N, V, 3] from [M, V, 3]: [N, M], or [N] for M = 1; the least of V kinds of sight."""
    weights = np.array([1.0, BLIND_WEIGHT, BLIND_WEIGHT])[: some.shape[1]]
    each = np.linalg.norm(some[:, None] - others[None], axis=-1) * weights
    result: NDArray[np.float64] = each.min(axis=-1)
    return result[:, 0] if len(others) == 1 else result


def _views(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """[N, 3, 3]: OKLab of each colour as seen by normal, protanopic and deuteranopic eyes."""
    linear = _linear(colours / 255.0)
    seen = np.stack([linear, linear @ _PROTAN.T, linear @ _DEUTAN.T], axis=1)
    lab: NDArray[np.float64] = np.cbrt(np.clip(seen, 0, 1) @ _RGB_TO_LMS.T) @ _LMS_TO_LAB.T
    return lab


def _linear(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _gamma(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


# Ottosson, "A perceptual color space for image processing", 2020.
_RGB_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_LMS_TO_RGB = np.linalg.inv(_RGB_TO_LMS)
_LAB_TO_LMS = np.linalg.inv(_LMS_TO_LAB)

# Viénot, Brettel and Mollon, "Digital video colourmaps for checking the legibility of displays by
# dichromats", Color Research & Application 24(4), 1999: projections of linear RGB.
_PROTAN = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
_DEUTAN = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
