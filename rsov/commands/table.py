"""The options of `rsov predict`, one row each: flag, converter, panel, help.

Typer parses and shows them; the texts are converted in one place (:mod:`rsov.commands.settings`) whether they
come from the command line, the environment or a config file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rsov.commands import values as v
from rsov.jobs.options import CHOICES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True)
class Option:
    """One option.

    ``name`` is the field it fills, ``convert`` ``None`` a switch, ``offers`` gives values to complete.
    """

    name: str
    panel: str
    help: str
    convert: v.Convert | None = None
    metavar: str = "TEXT"
    short: str = ""
    repeat: bool = False
    hidden: bool = False
    offers: Callable[[], Iterable[str]] = tuple
    opposite: bool = field(default=False)

    @property
    def flags(self) -> tuple[str, ...]:
        """``("--min-area",)``, with the short letter first where there is one."""
        long = "--" + self.name.replace("_", "-")
        if self.opposite:
            long += "/--no-" + self.name.replace("_", "-")
        return (self.short, long) if self.short else (long,)


def offered(*values: str) -> Callable[[], Iterable[str]]:
    """Values to complete that are known without looking."""
    return lambda: values


def choice(name: str, panel: str, help: str, metavar: str, *values: str) -> Option:
    """An option with one of a few values."""
    return Option(name, panel, help, v.one_of(*values), metavar, offers=offered(*values))


def _sensors() -> Iterable[str]:
    from rsov.raster.sensors import sensors

    return sensors()


def _models() -> Iterable[str]:
    from rsov.models.registry import NAMES

    return NAMES


WORDS = "Words and model"
PIXELS = "Pixels in"
PLACE = "Area of interest and output grid"
RESULTS = "Results"
RUN = "Speed and memory"
OTHER = "Messages and settings"

PREDICT: tuple[Option, ...] = (
    Option(
        "prompts",
        WORDS,
        "Classes: 'forest,road', 'water=lake|river', or the name of a legend file (.txt, .toml).",
        v.as_given,
        "WORDS",
        "-p",
        repeat=True,
    ),
    Option(
        "background",
        WORDS,
        "Names that compete with the prompts: a file, or none [shipped list].",
        v.word,
        "FILE|none",
    ),
    Option("model", WORDS, "Model: a name or a folder [bundled].", v.word, "MODEL", "-m", offers=_models),
    Option(
        "output", RESULTS, "Folder DIR/, or NAME.tif with one input [current folder].", v.word, "PATH", "-o"
    ),
    Option("confidence", RESULTS, "Also write the confidence of every pixel.", opposite=True),
    Option("probs", RESULTS, "Also write one band of probability a class.", opposite=True),
    Option(
        "vector_format",
        RESULTS,
        "Polygons as gpkg, geojson, fgb, shp (several with commas), or none [gpkg].",
        v.vector_formats,
        "LIST",
        repeat=True,
        offers=offered(*CHOICES["vector_format"], "none"),
    ),
    Option(
        "min_area",
        RESULTS,
        "Smaller regions go to their largest neighbour (square metres; pixels without CRS) [0].",
        v.area,
        "AREA",
    ),
    Option(
        "simplify",
        RESULTS,
        "Simplify borders by this tolerance; shared borders stay shared [0].",
        v.number,
        "METRES",
    ),
    Option("max_features", RESULTS, "Stop when there are more polygons [50000000].", v.integer, "N"),
    Option("quicklook", RESULTS, "Also write a PNG of input and map with a legend.", opposite=True),
    Option("overwrite", RESULTS, "Replace existing outputs, at the end and all at once.", opposite=True),
    Option("dry_run", RESULTS, "Show the plan; load no model, write nothing.", short="-n", opposite=True),
    Option("fail_empty", RESULTS, "An input without any valid pixel is an error (code 3).", opposite=True),
    Option(
        "bands",
        PIXELS,
        "Red, green, blue by number or name: 4,3,2 [1,2,3].",
        v.bands,
        "LIST",
        "-b",
        repeat=True,
    ),
    Option(
        "sensor",
        PIXELS,
        "Take the bands of a known sensor, by name or usual number.",
        v.word,
        "NAME",
        offers=_sensors,
    ),
    choice(
        "alpha", PIXELS, "Is the band marked as alpha a mask: auto, yes, no [auto].", "HOW", *CHOICES["alpha"]
    ),
    Option(
        "nodata",
        PIXELS,
        "Nodata value, one per band with commas; nan; none = the file's is wrong.",
        v.nodata,
        "VALUES",
        repeat=True,
        offers=offered("nan", "none"),
    ),
    choice(
        "mask_rule", PIXELS, "A pixel is nodata if any or all bands are [any].", "RULE", *CHOICES["mask_rule"]
    ),
    Option("nodata_tolerance", PIXELS, "Values this close to nodata are nodata too [0].", v.number, "VALUE"),
    Option(
        "scale",
        PIXELS,
        "Values to 0-255: auto, none, MIN,MAX or pLOW,pHIGH [auto].",
        v.word,
        "RULE",
        offers=offered("auto", "none"),
    ),
    Option("stats", PIXELS, "Take the scaling from an earlier report or map.", v.path, "FILE"),
    Option("gsd", PIXELS, "Ground sampling distance of the input in metres per pixel.", v.number, "METRES"),
    Option("work_gsd", PIXELS, "Ground sampling distance the model sees [model's].", v.number, "METRES"),
    Option("crs", PIXELS, "Coordinate system of the input, assigned, not warped: EPSG:32632.", v.word, "CRS"),
    choice(
        "gcp",
        PIXELS,
        "Pictures with ground control points only: refuse, warp, keep, ignore [refuse].",
        "HOW",
        *CHOICES["gcp"],
    ),
    Option("subdataset", PIXELS, "Page or sub-dataset to read, from 1.", v.integer, "N"),
    Option("apply_exif_orientation", PIXELS, "Turn a photograph as its EXIF tag says.", opposite=True),
    choice(
        "on_bad_block", PIXELS, "Damaged blocks: fail, or nodata [fail].", "HOW", *CHOICES["on_bad_block"]
    ),
    Option(
        "input_sha256", PIXELS, "Expected checksum of the input, or a file that holds it.", v.word, "HEX|FILE"
    ),
    Option("allow_vrt", PIXELS, "Read VRT files (sources in their folder only).", opposite=True),
    Option(
        "isolate",
        PIXELS,
        "Decode each input in a process of its own first: for untrusted files.",
        opposite=True,
    ),
    Option("max_pixels", PIXELS, "Refuse larger inputs [200000000000].", v.integer, "N"),
    Option(
        "inputs_file",
        PIXELS,
        "Read names of inputs from a file, one a line; - = standard input.",
        v.word,
        "FILE",
    ),
    Option("bounds", PLACE, "west,south,east,north in the input's CRS or --bounds-crs.", v.bounds, "W,S,E,N"),
    Option("bounds_crs", PLACE, "CRS of --bounds.", v.word, "CRS"),
    Option("aoi", PLACE, "Area of interest: polygons in any CRS.", v.path, "FILE"),
    Option(
        "window",
        PLACE,
        "Pixels col,row,width,height; of the warped picture with --dst-crs.",
        v.window,
        "C,R,W,H",
    ),
    Option(
        "res",
        PLACE,
        "Pixel size of the output in units of its CRS; each takes the scores at its centre [input's].",
        v.number,
        "SIZE",
    ),
    Option("like", PLACE, "Write on the grid of this raster.", v.path, "FILE"),
    Option("dst_crs", PLACE, "Coordinate system of the output; the input is warped.", v.word, "CRS"),
    Option("tile", RUN, "Tile side in work pixels [model's].", v.integer, "PX", "-t"),
    Option("overlap", RUN, "Overlap of tiles in work pixels or percent [model's].", v.word, "PX|%"),
    choice("precision", RUN, "auto, fp32, bf16, fp16 [auto].", "TYPE", *CHOICES["precision"]),
    Option(
        "device",
        RUN,
        "auto, cpu, cuda, cuda:N [auto].",
        v.device,
        "NAME",
        "-d",
        offers=offered("auto", "cpu", "cuda"),
    ),
    Option("jobs", RUN, "Threads [all CPUs this process may use].", v.threads, "N", "-j"),
    Option("max_memory", RUN, "Memory to stay below: 8G, 512M, 60% [60%; 90% up to 1G].", v.word, "SIZE"),
    Option("fail_fast", RUN, "With several inputs: stop at the first that fails.", opposite=True),
    Option("json", OTHER, "One JSON document on standard output instead of the paths.", opposite=True),
    Option("quiet", OTHER, "Errors only.", short="-q"),
    Option("verbose", OTHER, "More messages; -v -v with tracebacks.", short="-v", repeat=True),
    choice("progress", OTHER, "auto, bar, plain, none [auto].", "HOW", "auto", "bar", "plain", "none"),
    choice("color", OTHER, "auto, always, never [auto].", "WHEN", "auto", "always", "never"),
    Option("log_file", OTHER, "Write all messages to a file, one JSON object a line.", v.path, "FILE"),
)
