"""No number without a meaning: what tells nothing for an item is named, and in no mean."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from tests.networks.choosy import windows
from tests.networks.tiled import Attention, SqueezeExcite, UNet
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck import InputError
from shiftcheck.checks.evaluation import check, comparing, plan, questions
from shiftcheck.measuring.signals import places
from shiftcheck.report import EvaluationReport, Reason

TELLS_NOTHING = {
    Reason.BATCH_COUPLED,
    Reason.CONSTANT,
    Reason.CONSTANT_INPUT,
    Reason.DEAD,
    Reason.INVISIBLE,
    Reason.LEFT_TORCH,
    Reason.MEASURED_GAP,
    Reason.NOT_FINITE,
    Reason.NOT_SPATIAL,
    Reason.NO_REGION,
    Reason.OFF_LATTICE,
    Reason.TOO_LITTLE,
    Reason.UNSTEADY,
    Reason.UNSUPPORTED,
}


class Two(nn.Module):
    """Two inputs, one of half the size, and two outputs of different strides."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 2, 3)

    def forward(self, x: torch.Tensor, small: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.fine(x), self.coarse(small)


class Seeing(nn.Module):
    """Decides by a value that it takes out of its tensors."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu() if float(x.sum()) > 0 else x.tanh()


def conv(dims: int, *args: Any, **kwargs: Any) -> nn.Module:
    layer: nn.Module = getattr(nn, f"Conv{dims}d")(*args, **kwargs)
    return layer


Made = Callable[[], Any]
MODELS: dict[str, tuple[Made, tuple[int, ...], dict[str, Any]]] = {
    "one axis, stride 3": (lambda: conv(1, 2, 3, 5, stride=3, padding=2), (2, 41), {}),
    "three axes": (lambda: conv(3, 1, 2, 3, padding=1), (1, 9, 10, 11), {}),
    "twice as large": (
        lambda: nn.Sequential(conv(2, 1, 2, 3), nn.Upsample(scale_factor=2)),
        (1, 16, 14),
        {},
    ),
    "by three halves": (
        lambda: lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
        (1, 24, 24),
        {},
    ),
    "a U-Net off its period": (UNet, (1, 40, 40), {"shifts": [(1, 0), (4, 0), (0, 3)]}),
    "pieces": (lambda: lambda x: torch.cat([x[..., :9], -x[..., 9:]], -1), (1, 16, 18), {}),
    "mirrored": (lambda: lambda x: x.flip(-1), (1, 16, 18), {}),
    "a place added": (lambda: lambda x: x + torch.arange(18.0), (1, 16, 18), {}),
    "normalised over the whole": (lambda: nn.InstanceNorm2d(1), (1, 16, 18), {}),
    "the same on a circle": (
        lambda: nn.InstanceNorm2d(1),
        (1, 16, 18),
        {"boundary": "circular"},
    ),
    "padded with zeros on a circle": (
        lambda: conv(2, 1, 2, 3, padding=1),
        (1, 16, 18),
        {"boundary": ("valid", "circular")},
    ),
    "windows": (lambda: windows, (1, 28, 28), {}),
    "attention": (Attention, (1, 12, 12), {"boundary": "circular"}),
    "squeeze and excite": (SqueezeExcite, (1, 16, 16), {}),
    "dead": (lambda: lambda x: (x - 5).relu(), (1, 16, 18), {}),
    "constant": (lambda: lambda x: 0 * x + 3, (1, 16, 18), {}),
    "not finite": (lambda: lambda x: x / (x > 0.5), (1, 16, 18), {}),
    "decides by a value": (Seeing, (1, 16, 18), {}),
    "random": (lambda: nn.Dropout(0.5), (1, 16, 18), {"training": True}),
    "counts in its forward": (
        lambda: nn.Sequential(conv(2, 1, 2, 3), nn.BatchNorm2d(2)),
        (1, 16, 18),
        {"training": True},
    ),
    "meets its neighbours": (lambda: lambda x: x - x.mean(0, keepdim=True), (1, 16, 18), {}),
    "sorted": (lambda: lambda x: x.sort(-1).values, (1, 16, 18), {}),
    "too little is left": (
        lambda: conv(2, 1, 2, 11, padding=5),
        (1, 16, 18),
        {"shifts": [(5, 0), (1, 0), (0, 7)]},
    ),
    "a classifier": (
        lambda: nn.Sequential(conv(2, 1, 2, 3), nn.AdaptiveAvgPool2d(1)),
        (1, 16, 18),
        {},
    ),
    "half precision": (
        lambda: nn.Sequential(conv(2, 1, 2, 3), nn.Tanh()).to(torch.bfloat16),
        (1, 16, 18),
        {"dtype": torch.bfloat16},
    ),
    "complex": (lambda: lambda x: torch.complex(x, 2 * x), (1, 16, 18), {}),
    "of whole numbers": (lambda: lambda x: (8 * x).round().long(), (1, 16, 18), {}),
}


def items_of(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Items of noise, one of which is blank and one of stripes."""
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(5))
    x[2] = 0.25
    x[3] = torch.arange(float(shape[-1])).remainder(3)
    return x.to(dtype)


