"""What the values on a command line mean; argparse shows the sentences of what does not."""

from __future__ import annotations

import argparse
import re

from _shiftcheck_options import OPTIONS

NAMES = ("float16", "bfloat16", "float32", "float64")
"""The types of signals."""


def shape(text: str) -> tuple[int, ...]:
    """The shape of an input, as in ``1,3,224,224`` or ``1x3x224x224``, with or without a batch."""
    inside = text.strip().removeprefix("torch.Size").strip("[]() ")
    between = r"\s*,\s*" if "," in inside else r"\s*[x\u00d7]\s*|\s+"
    entries = tuple(whole(n) for n in re.split(between, inside))
    if not 2 <= len(entries) <= 5 or min(entries) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} {NO_SHAPE}")
    return entries


NO_SHAPE = (
    "is no shape: give batch, channels and one to three spatial sizes, such as 1,3,224,224 or"
    " 1x3x224x224"
)


def shifts(text: str) -> list[tuple[int, ...]]:
    """Shifts, as in ``4,0 0,4``, or as Python writes them: ``[(4, 0), (0, 4)]``."""
    parts = re.findall(r"[\[(]([^\[\]()]+)[\])]", text)
    if not parts:
        parts = re.split(r"[\s;]+", re.sub(r"\s*,\s*", ",", text.strip()))
    return [tuple(whole(entry) for entry in part.strip(" ,").split(",")) for part in parts]


def sizes(text: str) -> tuple[int, ...]:
    """Spatial sizes, as in ``224,224`` or ``224x224``."""
    return tuple(positive(n) for n in re.split(r"\s*[,x\u00d7]\s*", text))


def tile(text: str) -> int | tuple[int, ...]:
    """The size of a tile for every axis, or one for each."""
    if not re.fullmatch(r"\s*\d+(\s*[,x\u00d7]\s*\d+)*\s*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: give whole pixels, such as 512 or 512,256")
    found = sizes(text)
    return found[0] if len(found) == 1 else found


BYTES = {
    "": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate(("", "k", "m", "g", "t"))},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate(("k", "m", "g", "t"), 1)},
}
"""The units of memory, in bytes."""


def memory(text: str) -> int:
    """A number of bytes, as in ``2GiB``, ``500 MB`` or ``1e9``."""
    found = re.fullmatch(r"\s*(\d*\.?\d+(?:[eE]\d+)?)\s*([a-zA-Z]*)\s*", text)
    if found is None or found[2].lower() not in BYTES or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give a number of bytes above 0, such as 2GiB, 500MB or 1000000"
        )
    return int(float(found[1]) * BYTES[found[2].lower()])


def numbers(text: str) -> list[float]:
    """Numbers, as in ``0.1 0.01`` or ``[1e-1, 1e-2]``."""
    parts = re.split(r"[\s,]+", text.strip("[]() ,"))
    try:
        return [float(part) for part in parts]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give numbers, such as 0.1 0.01 or 1e-2"
        ) from None


def dimensions(text: str) -> tuple[int, ...]:
    """Dimensions of a tensor, as in ``1,2``."""
    return tuple(whole(n) for n in text.split(","))


def words(text: str) -> str | tuple[str, ...]:
    """A word, or one for each axis."""
    entries = tuple(entry.strip() for entry in text.split(","))
    return entries[0] if len(entries) == 1 else entries


def listed(text: str) -> list[str]:
    """Words with commas or spaces between them."""
    return [word for word in re.split(r"[\s,]+", text) if word]


def whole(text: str) -> int:
    """A whole number."""
    if not re.fullmatch(r"\s*[+-]?\d+\s*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if whole(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number of at least 1")
    return int(text)


def seed(text: str) -> int:
    """A whole number of at least 0."""
    if whole(text) < 0:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number of at least 0")
    return int(text)


def boundary(text: str) -> str | tuple[str, ...]:
    """A boundary, or one for each axis, as in ``valid,circular``."""
    entries = tuple(entry.strip() for entry in text.split(","))
    if not OPTIONS["boundary"].valid(entries):
        raise argparse.ArgumentTypeError(
            f"{text!r}: give valid or circular, or one of them for each axis, such as"
            " valid,circular"
        )
    return entries[0] if len(entries) == 1 else entries


def device(text: str) -> str:
    """The name of a device of torch."""
    import torch

    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no device: {error}") from None
    if device.type == "meta":
        raise argparse.ArgumentTypeError(
            "'meta' holds no values to compare; 'shiftcheck geometry' needs none either"
        )
    return text


def entries(text: str) -> list[str | int]:
    """Names or positions, as in ``template`` or ``0,2``; a comma within brackets is part of one."""
    parts = [part.strip() for part in re.split(r",(?![^\[]*\])", text)]
    if not all(parts):
        raise argparse.ArgumentTypeError(f"{text!r}: give names, or positions from 0, such as 1")
    return [int(part) if part.isdecimal() else part for part in parts]
