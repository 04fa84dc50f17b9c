"""The command line."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

from shiftcheck import __version__
from shiftcheck.checks.equivariance.check import check_equivariance
from shiftcheck.checks.read_geometry import geometry
from shiftcheck.cli.arguments import add_check, add_model, add_results, add_signal, add_wide
from shiftcheck.cli.options import NAMES
from shiftcheck.cli.signal_files import read_signal
from shiftcheck.cli.target import load_target, own_error, parse_arguments
from shiftcheck.errors import InputError, ShiftcheckError
from shiftcheck.measuring.signals.samples import DTYPES, sample_signal
from shiftcheck.report.base import rendered
from shiftcheck.report.equivariance import Report, Verdict

PASSED, BROKEN, USAGE, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 130
STATUS = {
    Verdict.EQUIVARIANT: PASSED,
    Verdict.BROKEN: BROKEN,
    Verdict.INCONCLUSIVE: INCONCLUSIVE,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns the exit status: 0 where the model is equivariant (or a command just did its work), 1
    where it is broken, 2 for an error of usage, of loading or of the model, 3 where a check was
    inconclusive. A usage error that argparse finds raises SystemExit with status 2.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(_with_signs(given))
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except ShiftcheckError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads any more
        return USAGE
    except (Exception, SystemExit) as error:  # status 1 would say that the model is broken
        return _complain(f"unexpected error\n{own_error(error)}")


def _complain(text: str, status: int = USAGE) -> int:
    with contextlib.suppress(BrokenPipeError):
        print(f"shiftcheck: {text}", file=sys.stderr)
    return status


def _with_signs(given: Sequence[str]) -> list[str]:
    """The arguments with ``--shifts -1,0`` as one, which argparse would take for two options."""
    joined: list[str] = []
    for entry in given:
        if joined and joined[-1] == "--shifts" and re.match(r"-\d", entry):
            joined[-1] = f"--shifts={entry}"
        else:
            joined.append(entry)
    return joined


DESCRIPTION = "Test the translation (shift) equivariance of PyTorch modules."
EXAMPLES = """\
examples:
  shiftcheck demo
  shiftcheck geometry mypackage.models:UNet --shape 1,3,256,256
  shiftcheck check mypackage.models:UNet --arg width=64 --shape 1,3,64,80 --shifts "8,0 0,8"
  shiftcheck check train.py:build_model --input photo.png --layer encoder.conv4 --json report.json

'shiftcheck COMMAND --help' says more of each command.
"""
CHECK = """\
Compare the output of a model for a shifted input with its shifted output, over the samples that see
no padding, and say whether they agree. A failure names the first guilty layer, the cause, the shift
and a remedy.

TARGET is package.module:name or path/to/file.py:name. The name is a torch.nn.Module, or a factory:
a class or function that makes one, with the keyword arguments given by --arg. With --function it is
itself the model, a function of the input.

The input comes from a file, or is white noise of a given shape, always the same for the same seed.
Give --shape or --input once for each input of the model, in order.
"""
CHECK_END = """\
exit status:
  0  the model is equivariant: proven by its structure, and seen
  1  it is not
  2  error: of usage, while loading the target, or raised by the model
  3  it cannot be told, for the reason that is printed; this is no pass

examples:
  shiftcheck check mypackage.models:UNet --shape 1,3,64,80
      shifts of one and more samples of the output along each axis
  shiftcheck check mypackage.models:UNet --arg width=64 --arg norm=batch --shape 1,3,64,80
      the factory is called with width=64 and norm='batch'
  shiftcheck check model.py:net --input photo.png --shifts "8,0 0,8 -8,16"
      shifts of your own, in pixels: rows first; positive ones move content down and to the right
  shiftcheck check model.py:net --shape 1,1,32,32 --reach 5 --json - > report.json
      all 120 shifts of at most 5 pixels along each axis; only the report goes to the output
  shiftcheck check climate.py:Step --shape 1,8,64,128 --boundary valid,circular
      latitude is open, longitude is a circle
  shiftcheck check track.py:Siamese --shape 1,3,255,255 --shape 1,3,127,127 --fixed template
      only the first input moves; --fixed 1 says the same
"""
GEOMETRY = """\
Say from shapes alone, without running the model on values, what every layer does to a shift: the
effective stride, the period, the halo, the valid region, and what breaks equivariance.

TARGET is package.module:name or path/to/file.py:name, as in 'shiftcheck check'.
"""
GEOMETRY_END = """\
exit status:
  0  the geometry was printed, whatever it is
  2  error: of usage, while loading the target, or raised by the model

examples:
  shiftcheck geometry mypackage.models:UNet --shape 1,3,1024,2048
  shiftcheck geometry torch.nn:Conv2d --arg in_channels=1 --arg out_channels=4 \\
      --arg kernel_size=5 --shape 1,1,32,32
"""


RENDER = """\
Show a report that was written with --json: as text, and as a page with --html. Nothing is computed.

FILE is the report, or - for the input.
"""
RENDER_END = """\
exit status:
  0  the report was shown, whatever its verdict
  2  the file is no report, or is one of a newer version

