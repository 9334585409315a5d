"""Which bands of a known sensor are red, green and blue."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from rsov.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Sensor:
    """Names that each colour's band may have in a file, and its number in the sensor's usual product."""

    name: str
    names: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    index: tuple[int, int, int]

    def bands(self, descriptions: Sequence[str]) -> tuple[int, int, int]:
        """Band numbers (from 1) of red, green and blue, by name where all three are found, else by number.

        Raises:
            UsageError: the usual numbers are beyond the bands of the file.
        """
        lowered = [text.strip().lower() for text in descriptions]
        found = [next((lowered.index(n) + 1 for n in names if n in lowered), 0) for names in self.names]
        red, green, blue = found if all(found) else self.index
        if max(red, green, blue) > len(descriptions):
            raise UsageError(
                "E-sensor-bands",
                f"{self.name} has red, green, blue in bands {self.index}, the file has {len(descriptions)}",
                fix="name the bands: --bands R,G,B",
            )
        return red, green, blue


@lru_cache(maxsize=1)
def sensors() -> dict[str, Sensor]:
    """The sensors of ``assets/sensors.toml``."""
    text = resources.files("rsov").joinpath("assets/sensors.toml").read_text(encoding="utf-8")
    table = {}
    for name, entry in tomllib.loads(text).items():
        red, green, blue = (tuple(n.lower() for n in entry[colour]) for colour in ("red", "green", "blue"))
        a, b, c = entry["index"]
        table[name] = Sensor(name, (red, green, blue), (a, b, c))
    return table


def sensor(name: str) -> Sensor:
    """One sensor; raises :class:`UsageError` with the list of names."""
    found = sensors().get(name.strip().lower())
    if found is None:
        raise UsageError("E-sensor", f'unknown sensor "{name}"', fix=f"one of {', '.join(sorted(sensors()))}")
    return found
