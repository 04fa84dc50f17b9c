"""A run that is not traced, of which only the writes are watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from shiftcheck.tracing.operations import Operation, may_write
from shiftcheck.tracing.torch_internals import Mode, without_modes


class WatchedWrites(Mode):
    """Tells of each tensor just before it is written to."""

    def __init__(self, on_write: Callable[[torch.Tensor], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.on_write = on_write

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What runs here is never compiled, so nothing needs to be wrapped to say so."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if may_write(func):
            with without_modes():
                for tensor in Operation(func, args, kwargs).written:
                    self.on_write(tensor)
        return func(*args, **kwargs)
