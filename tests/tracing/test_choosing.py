"""Inputs that stand still, and outputs that are chosen among several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import InputError, NotEquivariantError, Report, Verdict
from shiftcheck.cli import main
from shiftcheck.report.invariance import InvarianceReport


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Siamese(nn.Module):
    """A tracker: where in ``search`` the template is."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Conv2d(2, 3, 3)

    def forward(self, search: torch.Tensor, template: torch.Tensor, gain: float = 1.0) -> Any:
        return gain * F.conv2d(self.features(search), self.features(template))


class Grouped(Siamese):
    """The same for every element of a batch at once."""

    def forward(self, search: torch.Tensor, template: torch.Tensor, gain: float = 1.0) -> Any:
        fields, kernels = self.features(search), self.features(template)
        count, channels, *sizes = fields.shape
        joined = fields.reshape(1, count * channels, *sizes)
        out = F.conv2d(joined, kernels, groups=count)
        return gain * out.reshape(count, 1, *out.shape[-2:])


SEARCH, TEMPLATE = noise(1, 2, 31, 29), noise(1, 2, 9, 7, seed=1)


@pytest.mark.parametrize("fixed", [("template",), (1,), ["template", 1]])
def test_a_template_stands_still(fixed: Any) -> None:
    report = shiftcheck.assert_equivariant(Siamese(), (SEARCH, TEMPLATE), fixed=fixed)
    assert report.outputs[0].valid == (((0, 23),), ((0, 23),))
    assert report.fixed == tuple(fixed)


def test_a_still_argument_may_come_first_and_by_keyword() -> None:
    x = {"template": TEMPLATE, "search": SEARCH}
    report = shiftcheck.assert_equivariant(Siamese(), x, fixed=("template",))
    assert report.input_shape == tuple(SEARCH.shape)
    tracker = Siamese()

    def swapped(template: torch.Tensor, search: torch.Tensor) -> Any:
        return tracker(search, template)

    assert shiftcheck.assert_equivariant(swapped, (TEMPLATE, SEARCH), fixed=(0,))


def test_still_arguments_may_have_a_batch() -> None:
    x = noise(2, 2, 31, 29), noise(2, 2, 9, 7, seed=1)
    assert shiftcheck.assert_equivariant(Grouped(), x, fixed=("template",))


def test_the_same_tensor_may_move_and_stand_still() -> None:
    x = noise(1, 2, 12, 13)
    assert shiftcheck.assert_equivariant(lambda x, like: x * like.mean(), (x, x), fixed=(1,))
    assert shiftcheck.assert_equivariant(lambda like, x: x * like.mean(), (x, x), fixed=(0,))


def test_a_still_map_is_a_constant_that_depends_on_the_position() -> None:
    conv = nn.Conv2d(2, 2, 3, padding=1)
    x = noise(1, 2, 16, 17), noise(1, 2, 16, 17, seed=1)
    assert shiftcheck.assert_equivariant(lambda a, b: conv(a) + b, x)
    report = shiftcheck.check_equivariance(lambda a, b: conv(a) + b, x, fixed=("b",))
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"


def test_the_values_of_a_still_map_are_known_to_the_geometry() -> None:
    flat = torch.ones_like(X).requires_grad_()
    assert shiftcheck.geometry(lambda x, gain: x * gain, (X, flat), fixed=("gain",)).causes == ()
    assert shiftcheck.geometry(lambda x, gain: x * gain, (X, X), fixed=("gain",)).causes


def test_a_part_of_an_argument_stands_still() -> None:
    def model(batch: Any) -> Any:
        return batch["x"] * batch["more"]["scale"].mean()

    x = ({"x": noise(1, 2, 12, 13), "more": {"scale": noise(1, 2, 12, 13, seed=1)}},)
    for entry in ("batch['more']['scale']", "batch.more.scale", "batch.more", "0['more']"):
        assert shiftcheck.assert_equivariant(model, x, fixed=(entry,))
    assert shiftcheck.check_equivariance(model, x).verdict is not Verdict.EQUIVARIANT


def test_a_vector_per_channel_is_no_signal() -> None:
    x = noise(1, 2, 12, 13), noise(1, 2, 1, 1, seed=1)
    assert shiftcheck.assert_equivariant(lambda x, scale: x * scale, x).notes == ()