@pytest.mark.parametrize("name", MODELS)
def test_each_item_has_the_number_or_the_reason_of_the_check(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, shape, kwargs = MODELS[name]
    kwargs = dict(kwargs)
    x = items_of(shape, kwargs.pop("dtype", torch.float32))
    torch.manual_seed(0)
    model = made()
    found: dict[Any, Any] = {}

    def listening(what: str, output: str, op: str, pairs: Sequence[Any], **more: Any) -> Any:
        found.update({(output, item, shift): v for item, shift, v in pairs})
        return tally_of(what, output, op, pairs, **more)

    tally_of = comparing.tally_of
    monkeypatch.setattr(comparing, "tally_of", listening)
    report = check.evaluate(model, x, batch_size=3, draws=3, **kwargs)
    assert (report.items, report.corrupt) == (4, 0)
    assert found
    kwargs.pop("shifts", None)
    for item in range(4):
        shifts = sorted({shift for _, i, shift in found if i == item})
        alone = shiftcheck.check_equivariance(
            model, x[item : item + 1], shifts=shifts, measure="outputs", **kwargs
        )
        for output in alone.outputs:
            for result in output.shifts:
                mine = found[output.name, item, result.shift]
                compare(mine, result, alone, output, blank=item == 2)


def compare(mine: Any, result: Any, alone: Any, output: Any, *, blank: bool) -> None:
    """A number is that of the check; where the check has a reason, so has the evaluation."""
    doubt = alone.reason if alone.reason in (Reason.UNSTEADY, Reason.LEFT_TORCH) else Reason.NONE
    told = {doubt, output.reason, result.reason} & TELLS_NOTHING
    if isinstance(mine, Reason):
        told |= {Reason.CONSTANT_INPUT} if blank and told else set()
        assert mine in told, (mine, told)
        return
    assert not doubt
    assert result.reason not in TELLS_NOTHING, (mine, result)
    assert result.relative_error == pytest.approx(mine, rel=1e-3, abs=2e-6)


def test_several_inputs_move_together(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = (1, 16, 18), (1, 8, 9)
    x = [tuple(torch.rand(size, generator=generator) for size in sizes) for _ in range(5)]
    report = shiftcheck.evaluate(Two(), x, select=tuple, max_shift=4)
    assert [q.output for q in report.quantities] == ["output[0]", "output[1]"]
    assert all(q.pairs.count == 20 and q.pairs.largest < 1e-5 for q in report.quantities)
    still = shiftcheck.evaluate(Two(), x, select=tuple, max_shift=4, fixed=(1,))
    assert still["equivariance", "output[1]"].reason == Reason.IGNORES


def test_what_tells_nothing_is_in_no_mean() -> None:
    x = items_of((1, 16, 18))
    report = shiftcheck.evaluate(nn.Conv2d(1, 2, 3, padding=1, stride=2), x, shifts=[(2, 0)])
    found = report["equivariance"]
    assert found.pairs.count == 2
    reasons = {u.reason: u.first for u in found.unmeasured}
    assert reasons == {Reason.CONSTANT_INPUT: (2,), Reason.INVISIBLE: (3,)}
    assert "1 pair of 1 item (2) in no figure: constant input" in str(report)


def test_a_blank_item_says_nothing_of_invariance() -> None:
    x = items_of((1, 16, 18))
    model = nn.Sequential(nn.Flatten(), nn.Linear(288, 3))
    found = shiftcheck.evaluate(model, x, ["invariance", "classes"], shifts=[(2, 0)])
    for what in ("invariance", "classes"):
        assert found[what].pairs.count == 2
        assert {u.reason: u.first for u in found[what].unmeasured} == {
            Reason.CONSTANT_INPUT: (2,),
            Reason.INVISIBLE: (3,),
        }


def test_one_class_for_all_items_is_no_consistency() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(288, 3))
    with torch.no_grad():
        model[1].bias[:] = torch.tensor([9.0, 0.0, 0.0])
    found = shiftcheck.evaluate(model, items_of((1, 16, 18)), "classes")["classes"]
    assert found.reason == Reason.CONSTANT
    assert "always" not in str(found.reason)


def test_the_same_output_for_all_items_is_no_invariance() -> None:
    x = items_of((1, 16, 18))
    found = shiftcheck.evaluate(lambda x: 0 * x.mean((2, 3)) + 1, x, "invariance")
    assert found["invariance"].reason == Reason.CONSTANT
    assert found["invariance"].figures["between_items"] == 0.0


@pytest.mark.parametrize(
    ("what", "model", "reason"),
    [
        ("invariance", nn.Conv2d(1, 2, 3), Reason.STILL_SPATIAL),
        ("classes", nn.Conv2d(1, 2, 3), Reason.STILL_SPATIAL),
        ("classes", nn.AdaptiveAvgPool2d(1), Reason.NO_SCORES),
        ("equivariance", nn.Sequential(nn.Flatten(), nn.Linear(288, 3)), Reason.NOT_SPATIAL),
        ("equivariance", nn.Conv2d(1, 1, 17, padding=8), Reason.NO_REGION),
        ("effective_halo", nn.Sequential(nn.Flatten(), nn.Linear(288, 3)), Reason.NOT_SPATIAL),
    ],
)
def test_a_question_that_has_no_meaning_has_a_reason(
    what: str, model: nn.Module, reason: Reason
) -> None:
    found = shiftcheck.evaluate(model, items_of((1, 16, 18)), what, shifts=[(1, 0)])[what]
    assert found.reason == reason
    assert not found.pairs.count
    assert found.pairs.mean is None


def test_items_that_meet_others_run_alone_and_that_is_noted() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(0, keepdim=True)).flatten(1)[:, :2]

    report = shiftcheck.evaluate(model, items_of((1, 16, 18)), "invariance")
    assert any("one at a time" in note for note in report.notes)
    assert report.items == 4


