"""The whole job on a large mosaic: speed against the bare network, peak memory, and a rival.

    python -m benchmarks.mosaic --work DIR --orthos ../shared/data/orthos
    python -m benchmarks.mosaic --work DIR --orthos ... --sizes 10000,20000 --precision bf16
    python -m benchmarks.mosaic --work DIR --orthos ... --geoai VENV/bin/python

The mosaic is made of real 0.5 m pictures, mirrored copies side by side, without nodata, at a ground
sampling distance that the model reads as it is: every input pixel passes the network. Mpx are input pixels.
"Bare" is the time of the network alone over the same tiles (uint8 tiles in memory to class scores), in a
process of its own, by the same code. A round runs bare network and rsov side by side in time; figures are the
median of the rounds, of a ratio the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.processes import Measured, measured

PICTURES = ("koeln_50cm.tif", "aachen_50cm.tif")
PROMPTS = "forest,road,water,building"
BARE_TILES = 16
"""Distinct tiles held in memory by the bare run, which goes round them."""
RIVAL_SIZE = 5000


def main() -> None:
    arguments = parse()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for size in arguments.sizes:
        mosaic = make_mosaic(arguments.work / f"mosaic_{size}_{arguments.compress}.tif", size, arguments)
        for precision in arguments.precision:
            compare(mosaic, size, precision, arguments)
    if arguments.geoai is not None:
        rival(arguments)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for mosaics and maps; kept")
    parser.add_argument("--orthos", type=Path, required=True, help=f"folder of {', '.join(PICTURES)}")
    parser.add_argument("--sizes", type=lambda text: [int(n) for n in text.split(",")], default=[10_000])
    parser.add_argument("--precision", type=lambda text: text.split(","), default=["bf16", "fp32"])
    parser.add_argument("--compress", choices=("deflate", "jpeg"), default="deflate")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-bare", action="store_true", help="skip the bare network")
    parser.add_argument("--polygons-only", action="store_true", help="skip the run that writes no polygons")
    parser.add_argument("--model", default="bundled")
    parser.add_argument(
        "--geoai", type=Path, help="python of an environment with geoai-py: run the rival too"
    )
    return parser.parse_args()


def make_mosaic(path: Path, size: int, arguments: argparse.Namespace) -> Path:
    """A tiled GeoTIFF of size x size real pixels; made once."""
    import rasterio
    from rasterio.windows import Window

    if path.exists():
        return path
    pictures = []
    for name in PICTURES:
        with rasterio.open(arguments.orthos / name) as source:
            pictures.append(source.read())
            profile = {"crs": source.crs, "transform": source.transform}
    settings = {"jpeg": {"photometric": "YCBCR", "jpeg_quality": 90}, "deflate": {"predictor": 2}}[
        arguments.compress
    ]
    part = path.with_suffix(".part.tif")
    layout = {
        "compress": arguments.compress,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "interleave": "pixel",
        "bigtiff": "IF_SAFER",
    }
    with rasterio.open(
        part,
        "w",
        driver="GTiff",
        width=size,
        height=size,
        count=3,
        dtype="uint8",
        **layout,
        **profile,
        **settings,
    ) as target:
        for row in range(0, size, 512):
            height = min(512, size - row)
            target.write(rows(pictures, row, height, size), window=Window(0, row, size, height))
    part.rename(path)
    return path


def rows(pictures: list[np.ndarray], first: int, height: int, width: int) -> np.ndarray:
    """Rows of the endless picture in which copies alternate and are mirrored at every edge."""
    side = pictures[0].shape[1]
    out = np.empty((3, height, width), np.uint8)
    for y in range(height):
        down, inner_y = divmod(first + y, side)
        inner_y = side - 1 - inner_y if down % 2 else inner_y
        for across in range(-(-width // side)):
            line = pictures[(down // 2 + across // 2) % len(pictures)][:, inner_y]
            left = across * side
            out[:, y, left : left + side] = (line[:, ::-1] if across % 2 else line)[:, : width - left]
    return out


def compare(mosaic: Path, size: int, precision: str, arguments: argparse.Namespace) -> None:
    """Bare network, predict with and without polygons, in rounds.

    Every round begins with another of them: a machine that is shared, or that slows down when it is warm,
    would favour one place.
    """
    mpx = size * size / 1e6
    names = {"gpkg": "COG and GPKG", "none": "COG"}
    order = [*([] if arguments.no_bare else ["bare"]), *list(names)[: 1 if arguments.polygons_only else 2]]
    bare: list[float] = []
    runs: dict[str, list[Measured]] = {name: [] for name in order if name != "bare"}
    for number in range(arguments.rounds):
        turn = number % len(order)
        for what in order[turn:] + order[:turn]:
            if what == "bare":
                found = bare_forward(mosaic, precision, arguments)
                bare.append(found["scores_s"])
                print(
                    f"{size} px {precision}: bare network {bare[-1]:6.1f} s over {found['tiles']} tiles"
                    f" of {found['tile']} px (features alone {found['features_s']:.1f} s,"
                    f" {found['threads']} threads, CPU {found['cpu_s']:.1f} s)",
                    flush=True,
                )
            else:
                run, report = predict(mosaic, precision, what, arguments)
                runs[what].append(run)
                timing = json.dumps(report["timing"])
                print(f"    {names[what]}: {run.seconds:.1f} s, timing {timing}", flush=True)
    for what, measured_runs in runs.items():
        seconds = [run.seconds for run in measured_runs]
        ratio = median(s / b for s, b in zip(seconds, bare, strict=True)) if bare else math.nan
        fastest = min(seconds) / min(bare) if bare else math.nan
        print(
            f"{size} px {precision}: rsov predict to {names[what]:12s} {median(seconds):6.1f} s,"
            f" {mpx / median(seconds):.2f} Mpx/s, {ratio:.2f} x bare (fastest of each {fastest:.2f}),"
            f" CPU {median(run.cpu_seconds for run in measured_runs):.1f} s,"
            f" peak {max(run.peak for run in measured_runs) / 2**20:.0f} MiB (most of {len(seconds)})",
            flush=True,
        )


def predict(
    mosaic: Path, precision: str, formats: str, arguments: argparse.Namespace
) -> tuple[Measured, dict]:
    """One run of the command line in a process of its own."""
    out = arguments.work / f"map_{mosaic.stem}_{precision}_{formats}"
    words = [
        "predict",
        str(mosaic),
        "--prompts",
        PROMPTS,
        "-o",
        f"{out}/",
        "--overwrite",
        "--progress",
        "none",
    ]
    words += ["--precision", precision, "--vector-format", formats, "--model", arguments.model]
    run = measured([sys.executable, "-m", "rsov.cli", *words])
    return run, json.loads((out / f"{mosaic.stem}_report.json").read_text())


def bare_forward(mosaic: Path, precision: str, arguments: argparse.Namespace) -> dict:
    """The network alone, in a process of its own."""
    code = "from benchmarks.mosaic import bare; bare()"
    command = [sys.executable, "-c", code, str(mosaic), precision, arguments.model]
    return json.loads(subprocess.check_output(command, text=True))


def bare() -> None:
    """Child: reads some tiles of the mosaic, then times as many forward passes as the mosaic has tiles."""
    from rsov.engine.runtime import start

    threads = start()
    import torch

    mosaic, precision, model = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    segmenter, head, scene = prepare(mosaic, precision, model)
    from rsov.engine.plan import make_plan

    plan = make_plan(scene.work, scene.grid, scene.output_grid, segmenter.card, len(head.counts), 2**31)
    places = [(r, c) for r in range(plan.rows.count) for c in range(plan.cols.count)]
    with scene.open_reader() as reader:
        chosen = places[:: max(1, len(places) // BARE_TILES)]
        tiles = [np.ascontiguousarray(reader.read(plan.tile(*place).window).data)[None] for place in chosen]
    features_s = scores_s = 0.0
    with torch.inference_mode():
        for tile in tiles[:3]:
            segmenter.scores(segmenter.features(tile), head)
        used = time.process_time()
        for number in range(len(places)):
            since = time.perf_counter()
            features = segmenter.features(tiles[number % len(tiles)])
            features_s += time.perf_counter() - since
            segmenter.scores(features, head)
            scores_s += time.perf_counter() - since
    facts = {"tiles": len(places), "tile": plan.cols.tile, "threads": threads}
    times = {"features_s": features_s, "scores_s": scores_s, "cpu_s": time.process_time() - used}
    print(json.dumps({**facts, **times}))


def prepare(mosaic: Path, precision: str, model: str):
    """Model, head of the benchmark's prompts with the default background, scene."""
    from rsov.models.registry import load_segmenter
    from rsov.raster.scene_open import open_scene
    from rsov.raster.scene_options import ReadOptions
    from rsov.text import encoder
    from rsov.text.background import choose_background
    from rsov.text.cache import Embedder, cache_home
    from rsov.text.legend import make_legend
    from rsov.types import Notices

    segmenter = load_segmenter(model, "cpu", precision)
    legend = make_legend(PROMPTS)
    embed = Embedder(encoder.encode, encoder.SHA256, cache_home())
    head = segmenter.head(legend, choose_background(legend, None, embed), embed)
    scene = open_scene(mosaic, ReadOptions(), segmenter.card.gsd, segmenter.card.gsd_range, Notices())
    return segmenter, head, scene


