"""A property test of a model: what it passes, what it refuses to pass, and what it says."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import InconclusiveError, InputError, ModelError, NotEquivariantError
from shiftcheck.strategies import equivariant
from shiftcheck.strategies.examples import Example, Scene
from shiftcheck.strategies.promise import Promise

FEW = hypothesis.settings(max_examples=15, database=None, derandomize=True)


def conv(**options: Any) -> nn.Module:
    return nn.Conv2d(3, 2, 3, **options)


def check(model: Any, **options: Any) -> None:
    def test_it() -> None:
        """Nothing."""

    equivariant(model, settings=FEW, **options)(test_it)()


class DownUp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool, self.up = nn.MaxPool2d(2), nn.ConvTranspose2d(2, 2, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.pool(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (conv(padding=1), {}),
        (conv, {}),
        (DownUp, {"lattice": 2}),
        (nn.Sequential(conv(), nn.MaxPool2d(2)), {}),
        (conv(padding=1, padding_mode="circular"), {"boundary": "circular"}),
        (nn.Conv1d(2, 2, 5, padding=2), {"dtype": torch.float64}),
        (nn.Conv3d(1, 1, 2), {"max": 2}),
        (torch.relu, {"ndim": 2}),
        (conv(padding=1), {"sizes": [(7, 9), (12, 5)], "kind": "white"}),
        (nn.Sequential(conv(), nn.Flatten()), {"layer": "0"}),
        (conv(padding=1), {"max": (0, 3)}),
        (lambda: conv().double(), {}),
    ],
)
def test_what_is_equivariant_passes(model: Any, options: dict[str, Any]) -> None:
    if options.get("dtype") is torch.float64:
        model = model.double()
    check(model, **options)


def test_several_inputs_and_channels_last() -> None:
    class Gain(nn.Module):
        def forward(self, x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
            return x.cos() * gain

    options = {"arguments": lambda x: (x.movedim(1, -1), torch.tensor(2.0))}
    check(Gain(), ndim=2, spatial_dims=(1, 2), **options)
    with pytest.raises(NotEquivariantError, match=r"x = arguments\(shiftcheck"):
        check(
            lambda x: x + torch.arange(x.shape[1])[:, None, None],
            ndim=2,
            spatial_dims=(1, 2),
            arguments=lambda x: x.movedim(1, -1),
        )


def test_the_failure_is_the_librarys_message_for_the_smallest_example() -> None:
    with pytest.raises(NotEquivariantError) as caught:
        check(DownUp, boundary="circular", seed=4)
    text = str(caught.value)
    assert "first guilty layer: 'pool' (max_pool2d), cause STRIDE" in text
    assert "hint: " in text or "remedy: " in text
    assert "torch.manual_seed(4); model = DownUp()" in text
    assert "kind='white', seed=" in text
    assert len(text.splitlines()) <= 32
    assert caught.value.__cause__ is None


def test_the_lines_of_a_failure_show_it_again() -> None:
    with pytest.raises(NotEquivariantError) as caught:
        check(DownUp)
    lines = str(caught.value).splitlines()
    names: dict[str, Any] = {"shiftcheck": shiftcheck, "torch": torch, "DownUp": DownUp}
    code = lines[lines.index("the simplest example found, as code:") + 1 :]
    with pytest.raises(NotEquivariantError) as again:
        exec("\n".join(code), names)
    assert "'pool'" in str(again.value)


def test_a_bug_at_some_sizes_is_found_at_the_smallest_of_them() -> None:
    def uneven(x: torch.Tensor) -> torch.Tensor:
        return x + torch.arange(x.shape[-1]) * (x.shape[-1] % 5 == 4)

    with pytest.raises(NotEquivariantError, match=r"sample_signal\(\(1, 1, \d, 4\)"):
        equivariant(uneven, ndim=2)(lambda_test())()


def lambda_test() -> Any:
    def test_it() -> None:
        """Nothing."""

    return test_it


@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        (lambda: nn.Sequential(conv(), nn.InstanceNorm2d(2)), {}, "no valid region"),
        (nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1)), {}, "not spatial"),
        (lambda x: x * 0 + 1, {"ndim": 2}, "output"),
        (lambda x: (x - 100).relu(), {"ndim": 2}, "dead output"),
        (lambda x: x + torch.rand_like(x), {"ndim": 2}, "nondeterministic"),
        (lambda x: x / 0, {"ndim": 2}, "not finite"),
        (conv(), {"rtol": 10.0, "atol": 10.0}, "tolerance larger"),
        (nn.MaxPool2d(3), {"ndim": 2, "lattice": 2, "sizes": [(12, 12)]}, "off the lattice"),
    ],
)
def test_what_cannot_be_told_never_passes(model: Any, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InconclusiveError, match=reason):
        check(model, **options)


def verdicts(monkeypatch: pytest.MonkeyPatch, judged: Any) -> None:
    """Let every example be judged by a function of it."""

    def run(scene: Scene, example: Example, measure: str) -> shiftcheck.Report:
        verdict, reason = judged(example)
        return shiftcheck.Report(
            verdict=shiftcheck.Verdict(verdict), reason=reason, layers=(), outputs=()
        )

    monkeypatch.setattr(Scene, "run", run)


def test_one_doubtful_example_among_good_ones_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "within noise of a break"
    verdicts(
        monkeypatch,
        lambda e: ("inconclusive", reason) if e.kind == "impulses" else ("equivariant", ""),
    )
    with pytest.raises(InconclusiveError, match=reason):
        check(conv())


def test_a_break_beats_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(example: Example) -> tuple[str, str]:
        if example.kind == "blobs":
            return "broken", ""
        return "inconclusive", "within noise of a break"

    verdicts(monkeypatch, judged)
    with pytest.raises(NotEquivariantError):
        check(conv())


def test_an_axis_that_was_never_shown_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(example: Example) -> tuple[str, str]:
        return ("inconclusive", "shift not visible") if example.shift[1] else ("equivariant", "")

    verdicts(monkeypatch, judged)
    with pytest.raises(InconclusiveError, match="shift not visible"):
        check(conv())


def test_examples_that_show_nothing_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts(
        monkeypatch,
        lambda e: ("inconclusive", "dead output") if e.seed % 2 else ("equivariant", ""),
    )
    check(conv())


def test_what_an_example_is_simplified_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(example: Example) -> tuple[str, str]:
        tall = example.sizes[0] >= 7 and example.sizes[0] % 3 == 1 and example.shift[1] <= -2
        return ("broken", "") if tall else ("equivariant", "")

    told: list[Example] = []
    verdicts(monkeypatch, judged)
    monkeypatch.setattr(Scene, "written", lambda scene, example: told.append(example) or "written")
    with pytest.raises(NotEquivariantError):
        equivariant(conv(), settings=hypothesis.settings(FEW, max_examples=500))(lambda_test())()
    smallest = Example(shift=(0, -2), channels=3, sizes=(7, 6), kind="white", seed=0)
    assert told[0] == smallest


def test_a_model_that_raises_is_shown() -> None:
    class Raises(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("this model is broken")

    with pytest.raises(InputError, match="this model is broken"):
        check(Raises())

    def at_some_values(x: torch.Tensor) -> torch.Tensor:
        if x.amax() > 0:
            raise RuntimeError("values above zero")
        return x

    with pytest.raises((ModelError, InputError), match="values above zero"):
        check(at_some_values, ndim=2)


def test_the_body_runs_once_and_only_after_a_pass() -> None:
    ran: list[int] = []

    def body() -> None:
        ran.append(1)

    equivariant(conv(), settings=FEW)(body)()
    assert ran == [1]
    with pytest.raises(NotEquivariantError):
        equivariant(DownUp, settings=FEW)(body)()
    assert ran == [1]


def test_everything_is_left_as_it_was() -> None:
    model = nn.Sequential(conv(), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    check(model)
    check(lambda: conv())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_factory_is_called_once_and_draws_the_same_weights() -> None:
    made: list[nn.Module] = []

    def factory() -> nn.Module:
        made.append(conv())
        return made[-1]

    check(factory)
    check(factory)
    assert len(made) == 2
    one, other = (m.weight for m in made)
    assert torch.equal(one, other)


class Wants(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()


def takes_argument(x: int) -> None:
    """Nothing."""


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        (3, {}, "model=3"),
        (Wants, {}, "Wants wants width, depth"),
        (conv(), {"ndim": 7}, "ndim=7"),
        (torch.relu, {}, "ndim=None: the model has no layer that tells"),
        (conv(), {"channels": -1}, "channels=-1"),
        (conv(), {"sizes": [(3, 4), (5,)]}, r"sizes=\[\(3, 4\), \(5,\)\]"),
        (conv(), {"sizes": []}, r"sizes=\[\]"),
        (conv(), {"sizes": [(0, 3)]}, r"sizes=\[\(0, 3\)\]"),
        (conv(), {"max": -2}, "max=-2"),
        (conv(), {"lattice": 0}, "lattice=0"),
        (conv(), {"boundary": "open"}, "boundary='open'"),
        (conv(), {"kind": "pink"}, "kind='pink'"),
        (conv(), {"dtype": torch.int32}, "dtype"),
        (conv(), {"arguments": 3}, "arguments=3"),
        (conv(), {"seed": 0.5}, r"seed=0\.5"),
        (conv(), {"settings": 100}, "settings=100"),
    ],
)
def test_bad_arguments_are_refused_at_once(model: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        equivariant(model, **options)


@pytest.mark.parametrize("test", [takes_argument, 3, Wants])
def test_only_a_function_without_arguments_is_decorated(test: Any) -> None:
    with pytest.raises(InputError, match="decorate a function without arguments"):
        equivariant(conv())(test)


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        (lambda: 3, {}, "returned a int"),
        (conv(), {"layer": "nowhere"}, "layer='nowhere'"),
        (conv(), {"channels": 2}, "accepts none"),
        (conv(), {"max": (1, 2, 3)}, "max="),
        (nn.MaxPool2d(4), {"max": 3}, "max=3: along axis 0 the lattice is 4"),
        (conv(), {"lattice": 500}, r"lattice=\(500, 500\): no size"),
        (conv(), {"rtol": 1.0}, "both or neither"),
    ],
)
def test_what_depends_on_the_model_is_refused_when_the_test_runs(
    model: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        check(model, **options)


def test_a_lambda_of_a_promise_is_named_factory() -> None:
    with pytest.raises(NotEquivariantError, match=r"torch\.manual_seed\(0\); model = factory\(\)"):
        check(lambda: DownUp())
    assert Promise.__doc__
