"""The command line: the arguments are read first, and torch is imported for what they ask."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from shiftcheck.cli.parser import joined, parser
from shiftcheck.cli.statuses import INTERRUPTED, PASSED, USAGE
from shiftcheck.errors import ShiftcheckError

RUNNING = "shiftcheck.cli.running"
"""The module of what the commands do, which imports torch."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns the exit status: 0 where the model has the property (or a command just did its work), 1
    where it has not, 2 for an error of usage, of loading or of the model, 3 where a check was
    inconclusive. A usage error that argparse finds raises SystemExit with status 2.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    made = parser()
    options = made.parse_args(joined(given))
    if "run" not in options:
        made.print_help()
        return PASSED
    try:
        status = int(getattr(import_module(RUNNING), options.run)(options))
        sys.stdout.flush()
        return status
    except ShiftcheckError as error:
        from shiftcheck.cli.phrasing import as_options

        return _complain(as_options(str(error), options))
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads any more
        return USAGE
    except (Exception, SystemExit) as error:  # status 1 would say that the model is broken
        from shiftcheck.cli.target import own_error

        return _complain(f"unexpected error\n{own_error(error)}")


def _complain(text: str, status: int = USAGE) -> int:
    with contextlib.suppress(BrokenPipeError):
        print(f"shiftcheck: {text}", file=sys.stderr)
    return status
