"""Every public name has a docstring with an example, which test_doctests runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

import shiftcheck

OPTIONAL = ("strategies", "plot", *(("metrics",) if find_spec("torchmetrics") else ()))
"""Public modules that are not imported with the package, as they need an extra."""


def public_modules() -> list[ModuleType]:
    named = [getattr(shiftcheck, name) for name in shiftcheck.__all__]
    there = [m.name for m in pkgutil.iter_modules(shiftcheck.__path__) if m.name in OPTIONAL]
    extra = [importlib.import_module(f"shiftcheck.{name}") for name in (*there, "report", "rules")]
    return [shiftcheck, *(m for m in named if inspect.ismodule(m)), *extra]


def names_of(module: ModuleType) -> list[str]:
    return list(module.__all__)


def described(value: Any) -> bool:
    """Whether a value can have a docstring of its own: a class or a function, no data."""
    return inspect.isclass(value) or inspect.isfunction(value)


NAMES = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in public_modules()
    for name in names_of(module)
    if described(getattr(module, name))
}


def test_there_are_public_names() -> None:
    assert {
        "shiftcheck.Report",
        "shiftcheck.report.Cause",
        "shiftcheck.datasets.mnist",
        "shiftcheck.rules.Axis",
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_an_example(name: str) -> None:
    value = NAMES[name]
    text = inspect.getdoc(value) or ""
    assert value.__doc__, f"{name} has no docstring of its own"
    assert value.__module__.startswith("shiftcheck."), f"the examples of {name} are not run"
    examples = doctest.DocTestParser().get_examples(text)
    assert examples, f"the docstring of {name} has no example"
    shows = any(example.want or "assert" in example.source for example in examples)
    assert shows or name in SILENT


SILENT = (
    "shiftcheck.strategies.equivariant",
    "shiftcheck.register_rule",
    "shiftcheck.rules.register_rule",
)
"""Names whose example shows nothing but that it runs."""


@pytest.mark.parametrize("name", shiftcheck.report.__all__)
def test_a_record_is_found_at_its_earlier_place(name: str) -> None:
    assert getattr(shiftcheck, name) is getattr(shiftcheck.report, name)
    assert name in PUBLIC_RECORDS or name not in shiftcheck.__all__


PUBLIC_RECORDS = ("Report", "StreamingPlan", "TilingPlan", "Verdict")


def test_a_name_that_there_is_not_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Reports'"):
        _ = shiftcheck.Reports
