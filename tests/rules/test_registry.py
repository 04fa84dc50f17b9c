"""The table of rules: one rule an operation, and the marks that stand in its registration."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import shiftcheck
from shiftcheck.errors import InputError
from shiftcheck.lattice.axis import input_axis
from shiftcheck.lattice.factors import Factor, uniform
from shiftcheck.lattice.frequencies import with_waves
from shiftcheck.lattice.layout import Layout, Waves
from shiftcheck.rules import registry
from shiftcheck.tracing.answers import ask

AXIS = input_axis(8, circular=True)


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_table", dict(registry._table))


def same(x: Any, *_: Any) -> Any:
    return x


def test_a_second_rule_of_the_library_for_one_operation_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_shipped", {})
    with pytest.raises(InputError, match="'aten::conv2d' has a rule already, convolution"):
        shiftcheck.register_rule("aten::conv2d")(same)


def test_a_rule_of_ones_own_replaces_one_of_the_library() -> None:
    shiftcheck.register_rule("aten::conv2d")(same)
    assert registry.find_rule("aten::conv2d", "default") is same


def test_a_rule_of_ones_own_may_be_replaced_too() -> None:
    shiftcheck.register_rule("registry::mine")(torch.relu)
    shiftcheck.register_rule("registry::mine")(same)
    assert registry.find_rule("registry::mine", "default") is same


@pytest.mark.parametrize("keeps", [True, False])
def test_only_a_rule_that_keeps_uniform_dimensions_is_told_them(keeps: bool) -> None:
    shiftcheck.register_rule("registry::mine", keeps_uniform=keeps)(same)
    entry = registry.find_entry("registry::mine", "default")
    assert entry is not None
    layout = Layout((uniform(3), (Factor("axis", 8, axis=0),)), (AXIS,))
    assert (ask(entry, [layout], {}).dims[0] == uniform(3)) is keeps


def test_only_a_rule_that_keeps_frequencies_is_asked_about_them() -> None:
    for name, keeps in (("registry::linear", True), ("registry::other", False)):
        shiftcheck.register_rule(name, keeps_frequencies=keeps)(same)
    layout = Layout(((Factor("axis", 8, axis=0),),), (AXIS,))
    waves = with_waves(layout, 0, 0, Waves(AXIS, tuple(range(8))))
    linear, other = (registry.find_entry(f"registry::{n}", "default") for n in ("linear", "other"))
    assert linear is not None
    assert other is not None
    assert ask(linear, [waves], {}) is waves
    with pytest.raises(shiftcheck.rules.GeometryError, match="only linear maps of each frequency"):
        ask(other, [waves], {})
