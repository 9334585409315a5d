"""A CUDA build of torchvision beside a CPU torch, made importable: what depends on it needs only that."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

State = Literal["absent", "native", "schemas", "already"]

_keep: list[torch.library.Library] = []
"""A library of operator schemas is undone when it is collected."""


def prepare_torchvision() -> State:
    """Declare torchvision's missing operators, before anybody imports torchvision, timm or open_clip.

    The package index has only torchvision's CUDA build for Linux. Beside a CPU torch its compiled part does
    not load, and ``import torchvision`` fails with "operator torchvision::nms does not exist". With both
    operator schemas declared the import works; only the detection operators themselves stay unusable.

    Returns:
        ``absent`` (not installed), ``native`` (its compiled part loads), ``schemas`` (declared here),
        ``already`` (declared before).
    """
    if _keep:
        return "already"
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return "absent"
    import torch

    root = Path(next(iter(spec.submodule_search_locations)))
    for compiled in root.glob("_C*.*"):
        if compiled.suffix in {".so", ".pyd", ".dylib"}:
            try:
                torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]  # torch
            except OSError:
                break
            else:
                return "native"
    try:
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]  # torch
    except RuntimeError:
        return "already"
    _keep.append(library)
    return "schemas"
