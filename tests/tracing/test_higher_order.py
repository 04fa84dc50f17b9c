"""Operations that take functions: branches, loops, scans and attention with a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict

loops = pytest.importorskip("torch._higher_order_ops.while_loop")
maps = pytest.importorskip("torch._higher_order_ops.map")
scans = pytest.importorskip("torch._higher_order_ops.scan")
flex = pytest.importorskip("torch.nn.attention.flex_attention")
while_loop = loops.while_loop
X = torch.randn(1, 4, 12, 13, generator=torch.Generator().manual_seed(0))
torch.manual_seed(0)
CONV, OTHER = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3)
RAMP = torch.linspace(0, 1, 13)


class Chooses(nn.Module):
    """One of two layers, by what a function says of the input."""

    def __init__(self, choose: Callable[[torch.Tensor], Any], other: nn.Module = OTHER) -> None:
        super().__init__()
        self.choose, self.one, self.other = choose, CONV, other

    def forward(self, x: torch.Tensor) -> Any:
        return torch.cond(self.choose(x), self.one, self.other, (x,))


class Adds(nn.Module):
    """A ramp that no shift moves."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + RAMP


YES, NO = torch.tensor(True), torch.tensor(False)


@pytest.mark.parametrize(
    "choose", [lambda x: True, lambda x: YES, lambda x: x.shape[0] > 0, lambda x: YES & ~NO]
)
def test_a_branch_that_is_always_the_same_is_followed(choose: Any) -> None:
    report = shiftcheck.assert_equivariant(Chooses(choose), X)
    assert [row.name for row in shiftcheck.check_equivariance(Chooses(choose), X)] == ["one"]
    assert report.outputs[0].valid == (((1, 11),), ((1, 12),))
    other = shiftcheck.assert_equivariant(Chooses(lambda x: NO), X)
    assert other.outputs[0].shape == (1, 4, 10, 11)


def test_what_a_branch_breaks_is_found_in_it() -> None:
    report = shiftcheck.check_equivariance(Chooses(lambda x: NO, Adds()), X)
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert (report.guilty.layer, report.guilty.kind) == ("other", "POSITION")


def exported(choose: Callable[[torch.Tensor], Any]) -> Any:
    same = nn.Conv2d(4, 4, 3, padding=1)
    return torch.export.export(Chooses(choose, same), (X,), strict=False).module()


DEPENDING: dict[str, Callable[[], Any]] = {
    "a sum": lambda: Chooses(lambda x: x.sum() > 0),
    "never taken": lambda: Chooses(lambda x: x.sum() > 1e9),
    "another way": lambda: Chooses(lambda x: x.sum() > X.sum(), nn.Conv2d(4, 4, 3, padding=1)),
    "exported": lambda: exported(lambda x: x.sum() > X.sum()),
    "a loop": lambda: (
        lambda x: while_loop(lambda y: y.sum() < 30, lambda y: (y + 1,), (CONV(x),))[0]
    ),
    "a loop that counts a signal": lambda: (
        lambda x: while_loop(
            lambda n, y: n < 3, lambda n, y: (n + 1, y * 0.5), (x.amax().long(), CONV(x))
        )[1]
    ),
}


OLDER_EXPORT = pytest.mark.filterwarnings(
    "ignore:Attempted to insert a get_attr Node",
    "ignore:Node lifted_tensor",
    "ignore:You are calling torch.compile inside torch.export",
    "ignore:Guards may run slower on Python",
)


@OLDER_EXPORT
@pytest.mark.parametrize("name", DEPENDING)
def test_a_branch_that_the_signal_chooses_is_no_pass(name: str) -> None:
    report = shiftcheck.check_equivariance(DEPENDING[name](), X)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "values leave torch")
    assert report.guilty is not None
    assert "a value is read" in report.guilty.detail


@OLDER_EXPORT
def test_an_exported_branch_is_followed() -> None:
    assert shiftcheck.assert_equivariant(exported(lambda x: YES), X)


