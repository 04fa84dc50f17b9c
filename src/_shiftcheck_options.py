"""What the options of checks may be: the same for Python, the command line and the plugin.

It stands beside the package because importing the package imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def is_layer(value: Any) -> bool:
    """Whether a value may name a layer, or says that none is meant."""
    return value is None or (isinstance(value, str) and value != "")


def is_boundary(value: Any) -> bool:
    """Whether a value names a boundary, or some."""
    entries = value if isinstance(value, list | tuple) else [value]
    return bool(entries) and all(entry in ("valid", "circular") for entry in entries)


def is_growth(value: Any) -> bool:
    """Whether a value says if an input may grow, or to which size."""
    sizes = value if isinstance(value, list | tuple) else ()
    return isinstance(value, bool) or (bool(sizes) and all(is_whole(n) and n >= 1 for n in sizes))


class Option(NamedTuple):
    """Whether a value will do, and what to give in the place of one that does not."""

    valid: Callable[[Any], bool]
    meant: str


def _tolerance(value: Any) -> bool:
    return is_number(value) and value >= 0


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


OPTIONS = {
    "layer": Option(is_layer, "the name of a layer, or None"),
    "seed": Option(is_whole, "a whole number"),
    "rtol": Option(_tolerance, "a finite number of at least 0"),
    "atol": Option(_tolerance, "a finite number of at least 0"),
    "boundary": Option(is_boundary, "'valid' or 'circular', or one of them for each spatial axis"),
    "max_batch": Option(
        lambda v: v is None or (is_whole(v) and v >= 2),
        "a whole number of at least 2 (the base and a copy), or None",
    ),
    "training": Option(_flag, "True or False"),
    "fractional": Option(_flag, "True or False"),
    "margin": Option(_flag, "True or False"),
    "measure": Option(
        lambda v: v in ("layers", "outputs", "failing"), "'layers', 'outputs' or 'failing'"
    ),
    "effort": Option(lambda v: v in ("bounded", "full"), "'bounded' or 'full'"),
    "grow": Option(is_growth, "True, False, or a spatial size such as (512, 512)"),
    "weights": Option(lambda v: v in ("own", "randomized"), "'own' or 'randomized'"),
    "draws": Option(lambda v: is_whole(v) and v >= 1, "a whole number of at least 1"),
    "interpolation": Option(lambda v: v in ("lanczos", "linear"), "'lanczos' or 'linear'"),
    "peak": Option(
        lambda v: v is None or (is_number(v) and v > 0),
        "a positive number, such as 2 for images in [-1, 1]",
    ),
    "max_relative_error": Option(
        lambda v: v is None or (is_number(v) and 0.0 < v < 1.0),
        "a number above 0 and below 1; at 1, a shift changes the output as much as another signal"
        " does",
    ),
}


def problem(name: str, value: Any) -> str:
    """What is wrong with the value of an option, and what to give; empty where nothing is."""
    option = OPTIONS[name]
    return "" if option.valid(value) else f"{name}={value!r}: give {option.meant}"
