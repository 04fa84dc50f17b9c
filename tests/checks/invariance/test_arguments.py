"""Arguments that cannot be used are named; whatever a check touches is put back."""

from __future__ import annotations

import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from tests.checks.invariance.networks import classifier, signals
from torch import nn

import shiftcheck
from shiftcheck import InputError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fill": "wrap"}, "fill='wrap'"),
        ({"fill": ("zeros",) * 3}, "2 spatial axes"),
        ({"fill": ()}, "fill="),
        ({"fill": 3}, "fill=3"),
        ({"crop": (4, 4), "fill": "zeros"}, "give one of them"),
        ({"crop": (4,)}, r"crop=\(4,\)"),
        ({"crop": "44"}, "crop='44'"),
        ({"crop": (20, 4)}, "no part of x"),
        ({"crop": (12, 8)}, "no room to move"),
        ({"crop": (0, 4)}, "no part of x"),
        ({"crop": (6, 4), "shifts": [(4, 0)]}, "leaves the canvas"),
        ({"shifts": [(12, 0)]}, "larger than the signal"),
        ({"shifts": [(0.5, 0)]}, "fractional"),
        ({"shifts": []}, "empty"),
        ({"shifts": [(1,)]}, "1 entry"),
        ({"max_relative_error": 0}, "max_relative_error=0"),
        ({"max_relative_error": 1.0}, "as another signal does"),
        ({"max_relative_error": float("nan")}, "max_relative_error=nan"),
        ({"max_relative_error": "1%"}, "max_relative_error='1%'"),
        ({"max_relative_error": True}, "max_relative_error=True"),
        ({"seed": 0.5}, "seed=0.5"),
        ({"training": 1}, "training=1"),
        ({"layer": ""}, "layer=''"),
        ({"layer": "nowhere"}, "'nowhere' was not met"),
        ({"spatial_dims": (0, 2)}, "spatial_dims"),
    ],
)
def test_argument_is_named(options, words):
    with pytest.raises(InputError, match=words):
        shiftcheck.check_invariance(classifier(), signals(3, 1, 12, 8), **options)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (signals(3, 1, 12, 8) / 0, "NaN or infinite"),
        (signals(12, 8), "batch dimension"),
        (torch.ones(3, 1, 12, 8, dtype=torch.complex64), "complex64"),
        (signals(3, 1, 0, 8), "no values"),
        (torch.empty(3, 1, 12, 8, device="meta"), "meta"),
        ("image", "holds no tensor"),
    ],
)
def test_input_is_refused(x, words):
    with pytest.raises(InputError, match=words):
        shiftcheck.check_invariance(classifier(), x)


def test_model_that_raises_gets_a_sentence():
    with pytest.raises(shiftcheck.ModelError, match=r"the model raised RuntimeError"):
        shiftcheck.check_invariance(
            nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), signals(3, 1, 6, 6)
        )


def test_second_input_that_no_shift_moves_by_whole_samples():
    model = lambda x, y: x.mean((2, 3)) + y.mean((2, 3))  # noqa: E731
    pair = signals(2, 1, 12, 8), signals(2, 1, 6, 4)
    with pytest.raises(InputError, match="whole samples"):
        shiftcheck.check_invariance(model, pair, shifts=[(1, 0)])
    with pytest.raises(InputError, match="whole number of samples"):
        shiftcheck.check_invariance(model, pair, crop=(7, 4))


class Failing(nn.Module):
    """Writes to a buffer, draws, and raises when it is called for the ``last`` time."""

    def __init__(self, last: int):
        super().__init__()
        self.body, self.last, self.calls = classifier(nn.BatchNorm2d(4)), last, []
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.calls.append(len(self.calls))
        self.seen += 1
        random.random()
        np.random.rand()
        torch.rand(())
        if len(self.calls) == self.last:
            raise ValueError("enough")
        return self.body(x)


@pytest.mark.parametrize("last", [0, 4])
@pytest.mark.parametrize("training", [False, True])
def test_everything_is_left_as_it_was(last, training):
    model = Failing(last)
    model.body[3].eval()
    x = signals(3, 1, 12, 8).requires_grad_()
    x.grad = torch.ones_like(x)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    flags = [m.training for m in model.modules()]
    values, drawn = x.detach().clone(), (torch.get_rng_state(), random.getstate())
    numbers = np.random.get_state()[1].copy()
    with pytest.raises(shiftcheck.ModelError, match="enough") if last else nullcontext():
        shiftcheck.check_invariance(model, x, training=training)
    assert {k: v.tolist() for k, v in model.state_dict().items()} == {
        k: v.tolist() for k, v in before.items()
    }
    assert [m.training for m in model.modules()] == flags
    assert model.calls == []
    assert torch.equal(x, values)
    assert torch.equal(x.grad, torch.ones_like(x))
    assert torch.equal(torch.get_rng_state(), drawn[0])
    assert random.getstate() == drawn[1]
    assert np.array_equal(np.random.get_state()[1], numbers)
    assert not any(m._forward_hooks for m in model.modules())


def test_model_is_checked_in_eval_mode():
    model = classifier(nn.Sequential(nn.BatchNorm2d(4), nn.Dropout()))
    model(signals(8, 1, 12, 8))
    shiftcheck.assert_invariant(model, signals(3, 1, 12, 8))


def test_same_seed_gives_the_same_report():
    model, x = classifier(padding="zeros"), signals(1, 1, 12, 8)
    one, other, third = (
        shiftcheck.check_invariance(model, x, fill="fresh", seed=s) for s in (3, 3, 4)
    )
    assert one == other
    assert one.shifts != third.shifts or one.relative_error != third.relative_error


def test_progress_is_shown_where_it_is_asked_for(capsys):
    model, x = classifier(), signals(2, 1, 6, 6)
    shiftcheck.check_invariance(model, x, shifts=[(1, 0)])
    assert capsys.readouterr().out == ""
    shiftcheck.check_invariance(model, x, shifts=[(1, 0)], progress=True)
    assert "shifts" in capsys.readouterr().out
