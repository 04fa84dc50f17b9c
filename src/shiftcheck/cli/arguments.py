"""The arguments of the commands, in groups."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from shiftcheck.cli import options


def add_target(parser: argparse.ArgumentParser, *, layers: bool = True) -> Any:
    """What is checked; returns the group of the model. ``layers``: one of them may be chosen."""
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
    if layers:
        model.add_argument("--layer", metavar="NAME", help="up to this layer; the rest is not run")
    return model


def add_model(parser: argparse.ArgumentParser) -> None:
    """What is checked, how it is run, and which of its outputs count."""
    model = add_target(parser)
    model.add_argument(
        "--training",
        action="store_true",
        help="leave the training flags of the modules; else the model is checked in eval mode",
    )
    model.add_argument(
        "--outputs",
        metavar="NAMES",
        action="extend",
        type=options.entries,
        help="the outputs that count, of several: names as in the report, keys, or positions from"
        " 0, such as 'output[0]', map or 0 (default: all)",
    )


def add_signal(parser: argparse.ArgumentParser) -> Any:
    """What the model is given; returns the group of the input."""
    signal = parser.add_argument_group("the input")
    signal.add_argument(
        "--shape",
        dest="inputs",
        metavar="B,C,H,W",
        action="append",
        type=options.shape,
        help="white noise of this shape, 1,3,64,80 or 1x3x64x80: batch, channels, then one to three"
        " spatial sizes",
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
    _add_home(signal)
    parser.set_defaults(spatial_dims=None)
    return signal


def _add_home(signal: Any) -> None:
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


def _add_moving(signal: Any) -> None:
    _add_spatial_dims(signal)
    _add_fixed(signal, "inputs that stand still while the others move")


def _add_fixed(signal: Any, which: str) -> None:
    signal.add_argument(
        "--fixed",
        metavar="NAMES",
        action="extend",
        default=[],
        type=options.entries,
        help=f"{which}: names of arguments, or positions from 0, such as template or 1; several"
        " with commas, or the option repeated",
    )


def _add_spatial_dims(signal: Any) -> None:
    signal.add_argument(
        "--spatial-dims",
        metavar="DIMS",
        type=options.dimensions,
        help="the dimensions of the input that are spatial, such as 1,2 for channels at the end"
        " (default: all from the third on, which is 2)",
    )


def add_spatial(signal: Any) -> None:
    """How the input moves."""
    _add_boundary(signal)
    _add_moving(signal)


def add_cut(signal: Any) -> None:
    """What is cut into tiles."""
    _add_boundary(signal)
    _add_spatial_dims(signal)


def _add_boundary(signal: Any) -> None:
    signal.add_argument(
        "--boundary",
        metavar="KIND",
        type=options.boundary,
        default="valid",
        help="valid (a window onto an infinite plane) or circular, once or for each spatial axis,"
        " such as valid,circular (default: valid)",
    )


def _add_shifts(how: Any) -> None:
    chosen = how.add_mutually_exclusive_group()
    chosen.add_argument(
        "--shifts",
        metavar="LIST",
        action="extend",
        type=options.shifts,
        help="shifts in whole pixels, such as 4,0 0,4; from the geometry when left out",
    )
    chosen.add_argument(
        "--reach",
        metavar="N",
        type=options.positive,
        help="every shift of at most N pixels along each axis",
    )


def _add_fill(how: Any) -> None:
    how.add_argument(
        "--fill",
        metavar="KIND",
        type=options.words,
        help="what enters when the input is shifted, once or for each spatial axis: circular (the"
        " default: a torus), zeros, reflect, replicate or fresh",
    )


def _add_effort(how: Any) -> None:
    how.add_argument(
        "--effort",
        choices=("bounded", "full"),
        default="bounded",
        help="what may be spent on explaining a check that does not pass",
    )


def add_check(parser: argparse.ArgumentParser) -> None:
    """How equivariance is checked."""
    how = parser.add_argument_group("the check")
    _add_shifts(how)
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
    _add_effort(how)
    how.add_argument(
        "--grow",
        nargs="?",
        metavar="SIZE",
        const=True,
        default=False,
        type=options.sizes,
        help="where the input leaves nothing to compare, draw a larger one from its own values;"
        " with a spatial size, such as 512,512, draw that",
    )


def add_invariance(parser: argparse.ArgumentParser, signal: Any) -> None:
    """How invariance is checked."""
    _add_moving(signal)
    how = parser.add_argument_group("the check")
    _add_shifts(how)
    _add_fill(how)
    how.add_argument(
        "--crop",
        metavar="H,W",
        type=options.sizes,
        help="the input is a larger canvas, and the model sees its middle of this size",
    )
    how.add_argument(
        "--max-relative-error",
        metavar="X",
        type=float,
        help="what passes, above 0 and below 1: at 1, a shift changes the output as much as another"
        " signal does",
    )
    _add_effort(how)


def add_evaluation(parser: argparse.ArgumentParser) -> None:
    """Over which data what is measured, under which shifts."""
    data = parser.add_argument_group("the data")
    data.add_argument(
        "--data",
        metavar="PATH",
        type=Path,
        required=True,
        help="an array [items, channels, *spatial] in a .npy file, or a folder of .npy files and"
        " pictures (.png, .jpg, ...; needs 'torch-shiftcheck[image]'), their values from 0 to 1",
    )
    data.add_argument(
        "--batch-size", metavar="N", type=options.positive, help="items in one pass (default: 64)"
    )
    data.add_argument(
        "--items",
        metavar="LIST",
        type=options.dimensions,
        help="the numbers of those that are looked at, such as 0,17 (default: all)",
    )
    _add_home(data)
    add_spatial(data)
    _add_measurement(parser.add_argument_group("the measurement"))


def _add_measurement(how: Any) -> None:
    how.add_argument(
        "--what",
        metavar="NAMES",
        type=options.listed,
        default=["equivariance"],
        help="equivariance (default), eq_t, invariance, classes, class_maps and effective_halo;"
        " several with commas",
    )
    _add_shifts(how)
    how.add_argument(
        "--draws",
        metavar="N",
        type=options.positive,
        default=4,
        help="without --shifts and --reach: how many shifts each item gets (default: 4)",
    )
    how.add_argument(
        "--max-shift",
        metavar="N",
        type=options.positive,
        help="the largest of them in pixels (default: an eighth of the size)",
    )
    _add_fill(how)
    how.add_argument(
        "--checkpoint",
        metavar="FILE",
        type=Path,
        help="keep here how far it has come, and go on from here",
    )


def add_linearity(parser: argparse.ArgumentParser) -> None:
    """What is checked for linearity, and what passes."""
    add_target(parser)
    add_signal(parser)
    how = parser.add_argument_group("the check")
    how.add_argument(
        "--affine", action="store_true", help="let a constant part pass too, as a bias makes one"
    )


def add_halo(parser: argparse.ArgumentParser) -> None:
    """What the effective halo is asked for."""
    how = parser.add_argument_group("the measurement")
    how.add_argument(
        "--tolerance",
        metavar="X",
        action="extend",
        type=options.numbers,
        help="relative errors that may be allowed, above 0 and below 1; several with spaces or"
        " commas (default: 0.1 0.01 0.001)",
    )
    how.add_argument(
        "--layers", action="store_true", help="tell of every layer, not of the outputs alone"
    )


def add_tiling(parser: argparse.ArgumentParser) -> None:
    """How large a tile is."""
    chosen = parser.add_argument_group("the tiles").add_mutually_exclusive_group()
    chosen.add_argument(
        "--tile",
        metavar="PIXELS",
        type=options.tile,
        help="the size of a tile, once or for each spatial axis, such as 512 or 512,256 (default:"
        " the smallest that reads at most half as much again as the image has, and makes no more"
        " than 4096 tiles)",
    )
    chosen.add_argument(
        "--memory",
        metavar="BYTES",
        type=options.memory,
        help="the largest tile that needs at most so many bytes, such as 2GiB or 500MB, beside the"
        " model, the image and the output",
    )


def add_causality(parser: argparse.ArgumentParser, signal: Any) -> None:
    """Which axis is the time, and how far ahead outputs may see."""
    _add_fixed(signal, "inputs that have no time")
    how = parser.add_argument_group("the check")
    how.add_argument(
        "--axis",
        metavar="N",
        type=options.whole,
        default=-1,
        help="the dimension of the input that is the time, such as 1 for batch, time, channels"
        " (default: the last one)",
    )
    how.add_argument(
        "--lookahead",
        metavar="N",
        type=options.seed,
        default=0,
        help="input samples that an output may see beyond its block (default: 0)",
    )
    how.add_argument(
        "--block",
        metavar="N",
        type=options.positive,
        help="input samples that come together (default: as many as there are for each output)",
    )


def add_streaming(parser: argparse.ArgumentParser) -> None:
    """The model that is to run on a stream, and which axis is time."""
    add_target(parser, layers=False)
    signal = add_signal(parser)
    signal.add_argument(
        "--axis",
        metavar="DIM",
        type=options.whole,
        default=-1,
        help="the dimension of the input that is time (default: -1, the last one)",
    )
    signal.add_argument(
        "--spatial-dims",
        metavar="DIMS",
        type=options.dimensions,
        help="the dimensions that are spatial, time among them, such as 1 for batch, time, features"
        " (default: all from the third on, which is 2)",
    )


def add_sharding(parser: argparse.ArgumentParser) -> None:
    """What is split, into how many parts, and where."""
    add_target(parser, layers=False)
    signal = add_signal(parser)
    signal.add_argument(
        "--spatial-dims",
        metavar="DIMS",
        type=options.dimensions,
        help="the dimensions of the input that are spatial (default: all from the third on)",
    )
    how = parser.add_argument_group("the shards")
    how.add_argument(
        "--parts", metavar="N", type=options.positive, required=True, help="how many there are"
    )
    how.add_argument(
        "--axis",
        metavar="DIM",
        type=options.whole,
        default=-1,
        help="the dimension of the input that is cut, such as 2 for rows (default: -1, the last)",
    )
    how.add_argument(
        "--bounds",
        metavar="STARTS",
        type=options.dimensions,
        help="where each shard begins, in pixels, such as 0,64,128 (default: as even as can be)",
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
