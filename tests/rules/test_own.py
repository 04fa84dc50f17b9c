"""Rules of a user: which one is taken, and what is said where a rule leaves something out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.lattice.axis import accumulate, with_break
from shiftcheck.rules import (
    GeometryError,
    Layout,
    map_axes,
    pointwise,
    registry,
    resample,
    window,
    with_axis,
)

LIBRARY = torch.library.Library("own_rules", "DEF")
LIBRARY.define("scale_(Tensor(a!) x, float by) -> ()")
LIBRARY.define("fill_with(Tensor x, Tensor(a!) target) -> Tensor")
LIBRARY.define("thin(Tensor x, int step) -> Tensor")
LIBRARY.define("edge(Tensor x) -> Tensor")


def _scale(x: torch.Tensor, by: float) -> None:
    x.mul_(by)


def _fill_with(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    target.copy_(x * torch.linspace(1, 2, x.shape[-1]))
    return x + 1


def _thin(x: torch.Tensor, step: int) -> torch.Tensor:
    return x[..., ::step].clone()


def _edge(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.pad(x[..., 1:], (0, 1))


for name, kernel in [("scale_", _scale), ("fill_with", _fill_with), ("thin", _thin)]:
    LIBRARY.impl(name, kernel, "CompositeExplicitAutograd")
LIBRARY.impl("edge", _edge, "CompositeExplicitAutograd")
OPS = torch.ops.own_rules


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*(shape or (1, 2, 16, 18)), generator=torch.Generator().manual_seed(5))


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    before = dict(registry._table)
    yield
    registry._table.clear()
    registry._table.update(before)


def refuse(*_: Any) -> Any:
    raise GeometryError("mine")


def same(x: Any, *_: Any) -> Any:
    return x


# -- which rule is taken ---------------------------------------------------------------------------

Model = Callable[[torch.Tensor], torch.Tensor]
TAKEN: dict[str, tuple[Any, Model]] = {
    "tagged, packet": ("aten::relu", torch.relu),
    "tagged, overload": ("aten::relu.default", torch.relu),
    "tagged, by the operation": (torch.ops.aten.relu, torch.relu),
    "tagged, in place": ("aten::relu", lambda x: torch.relu_(x * 1)),
    "name in place": ("aten::relu_", lambda x: torch.relu_(x * 1)),
    "overload in place": ("aten::relu_.default", lambda x: torch.relu_(x * 1)),
    "operation in place": (torch.ops.aten.relu_, lambda x: torch.relu_(x * 1)),
    "a packet of which the library knows an overload": ("aten::where", lambda x: x.where(x > 0, x)),
    "untagged in place": ("aten::renorm_", lambda x: (x * 1).renorm_(2, 1, 1.0)),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_rule_of_ones_own_is_taken(name: str) -> None:
    operation, model = TAKEN[name]
    shiftcheck.register_rule(operation)(refuse)
    assert any("mine" in c.detail for c in shiftcheck.geometry(model, image()).causes)


def test_a_rule_for_the_name_in_place_leaves_the_other_alone() -> None:
    shiftcheck.register_rule("aten::relu_")(refuse)
    assert not shiftcheck.geometry(torch.relu, image()).causes


def test_the_more_specific_of_two_rules_is_taken() -> None:
    shiftcheck.register_rule("aten::relu")(refuse)
    shiftcheck.register_rule("aten::relu.default")(pointwise)
    assert not shiftcheck.geometry(torch.relu, image()).causes


# -- operations that only write --------------------------------------------------------------------


def scaled(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    OPS.scale_(y, 2.0)
    return y + 1


def test_an_operation_that_returns_nothing_follows_its_rule() -> None:
    shiftcheck.register_rule("own_rules::scale_")(same)
    report = shiftcheck.assert_equivariant(scaled, image())
    assert [row.name for row in report] == ["mul", "add"]


def test_an_operation_that_returns_nothing_and_has_no_rule_is_named() -> None:
    report = shiftcheck.check_equivariance(scaled, image())
    assert report.reason == "unsupported operation"
    assert report.guilty is not None
    assert report.guilty.detail.startswith("no rule for own_rules.scale_.default")
    assert report.guilty.layer == "own_rules::scale"


def test_an_operation_that_returns_nothing_breaks_where_its_rule_says() -> None:
    @shiftcheck.register_rule("own_rules::scale_")
    def rule(x: Layout, by: float) -> Layout:
        return with_axis(x, 1, with_break(x.geometry(1)))

    out = shiftcheck.geometry(scaled, image()).outputs[0]
    assert out.period == (1, None)


def filled(x: torch.Tensor) -> torch.Tensor:
    target = torch.zeros_like(x)
    OPS.fill_with(x, target)
    return target * 1


def test_a_tensor_that_is_written_besides_is_not_taken_for_a_constant() -> None:
    shiftcheck.register_rule("own_rules::fill_with")(same)
    report = shiftcheck.check_equivariance(lambda x: filled(x) + x, image())
    assert report.reason == "unsupported operation"
    assert report.guilty is not None
    assert "written to" in report.guilty.detail
    assert report.guilty.layer == "own_rules::fill_with"


def test_a_rule_may_answer_for_what_is_written_besides() -> None:
    @shiftcheck.register_rule("own_rules::fill_with")
    def rule(x: Layout, target: object) -> tuple[Layout, Layout]:
        return x, with_axis(x, 1, with_break(x.geometry(1)))

    report = shiftcheck.check_equivariance(filled, image(), shifts=[(0, 1)])
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.layer == "own_rules::fill_with"


# -- causes that a rule does not name --------------------------------------------------------------


def thin_rule(x: Layout, step: int) -> Layout:
    size = -(-x.shape[-1] // step)
    return map_axes(x, [3], lambda axis, _: resample(axis, window(step, [0]), size), [size])


def thinned(x: torch.Tensor) -> torch.Tensor:
    wide: torch.Tensor = OPS.thin(x, 2).repeat_interleave(2, -1)
    return wide


def test_a_stride_without_a_cause_is_guilty() -> None:
    shiftcheck.register_rule("own_rules::thin")(thin_rule)
    report = shiftcheck.check_equivariance(thinned, image(), shifts=[(0, 1)])
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("STRIDE", "own_rules::thin")
    assert report.guilty.period == 2


def test_a_longer_period_after_a_known_one_is_guilty() -> None:
    shiftcheck.register_rule("own_rules::thin")(thin_rule)

    def model(x: torch.Tensor) -> torch.Tensor:
        return thinned(thinned(thinned(nn.functional.avg_pool2d(x, (1, 2)))))

    report = shiftcheck.geometry(model, image(1, 1, 4, 64))
    assert [c.period for c in report.causes] == [2, 4]


def test_a_circle_that_was_cut_without_a_cause_is_guilty() -> None:
    shiftcheck.register_rule("own_rules::thin")(thin_rule)
    options = {"boundary": "circular", "shifts": [(0, 4)]}
    report = shiftcheck.check_equivariance(thinned, image(1, 1, 6, 17), **options)
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("STRIDE", "own_rules::thin")


def edge_rule(x: Layout) -> Layout:
    size = x.shape[3]
    return map_axes(x, [3], lambda axis, _: resample(axis, window(1, [1]), size), [size])


def test_padding_without_a_cause_is_guilty() -> None:
    shiftcheck.register_rule("own_rules::edge")(edge_rule)
    report = shiftcheck.check_equivariance(OPS.edge, image(), boundary="circular")
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("PADDING", "own_rules::edge")


def test_an_endless_halo_without_a_cause_is_global() -> None:
    @shiftcheck.register_rule("own_rules::edge")
    def rule(x: Layout) -> Layout:
        return with_axis(x, 1, accumulate(x.geometry(1)))

    report = shiftcheck.check_equivariance(OPS.edge, image())
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("GLOBAL", "own_rules::edge")


def test_a_break_without_a_cause_is_guilty() -> None:
    @shiftcheck.register_rule("own_rules::edge")
    def rule(x: Layout) -> Layout:
        return with_axis(x, 1, with_break(x.geometry(1)))

    report = shiftcheck.geometry(OPS.edge, image())
    assert [(c.kind, c.layer, c.axis) for c in report.causes] == [
        ("POSITION", "own_rules::edge", 1)
    ]