class Counting(nn.Module):
    """Writes to a buffer, keeps a number, draws, and changes its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.register_buffer("seen", torch.zeros(3))
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        self.calls += 1
        x.mul_(0.5)
        y: torch.Tensor = self.conv(x)
        return y


def test_everything_is_left_as_it_was() -> None:
    model, x = Counting(), items_of((1, 16, 18))
    model.conv.eval()
    before, given = copy.deepcopy(model.state_dict()), x.clone()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    report: EvaluationReport = shiftcheck.evaluate(model, x, ["equivariance", "invariance"])
    assert report.items == 4
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert (model.calls, model.training, model.conv.training) == (0, True, False)
    assert torch.equal(x, given)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def test_what_is_remembered_of_shifts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Keeping(comparing.Equivariance):
        def begin(self, base: torch.Tensor) -> None:
            seen.append((self.seen, self.batch))
            super().begin(base)

    monkeypatch.setitem(questions.QUESTIONS, "equivariance", Keeping)
    monkeypatch.setattr(plan, "ROOM", 5 * 14 * 16)
    monkeypatch.setattr(places, "ROOM", 5 * 16 * 18)
    x = torch.rand(40, 1, 16, 18)
    report = shiftcheck.evaluate(nn.Conv2d(1, 1, 3), x, max_shift=6, batch_size=8)
    assert report["equivariance"].pairs.count == 160
    assert report["equivariance"].pairs.largest < 1e-5
    assert {len(output.steps) for output, _ in seen} == {5}


def test_a_model_that_computes_gradients_is_run_as_it_needs() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            y = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(y.pow(3).sum(), y)
        return slope

    report = shiftcheck.evaluate(model, items_of((1, 16, 18)), shifts=[(1, 0)])
    assert report["equivariance"].pairs.largest < 1e-5


@pytest.mark.parametrize("dims", [1, 2])
def test_an_effective_halo_is_that_of_each_item(dims: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        conv(dims, 1, 2, 5, padding=2), nn.Tanh(), conv(dims, 2, 2, 3, stride=2, padding=1)
    )
    x = torch.rand(5, *(1, 40, 32)[: dims + 1])
    x[2] = 0.0
    report = shiftcheck.evaluate(model, x, "effective_halo", draws=3, batch_size=2, seed=4)
    found = report["effective_halo"]
    needed, reaching = [], {}
    for item in (0, 1, 3, 4):
        alone = shiftcheck.effective_halo(
            model, x[item : item + 1], (0.01,), percentiles=(100.0,), draws=3, seed=4
        )
        for side in alone.outputs[0].sides:
            needed.append(side.needed[0][0])
            for distance, error in zip(side.distances, side.errors[0], strict=True):
                at = [0] * dims
                at[side.axis] = distance if side.side == "left" else -distance
                reaching.setdefault(tuple(at), []).append(error)
    assert found.pairs.count == len(needed) == 4 * 2 * dims
    assert found.pairs.mean == pytest.approx(sum(needed) / len(needed))
    assert {s.shift: s.largest for s in found.shifts} == pytest.approx(
        {at: max(errors) for at, errors in reaching.items()}, abs=1e-6
    )
    assert {u.reason: u.first for u in found.unmeasured} == {Reason.CONSTANT_INPUT: (2,)}
    assert report.pairs == 0
    assert f"{2 * dims} pairs of 1 item (2) in no figure: constant input" in str(report)


def test_layers_are_told_in_their_order() -> None:
    model = nn.Sequential()
    layers = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3, stride=2), nn.Flatten()
    for name, layer in zip(["z", "b", "y", "a"], layers, strict=True):
        model.add_module(name, layer)
    report = shiftcheck.evaluate(model, items_of((1, 16, 18)), layers=True, shifts=[(2, 0)])
    names = [q.output for q in report.quantities if q.op != "output"]
    assert names == ["z", "b", "y", "a"]
    assert report["equivariance", "y"].pairs.count == 2


@pytest.mark.parametrize("what", ["effective_halo", ["equivariance", "effective_halo"]])
@pytest.mark.parametrize("boundary", ["circular", ("circular", "circular")])
def test_an_effective_halo_on_a_circle_is_refused_with_the_remedy(what: Any, boundary: Any) -> None:
    model = nn.Conv2d(1, 2, 3, padding=1)
    x = torch.randn(3, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError) as raised:
        shiftcheck.evaluate(model, x, what, boundary=boundary)
    told = str(raised.value)
    assert told.startswith(f"boundary={boundary!r}: a circle has no edge that could be unknown")
    assert "give boundary='valid' for tiles that are cut out of it" in told
    assert shiftcheck.evaluate(model, x, what, boundary="valid")["effective_halo"].pairs.count
    mixed = shiftcheck.evaluate(model, x, what, boundary=("valid", "circular"))
    assert mixed["effective_halo"].pairs.count
    assert shiftcheck.evaluate(model, x, "equivariance", boundary=boundary).items == 3
