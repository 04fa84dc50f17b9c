import pytest
import torch
from models.heat import Step

STATES = [(16, 24), (17, 23)]


@pytest.mark.shiftcheck(boundary="circular")
@pytest.mark.parametrize("size", STATES)
def test_the_torus_has_no_seam(shiftcheck, size):
    torch.manual_seed(1)
    field = torch.randn(2, 2, *size, generator=shiftcheck.generator())
    report = shiftcheck.assert_equivariant(Step(), field)
    assert report.boundary == ("circular", "circular")
    assert report.outputs[0].shifts[0].share == 1.0


@pytest.mark.shiftcheck(rtol=1e-9, atol=0.0, boundary="circular")
def test_in_double_precision(shiftcheck):
    torch.manual_seed(1)
    field = torch.randn(2, 2, 16, 24, generator=shiftcheck.generator()).double()
    shiftcheck.assert_equivariant(Step().double(), field)
