"""The model that a command line names: found, imported, and built with its arguments."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import torch

from shiftcheck.errors import InputError

FORMS = "package.module:callable or path/to/file.py:callable"


def load_target(
    target: str, arguments: Mapping[str, Any] | None = None, *, function: bool = False
) -> Callable[..., Any]:
    """The model that ``target`` names.

    Args:
        target: ``package.module:name`` or ``path/to/file.py:name``, where the name may have dots.
            It is a module, or a factory: a class or a function that returns the model.
        arguments: keyword arguments of the factory.
        function: the name is itself the model, a function of the input.

    Raises:
        InputError: where the target cannot be named, imported or built; the target's own error
            follows the sentence.

    Example:
        >>> load_target("torch.nn:Conv2d", {"in_channels": 1, "out_channels": 2, "kernel_size": 3})
        Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise InputError(f"TARGET {target!r}: give {FORMS}{_offers(target)}")
    named = _attribute(_imported(place), place, name)
    given = dict(arguments or {})
    if isinstance(named, torch.nn.Module) or function:
        if given:
            what = "a function of the input" if function else "a module already"
            raise InputError(f"--arg {next(iter(given))}: {name} is {what} and takes no arguments")
        if not callable(named):
            raise InputError(f"TARGET {target!r} is a {type(named).__name__}: {MEANT}")
        return named  # type: ignore[no-any-return]
    if not callable(named):
        raise InputError(f"TARGET {target!r} is a {type(named).__name__}: {MEANT}")
    return _built(named, name, given)


MEANT = "give a torch.nn.Module, or a class or function that makes one"


def _offers(target: str) -> str:
    """The names to choose from, where the target is a file or module without one."""
    if not target.endswith(".py") or not Path(target).is_file():
        return ""
    tree = ast.parse(Path(target).read_text(encoding="utf-8"), target)
    kinds = (ast.ClassDef, ast.FunctionDef)
    names = [node.name for node in tree.body if isinstance(node, kinds)]
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call | ast.Lambda):
            names += [name.id for name in node.targets if isinstance(name, ast.Name)]
    return f"; {target} defines {', '.join(names)}" if names else ""


def _imported(place: str) -> ModuleType:
    try:
        return _from_file(Path(place)) if _is_file(place) else _from_path(place)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"TARGET: importing {place} failed:\n{own_error(error)}") from error


def _is_file(place: str) -> bool:
    return place.endswith(".py") or os.sep in place


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        found = sorted(p.name for p in path.parent.glob("*.py"))
        near = difflib.get_close_matches(path.name, found, n=3)
        meant = f"; there is {', '.join(str(path.parent / n) for n in near)}" if near else ""
        raise InputError(f"TARGET: there is no file {path}{meant}")
    name = "shiftcheck_target_" + re.sub(r"\W", "_", path.stem)  # shadows no other module
    sys.path.insert(0, str(path.resolve().parent))  # for its neighbours, as python would
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"TARGET: {path} is no file of Python: its name has to end with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    spec.loader.exec_module(module)
    return module


def _from_path(place: str) -> ModuleType:
    if not all(part.isidentifier() for part in place.split(".")):
        raise InputError(f"TARGET: {place!r} is no name of a module: give {FORMS}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if place != missing and not place.startswith(f"{missing}."):
            raise
        raise InputError(
            f"TARGET: there is no module {missing!r}, neither installed nor in {here}; a file is"
            " given by its path, such as path/to/file.py:callable"
        ) from error


def _attribute(module: ModuleType, place: str, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            raise InputError(f"TARGET: {place} has no {part!r}{_known(value, part)}")
        value = getattr(value, part)
    return value


MOST_SHOWN = 10
"""So many names are shown at most."""


def _known(holder: Any, wanted: str) -> str:
    """The names to choose from, the nearest first; those that are only imported come last."""
    held = getattr(holder, "__dict__", {})
    names = [n for n, v in held.items() if callable(v) and not n.startswith("__")]
    names = [n for n in names if wanted.startswith("_") or not n.startswith("_")]
    home = getattr(holder, "__name__", "")

    def order(name: str) -> tuple[bool, float]:
        unlike = 1 - difflib.SequenceMatcher(None, wanted.lower(), name.lower()).ratio()
        value = held[name]
        made_here = getattr(value, "__module__", home) == home
        own = made_here or isinstance(value, torch.nn.Module)
        return not own and unlike > ALIKE, unlike

    names.sort(key=order)
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return f"; it has {', '.join(names[:MOST_SHOWN])}{more}" if names else ""


ALIKE = 0.3
"""An imported name that differs by no more may well be the one that was meant."""


def _built(factory: Callable[..., Any], name: str, given: Mapping[str, Any]) -> Callable[..., Any]:
    _check_arguments(factory, name, given)
    try:
        model = factory(**given)
    except (Exception, SystemExit) as error:
        raise InputError(f"TARGET: {name} failed:\n{own_error(error)}") from error
    if not callable(model):
        raise InputError(f"TARGET: {name} returned a {type(model).__name__}: {MEANT}")
    return model  # type: ignore[no-any-return]


def _check_arguments(factory: Callable[..., Any], name: str, given: Mapping[str, Any]) -> None:
    """Raise InputError for arguments that are missing, or that the factory does not take."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    unknown = [key for key in given if key not in named]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        takes = f"takes {', '.join(named)}" if named else "takes none"
        raise InputError(f"--arg {unknown[0]}: {name} has no such argument, it {takes}")
    fixed = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    wanted = [p.name for p in parameters if p.name in named and p.default is p.empty]
    missing = fixed + [key for key in wanted if key not in given]
    if missing:
        how = " ".join(f"--arg {key}=..." for key in missing)
        hint = (
            ""
            if isinstance(factory, type)
            else ("; if it is itself the model, a function of the input, give --function")
        )
        raise InputError(f"TARGET: {name} wants {', '.join(missing)}: give {how}{hint}")


def own_error(error: BaseException) -> str:
    """The traceback of somebody else's error, from his first line on."""
    if isinstance(error, SyntaxError):
        return "".join(traceback.format_exception_only(error)).rstrip()
    frame: TracebackType | None = error.__traceback__
    while frame is not None and _is_ours(frame):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame)).rstrip()


def _is_ours(frame: TracebackType) -> bool:
    file = frame.tb_frame.f_code.co_filename
    return file in (__file__, importlib.__file__) or file.startswith("<frozen importlib")


def parse_arguments(entries: Sequence[str]) -> dict[str, Any]:
    """The keyword arguments of ``name=value`` entries; values are literals of Python, or words.

    Raises:
        InputError: for an entry that is none, is given twice, or whose value cannot be read.

    Example:
        >>> parse_arguments(["width=64", "kernel=(3, 5)", "mode=circular", "bias=False"])
        {'width': 64, 'kernel': (3, 5), 'mode': 'circular', 'bias': False}
    """
    arguments: dict[str, Any] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"--arg {entry}: give name=value, such as width=64")
        if name in arguments:
            raise InputError(f"--arg {entry}: {name} is given twice")
        arguments[name] = _literal(entry, value)
    return arguments


WORD = re.compile(r"[A-Za-z][\w./-]*")


def _literal(entry: str, value: str) -> Any:
    if value in ("true", "false", "none", "null"):
        raise InputError(
            f"--arg {entry}: write True, False or None, or quote a word: '\"{value}\"'"
        )
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        if WORD.fullmatch(value):
            return value
    raise InputError(
        f"--arg {entry}: the value is no literal of Python, such as 64, 0.5, True, (3, 5) or a word"
    )
