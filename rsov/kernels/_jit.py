"""One decorator for every compiled kernel: serial, without the GIL, cached on disk where possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def njit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` with numba: serial (rsov's own threads run kernels), GIL released, cached.

    Read-only installs without a home folder have no place for the cache (``RuntimeError: no locator
    available``): such a process compiles for itself.
    """
    try:
        compiled = numba.njit(function, nogil=True, cache=True)
    except RuntimeError:
        compiled = numba.njit(function, nogil=True, cache=False)
    return cast("Callable[P, R]", compiled)
