"""rsov: land-cover maps from orthomosaics and words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "predict"]

if TYPE_CHECKING:
    from rsov.jobs.predict import predict


def __getattr__(name: str) -> Any:
    """Load the jobs on first use, so that ``import rsov`` stays light."""
    if name == "predict":
        from rsov.jobs.predict import predict

        return predict
    raise AttributeError(f"module 'rsov' has no attribute {name!r}")
