"""Advice in the words of the command line."""

from __future__ import annotations

import argparse


def as_options(text: str, options: argparse.Namespace | None = None) -> str:
    """The text."""
    return text
