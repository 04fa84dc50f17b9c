"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shiftcheck import __version__
from shiftcheck.errors import ShiftcheckError

PASSED, USAGE = 0, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 for success, 2 for a usage error."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ShiftcheckError as error:
        print(f"shiftcheck: {error}", file=sys.stderr)
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="shiftcheck", description="Test the translation equivariance of PyTorch modules."
    )
    parser.add_argument("--version", action="version", version=f"shiftcheck {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
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


def _demo(options: argparse.Namespace) -> int:
    from shiftcheck.demo import run_demo

    run_demo(options.out, progress=sys.stderr.isatty())
    return PASSED
