"""The arguments of the commands, in groups."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from shiftcheck.cli import options


def add_model(parser: argparse.ArgumentParser) -> None:
    """What is checked."""
    parser.add_argument("target", metavar="TARGET", help="package.module:name or file.py:name")
    model = parser.add_argument_group("the model")
    model.add_argument(
        "--arg",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a keyword argument of the factory, a literal of Python or a word; may be repeated",
    )
    model.add_argument(
        "--function",
        action="store_true",
        help="TARGET is itself the model, a function of the input, and not a factory",
    )
    model.add_argument(
        "--training",
        action="store_true",
        help="leave the training flags of the modules; else the model is checked in eval mode",
    )
    model.add_argument("--layer", metavar="NAME", help="up to this layer; the rest is not run")
    model.add_argument(
        "--outputs",
        metavar="NAMES",
        action="extend",
        type=options.entries,
        help="the outputs that count, of several: names as in the report, keys, or positions from"
        " 0, such as 'output[0]', map or 0 (default: all)",
    )


def add_signal(parser: argparse.ArgumentParser) -> None:
    """What the model is given."""
    signal = parser.add_argument_group("the input")
    signal.add_argument(
        "--shape",
        dest="inputs",
        metavar="B,C,H,W",
        action="append",
        type=options.shape,
        help="white noise of this shape: batch, channels, then one to three spatial sizes",
    )
    signal.add_argument(
        "--input",
        dest="inputs",
        metavar="FILE",
        action="append",
        type=Path,
        help="an array [batch, channels, *spatial] in a .npy file, or a picture (.png, .jpg, ...;"
        " needs 'torch-shiftcheck[image]'), its values from 0 to 1",
    )
    signal.add_argument(
        "--boundary",
        metavar="KIND",
        type=options.boundary,
        default="valid",
        help="valid (a window onto an infinite plane) or circular, once or for each spatial axis,"
        " such as valid,circular (default: valid)",
    )
    signal.add_argument(
        "--fixed",
        metavar="NAMES",
        action="extend",
        default=[],
        type=options.entries,
        help="inputs that stand still while the others move: names of arguments, or positions from"
        " 0, such as template or 1; several with commas, or the option repeated",
    )
    _add_type(signal)


def _add_type(signal: Any) -> None:
    signal.add_argument(
        "--device",
        metavar="NAME",
        type=options.device,
        help="cpu, cuda, ... (default: that of the model)",
    )
    signal.add_argument(
        "--dtype",
        choices=options.NAMES,
        help="of the model and the input (default: that of the model)",
    )
    signal.add_argument(
        "--seed",
        metavar="N",
        type=options.seed,
        default=0,
        help="of the weights, of the noise, and of what a shift brings in (default: 0)",
    )


def add_check(parser: argparse.ArgumentParser) -> None:
    """How it is checked."""
    how = parser.add_argument_group("the check")
    chosen = how.add_mutually_exclusive_group()
    chosen.add_argument(
        "--shifts",
        metavar="LIST",
        type=options.shifts,
        help="shifts in whole pixels, such as '4,0 0,4'; from the geometry when left out",
    )
    chosen.add_argument(
        "--reach",
        metavar="N",
        type=options.positive,
        help="every shift of at most N pixels along each axis",
    )
    how.add_argument(
        "--weights",
        choices=("own", "randomized"),
        default="own",
        help="the model's own (default), or drawn ones: then the architecture is checked",
    )
    passes = (
        "with --atol: what passes, not the noise of the dtype: atol + rtol * max|y| of a channel"
    )
    how.add_argument("--rtol", metavar="X", type=float, help=passes)
    how.add_argument("--atol", metavar="X", type=float, help="with --rtol")
    how.add_argument(
        "--max-batch",
        metavar="N",
        type=options.positive,
        help="copies in one pass at most",
    )
    how.add_argument(
        "--effort",
        choices=("bounded", "full"),
        default="bounded",
        help="what may be spent on explaining a check that does not pass",
    )


def add_results(parser: argparse.ArgumentParser) -> None:
    """Where the report goes."""
    results = parser.add_argument_group("the report")
    results.add_argument(
        "--json",
        metavar="FILE",
        help="write the report as JSON; - for the output, where nothing else is then printed",
    )
    results.add_argument("--html", metavar="FILE", type=Path, help="write the report as a page")
    add_wide(results)


def add_wide(parser: Any) -> None:
    """How much of a report is printed."""
    parser.add_argument(
        "--wide",
        action="store_true",
        help="print every column of every layer, with its full name: also period, receptive field,"
        " valid region and errors; as wide as that takes",
    )
