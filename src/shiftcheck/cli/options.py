"""What the values on a command line mean; argparse shows the sentences of what does not."""

from __future__ import annotations

import argparse
import re

import torch

from _shiftcheck_options import OPTIONS
from shiftcheck.measuring.signals.samples import DTYPES

NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}
"""The types of signals, by their names."""


def shape(text: str) -> tuple[int, ...]:
    """The shape of an input, as in ``1,3,224,224``."""
    entries = tuple(whole(entry) for entry in text.split(","))
    if not 3 <= len(entries) <= 5 or min(entries) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no shape: give batch, channels and one to three spatial sizes, such as"
            " 1,3,224,224"
        )
    return entries


def shifts(text: str) -> list[tuple[int, ...]]:
    """Shifts, as in ``4,0 0,4``."""
    return [
        tuple(whole(entry) for entry in shift.split(","))
        for shift in re.split(r"[\s;]+", text.strip())
    ]


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
