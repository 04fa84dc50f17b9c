"""Networks of several packages: each operation is understood, and what is known of them is said."""

from __future__ import annotations

import pytest
import torch
from tests.zoo.packages import PACKAGED
from tests.zoo.snapshot import described, process

import shiftcheck
from shiftcheck import Verdict

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # as those packages import


def check(name: str, **options: object) -> shiftcheck.Report:
    network = PACKAGED[name]
    return shiftcheck.check_equivariance(
        network.model(), network.x(), **{**network.options, **options}
    )


@pytest.mark.parametrize("name", PACKAGED)
def test_every_operation_is_understood_and_everything_left_as_it_was(name: str) -> None:
    network = PACKAGED[name]
    model, x = network.model(), network.x()
    with torch.no_grad():
        model(**x)  # what is made in the first call only is there
    before, around = described(model, x), process()
    report = shiftcheck.check_equivariance(model, x, **network.options)
    after = described(model, x)
    assert before.keys() == after.keys()
    assert not [thing for key, (thing, words) in before.items() if after[key][1] != words]
    assert process() == around
    causes = [*report.causes, *(cause for row in report.layers for cause in row.causes)]
    assert not [c for c in causes if c.kind in ("UNSUPPORTED_OP", "BATCH_COUPLED", "STOCHASTIC")]
    assert report.reason in ("", "no valid region"), report
    assert (report.verdict is Verdict.INCONCLUSIVE) == bool(report.reason)


@pytest.mark.parametrize("name", ["FNO", "FNO of waves"])
def test_layers_of_frequencies_are_exact_on_a_circle(name: str) -> None:
    report = check(name)
    assert report.verdict is Verdict.EQUIVARIANT, report
    assert {p for out in report.outputs for p in out.period} == {1}


@pytest.mark.parametrize("name", ["FNO with a grid", "FNO of waves with a grid"])
def test_a_grid_beside_the_input_tells_the_place(name: str) -> None:
    report = check(name)
    assert (report.verdict, report.guilty and report.guilty.kind) == (Verdict.BROKEN, "POSITION")
    assert report.guilty
    assert report.guilty.layer == "positional_embedding"


def test_a_unet_that_halves_twice_moves_in_fours() -> None:
    report = check("UNet", shifts=[(4, 0), (0, -4), (8, 4)])
    assert report.verdict is Verdict.EQUIVARIANT, report
    broken = check("UNet", shifts=[(2, 0), (0, 3)])
    assert (broken.verdict, broken.guilty and broken.guilty.kind) == (Verdict.BROKEN, "STRIDE")
    assert broken.outputs[0].period == (4, 4)


@pytest.mark.parametrize("name", ["UNet2DModel", "AutoencoderKL"])
def test_zeros_around_the_picture_break_a_circle(name: str) -> None:
    report = check(name, boundary="circular", shifts=[(2, 0)])
    assert (report.verdict, report.guilty and report.guilty.kind) == (Verdict.BROKEN, "PADDING")
    assert report.guilty
    assert report.guilty.layer in ("conv_in", "encoder.conv_in")


def test_the_settings_of_a_network_are_as_they_were() -> None:
    network = PACKAGED["UNet2DModel"]
    model = network.model()
    before = dict(model.config)
    shiftcheck.check_equivariance(model, network.x(), shifts=[(2, 0)])
    assert dict(model.config) == before
    assert before["layers_per_block"] == 1
