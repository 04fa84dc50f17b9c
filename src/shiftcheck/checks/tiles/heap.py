"""The C library's heap, whose gaps fill memory that no tensor has."""

from __future__ import annotations

import ctypes


def give_back_gaps() -> None:
    """Have the C library return to the system what lies free between blocks that are in use.

    Windows at the border of an image are smaller than those within, so what one tile leaves does
    not fit the next: without this, the heap grows with every tile to twice what lives in it. Only
    glibc has the call (malloc_trim(3)), and elsewhere nothing is done.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # no glibc; Windows has no library of the process
        return
    trim(0)
