"""Inputs and outputs that are chosen by their names or positions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shiftcheck.errors import InputError
from shiftcheck.tracing.containers import Step, Steps, opened

Entry = str | int
"""A name, or a position that counts from 0."""


@dataclass(frozen=True)
class Place:
    """Where a leaf stands among others.

    ``name`` is what it is called, ``position`` that of the outermost part it belongs to, and
    ``others`` are all names that mean it: those of the parts that it is in, too. ``entry`` is the
    shortest that means it alone.
    """

    name: str
    position: int
    others: frozenset[str]
    entry: Entry


def read_entries(argument: str, given: Any) -> tuple[Entry, ...]:
    """Names and positions as a tuple; raises InputError for anything else."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    entries = tuple(given) if several else ()
    if not several or not all(_is_entry(entry) for entry in entries):
        example = "('template',) or (1,)" if argument == "fixed" else "['output[0]'] or [0]"
        raise InputError(
            f"{argument}={given!r}: give a tuple of names, or of positions from 0, such as"
            f" {example}"
        )
    return entries


def read_outputs(given: Any) -> tuple[Entry, ...]:
    """The outputs that count; none where all do."""
    if given is None:
        return ()
    entries = read_entries("outputs", given)
    if not entries:
        raise InputError("outputs=[] leaves none: give at least one, or None for all of them")
    return entries


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, str) or (isinstance(entry, int) and not isinstance(entry, bool))


def chosen(argument: str, entries: Sequence[Entry], places: Sequence[Place]) -> list[bool]:
    """Whether each place is meant; raises InputError for an entry that means none."""
    for entry in entries:
        if not any(_means(entry, place) for place in places):
            what = "argument" if argument == "fixed" else "output"
            wrong = f"position {entry}" if isinstance(entry, int) else repr(entry)
            raise InputError(
                f"{argument}={entries!r}: there is no {what} {wrong}; {_known(places)}"
            )
    return [any(_means(entry, place) for entry in entries) for place in places]


def _means(entry: Entry, place: Place) -> bool:
    return entry == place.position if isinstance(entry, int) else entry in place.others


def _known(places: Sequence[Place]) -> str:
    shown = [f"{place.name!r} (position {place.position})" for place in places[:MOST_SHOWN]]
    more = [f"and {len(places) - MOST_SHOWN} more"] if len(places) > MOST_SHOWN else []
    return f"there are {', '.join([*shown, *more])}" if shown else "there is none"


MOST_SHOWN = 12
"""So many names are listed at most."""


def output_places(paths: Sequence[Steps], returned: Any) -> list[Place]:
    """The places of outputs in what the model returned."""
    order = _positions(returned)
    return [_output_place(steps, order.get(steps[0], 0) if steps else 0) for steps in paths]


def _positions(whole: Any) -> dict[Step, int]:
    """The number of each part of a container."""
    box = opened(whole)
    parts = [] if box is None else box.parts
    return {step: number for number, (step, _) in enumerate(parts)}


def _output_place(steps: Steps, position: int) -> Place:
    name = f"output{_written(steps)}"
    if not steps:
        return Place(name, position, frozenset([name]), name)
    others = set()
    for length in range(1, len(steps) + 1):
        inner = steps[:length]
        others |= {f"output{_written(inner)}", _written(inner), _dotted(inner)}
    return Place(name, position, frozenset(others), name)


def input_places(
    paths: Sequence[Steps], whole: Any, kind: str, parameters: Sequence[str]
) -> list[Place]:
    """The places of arguments: in a tuple their own names are ``parameters``, in a dict the keys.

    ``kind``: "tuple", "dict", or "single" for what is one argument as a whole.
    """
    if kind == "single":
        return [_input_place(steps, 0, parameters[:1], kind) for steps in paths]
    order = _positions(whole)
    places = []
    for steps in paths:
        position = order[steps[0]]
        names = [steps[0].key] if kind == "dict" else parameters[position : position + 1]
        places.append(_input_place(steps[1:], position, names, kind))
    return places


def _input_place(inside: Steps, position: int, names: Sequence[str], kind: str) -> Place:
    roots = [name for name in names if name] or [str(position)]
    others = set(roots)
    for root in {*roots, str(position)}:
        for length in range(1, len(inside) + 1):
            inner = inside[:length]
            others |= {f"{root}{_written(inner)}", f"{root}.{_dotted(inner)}"}
    name = f"{roots[0]}{_written(inside)}"
    return Place(name, position, frozenset(others), name if inside or kind == "dict" else position)


def _written(steps: Steps) -> str:
    return "".join(step.written for step in steps)


def _dotted(steps: Steps) -> str:
    return ".".join(step.key for step in steps)


def parameters_of(model: Callable[..., Any]) -> list[str]:
    """The names of the arguments that a model takes by position; "" of those without one."""
    called = model.forward if isinstance(model, torch.nn.Module) else model
    try:
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):
        return []
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in by_position]
