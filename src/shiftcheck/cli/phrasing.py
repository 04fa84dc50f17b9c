"""Advice in the words of the command line: ``--layer conv4`` in the place of ``layer='conv4'``.

What a report and an error say is written for Python. Here the keywords in it become options, a call
that reproduces a failure becomes a command, and a size that would do becomes a shape.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KEYWORDS = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        "atol",
        "axis",
        "batch_size",
        "block",
        "boundary",
        "bounds",
        "checkpoint",
        "crop",
        "draws",
        "effort",
        "fill",
        "fixed",
        "grow",
        "items",
        "layer",
        "lookahead",
        "max_batch",
        "max_relative_error",
        "max_shift",
        "memory",
        "outputs",
        "parts",
        "rtol",
        "seed",
        "shifts",
        "spatial_dims",
        "tile",
        "weights",
        "what",
    )
}
KEYWORDS["tolerances"] = "--tolerance"
FLAGS = {"training": "--training", "layers": "--layers", "affine": "--affine"}
"""The keywords that are options, too."""

COMMANDS = {
    "equivariant": "check",
    "invariant": "invariance",
    "linear": "linearity",
    "causal": "causality",
}

QUOTED = r"'[^']*'|\"[^\"]*\""
IN_BRACKETS = rf"\((?:{QUOTED}|[^()'\"]|\((?:{QUOTED}|[^()'\"])*\))*\)|\[(?:{QUOTED}|[^\[\]'\"])*\]"
VALUE = rf"{QUOTED}|{IN_BRACKETS}|\.\.\.|[+-]?[\w.]+(?:[+-]\d+)?"
KEYWORD = re.compile(rf"(?<![\w.-])({'|'.join([*KEYWORDS, *FLAGS])})=({VALUE})")
ARGUMENTS = rf"(?:{QUOTED}|{IN_BRACKETS}|[^()\[\]'\"])*"
CALL = re.compile(rf"shiftcheck\.assert_(\w+)\(\s*model,\s+x({ARGUMENTS})\)")
EVALUATION = re.compile(rf"shiftcheck\.evaluate\(model,\s+data,\s+({VALUE})({ARGUMENTS})\)")
"""The line that looks at one item."""

METHODS = {"float": "float32", "double": "float64", "half": "float16", "bfloat16": "bfloat16"}


def as_options(text: str, options: argparse.Namespace) -> str:
    """The text as somebody needs it who typed a command with these options."""
    if "target" not in options:
        return text
    text = CALL.sub(lambda call: _command(call, options), text)
    text = EVALUATION.sub(lambda call: _evaluation(call, options), text)
    text = KEYWORD.sub(lambda found: _option(*found.groups()), text)
    text = re.sub(r"\brtol and atol\b", "--rtol and --atol", text)
    text = re.sub(r"\bx\.(float|double|half|bfloat16)\(\)", _type, text)
    text = re.sub(r"\b(?:shiftcheck\.)?assert_(equivariant|invariant|linear)\b", _name, text)
    text = re.sub(r"\bshiftcheck\.geometry\b", "'shiftcheck geometry'", text)
    text = re.sub(r"(too small to see the end of it; give a larger)\s+one", r"\1 --shape", text)
    return "\n".join(_with_option(line, options) for line in text.split("\n"))


def _name(found: re.Match[str]) -> str:
    return f"'shiftcheck {COMMANDS[found[1]]}'"


def _type(found: re.Match[str]) -> str:
    return f"--dtype {METHODS[found[1]]}"


def _option(name: str, written: str) -> str:
    """A keyword with its value, as an option."""
    if name in FLAGS:
        return FLAGS[name]
    if written in ("...", "None"):
        return f"{KEYWORDS[name]} ..." if written == "..." else f"no {KEYWORDS[name]}"
    try:
        value = ast.literal_eval(" ".join(written.split()))
    except (ValueError, SyntaxError):
        return f"{KEYWORDS[name]} {written}"
    return f"{KEYWORDS[name]} {_typed(value)}"


def _typed(value: Any) -> str:
    """A value as it is typed: names and numbers with commas, shifts apart."""
    several = isinstance(value, tuple | list)
    if several and any(isinstance(part, tuple | list) for part in value):
        return " ".join(",".join(map(str, part)) for part in value)
    return shlex.quote(",".join(map(str, value)) if several else str(value))


def _command(call: re.Match[str], options: argparse.Namespace) -> str:
    """The command that does what a call of an assertion does."""
    command = COMMANDS.get(call[1])
    if command is None:
        return call[0]
    parts = ["shiftcheck", command, shlex.quote(options.target), *_of_model(options)]
    asked = dict(KEYWORD.findall(call[2]))
    for name in ("rtol", "atol", "training"):
        value = getattr(options, name, None)
        if name not in asked and value not in (None, False):
            asked[name] = repr(value)
    parts += [_option(name, written) for name, written in asked.items()]
    return " ".join(parts)


def _evaluation(call: re.Match[str], options: argparse.Namespace) -> str:
    """The command that looks at one item of the data; what raises is always printed."""
    if "data" not in options:
        return call[0]
    parts = ["shiftcheck evaluate", shlex.quote(options.target), *_of_model(options)]
    parts.append(f"--data {shlex.quote(str(options.data))}")
    parts += [_option(*found) for found in [("what", call[1]), *KEYWORD.findall(call[2])]]
    return " ".join(parts)


def _of_model(options: argparse.Namespace) -> list[str]:
    """How the model is made, and what it is given."""
    parts = [f"--arg {shlex.quote(entry)}" for entry in options.arg]
    parts += ["--function"] if options.function else []
    for entry in getattr(options, "inputs", None) or ():
        file = isinstance(entry, Path)
        parts.append(f"--input {shlex.quote(str(entry))}" if file else f"--shape {_typed(entry)}")
    parts += [f"--device {options.device}"] if options.device else []
    return parts + ([f"--dtype {options.dtype}"] if options.dtype else [])


SIZES = r"\d+(?: x \d+)*"
SIZE = re.compile(rf"(?<=input of ){SIZES}|(?<=at least ){SIZES}|(?<=input: ){SIZES}")
LATTICE = re.compile(r" \(lattice=[^)]*(?:\)[^)]*)?in a property test\)")
"""What is there in Python alone."""


def _with_option(line: str, options: argparse.Namespace) -> str:
    """A line about other sizes or shifts, with the option to give."""
    line = LATTICE.sub("", line)
    given: Sequence[Any] = getattr(options, "inputs", None) or ()
    if len(given) != 1 or not isinstance(given[0], tuple) or "input" not in line:
        return line

    def shaped(found: re.Match[str]) -> str:
        sizes = found[0].split(" x ")
        before = given[0][: -len(sizes)]
        return f"{found[0]} (--shape {','.join([*map(str, before), *sizes])})"

    return SIZE.sub(shaped, line, count=1)
