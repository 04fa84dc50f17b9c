"""Where a report goes, and what is found out about that before a long run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from shiftcheck.cli.phrasing import as_options
from shiftcheck.cli.target import own_error
from shiftcheck.errors import InputError
from shiftcheck.report.base import Shown, rendered
from shiftcheck.report.equivariance import Report


def guarded(call: Any, *arguments: Any, **options: Any) -> Any:
    """Call what runs the model, which may also leave by sys.exit."""
    try:
        return call(*arguments, **options)
    except SystemExit as error:
        raise InputError(f"TARGET: the model ended the program:\n{own_error(error)}") from error


def check_outputs(options: argparse.Namespace) -> None:
    """Find out before a long run that a report could not be written after it."""
    files = [options.html] if options.html is not None else []
    files += [Path(options.json)] if options.json not in (None, "-") else []
    for path in files:
        if path.is_dir() or not path.absolute().parent.is_dir():
            why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
            raise InputError(f"the report cannot be written to {path}: {why}")


def deliver(report: Shown, options: argparse.Namespace) -> None:
    """Write the report to where it was asked for, and print it unless the output holds its JSON."""
    if options.json == "-":
        print(report.to_json())
    else:
        wide = options.wide and isinstance(report, Report)  # others have no table of layers
        text = rendered("text", report, wide=True) if wide else str(report)
        print(as_options(text, options))
    if options.json not in (None, "-"):
        try:
            Path(options.json).write_text(report.to_json(), encoding="utf-8")
        except OSError as error:
            raise InputError(f"--json {options.json} cannot be written: {error}") from error
    if options.html is not None:
        report.to_html(options.html)