@pytest.mark.parametrize(
    ("fixed", "words"),
    [
        (("templat",), "'templat'.*'search'.*position 0.*'template'.*position 1"),
        ((2,), "position 2.*'search'"),
        ((-1,), "position -1.*'search'"),
        ("template", "fixed='template'.*tuple"),
        ((True,), "fixed=.*True"),
        ((1.0,), "fixed=.*1.0"),
        (7, "fixed=7"),
        (None, "fixed=None"),
        ((0, 1), r"fixed=\(0, 1\).*left"),
    ],
)
def test_what_cannot_stand_still(fixed: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        shiftcheck.check_equivariance(Siamese(), (SEARCH, TEMPLATE), fixed=fixed)


def test_arguments_without_names_have_positions() -> None:
    def model(*signals: torch.Tensor) -> torch.Tensor:
        return F.conv2d(*signals)

    assert shiftcheck.assert_equivariant(model, (SEARCH, TEMPLATE), fixed=(1,))
    with pytest.raises(InputError, match=r"'0' .*'1' "):
        shiftcheck.check_equivariance(model, (SEARCH, TEMPLATE), fixed=("template",))


CONV = nn.Conv2d(2, 2, 3, padding=1)
X = noise(1, 2, 16, 17)


def several(x: torch.Tensor) -> Any:
    """A map, a map that depends on the place, a sum that does, and what is no tensor."""
    y = CONV(x)
    ramp = torch.linspace(0, 1, x.shape[-1])
    return y, [y + ramp, (x * ramp).sum((2, 3))], None


@pytest.mark.parametrize(
    ("outputs", "verdict"),
    [
        (None, Verdict.BROKEN),
        ([0], Verdict.EQUIVARIANT),
        (["output[0]"], Verdict.EQUIVARIANT),
        (("[0]",), Verdict.EQUIVARIANT),
        ([1], Verdict.BROKEN),
        (["output[1][0]"], Verdict.BROKEN),
        (["output[1][1]"], Verdict.INCONCLUSIVE),
        ([0, "output[1][0]"], Verdict.BROKEN),
    ],
)
def test_outputs_are_chosen(outputs: Any, verdict: Verdict) -> None:
    report = shiftcheck.check_equivariance(several, X, outputs=outputs)
    assert report.verdict is verdict
    told = outputs is None or any(
        f"outputs={list(outputs)!r}: nothing is told of" in note for note in report.notes
    )
    assert told


def test_outputs_of_a_dict_go_by_their_keys() -> None:
    def model(x: torch.Tensor) -> Any:
        return {"map": CONV(x), "aux": {"deep": x + torch.linspace(0, 1, 17)}, "n": 3}

    for entry in ("map", "['map']", "output['map']", 0):
        report = shiftcheck.assert_equivariant(model, X, outputs=[entry])
        assert [o.name for o in report.outputs] == ["output['map']"]
        assert report.chosen_outputs == (entry,)
    for entry in ("aux", "aux.deep", "output['aux']['deep']", 1):
        assert shiftcheck.check_equivariance(model, X, outputs=[entry]).verdict is Verdict.BROKEN


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (["seg"], r"'seg'.*'output\[0\]' \(position 0\).*'output\[1\]\[0\]' \(position 1\)"),
        ([7], "position 7"),
        ([2], "position 2"),
        ([0, "seg"], "'seg'"),
        ([], r"outputs=\[\]"),
        ("output[0]", "outputs='output"),
        ([0.5], "0.5"),
    ],
)
def test_what_is_no_output(outputs: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        shiftcheck.check_equivariance(several, X, outputs=outputs)
    with pytest.raises(InputError, match=words):
        shiftcheck.geometry(several, X, outputs=outputs)


def test_the_geometry_knows_both() -> None:
    assert len(shiftcheck.geometry(several, X, outputs=[0]).outputs) == 1
    still = shiftcheck.geometry(Siamese(), (SEARCH, TEMPLATE), fixed=(1,))
    assert still.outputs[0].period == (1, 1)


def test_the_line_that_reproduces_names_both() -> None:
    def model(x: torch.Tensor, place: torch.Tensor) -> Any:
        return x + place, x

    with pytest.raises(NotEquivariantError) as caught:
        shiftcheck.assert_equivariant(
            model, (X, noise(1, 2, 16, 17)), fixed=("place",), outputs=["output[0]"]
        )
    line = str(caught.value).replace("\n    ", " ")
    assert "(model, x, fixed=('place',), outputs=['output[0]'], shifts=" in line


def test_both_are_in_the_json() -> None:
    report = shiftcheck.check_equivariance(
        lambda a, b: (a, b), (X, X), fixed=(1,), outputs=["output[0]"]
    )
    data = json.loads(report.to_json())
    assert (data["fixed"], data["chosen_outputs"]) == ([1], ["output[0]"])
    assert Report.from_json(report.to_json()) == report


class Classifier(nn.Module):
    """Scores of a picture in the light of another one; and a value of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular")

    def forward(self, x: torch.Tensor, like: torch.Tensor) -> Any:
        scores = self.conv(x).relu().mean((2, 3))
        return {"scores": scores * like.mean((1, 2, 3))[:, None], "corner": x[:, :, 0, 0]}


def test_invariance_knows_both() -> None:
    x = noise(3, 2, 8, 9), noise(3, 2, 5, 4, seed=1)
    report = shiftcheck.assert_invariant(Classifier(), x, fixed=("like",), outputs=["scores"])
    assert (report.fixed, report.chosen_outputs) == (("like",), ("scores",))
    assert InvarianceReport.from_json(report.to_json()) == report
    with pytest.raises(shiftcheck.NotInvariantError) as caught:
        shiftcheck.assert_invariant(Classifier(), x, fixed=("like",))
    assert "assert_invariant(model, x, fixed=('like',), " in str(caught.value)
    with pytest.raises(InputError, match=r"'liek'.*'like'"):
        shiftcheck.check_invariance(Classifier(), x, fixed=("liek",))
    with pytest.raises(InputError, match=r"'score'.*scores"):
        shiftcheck.check_invariance(Classifier(), x, fixed=("like",), outputs=["score"])


MODULE = """
import torch, torch.nn.functional as F

class Siamese(torch.nn.Module):
    def forward(self, search, template):
        y = F.conv2d(search, template)
        return y, y + torch.arange(y.shape[-1])
"""


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--fixed", "template", "--outputs", "output[0]"], 0),
        (["--fixed", "1", "--outputs", "0"], 0),
        (["--fixed=1", "--outputs", "0,output[1]"], 1),
        (["--fixed=1", "--outputs=1"], 1),
        (["--fixed=1", "--outputs=0", "--outputs=1"], 1),
        (["--fixed=templat"], 2),
        (["--fixed=1", "--outputs=map"], 2),
    ],
)
def test_the_command_line_knows_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], status: int
) -> None:
    (tmp_path / "track.py").write_text(MODULE)
    shapes = ["--shape=1,2,21,19", "--shape=1,2,4,5"]
    assert main(["check", f"{tmp_path}/track.py:Siamese", *shapes, *options]) == status
    if status == 2:
        assert "search" in (said := capsys.readouterr().err) or "output[0]" in said
    assert main(["geometry", f"{tmp_path}/track.py:Siamese", *shapes, *options]) in (0, status)


@pytest.mark.parametrize("text", ["", ",", "a,,b"])
def test_the_command_line_refuses_no_name(text: str) -> None:
    with pytest.raises(SystemExit):
        main(["check", "torch.nn:ReLU", "--shape=1,1,8,8", f"--fixed={text}"])


def test_property_tests_know_both() -> None:
    def arguments(signal: torch.Tensor) -> Any:
        return signal, noise(1, signal.shape[1], 3, 3)

    def model(search: torch.Tensor, template: torch.Tensor) -> Any:
        y = F.conv2d(search, template)
        return y, y + torch.arange(y.shape[-1])

    def run(**options: Any) -> None:
        @shiftcheck.strategies.equivariant(
            model, arguments=arguments, ndim=2, channels=2, max=2, fixed=("template",), **options
        )
        def it_moves() -> None:
            """The network moves with its input."""

        it_moves()

    run(outputs=[0])
    with pytest.raises(NotEquivariantError, match=r"fixed=.*template"):
        run()
    with pytest.raises(InputError, match="outputs=3"):
        run(outputs=3)
