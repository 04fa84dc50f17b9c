import pytest
import torch
from models.segmentation import UNet

import shiftcheck


@pytest.fixture
def network():
    torch.manual_seed(0)
    return UNet()


@pytest.fixture
def image(shiftcheck):
    return torch.randn(1, 1, 64, 80, generator=shiftcheck.generator())


def test_it_moves_by_four_pixels(network, image):
    report = shiftcheck.assert_equivariant(network, image, shifts=[(4, 0), (0, 4), (8, -4)])
    assert report.outputs[0].period == (4, 4)


def test_it_is_known_not_to_move_by_one_pixel(network, image):
    shiftcheck.assert_equivariant(
        network, image, shifts=[(1, 0), (0, 1)], budget="U-Net at one pixel"
    )


def test_the_period_that_the_documentation_states():
    assert shiftcheck.geometry(UNet(), (1, 1, 512, 512)).outputs[0].period == (4, 4)
