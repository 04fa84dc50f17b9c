"""A function that stands, for a traceback, in the line in which the user wrote a test."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

SOURCE = """\
@first
def run():
    error = ended()
    if error is not None:
        raise error
"""


def in_the_line_of(
    test: Callable[[], Any], ended: Callable[[], BaseException | None]
) -> Callable[[], None]:
    """A function in the place of ``test``: it raises what ``ended`` returns, if that is an error.

    A traceback shows the line in which the test is defined, and nothing below it.
    """
    code = test.__code__
    tree = ast.parse(SOURCE)
    place = {"col_offset": -1, "end_col_offset": -1}
    line = _line_of(test, code.co_firstlineno)
    for node in ast.walk(tree):
        vars(node).update(place, lineno=line, end_lineno=line)
    written = tree.body[0]
    assert isinstance(written, ast.FunctionDef)
    first = written.decorator_list[0]
    vars(first).update(lineno=code.co_firstlineno, end_lineno=code.co_firstlineno)
    module = compile(tree, code.co_filename, "exec", dont_inherit=True)
    made = next(const for const in module.co_consts if isinstance(const, CodeType))
    made = made.replace(co_name=code.co_name, co_qualname=code.co_qualname)
    run: Callable[[], None] = functools.wraps(test)(FunctionType(made, {"ended": ended}))
    return run


def _line_of(test: Callable[[], Any], first: int) -> int:
    """The line of ``def``, below the decorators; the first one where the source is not there."""
    try:
        lines, _ = inspect.getsourcelines(test)
        return first + ast.parse(textwrap.dedent("".join(lines))).body[0].lineno - 1
    except (OSError, SyntaxError, TypeError, IndexError):
        return first
