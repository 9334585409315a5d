"""What this machine has, and what of it would make a run fail: one line a check, each with its remedy."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import re
import shutil
import stat
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import rsov
from rsov.errors import RsovError
from rsov.raster.env import forbidden_drivers  # and so GDAL is prepared before any copy of it loads
from rsov.term import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Status = Literal["ok", "warn", "fail"]

GDAL_FLOOR = (3, 9, 2)
"""Oldest GDAL that rsov is tested with (the one in fiona's wheels)."""
HDF4_FIXED = (3, 12, 4)
"""First GDAL whose HDF4 drivers lack CVE-2026-8084, -8086, -8087, -8088, -8212 and -8213."""
MIN_FREE_DISK = 1 << 30
PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "numba",
    "rasterio",
    "fiona",
    "pyogrio",
    "rio-tiler",
    "shapely",
    "pyproj",
    "safetensors",
    "tokenizers",
    "sentence-transformers",
    "open_clip_torch",
    "torch-tensorrt",
    "typer",
    "rich",
)
SEARCH_PATHS = ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA")
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    status: Status
    value: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def examine() -> list[Check]:
    """All checks, in the order in which they are shown; a check that breaks is itself a failed check."""
    steps: tuple[Callable[[], Iterator[Check]], ...] = (
        _versions, _gdal, _search_paths, _torch, _torchvision, _tensorrt, _weights, _text_encoder, _processor,
        _memory, _places,
    )  # fmt: skip
    found: list[Check] = []
    for step in steps:
        try:
            found.extend(step())
        except Exception as error:  # noqa: BLE001 - the doctor must outlive what it examines
            what = error.what if isinstance(error, RsovError) else f"{type(error).__name__}: {error}"
            fix = (
                error.fix
                if isinstance(error, RsovError)
                else "reinstall rsov: pip install --force-reinstall rsov"
            )
            found.append(Check(step.__name__.strip("_").replace("_", " "), "fail", what, fix))
    return found


def _versions() -> Iterator[Check]:
    yield Check(
        "rsov", "ok", f"{rsov.__version__}, Python {platform.python_version()}, {platform.platform()}"
    )
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    yield Check("packages", "ok", ", ".join(versions))


def _gdal() -> Iterator[Check]:
    import fiona
    import rasterio

    copies = {"rasterio": str(rasterio.__gdal_version__), "fiona": str(fiona.__gdal_version__)}
    try:
        import pyogrio
    except ImportError:
        pass
    else:
        copies["pyogrio"] = ".".join(map(str, pyogrio.__gdal_version__))
    with rasterio.Env() as env:
        drivers = set(env.drivers())
    for package, version in copies.items():
        yield gdal_check(package, version, drivers if package == "rasterio" else set())
    forbidden = forbidden_drivers()
    if forbidden:
        fix = "import rsov before rasterio, so that GDAL loads without them"
        yield Check("drivers", "fail", f"not wanted: {', '.join(forbidden)}", fix)
    else:
        yield Check("drivers", "ok", ", ".join(sorted(drivers)))


def gdal_check(package: str, version: str, drivers: set[str]) -> Check:
    """One copy of GDAL against the floor, and against the drivers with known holes (S30)."""
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    name = f"GDAL of {package}"
    if found < GDAL_FLOOR:
        floor = ".".join(map(str, GDAL_FLOOR))
        return Check(name, "fail", f"{version}, older than {floor}", f"pip install --upgrade {package}")
    holes = sorted(driver for driver in drivers if driver.startswith("HDF4"))
    if holes and found < HDF4_FIXED:
        value = f"{version} with {', '.join(holes)} (CVE-2026-8084 and others)"
        return Check(name, "fail", value, "import rsov before rasterio, so that it leaves these drivers out")
    return Check(name, "ok", version)


def _search_paths() -> Iterator[Check]:
    """A PROJ_LIB of another installation is the usual cause of "no database context"."""
    import pyproj
    from rasterio.crs import CRS

    foreign = [f"{name}={os.environ[name]}" for name in SEARCH_PATHS if os.environ.get(name)]
    try:
        works = CRS.from_epsg(32632).is_projected and pyproj.CRS.from_epsg(32632).is_projected
    except Exception as error:  # noqa: BLE001 - rasterio and pyproj raise classes of their own
        works, foreign = False, [*foreign, str(error)]
    if not works:
        yield Check(
            "PROJ",
            "fail",
            "; ".join(foreign) or "EPSG:32632 is unknown",
            "unset PROJ_LIB PROJ_DATA GDAL_DATA",
        )
    elif foreign:
        yield Check("PROJ", "warn", "works; " + "; ".join(foreign), "unset them if coordinates look wrong")
    else:
        yield Check("PROJ", "ok", "EPSG database found")


