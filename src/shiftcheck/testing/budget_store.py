"""Budgets as a file under version control: sorted JSON with a version, read strictly."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from shiftcheck.errors import InputError

VERSION = 1

EQUIVARIANCE = "equivariance"
"""The check that a budget is of where its file does not say."""


@dataclass(frozen=True, kw_only=True)
class OutputBudget:
    """The relative error of one output, the largest over the shifts that were compared."""

    relative_error: float
    shifts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What was measured of a model that is known to be imperfect, and under which circumstances.

    ``check``: of what. ``boundary``: of invariance, what enters along each axis.
    """

    outputs: Mapping[str, OutputBudget]
    dtype: str
    boundary: str
    input_shape: str
    layer: str | None
    seed: int
    check: str = EQUIVARIANCE


def as_plain(budget: Budget) -> dict[str, Any]:
    """A budget as it is written: dicts, lists, strings and numbers."""
    plain = asdict(budget)
    for output in plain["outputs"].values():
        output["shifts"] = list(output["shifts"])
    if plain["check"] == EQUIVARIANCE:
        del plain["check"]
    return plain


def from_plain(data: Any) -> Budget:
    """The budget that ``as_plain`` wrote; raises ValueError that says what is wrong with it."""
    if isinstance(data, dict):
        data = {"check": EQUIVARIANCE} | data
    _check_keys(data, Budget)
    if not isinstance(data["outputs"], dict) or not data["outputs"]:
        raise ValueError("'outputs' names no output")
    texts = dict.fromkeys(("check", "dtype", "boundary", "input_shape"), str)
    for key, kind in {**texts, "layer": str | None, "seed": int}.items():
        if not isinstance(data[key], kind) or isinstance(data[key], bool):
            raise ValueError(f"{key!r} is {data[key]!r}")
    outputs = {name: _output_from(value) for name, value in data["outputs"].items()}
    return Budget(**(data | {"outputs": outputs}))


def _output_from(data: Any) -> OutputBudget:
    _check_keys(data, OutputBudget)
    error, shifts = data["relative_error"], data["shifts"]
    number = isinstance(error, int | float) and not isinstance(error, bool)
    if not number or not math.isfinite(error) or error < 0:
        raise ValueError(f"'relative_error' is {error!r}")
    if not isinstance(shifts, list) or not all(isinstance(s, str) for s in shifts) or not shifts:
        raise ValueError(f"'shifts' is {shifts!r}")
    return OutputBudget(relative_error=float(error), shifts=tuple(shifts))


def _check_keys(data: Any, cls: type[Budget] | type[OutputBudget]) -> None:
    expected = sorted(f.name for f in fields(cls))
    if not isinstance(data, dict) or sorted(data) != expected:
        keys = sorted(data) if isinstance(data, dict) else data
        raise ValueError(f"{expected} expected, not {keys!r}")


def read_budgets(path: Path) -> dict[str, Budget] | None:
    """The budgets of a file by name; None where there is no file.

    Raises InputError for a file that is corrupt or of a newer version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"budget file {path} cannot be read: {error}") from error
    try:
        data = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_number)
        budgets = _budgets_from(data, path)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"budget file {path} is corrupt: {error}; take it back from version control, or remove"
            " it and store its budgets anew with --shiftcheck-update; it was left as it is"
        ) from error
    return budgets


def _budgets_from(data: Any, path: Path) -> dict[str, Budget]:
    if not isinstance(data, dict) or type(data.get("version")) is not int:
        raise ValueError("it has no version")
    if data["version"] > VERSION:
        raise InputError(
            f"budget file {path} has version {data['version']}, this shiftcheck reads up to"
            f" {VERSION}: upgrade with 'pip install -U torch-shiftcheck'; it was left as it is"
        )
    if data["version"] < 1 or set(data) != {"version", "budgets"}:
        raise ValueError(f"it has version {data['version']} and {sorted(data)}")
    if not isinstance(data["budgets"], dict):
        raise ValueError(f"'budgets' is {data['budgets']!r}")
    budgets = {}
    for name, value in data["budgets"].items():
        try:
            budgets[name] = from_plain(value)
        except ValueError as error:
            raise ValueError(f"budget {name!r}: {error}") from error
    return budgets


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for key, value in pairs:
        if key in entries:
            raise ValueError(f"{key!r} is there twice")
        entries[key] = value
    return entries


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def write_budgets(path: Path, changed: Mapping[str, Budget]) -> bool:
    """Put budgets into a file, the others left as they are; returns whether the file changed.

    The file is replaced in one step. Raises InputError, and writes nothing, where the file is
    corrupt, of a newer version, or cannot be written.
    """
    before = read_budgets(path)
    after = {**(before or {}), **changed}
    if after == before:
        return False
    data = {"version": VERSION, "budgets": {name: as_plain(b) for name, b in after.items()}}
    text = json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text)
    except (OSError, UnicodeEncodeError) as error:
        raise InputError(f"budget file {path} cannot be written: {error}") from error
    return True


def _replace(path: Path, text: str) -> None:
    target = path.resolve()  # a link stays one
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, mode)
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
