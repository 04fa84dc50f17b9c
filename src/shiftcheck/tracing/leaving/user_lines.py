"""Where in the user's own files something happens: the file, the line, and what it says."""

from __future__ import annotations

import inspect
import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

import numpy as np
import torch

LONGEST = 80
"""So much of a line is shown at most."""

_CARRIERS = (torch, np, sys.modules["shiftcheck"])
PACKAGES = tuple(f"{Path(str(module.__file__)).parent}{os.sep}" for module in _CARRIERS)
"""What only carries out what others ask for."""

_PATHS = sysconfig.get_paths()
OF_PYTHON = tuple(f"{_PATHS[name]}{os.sep}" for name in ("stdlib", "platstdlib"))
INSTALLED = tuple(f"{_PATHS[name]}{os.sep}" for name in ("purelib", "platlib"))


def user_line(within: CodeType) -> str:
    """The line that is carried out, as ``file:line: text``; empty where none is the user's.

    ``within``: only what this code called counts. Where the line stands in a package that was
    installed, the line of the user's own that led to it comes first.
    """
    frames = [f for f in _frames(within) if not _carries_out(f)]
    own = next((f for f in frames if not f.f_code.co_filename.startswith(INSTALLED)), None)
    inner = frames[0] if frames else None
    shown = [own, inner] if own is not inner else [inner]
    return ", in ".join(_words(frame) for frame in shown if frame is not None)


def _frames(within: CodeType) -> Iterator[FrameType]:
    """The frames that run, from the inside out; none where they do not lead to ``within``."""
    found: list[FrameType] = []
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is within:
            yield from found
            return
        found.append(frame)
        frame = frame.f_back


def _carries_out(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    if file.startswith("<frozen "):
        return True
    if file.startswith(INSTALLED):
        return file.startswith(PACKAGES)
    return file.startswith((*PACKAGES, *OF_PYTHON))


def _words(frame: FrameType) -> str:
    file, number = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(file, number, frame.f_globals).strip()
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return f"{_short(file)}:{number}" + (f": {cut}" if cut else "")


def _short(file: str) -> str:
    """The path from the folder where the user is, where it is inside of it."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file
