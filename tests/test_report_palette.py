"""Colours of classes: familiar, all different, the same for the same names."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from rsov.text.palette import RESERVED, colour_for

COMMON = ["forest", "road", "water", "building", "grass", "cropland", "bare soil", "shrub", "sand", "wetland"]


def distances(colours: list[tuple[int, int, int]]) -> np.ndarray:
    """CIEDE2000 between all pairs."""
    lab = rgb2lab(np.array(colours, float) / 255)
    pairs = np.array(list(itertools.combinations(range(len(colours)), 2)))
    return deltaE_ciede2000(lab[pairs[:, 0]], lab[pairs[:, 1]])


def test_P15_300_classes_have_300_colours_that_can_be_told_apart() -> None:
    colours = colour_for([f"class {i}" for i in range(300)])
    assert len(set(colours)) == 300
    assert distances(colours).min() > 1.5  # a just noticeable difference is about 1
    assert not set(colours) & set(RESERVED)


@pytest.mark.parametrize("count", [5, 12])
def test_P15_few_unknown_classes_are_far_apart(count: int) -> None:
    assert distances(colour_for([f"thing {i}" for i in range(count)])).min() > 6


def test_P15_colours_do_not_depend_on_the_order_of_the_names() -> None:
    names = [*COMMON, *(f"thing {i}" for i in range(40))]
    expected = dict(zip(names, colour_for(names), strict=True))
    random.Random(0).shuffle(names)
    assert dict(zip(names, colour_for(names), strict=True)) == expected


def test_P15_a_name_alone_keeps_its_colour() -> None:
    assert colour_for(["xyzzy"]) == colour_for(["xyzzy"])
    assert colour_for(["xyzzy", "forest"])[0] == colour_for(["xyzzy"])[0]


def test_familiar_names_have_familiar_colours() -> None:
    colours = dict(zip(COMMON, colour_for(COMMON), strict=True))
    red, green, blue = colours["forest"]
    assert green > 1.5 * max(red, blue)
    red, green, blue = colours["water"]
    assert blue > green > red
    red, green, blue = colours["building"]
    assert red > 3 * max(green, blue)
    assert max(colours["road"]) - min(colours["road"]) < 20
    assert distances(list(colours.values())).min() > 10


@pytest.mark.parametrize(("name", "like"), [("Forests", "forest"), ("  BUILDINGS ", "building"), ("bushes", "bush"),
                                            ("dense forest", "forest"), ("gravel_road", "gravel road"), ("cities", "city")])  # fmt: skip
def test_case_plural_and_qualifiers_do_not_change_the_colour(name: str, like: str) -> None:
    assert colour_for([name]) == colour_for([like])


def test_two_names_of_one_colour_differ_and_the_more_general_keeps_it() -> None:
    lake, water = colour_for(["lake", "water"])
    assert water == colour_for(["water"])[0]
    assert lake != water
    assert distances([lake, water]).min() > 4


def test_colours_given_by_hand_are_kept_away_from() -> None:
    taken = colour_for(["forest"])[0]
    assert colour_for(["forest"], [taken])[0] != taken


@pytest.mark.parametrize("name", ["", " ", "🌲", "中", "s", "=1"])
def test_any_name_has_a_colour(name: str) -> None:
    (colour,) = colour_for([name])
    assert all(0 <= value <= 255 for value in colour)


def classes_seen_without(matrix: list[list[float]]) -> float:
    linear = (np.array(colour_for(COMMON)) / 255) ** 2.2
    seen = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
    return float(distances([tuple(255 * colour) for colour in seen]).min())


def test_common_classes_differ_for_colour_blind_eyes() -> None:
    """Viénot 1999; two areas side by side are told apart from a difference of about 3 on."""
    assert classes_seen_without([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]) > 3
    assert classes_seen_without([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]) > 3