def test_a_loop_that_counts_is_followed() -> None:
    def model(x: torch.Tensor) -> Any:
        return while_loop(
            lambda n, y: n < 3, lambda n, y: (n + 1, CONV(y).relu()), (torch.tensor(0), x)
        )[1]

    report = shiftcheck.assert_equivariant(model, X)
    assert report.outputs[0].valid == (((3, 9),), ((3, 10),))

    def ramp(x: torch.Tensor) -> Any:
        return while_loop(lambda n, y: n < 3, lambda n, y: (n + 1, y + RAMP), (torch.tensor(0), x))[
            1
        ]

    assert shiftcheck.check_equivariance(ramp, X).verdict is Verdict.BROKEN


def test_maps_and_scans_over_channels_are_followed() -> None:
    def mapped(x: torch.Tensor) -> Any:
        return maps.map(lambda row: row.relu(), x.movedim(1, 0)).movedim(0, 1)

    def scanned(x: torch.Tensor) -> Any:
        rows = x.movedim(1, 0)
        start = rows[0].clone(memory_format=torch.contiguous_format)
        return scans.scan(lambda c, r: (c + r, c * r), start, rows)[1].movedim(0, 1)

    def backwards(x: torch.Tensor) -> Any:
        start = x[:, 0].clone(memory_format=torch.contiguous_format)
        turned = scans.scan(lambda c, r: (c + r, c * r), start, x, dim=1, reverse=True)[1]
        return turned.movedim(0, 1)

    out = shiftcheck.tracing.higher_order.scan(lambda c, r: (c + r, c * r), [X[:, 0]], [X], 1, True)
    held, made = X[:, 0], []
    for place in (3, 2, 1, 0):
        made.insert(0, held * X[:, place])
        held = held + X[:, place]
    torch.testing.assert_close(out, [held, torch.stack(made)])
    for model in (mapped, scanned, backwards):
        assert shiftcheck.assert_equivariant(model, X)
        report = shiftcheck.check_equivariance(lambda x, model=model: model(x + RAMP), X)
        assert report.verdict is Verdict.BROKEN


def attends(*, score_mod: Any = None) -> Callable[[torch.Tensor], Any]:
    def model(x: torch.Tensor) -> Any:
        tokens = x.flatten(2).unflatten(1, (2, 2)).transpose(-1, -2)
        out = flex.flex_attention(tokens, tokens, tokens, score_mod=score_mod)
        return out.transpose(-1, -2).flatten(1, 2).reshape(x.shape)

    return model


def test_attention_with_a_function_is_followed() -> None:
    assert shiftcheck.assert_equivariant(attends(), X, boundary="circular")
    plane = shiftcheck.check_equivariance(attends(), X)
    assert (plane.verdict, plane.reason) == (Verdict.INCONCLUSIVE, "no valid region")
    assert plane.guilty is not None
    assert (plane.guilty.layer, plane.guilty.kind) == ("flex_attention", "GLOBAL")


def test_a_score_that_depends_on_the_place_is_no_pass() -> None:
    def far(score: Any, b: Any, h: Any, i: Any, j: Any) -> Any:
        return score + 0.05 * i * j

    report = shiftcheck.check_equivariance(attends(score_mod=far), X, boundary="circular")
    assert report.verdict is not Verdict.EQUIVARIANT


def test_functions_that_cannot_be_seen_into_are_no_pass() -> None:
    from torch._ops import HigherOrderOperator

    class Hidden(HigherOrderOperator):
        def __init__(self) -> None:
            super().__init__("shiftcheck_test_hidden")

        def __call__(self, function: Any, *operands: Any) -> Any:
            return super().__call__(function, *operands)

    hidden = Hidden()
    kernel = torch._C.DispatchKey.CompositeExplicitAutograd
    hidden.py_impl(kernel)(lambda function, *operands: function(*operands))
    for model in (lambda x: hidden(torch.relu, CONV(x)), lambda x: hidden(lambda: CONV(x))):
        report = shiftcheck.check_equivariance(model, X)
        assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "unsupported operation")
        assert report.guilty is not None
        assert report.guilty.op == "shiftcheck_test_hidden"
