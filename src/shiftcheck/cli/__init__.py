"""The command line: ``shiftcheck``, or ``python -m shiftcheck``."""

from shiftcheck.cli.command import main

__all__ = ["main"]
