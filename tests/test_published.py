"""Geometry against published figures: receptive fields, strides, and sizes that pad unevenly."""

from __future__ import annotations

import pytest
from tests.networks.alexnet import AlexNet
from tests.networks.mobilenet import MobileNet
from tests.networks.resnet import ResNet, resnet50
from tests.networks.vgg import VGG
from torch import nn

import shiftcheck

# Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill 2019
PUBLISHED: dict[str, tuple[nn.Module, int, int]] = {
    "alexnet_v2": (AlexNet(width=2), 195, 32),
    "vgg_16": (VGG(width=2), 212, 32),
    "mobilenet_v1": (MobileNet(width=2), 315, 32),
    "resnet_v1_50": (resnet50(first=True, width=2), 483, 32),
    "resnet_v1_101": (ResNet((3, 4, 23, 3), first=True, width=2), 1027, 32),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_receptive_field_and_stride_as_published(name: str) -> None:
    network, field, stride = PUBLISHED[name]
    out = shiftcheck.geometry(network, (1, 3, 224, 256)).outputs[0]
    assert out.receptive_field == (field, field)
    assert out.stride == (stride, stride)
    assert out.period == (stride, stride)


def invalid_sides(row: shiftcheck.report.LayerResult) -> tuple[int, int]:
    """The samples before the first valid one and after the last, along the first axis."""
    runs = row.valid[0]
    assert runs is not None
    assert len(runs) == 1, "one run of valid samples"
    start, stop = runs[0]
    return start, row.shape[2] - stop


# Each window spans 2p + 1 pixels and moves by 2: where (h + 2p - k) mod 2 = (h - 1) mod 2 is not 0,
# the last padded pixels are never read, and one sample less sees the padding on the right.
@pytest.mark.parametrize(
    ("size", "sides"), [(193, (2, 2)), (225, (2, 2)), (257, (2, 2)), (224, (2, 1))]
)
@pytest.mark.parametrize("layer", ["conv1", "maxpool"])
def test_the_resnet_stem_pads_unevenly_where_the_stride_leaves_a_rest(
    layer: str, size: int, sides: tuple[int, int]
) -> None:
    stem = shiftcheck.geometry(resnet50(width=2), (1, 3, size, size), layer=layer)
    assert invalid_sides(stem[layer]) == sides
    kernel, padding, before = (7, 3, size) if layer == "conv1" else (3, 1, (size + 1) // 2)
    assert ((before + 2 * padding - kernel) % 2 == 0) is (sides[0] == sides[1])
