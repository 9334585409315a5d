"""What a run would do, for a dry run: facts for the report, lines for people."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from rsov.term import duration_text, number_text, size_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rsov.engine.plan import Plan
    from rsov.models.protocol import ModelCard
    from rsov.raster.scene import Scene


def plan_facts(plan: Plan) -> dict[str, Any]:
    """What a plan decided; sizes in work pixels, memory in bytes."""
    return {
        "tiles": plan.tiles,
        "tile": [plan.cols.tile, plan.rows.tile],
        "overlap": plan.cols.overlap,
        "strips": plan.strips,
        "memory_bytes": plan.memory,
        "memory_budget_bytes": plan.budget,
    }


def seconds_at_most(plan: Plan, card: ModelCard, threads: int, filled: float) -> float:
    """Roughly what a run takes in float32 on that many processors; ``filled`` is the share that can be valid.

    Numbers of 16 bits and GPUs are faster, which nobody knows without torch.
    """
    pixels = plan.tiles * filled * plan.cols.tile * plan.rows.tile
    return pixels / (card.thread_mpx * 1e6 * threads)


def plan_lines(
    scene: Scene, *, card: ModelCard, plan: Plan, outputs: Mapping[str, Path], disk: int, seconds: float
) -> str:
    """The plan of one map in aligned lines.

    ``outputs`` is kind -> path, ``disk`` bytes needed at most, ``seconds`` those of :func:`seconds_at_most`.
    """
    info = scene.info()
    grid, out = scene.grid, scene.output_grid
    crs = str(info["crs"] or "no CRS")
    radiometry = info["radiometry"]
    low, high = (" ".join(dict.fromkeys(map(_short, radiometry[end]))) for end in ("lo", "hi"))
    folder = next(iter(outputs.values())).absolute().parent
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.is_dir())).free
    bands = ", ".join(str(band) for band in info["bands"])
    scaled = f"{low} to {high} scaled ({radiometry['rule']})"
    rows = {
        "picture": f"{grid.width} x {grid.height} px, {_metres(info['gsd'])}, {crs[:40]}",
        "bands": f"{bands} ({info['bands_from']}), {info['dtype']}, {scaled}",
        "model": f"{card.name} {card.version} sees {_metres(info['work_gsd'])}",
        "tiles": f"{plan.tiles:,} of {plan.cols.tile} x {plan.rows.tile} px, overlap {plan.cols.overlap} px",
        "time": f"about {duration_text(seconds)} on CPUs in fp32, less in bf16 or on a GPU",
        "memory": f"{size_text(plan.memory)} of {size_text(plan.budget)} allowed",
        "disk": f"{size_text(disk)} at most, {size_text(free)} free",
        "map": f"{out.width} x {out.height} px",
    }
    lines = [f"{name + ':':<9}{value}" for name, value in rows.items()]
    lines += [f"         {path}" + (" (exists)" if path.exists() else "") for path in outputs.values()]
    return "\n".join([f"{scene.path.name}: plan", *(f"  {line}" for line in lines)])


def _short(value: float) -> str:
    """Three significant digits, whole numbers in full: 1.91, 249, 10432."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _metres(gsd: list[float] | None) -> str:
    if gsd is None:
        return "size of a pixel unknown"
    x, y = gsd
    sides = number_text(x) if abs(x - y) < 0.01 * x else f"{number_text(x)} x {number_text(y)}"
    return f"{sides} m per pixel"