def _torch() -> Iterator[Check]:
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    yield Check("torch", "ok", f"{torch.__version__}, {build}, {torch.backends.cpu.get_cpu_capability()}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield Check(f"GPU {index}", "ok", f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB")
    elif shutil.which("nvidia-smi") or Path("/dev/nvidiactl").exists():
        fix = "install torch's CUDA build" if not torch.version.cuda else "check the driver with nvidia-smi"
        yield Check("GPU", "warn", "the machine has an NVIDIA device that torch cannot use", fix)
    else:
        yield Check("GPU", "ok", "none; the CPU is used")


def _torchvision() -> Iterator[Check]:
    from rsov.engine.torchvision import prepare_torchvision

    state = prepare_torchvision()
    told = {
        "absent": "not installed, and not needed",
        "native": "fits this torch",
    }.get(state, "its compiled part does not fit this torch (a CUDA build beside a CPU torch); survived: "
                 "everything but torchvision's detection operators works")  # fmt: skip
    if state == "absent":
        yield Check("torchvision", "ok", told)
        return
    importlib.import_module("torchvision")
    yield Check("torchvision", "ok", f"{metadata.version('torchvision')}: {told}")


def _tensorrt() -> Iterator[Check]:
    import torch

    try:
        metadata.version("torch-tensorrt")
    except metadata.PackageNotFoundError:
        yield Check("TensorRT", "ok", "not installed (optional: rsov[tensorrt])")
        return
    if not torch.cuda.is_available():
        yield Check("TensorRT", "ok", "installed, unused without a CUDA device")
        return
    try:
        with contextlib.redirect_stdout(sys.stderr):
            import torch_tensorrt
    except Exception as error:  # noqa: BLE001 - torch_tensorrt raises a bare Exception without its libraries
        yield Check(
            "TensorRT",
            "warn",
            f"cannot be loaded: {error}",
            "pip install tensorrt, or leave it: torch is used",
        )
    else:
        yield Check("TensorRT", "ok", str(torch_tensorrt.__version__))


def _weights() -> Iterator[Check]:
    from rsov.models.registry import DEFAULT, find_weights, load_segmenter

    card = load_segmenter(DEFAULT, device="cpu", precision="fp32").card
    size = size_text(find_weights(DEFAULT).stat().st_size)
    value = f"version {card.version}, {size}, sha256 {card.sha256[:16]}, {card.gsd:g} m per pixel"
    yield Check(f"model {DEFAULT}", "ok", value)


def _text_encoder() -> Iterator[Check]:
    from rsov.text import encoder

    encoder.encode(["forest"])  # checks the hash of the weights when it loads them
    yield Check("text encoder", "ok", f"{encoder.NAME}, sha256 {encoder.SHA256[:16]}")


def _processor() -> Iterator[Check]:
    from rsov.engine.budget import cpu_count

    flags: set[str] = set()
    info = Path("/proc/cpuinfo")
    if info.exists():
        match = re.search(
            r"^(?:flags|Features)\s*:(.*)$", info.read_text(encoding="utf-8", errors="replace"), re.M
        )
        flags = set(match.group(1).split()) if match else set()
    known = [flag for flag in CPU_FLAGS if flag in flags]
    count, machine = cpu_count(), os.cpu_count() or 1
    limited = "" if count == machine else f" of {machine} (affinity or control group)"
    yield Check("CPUs", "ok", f"{count}{limited} may be used here, {', '.join(known) or platform.machine()}")


def _memory() -> Iterator[Check]:
    from rsov.engine.budget import memory_budget, memory_limit

    limit, budget = memory_limit(), memory_budget(None)
    yield Check(
        "memory", "ok", f"{limit / 2**30:.1f} GiB may be used here, {budget / 2**30:.1f} GiB by default"
    )


def _places() -> Iterator[Check]:
    from rsov.raster.leftovers import Fate, fate, leftovers
    from rsov.text.cache import cache_home

    cache = cache_home()
    nearest = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(nearest, os.W_OK):
        yield Check(
            "cache",
            "warn",
            f"{cache} cannot be written: slower starts",
            "set RSOV_CACHE_DIR to a folder of yours",
        )
    elif cache.exists() and (
        cache.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH) or cache.stat().st_uid != os.getuid()
    ):
        yield Check("cache", "fail", f"{cache} can be written by others", f"chmod 700 {cache}")
    else:
        yield Check("cache", "ok", str(cache))
    for name, folder in (("disk here", Path.cwd()), ("disk of the cache", nearest)):
        free = shutil.disk_usage(folder).free
        status: Status = "ok" if free >= MIN_FREE_DISK else "warn"
        yield Check(
            name, status, f"{free / 2**30:.1f} GiB free in {folder}", "" if status == "ok" else "make room"
        )
    old = [path.name for path in leftovers(Path.cwd()) if fate(path) is not Fate.LIVES]
    if old:
        yield Check("leftovers", "warn", ", ".join(old), "remove them if no other run writes here")
