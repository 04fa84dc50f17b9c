"""What goes wrong: these tests do not pass."""

import torch
from models.audio import Keywords
from models.heat import Step
from models.segmentation import UNet

import shiftcheck


def image(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_zeros_at_the_seam():
    torch.manual_seed(1)
    shiftcheck.assert_equivariant(Step("zeros"), image(1, 2, 16, 24), boundary="circular")


def test_the_whole_classifier():
    torch.manual_seed(2)
    shiftcheck.assert_equivariant(Keywords(), image(1, 1, 96))


def test_too_small_an_image():
    torch.manual_seed(0)
    shiftcheck.assert_equivariant(UNet(), image(1, 1, 16, 16))


def test_no_batch():
    shiftcheck.assert_equivariant(UNet(), image(64, 64))


def test_channels_that_do_not_fit():
    shiftcheck.assert_equivariant(UNet(), image(1, 3, 64, 64))


def test_no_such_budget():
    shiftcheck.assert_equivariant(UNet(), image(1, 1, 64, 64), budget="U-Net at two pixels")


@shiftcheck.parametrize_with_layers(
    Keywords(), (1, 1, 96), expected_failures={"low": "it was thought to be broken"}
)
def test_a_layer_that_was_mended(layer):
    if layer in ("low", "words"):
        shiftcheck.assert_equivariant(Keywords(), image(1, 1, 96), layer=layer)
