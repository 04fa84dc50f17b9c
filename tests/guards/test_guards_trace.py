"""Guards of the trace, the rules' common steps and the state, each by a test that needs it."""

from __future__ import annotations

import dataclasses
import functools
import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as torch_modules

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.lattice.axis import input_axis, join
from shiftcheck.lattice.factors import Factor, plain
from shiftcheck.rules import (
    BatchCoupledError,
    Constant,
    GeometryError,
    Layout,
    registry,
    resample,
    window,
)
from shiftcheck.tracing.operations import pointwise_rule
from shiftcheck.tracing.restoring.state import preserved

RAMP = torch.linspace(0, 1, 18)
MAP = (1, 2, 16, 18)
Change = Callable[[torch.Tensor], Any]


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*(shape or MAP), generator=torch.Generator().manual_seed(5))


def check(model: Any, x: Any = None, **options: Any) -> shiftcheck.Report:
    return shiftcheck.check_equivariance(model, image() if x is None else x, **options)


def kinds(model: Any, x: Any = None, **options: Any) -> set[str]:
    report = shiftcheck.geometry(model, image() if x is None else x, **options)
    return {cause.kind for cause in report.causes}


def after(change: Change, result: Change = lambda y: y) -> Change:
    """Make a copy, change it in place, return what is made of it."""

    def model(x: torch.Tensor) -> Any:
        y = x * 1
        kept = result(y)
        change(y)
        return kept * 1

    return model


def masked(x: torch.Tensor) -> torch.Tensor:
    mask = torch.ones_like(x)
    mask[..., :3].zero_()
    return x * mask


def masked_by_numpy(x: torch.Tensor) -> torch.Tensor:
    mask = torch.ones(18)
    mask.numpy()[:3] = 0
    return x * mask


def noise_in_a_view(x: torch.Tensor) -> torch.Tensor:
    noise = torch.zeros(1, 2, 1, 1)
    noise[:, 0].normal_()
    return x + noise


def adds_one(y: torch.Tensor) -> torch.Tensor:
    return y.add_(1)


