"""The oracle on networks whose geometry is known by hand, and its refusals."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from .oracle import OracleError, truth, truths
from .pieces import Adaptive, Branches, OnChannels, Pad, Pointwise, Slice, draw_weights

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


class Repeat(nn.Module):
    def forward(self, x):
        return x.repeat_interleave(2, dim=2)


def mask(text):
    return tuple(c == "1" for c in text)


def conv(kernel, **options):
    return nn.Conv1d(2, 2, kernel, **options)


def one_axis(*layers, size, multiple=1):
    net = nn.Sequential(*layers)
    draw_weights(net, torch.Generator().manual_seed(0))
    return truth(net.double().eval(), (1, 2, size), 0, multiple)


# layers, size, a multiple of the period; then stride, period, valid mask, halo
KNOWN = {
    "zero-padded": ([conv(3, padding=1)], 8, 1, 1, 1, "01111110", (1, 1)),
    "unpadded": ([conv(5)], 9, 1, 1, 1, "11111", (0, 4)),
    "even kernel, same": ([conv(4, padding="same")], 8, 1, 1, 1, "01111100", (1, 2)),
    "circular": ([conv(3, padding=1, padding_mode="circular")], 6, 1, 1, 1, "011110", (1, 1)),
    "reflect": ([conv(3, padding=1, padding_mode="reflect")], 6, 1, 1, 1, "011110", (1, 1)),
    "replicate": ([conv(5, padding=2, padding_mode="replicate")], 7, 1, 1, 1, "0011100", (2, 2)),
    "dilated": ([conv(3, padding=2, dilation=2)], 8, 1, 1, 1, "00111100", (2, 2)),
    "strided": ([conv(3, stride=2, padding=1)], 8, 2, 2, 2, "0111", (1, 1)),
    "strided, odd": ([conv(3, stride=2, padding=1)], 9, 4, 2, 2, "01110", (1, 1)),
    "causal": ([Pad(((3, 0),), "constant"), conv(4)], 8, 1, 1, 1, "00011111", (3, 0)),
    "max pool": ([nn.MaxPool1d(2)], 8, 2, 2, 2, "1111", (0, 1)),
    "max pool, padded": ([nn.MaxPool1d(3, 2, 1)], 8, 2, 2, 2, "0111", (1, 1)),
    "max pool, ceil": ([nn.MaxPool1d(2, ceil_mode=True)], 7, 2, 2, 2, "1110", (0, 1)),
    "avg pool, renormalised": (
        [nn.AvgPool1d(3, 1, 1, count_include_pad=False)], 6, 1, 1, 1, "011110", (1, 1),
    ),
    "avg pool, ceil": ([nn.AvgPool1d(3, ceil_mode=True)], 8, 3, 3, 3, "110", (0, 2)),
    "lp pool": ([nn.LPPool1d(2, 2)], 8, 2, 2, 2, "1111", (0, 1)),
    "adaptive": ([Adaptive("avg", (3,))], 9, 3, 3, 3, "111", (0, 2)),
    "transposed": (
        [nn.ConvTranspose1d(2, 2, 2, 2)], 4, 1, Fraction(1, 2), 1, "11111111", (Fraction(1, 2), 0),
    ),
    # Sample p sees the pixels k with p - 3 <= 2 k <= p: of odd p (p - 3) / 2 is the first.
    "transposed, overlap": (
        [nn.ConvTranspose1d(2, 2, 4, 2)], 4, 1,
        Fraction(1, 2), 1, "0011111100", (Fraction(3, 2), 0),
    ),
    # Sample 2 k sees pixel k alone, sample 2 k + 1 the pixels k and k + 1; the last one needs 4.
    "transposed, output padding": (
        [nn.ConvTranspose1d(2, 2, 3, 2, 1, output_padding=1)], 4, 1,
        Fraction(1, 2), 1, "11111110", (Fraction(1, 2), Fraction(1, 2)),
    ),
    "up three, down two": (
        [nn.ConvTranspose1d(2, 2, 3, 3), Slice((0,), (0,), (2,))], 4, 2,
        Fraction(2, 3), 2, "111111", (Fraction(2, 3), 0),
    ),
    "pool, repeat": ([nn.MaxPool1d(2), Repeat()], 8, 2, 1, 2, "11111111", (1, 1)),
    "linear upsampling": (
        [nn.Upsample(scale_factor=2.0, mode="linear")], 4, 1,
        Fraction(1, 2), 1, "01111110", (1, Fraction(1, 2)),
    ),
    "slice": ([Slice((0,), (0,), (2,))], 8, 2, 2, 2, "1111", (0, 0)),
    "slice from one": ([Slice((1,), (0,), (2,))], 8, 2, 2, 2, "1111", (-1, 1)),
    "cropped border": (
        [conv(3, padding=1), Pad(((-1, -1),), "constant")], 8, 1, 1, 1, "111111", (0, 2),
    ),
    "crop, then padding": (
        [Pad(((-1, 0),), "constant"), conv(3, padding=1)], 8, 1, 1, 1, "0111110", (0, 2),
    ),
    "pointwise and channels": (
        [Pointwise("gelu"), OnChannels(nn.Linear(2, 2)), nn.BatchNorm1d(2)], 5, 1,
        1, 1, "11111", (0, 0),
    ),
    "branches": (
        [Branches("add", conv(3, padding=1), Pad(((4, -4),), "constant"))], 8, 1,
        1, 1, "00001110", (4, 1),
    ),
    "skip over a pool": (
        [Branches("cat", nn.Identity(), nn.Sequential(nn.AvgPool1d(2), Repeat()))], 6, 4,
        1, 2, "111111", (1, 1),
    ),
    "nothing valid": ([conv(5, padding=2), conv(5, padding=2)], 6, 1, 1, 1, "000000", (4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_networks_known_by_hand(name):
    layers, size, multiple, stride, period, valid, halo = KNOWN[name]
    found = one_axis(*layers, size=size, multiple=multiple)
    assert found.stride == stride
    assert found.period == period
    assert found.mask == mask(valid)
    assert found.halo == halo


def test_axes_are_told_apart():
    net = nn.Sequential(nn.Conv2d(2, 2, (3, 5), stride=(1, 2), padding=(1, 0)))
    draw_weights(net, torch.Generator().manual_seed(0))
    rows, columns = truths(net.double(), (1, 2, 6, 11), (1, 2))
    assert (rows.stride, rows.halo, rows.mask) == (1, (1, 1), mask("011110"))
    assert (columns.stride, columns.halo, columns.mask) == (2, (0, 4), mask("1111"))


def test_a_shift_that_is_no_multiple_of_the_period_is_refused():
    with pytest.raises(OracleError, match="no canvas"):
        one_axis(conv(3, stride=2), size=9, multiple=3)


class CentredByItsMean(nn.Module):
    def forward(self, x):
        return x - x.mean(2, keepdim=True)


def test_a_global_operation_is_refused():
    with pytest.raises(OracleError, match="no canvas"):
        one_axis(CentredByItsMean(), size=9)


def test_an_output_that_repeats_itself_is_refused():
    with pytest.raises(OracleError, match="repeats itself"):
        one_axis(nn.Conv1d(2, 2, 1), Constant(), size=9)


class Constant(nn.Module):
    def forward(self, x):
        return 0 * x + 1
