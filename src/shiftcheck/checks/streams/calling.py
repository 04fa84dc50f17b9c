"""How a step is called: with a chunk, or with a chunk and the state that it gave before."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from shiftcheck.errors import InputError, ModelError
from shiftcheck.tracing.containers import leaves_of

Call = Callable[..., Any]


class NoState:
    """In the place of a state that was not given."""

    def __repr__(self) -> str:
        return "none given"


NOT_GIVEN = NoState()


@dataclass(frozen=True, kw_only=True, eq=False)
class Stepping:
    """The user's own: the step or what makes one, what resets and flushes it, its first state."""

    step: Call | None
    make_step: Call | None = None
    reset: Call | str | None = None
    flush: Call | str | None = None
    state: Any = NOT_GIVEN

    @property
    def name(self) -> str:
        """What it is called."""
        own = self.step if self.step is not None else self.make_step
        return str(getattr(own, "__name__", type(own).__name__))

    @property
    def parts(self) -> tuple[Any, ...]:
        """All that may hold a state."""
        own = self.step, self.make_step, self.reset, self.flush, self.state
        return tuple(p for p in own if p is not None and p is not NOT_GIVEN)

    @property
    def begins_anew(self) -> bool:
        """Whether the user says how a new sequence begins."""
        given = self.make_step is not None or self.reset is not None
        return given or self.state is not NOT_GIVEN

    def check(self) -> None:
        """Raise InputError for what cannot be used."""
        if (self.step is None) == (self.make_step is None):
            raise InputError(
                f"step={self.step!r}, make_step={self.make_step!r}: give a step, a callable that"
                " takes a chunk, or make_step, a callable that makes a fresh one; not both"
            )
        for name in ("step", "make_step"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise InputError(f"{name}={value!r} cannot be called: give a module or a function")
        if isinstance(self.step, type):
            raise InputError(
                f"step={self.step.__name__} is a class: give an instance, or make_step="
                f"{self.step.__name__}"
            )
        for name in ("reset", "flush"):
            value = getattr(self, name)
            if value is None or callable(value):
                continue
            if not isinstance(value, str):
                raise InputError(
                    f"{name}={value!r}: give a callable, or the name of a method of the step"
                )
            if self.step is not None:
                self.method(self.step, name)

    def method(self, step: Any, name: str) -> Call | None:
        """What ``reset`` or ``flush`` means for a step; None where it was not given."""
        given = getattr(self, name)
        if not isinstance(given, str):
            return given  # type: ignore[no-any-return]
        found = getattr(step, given, None)
        if not callable(found):
            raise InputError(
                f"{name}={given!r}: a {type(step).__name__} has no such method; give a callable, or"
                " the name of one"
            )
        return found  # type: ignore[no-any-return]


class Running:
    """A step at work on one sequence, with the state that it hands on."""

    def __init__(self, stepping: Stepping, *, arguments: int, outputs: int, arrays: bool) -> None:
        self.stepping, self.outputs, self.arrays = stepping, outputs, arrays
        self.step = stepping.step if stepping.step is not None else _made(stepping.make_step)
        self.room = _room(self.step, arguments)
        self.flushes = stepping.method(self.step, "flush")
        self.begin(stepping.state)

    def begin(self, state: Any) -> None:
        """Begin a sequence, with a state of its own."""
        reset = self.stepping.method(self.step, "reset")
        if reset is not None:
            reset()
        given = state is not NOT_GIVEN
        self.carries: bool | None = True if given or self.room == "required" else None
        if self.room == "none" and not given:
            self.carries = False
        self.state = copy.deepcopy(state) if given else None

    def go(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the step returns for a chunk, without the state."""
        if self.arrays:
            args = tuple(map(_as_array, args))
            kwargs = {name: _as_array(value) for name, value in kwargs.items()}
        if self.carries and (self.state is not None or self.room != "optional"):
            args = (*args, self.state)
        returned = self.step(*args, **kwargs)
        if self.carries is None:
            self.carries = _is_with_state(returned, self.outputs)
        if not self.carries:
            return returned
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise ModelError(
                f"the step was given a state, and returned a {type(returned).__name__} that is no"
                " pair: return (outputs, state)"
            )
        self.state = returned[1]
        return returned[0]

    def flush(self) -> Any:
        """What is left in the step at the end; None where nothing is said of that."""
        if self.flushes is None:
            return None
        takes = self.carries and _room(self.flushes, 0) != "none"
        returned = self.flushes(self.state) if takes else self.flushes()
        pair = isinstance(returned, tuple) and len(returned) == 2
        return returned[0] if self.carries and pair and self.outputs == 1 else returned


def _made(make: Call | None) -> Call:
    assert make is not None
    made = make()
    if not callable(made):
        raise InputError(
            f"make_step={make!r} made a {type(made).__name__} that cannot be called: have it return"
            " a step, a callable that takes a chunk"
        )
    return made  # type: ignore[no-any-return]


def _as_array(value: Any) -> Any:
    return value.detach().numpy().copy() if isinstance(value, torch.Tensor) else value


def _room(step: Call, taken: int) -> str:
    """Whether a callable takes one more argument by position: "required", "optional", "none"."""
    call = step.forward if isinstance(step, torch.nn.Module) else step
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return "none"
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    by_position = [p for p in parameters if p.kind in kinds]
    if len(by_position) <= taken:
        return "none"
    required = by_position[taken].default is inspect.Parameter.empty
    return "required" if required else "optional"


def _is_with_state(returned: Any, outputs: int) -> bool:
    """Whether a pair is outputs and a state: its first part alone holds as many outputs."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        return False
    return len(tensors_of(returned[0])) == outputs


def tensors_of(returned: Any) -> list[torch.Tensor]:
    """The dense tensors and arrays among what was returned."""
    found = []
    for _, leaf in leaves_of(returned, hidden=True):
        tensor = torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf
        if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
            found.append(tensor)
    return found
