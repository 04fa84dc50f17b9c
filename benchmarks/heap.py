"""A heap that keeps its pages, so that a ratio of two runs tells of the runs.

A model's activations are given back to the system and asked for again in every pass, or not, by
where the heap of glibc happens to end. The faults of their pages took from nothing to 60 % of the
same bare forward, from one run to the next. With pages that are kept, both sides of a ratio do the
same.
"""

from __future__ import annotations

import os
import sys

KEPT = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""What mallopt(3) reads when a process begins."""


def keep_pages() -> None:
    """Begin this program anew with a heap that keeps its pages, unless it has one."""
    if any(name not in os.environ for name in KEPT):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEPT})


def usual() -> dict[str, str]:
    """The variables for another process, with the heap that it would have by itself."""
    return {name: value for name, value in os.environ.items() if name not in KEPT}
