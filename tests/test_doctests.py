"""The examples in the docstrings of every module give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import shiftcheck
from shiftcheck.rules import registry

MODULES = [
    module.name
    for module in pkgutil.walk_packages(shiftcheck.__path__, "shiftcheck.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name, monkeypatch):
    monkeypatch.setattr(registry, "_table", dict(registry._table))  # an example registers a rule
    if name.startswith("shiftcheck.metrics"):
        pytest.importorskip("torchmetrics")
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0, "see the captured output"
