"""A pass without rules: it goes the way of one that was traced, on other values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.torch_internals import (
    ASK_ABOUT_MEMORY,
    Mode,
    is_overload,
    packet_name,
    tensors_of,
    without_modes,
)
from shiftcheck.tracing.traced import Given, Stop, Traced
from shiftcheck.tracing.uncompiled import not_compiled
from shiftcheck.tracing.way import Step, Way


class OtherWayError(BaseException):
    """A pass goes another way; no except Exception of a model catches it."""


class _Follower(Mode):
    """Holds every operation against the way, and keeps the tensors that are asked for."""

    def __init__(self, way: Way, on_write: Callable[[torch.Tensor], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.way, self.on_write, self.at = way, on_write, 0
        self.wanted = {step for step, _ in way.ends or ()}
        self.kept: dict[int, list[torch.Tensor]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What runs here is never compiled, so nothing needs to be wrapped to say so."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        steps, at = self.way.steps, self.at
        if at >= len(steps) or steps[at].func is not func:
            return self._beside(func, args, kwargs)
        out = self._done(steps[at], args, kwargs)
        if at in self.wanted:
            self.kept[at] = tensors_of(out)
        self.at += 1
        if self.way.ends is not None and self.at == len(steps):
            raise Stop(out)
        return out

    def _beside(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What is no step of any way tells nothing; anything else is a step of another one."""
        if getattr(func, "namespace", "") != "prim" and (
            not is_overload(func) or packet_name(func) not in ASK_ABOUT_MEMORY
        ):
            raise OtherWayError
        return func(*args, **kwargs)

    def _done(self, step: Step, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if not (step.constant or step.outside):
            return step.func(*args, **kwargs)
        operation = Operation(step.func, args, kwargs)
        if step.outside:
            with without_modes():
                for tensor in operation.written:
                    self.on_write(tensor)
        return operation.constant() if step.constant else operation()

    def outputs(self) -> list[torch.Tensor]:
        """The tensors at the ends of a way that stops."""
        return [self.kept[step][number] for step, number in self.way.ends or ()]


def go_again(
    model: Callable[..., Any],
    given: Given,
    traced: Traced,
    on_write: Callable[[torch.Tensor], None],
    at_ends: Callable[[Any], list[torch.Tensor] | None],
) -> list[torch.Tensor] | None:
    """The outputs for other values, in the order of the pass that was traced.

    ``on_write``: called with each tensor that is not followed, just before it is written to.
    ``at_ends``: gives the outputs among what the model returned. None where the pass took another
    way.
    """
    if traced.way is None:
        return None
    follower = _Follower(traced.way, on_write)
    try:
        with not_compiled(), follower:
            returned = model(*given.args, **given.kwargs)
    except Stop:
        return follower.outputs()
    except OtherWayError:
        return None
    whole = follower.at == len(traced.way.steps) and traced.way.ends is None
    return at_ends(returned) if whole else None
