"""What a check says of an error of the model, wherever in the check the model raised it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from shiftcheck.errors import ModelError
from shiftcheck.measuring.model_errors import RaisedError
from shiftcheck.measuring.remedies_of_errors import remedy

P = ParamSpec("P")
R = TypeVar("R")

_inside: ContextVar[bool] = ContextVar("inside a check", default=False)


@contextmanager
def unexplained() -> Iterator[None]:
    """Leave the errors of models as they are, for a caller that only asks whether there is one."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


def explaining_errors(check: Callable[P, R]) -> Callable[P, R]:
    """A public check: the outermost one says what may be done about an error of the model."""

    @functools.wraps(check)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        if _inside.get():
            return check(*args, **kwargs)
        try:
            with unexplained():
                return check(*args, **kwargs)
        except RaisedError as error:
            lines = [str(error), remedy(error)]
            raise ModelError("\n".join(filter(None, lines))) from error.__cause__

    return run