def rival(arguments: argparse.Namespace) -> None:
    """Rsov and geoai's predict_geotiff: the same network, float32, tiles of one size, to a class raster."""
    mosaic = make_mosaic(
        arguments.work / f"mosaic_{RIVAL_SIZE}_{arguments.compress}.tif", RIVAL_SIZE, arguments
    )
    ours, _ = predict(mosaic, "fp32", "none", arguments)
    with tempfile.TemporaryDirectory() as folder:
        head = Path(folder) / "head.npz"
        subprocess.run(
            [
                sys.executable,
                "-c",
                "from benchmarks.mosaic import save_head; save_head()",
                str(mosaic),
                arguments.model,
                str(head),
            ],
            check=True,
        )
        root = Path(__file__).resolve().parent.parent
        (arguments.work / "geoai.tif").unlink(missing_ok=True)
        script = str(root / "benchmarks" / "mosaic_geoai.py")
        theirs = measured(
            [
                str(arguments.geoai),
                script,
                str(mosaic),
                arguments.model,
                str(head),
                str(arguments.work / "geoai.tif"),
            ],
            env={**os.environ, "PYTHONPATH": str(root)},
        )
    print(f"{RIVAL_SIZE} px fp32: rsov {ours.seconds:.1f} s, {ours.peak / 2**20:.0f} MiB")
    print(
        f"{RIVAL_SIZE} px fp32: geoai predict_geotiff {theirs.seconds:.1f} s, {theirs.peak / 2**20:.0f} MiB"
    )
    print(f"geoai / rsov: time {theirs.seconds / ours.seconds:.2f}, memory {theirs.peak / ours.peak:.2f}")


def save_head() -> None:
    """Child: class and background vectors to a file, so that the rival needs no text encoder."""
    _, head, _ = prepare(Path(sys.argv[1]), "fp32", sys.argv[2])
    np.savez(sys.argv[3], texts=head.texts, counts=head.counts, background=head.background)


if __name__ == "__main__":
    main()