examples:
  shiftcheck render report.json
  shiftcheck render report.json --html report.html
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="shiftcheck",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"shiftcheck {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    check = _command(commands, "check", "check a model of your own", CHECK, CHECK_END)
    add_model(check)
    add_signal(check)
    add_check(check)
    add_results(check)
    check.set_defaults(run=_check)
    structure = _command(
        commands, "geometry", "what every layer does to a shift", GEOMETRY, GEOMETRY_END
    )
    add_model(structure)
    add_signal(structure)
    add_results(structure)
    structure.set_defaults(run=_geometry)
    shown = _command(commands, "render", "show a report from its JSON", RENDER, RENDER_END)
    shown.add_argument("file", metavar="FILE", help="what --json wrote")
    shown.add_argument("--html", metavar="FILE", type=Path, help="write the report as a page")
    add_wide(shown)
    shown.set_defaults(run=_render, json=None)
    demo = commands.add_parser(
        "demo",
        help="check the LeNet on real digits",
        description="Check a LeNet on real digits that move over a canvas, and write report.json.",
    )
    demo.add_argument(
        "--out", type=Path, default=Path("shiftcheck-demo"), help="folder (default: %(default)s)"
    )
    demo.set_defaults(run=_demo)
    return parser


def _command(
    commands: Any, name: str, summary: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def _demo(options: argparse.Namespace) -> int:
    from shiftcheck.demo.tour import run_demo

    run_demo(options.out, progress=sys.stderr.isatty())
    return PASSED


def _check(options: argparse.Namespace) -> int:
    _check_outputs(options)
    with contextlib.redirect_stdout(sys.stderr):  # what the target prints is no part of the report
        model, x = _model_and_input(options)
        report = _guarded(
            check_equivariance,
            model,
            x,
            layer=options.layer,
            shifts=_chosen_shifts(options, x),
            boundary=options.boundary,
            rtol=options.rtol,
            atol=options.atol,
            seed=options.seed,
            max_batch=options.max_batch,
            fixed=options.fixed,
            outputs=options.outputs,
            training=options.training,
            weights=options.weights,
            effort=options.effort,
            progress=sys.stderr.isatty(),
        )
    _deliver(report, options)
    return USAGE if report.verdict is None else STATUS[report.verdict]


def _geometry(options: argparse.Namespace) -> int:
    _check_outputs(options)
    with contextlib.redirect_stdout(sys.stderr):
        model, x = _model_and_input(options)
        report = _guarded(
            geometry,
            model,
            x,
            layer=options.layer,
            boundary=options.boundary,
            fixed=options.fixed,
            outputs=options.outputs,
            training=options.training,
        )
    _deliver(report, options)
    return PASSED


def _render(options: argparse.Namespace) -> int:
    _check_outputs(options)
    try:
        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{options.file} cannot be read: {error}") from error
    try:
        report = Report.from_json(text)
    except InputError as error:
        raise InputError(f"{options.file}: {error}") from error
    _deliver(report, options)
    return PASSED


def _guarded(call: Any, *arguments: Any, **options: Any) -> Report:
    """Call what runs the model, which may also leave by sys.exit."""
    try:
        return call(*arguments, **options)  # type: ignore[no-any-return]
    except SystemExit as error:
        raise InputError(f"TARGET: the model ended the program:\n{own_error(error)}") from error


def _model_and_input(options: argparse.Namespace) -> tuple[Any, Any]:
    if not options.inputs:
        raise InputError("no input: give --shape, such as --shape 1,3,64,80, or --input FILE")
    arguments = parse_arguments(options.arg)
    torch.manual_seed(options.seed)
    model = load_target(options.target, arguments, function=options.function)
    try:
        if isinstance(model, torch.nn.Module):
            dtype = None if options.dtype is None else NAMES[options.dtype]
            model = model.to(device=options.device, dtype=dtype)
        device, dtype = _home(model, options)
        signals = tuple(
            _signal(entry, options.seed + i, dtype).to(device)
            for i, entry in enumerate(options.inputs)
        )
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {options.device}, --dtype {options.dtype}: {error}") from error
    return model, signals[0] if len(signals) == 1 else signals


def _home(model: Any, options: argparse.Namespace) -> tuple[torch.device, torch.dtype]:
    """Where the input belongs: the device and dtype asked for, or else those of the model."""
    parameters = model.parameters() if isinstance(model, torch.nn.Module) else ()
    of_model = next((p for p in parameters if p.dtype in DTYPES), torch.zeros((), device="cpu"))
    device = of_model.device if options.device is None else torch.device(options.device)
    return device, of_model.dtype if options.dtype is None else NAMES[options.dtype]


def _signal(entry: Any, seed: int, dtype: torch.dtype) -> torch.Tensor:
    if isinstance(entry, Path):
        return read_signal(entry).to(dtype)
    return sample_signal(entry, seed=seed, dtype=dtype)


def _chosen_shifts(options: argparse.Namespace, x: Any) -> Any:
    if options.reach is None:
        return options.shifts
    first = x[0] if isinstance(x, tuple) else x
    reach = range(-options.reach, options.reach + 1)
    return [shift for shift in product(reach, repeat=first.ndim - 2) if any(shift)]


def _check_outputs(options: argparse.Namespace) -> None:
    """Find out before a long run that a report could not be written after it."""
    files = [options.html] if options.html is not None else []
    files += [Path(options.json)] if options.json not in (None, "-") else []
    for path in files:
        if path.is_dir() or not path.absolute().parent.is_dir():
            why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
            raise InputError(f"the report cannot be written to {path}: {why}")


def _deliver(report: Report, options: argparse.Namespace) -> None:
    """Write the report to where it was asked for, and print it unless the output holds its JSON."""
    if options.json == "-":
        print(report.to_json())
    else:
        print(rendered("text", report, wide=True) if options.wide else report)
    if options.json not in (None, "-"):
        try:
            Path(options.json).write_text(report.to_json(), encoding="utf-8")
        except OSError as error:
            raise InputError(f"--json {options.json} cannot be written: {error}") from error
    if options.html is not None:
        report.to_html(options.html)
