"""Where and in which number type a network runs, and how it is made ready for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from rsov.errors import UsageError
from rsov.models.protocol import Placed

if TYPE_CHECKING:
    from rsov.models.protocol import Segmenter

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Flags in /proc/cpuinfo (x86, ARM) of processors on which bfloat16 is faster; emulated, it is slower."""

KNOWN = "cpu, cuda, cuda:N, or auto, which takes a GPU where there is one"

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

M = TypeVar("M", bound=nn.Module)


def choose_device(text: str) -> torch.device:
    """``auto`` is the first CUDA device if there is one that works, else the CPU.

    Raises:
        UsageError: no such device here.
    """
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        device = None
    if device is None or device.type not in {"cpu", "cuda"}:
        raise UsageError("E-option-device", f"--device {text}: no such device", fix=KNOWN)
    found = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= found:
        why = f"torch sees {found} GPU{'' if found == 1 else 's'}"
        if torch.version.cuda is None:
            why = "this build of torch computes on the CPU only"
        fix = "--device cpu, or auto; rsov doctor tells what is there"
        raise UsageError("E-option-device", f"--device {text} is not here", why=why, fix=fix)
    return device


def choose_dtype(precision: str, device: torch.device, cpuinfo: Path = Path("/proc/cpuinfo")) -> torch.dtype:
    """``auto`` is bfloat16 where the processor computes in it, float16 on other GPUs, else float32."""
    if precision != "auto":
        return PRECISIONS[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if BF16_FLAGS & _cpu_flags(cpuinfo) else torch.float32


def computed_in(segmenter: Segmenter) -> dict[str, str | None]:
    """What ``auto`` became: ``device`` and ``precision`` as the options name them, None where nobody says."""
    if not isinstance(segmenter, Placed):
        return {"device": None, "precision": None}
    names = {dtype: name for name, dtype in PRECISIONS.items()}
    return {"device": str(segmenter.device), "precision": names.get(segmenter.dtype, str(segmenter.dtype))}


def prepare(network: M, device: torch.device, dtype: torch.dtype) -> M:
    """Channels-last weights of a type on a device, without gradients; fuse before, not in inference mode."""
    network.eval().requires_grad_(requires_grad=False).to(device=device, dtype=dtype)
    channels_last(network)
    return network


def channels_last(module: nn.Module) -> None:
    """Lay out every 4-D parameter with the channels last, in place: the fast layout on a CPU."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _cpu_flags(cpuinfo: Path) -> frozenset[str]:
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = [line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))]
    return frozenset(flags[0]) if flags else frozenset()