RANDOM, NO_RULE = {"STOCHASTIC"}, {"UNSUPPORTED_OP"}
# name: model, what the geometry alone must say
KINDS: dict[str, tuple[Change, set[str]]] = {
    "random gain": (lambda x: x * torch.rand(()), RANDOM),
    "made of random numbers": (lambda x: x * (torch.rand(()) + 1), RANDOM),
    "random filter": (lambda x: F.conv2d(x, torch.randn(2, 2, 1, 1)), RANDOM),
    "noise in a view": (noise_in_a_view, RANDOM),
    "written mask": (masked, {"POSITION"}),
    "mask written by numpy": (masked_by_numpy, {"POSITION"}),
    "sum of ones": (lambda x: x + torch.ones_like(x).cumsum(-1), {"POSITION"}),
    "ones": (lambda x: x * torch.ones_like(x), set()),
    "ones times a number": (lambda x: x * (torch.ones_like(x) * torch.tensor(3.0)), set()),
    "the same view": (after(adds_one, lambda y: y.view(y.shape)), set()),
    "transposed view": (
        after(lambda y: adds_one(y[..., :16].mT), lambda y: y[..., :16]),
        NO_RULE,
    ),
    "neighbouring view": (after(lambda y: adds_one(y[..., 9:]), lambda y: y[..., :9]), NO_RULE),
    "view of another type": (after(adds_one, lambda y: y.view(torch.int32)), NO_RULE),
    "the input as a filter": (lambda x: F.conv2d(torch.ones(1, 2, 30, 30), x), NO_RULE),
    "a filter made of the input": (lambda x: F.conv2d(x, x[:, :, :3, :3]), NO_RULE),
    "two strides": (lambda x: F.max_pool2d(x, 2)[..., :4, :4] + x[..., :4, :4], {"RESIZE"}),
    "a product over axes": (lambda x: x[..., :16] @ x, NO_RULE),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_the_geometry_says(name: str) -> None:
    model, expected = KINDS[name]
    found = kinds(model)
    assert expected <= found if expected else not found


def test_a_mean_over_the_circle_meets_a_padded_map() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return F.pad(x, (1, 1)) * x.mean(-1, keepdim=True)

    assert kinds(model, boundary="circular") == {"PADDING", "GLOBAL"}


def test_a_parameter_for_each_place_is_latent() -> None:
    offset = nn.Parameter(torch.zeros(1, 2, 16, 18))
    report = shiftcheck.geometry(lambda x: x + offset, image())
    assert {(c.kind, c.latent) for c in report.causes} == {("POSITION", True)}


def test_a_constant_that_repeats_has_a_period() -> None:
    report = shiftcheck.geometry(lambda x: x * (torch.arange(18) % 2), image())
    assert report.outputs[0].period == (1, 2)


NOTES: dict[str, tuple[Change, str]] = {
    "sum": (lambda x: x + x.sum(0, keepdim=True), "a reduction mixes"),
    "linear": (lambda x: F.linear(x.movedim(0, -1), torch.ones(2, 2)).movedim(-1, 0), "mixes"),
    "constant": (lambda x: x * torch.arange(x.shape[0]).view(-1, 1, 1, 1), "differs between"),
}


@pytest.mark.parametrize("name", NOTES)
def test_why_the_copies_run_one_at_a_time(name: str) -> None:
    model, words = NOTES[name]
    assert words in check(model, image(2, 2, 16, 18)).notes[0]


def test_a_mixed_batch_is_noticed_where_the_model_catches_it() -> None:
    seen: list[int] = []

    def model(x: torch.Tensor) -> torch.Tensor:
        try:
            y = x + x.sum(0, keepdim=True)
        except Exception:
            return x * 2
        seen.append(x.shape[0])
        return y

    report = check(model, image(2, 2, 16, 18))
    assert "mixes the elements" in report.notes[0]
    assert set(seen) == {2}


def test_joined_axes_fit() -> None:
    axis = input_axis(8, circular=False)
    with pytest.raises(GeometryError, match="strides"):
        join(axis, resample(axis, window(2, [0]), 8))
    with pytest.raises(GeometryError, match="sizes"):
        join(axis, input_axis(9, circular=False))


def test_named_operands_count() -> None:
    signal = Layout((plain(1), (Factor("axis", 8, 0),)), (input_axis(8, circular=False),))
    ramp = Constant(shape=(8,), repeats=lambda *_: 8, parameter=False, random=False)
    assert [c.kind for c in pointwise_rule(signal, other=ramp).causes] == ["POSITION"]


def wrong(monkeypatch: pytest.MonkeyPatch, name: str, rule: Callable[..., Any]) -> None:
    monkeypatch.setitem(registry._table, name, registry.Entry(rule=rule, law="", source=""))


def coupled(*_: Any) -> Any:
    raise BatchCoupledError("never")


def unknown(*_: Any) -> Any:
    raise GeometryError("not this one")


ANSWERS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "two for one": (lambda x, _: (x, x), "UNSUPPORTED_OP", "the rule answers for 2"),
    "text": (lambda x, _: ("x",), "UNSUPPORTED_OP", "no Layout"),
    "coupled": (coupled, "BATCH_COUPLED", "never"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_rules_that_answer_wrongly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, kind, words = ANSWERS[name]
    wrong(monkeypatch, "aten::flip", rule)
    cause = shiftcheck.geometry(lambda x: x.flip(1), image()).causes[0]
    assert cause.kind == kind
    assert words in cause.detail


def test_a_sparse_tensor_has_no_geometry(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong(monkeypatch, "aten::_to_sparse", lambda x, *_, **__: x)
    wrong(monkeypatch, "aten::to_sparse", lambda x, *_, **__: x)
    assert any("layout" in c.detail for c in check(lambda x: x.to_sparse()).causes)


def test_a_rule_of_its_own_beats_the_pointwise_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong(monkeypatch, "aten::relu.default", unknown)
    assert kinds(torch.relu) == {"UNSUPPORTED_OP"}


READS: dict[str, Change] = {
    "asarray": lambda x: x * float(np.asarray(x).mean()),
    "dlpack": lambda x: x * torch.from_dlpack(x).mean(),
    "pointer": lambda x: x * (1 + 0 * x.data_ptr()),
    "storage": lambda x: x * (1 + 0 * x.untyped_storage().nbytes()),
}


@pytest.mark.parametrize("name", READS)
def test_values_that_leave_torch(name: str) -> None:
    assert check(READS[name]).reason == "values leave torch"


def test_after_a_value_was_read_no_layer_has_a_geometry() -> None:
    report = check(lambda x: torch.relu(x * x.mean().item()))
    assert report["relu"].stride == (None, None)


def test_memory_is_known_only_as_long_as_it_lives() -> None:
    def tainted(x: torch.Tensor) -> torch.Tensor:
        memory = torch.zeros(1)
        memory.view(1, 1).copy_(x[:1, :1, 0, 0])
        del memory
        gc.collect(0)
        fresh = [torch.zeros(1) for _ in range(64)]
        return functools.reduce(torch.add, fresh, x)

    assert not kinds(tainted)

    def changed(x: torch.Tensor) -> torch.Tensor:
        mask = torch.ones_like(x)
        mask[..., 0].zero_()
        del mask
        gc.collect(0)
        fresh = [torch.ones_like(x) for _ in range(64)]
        return functools.reduce(torch.mul, fresh, x)

    assert not kinds(changed)


def test_writes_into_inference_tensors() -> None:
    assert check(lambda x: x + torch.zeros_like(x).add_(1)).verdict is Verdict.EQUIVARIANT


class Swallows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            return self.conv(x)  # type: ignore[no-any-return]
        except Exception:
            return x * RAMP


def test_the_end_after_a_layer_is_not_caught_by_the_model() -> None:
    report = check(Swallows(), layer="conv")
    assert report.verdict is Verdict.EQUIVARIANT
    assert [row.name for row in report] == ["conv"]


class Fails(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("no")


class Recovers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bad = Fails()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            return self.bad(x)  # type: ignore[no-any-return]
        except ValueError:
            return x


def test_a_layer_that_raised_is_left() -> None:
    report = check(nn.Sequential(Recovers(), nn.ReLU(), nn.Conv2d(2, 2, 3)), layer="0")
    assert report.outputs[0].shape == MAP
    assert "0.bad" not in [row.name for row in report]


@pytest.mark.parametrize("model", [nn.ReLU(), Fails()], ids=["returns", "raises"])
def test_no_hook_stays(model: nn.Module) -> None:
    hooks = torch_modules._global_forward_hooks, torch_modules._global_forward_pre_hooks
    before = [len(h) for h in hooks]
    try:
        check(model)
    except shiftcheck.ModelError:
        assert isinstance(model, Fails)
    assert [len(h) for h in hooks] == before


class Attention(nn.MultiheadAttention):
    def __init__(self) -> None:
        super().__init__(2, 1)
        self.extra = nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.extra(x)  # type: ignore[no-any-return]


def test_no_layer_within_a_layer() -> None:
    assert [row.name for row in check(nn.Sequential(Attention()))] == ["0"]


@dataclasses.dataclass
class Output:
    y: torch.Tensor


@pytest.mark.parametrize("wrap", [Output, lambda y: {y}], ids=["dataclass", "set"])
def test_outputs_are_looked_into(wrap: Change) -> None:
    assert check(lambda x: wrap(x * 2)).verdict is Verdict.EQUIVARIANT


class Holder:
    def __init__(self, norm: nn.Module) -> None:
        self.norm = norm

    def __call__(self, x: torch.Tensor) -> Any:
        return self.norm(x)


def both(one: nn.Module, other: nn.Module, x: torch.Tensor) -> Any:
    return other(one(x))


@pytest.mark.parametrize("how", ["partial", "method", "callable"])
def test_modules_behind_a_callable_are_left_alone(how: str) -> None:
    one, other = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    models = {
        "partial": functools.partial(both, one, other),
        "method": Holder(one).__call__,
        "callable": Holder(one),
    }
    if how == "method":
        models["method"] = Net(one).features
    assert check(models[how]).verdict is Verdict.EQUIVARIANT
    assert [int(n.num_batches_tracked or 0) for n in (one, other)] == [0, 0]
    assert one.training
    assert other.training


class Net(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def features(self, x: torch.Tensor) -> Any:
        return self.norm(x)


def test_a_function_with_an_empty_cell() -> None:
    def make(fill: bool) -> Change:
        def model(x: torch.Tensor) -> torch.Tensor:
            return x * 2 if x.ndim else later

        if fill:
            later = torch.zeros(1)
        return model

    assert check(make(False)).verdict is Verdict.EQUIVARIANT


# -- state -----------------------------------------------------------------------------------------


class Keeps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.plain, self.frozen = torch.zeros(2), np.zeros(2)
        self.frozen.flags.writeable = False
        self.sparse = torch.eye(2).to_sparse()
        self.empty = nn.Parameter(torch.empty(0))
        self.torch_numbers = torch.Generator().manual_seed(1)
        self.numpy_numbers = np.random.default_rng(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not torch.backends.mha.get_fastpath_enabled()
        self.plain[0] += 1
        self.conv.weight.grad = None
        self.empty.data = self.empty.data * 2
        self.numpy_numbers.random(), np.random.rand()
        torch.rand(1, generator=self.torch_numbers)
        return self.conv(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("how", ["geometry", "check"])
def test_what_a_model_keeps(how: str) -> None:
    model = Keeps()
    gradient = model.conv.weight.grad = torch.ones_like(model.conv.weight)
    numbers = model.torch_numbers.get_state()
    drawn, everyone = model.numpy_numbers.bit_generator.state, np.random.get_state()[2]
    if how == "check":
        check(model)
    else:
        shiftcheck.geometry(model, image())
    assert not model.plain.any()
    assert model.conv.weight.grad is gradient
    assert model.empty.device.type == "cpu"
    assert torch.equal(model.torch_numbers.get_state(), numbers)
    assert model.numpy_numbers.bit_generator.state == drawn
    assert np.random.get_state()[2] == everyone


def test_a_module_without_sizes_is_preserved() -> None:
    module = nn.LazyConv2d(2, 3)
    with preserved([module], [], training=False):
        pass
    assert module(image()).shape == (1, 2, 14, 16)
