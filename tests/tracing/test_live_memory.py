"""The peak of a pass counts what lives at one time, and what a convolution needs beside."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from shiftcheck.tracing.live_memory import LiveMemory
from shiftcheck.tracing.torch_internals import fake_mode

ONE = 16 * 100 * 100 * 4
"""The bytes of one tensor."""


def test_what_is_let_go_of_counts_no_more() -> None:
    with torch.inference_mode(), fake_mode():
        x = torch.empty(1, 16, 100, 100)
        with LiveMemory([x]) as counting:
            y = x + 1
            y = y * 2
            z = y.flatten()
            del y
            z = z.relu()
            del z
    assert counting.peak == 3 * ONE
    assert counting.live == ONE


def test_what_is_written_in_place_takes_no_room() -> None:
    with torch.inference_mode(), fake_mode():
        x = torch.empty(1, 16, 100, 100)
        with LiveMemory([x]) as counting:
            x.relu_().mul_(2)
    assert counting.peak == ONE


def test_a_convolution_has_copies_of_its_operands() -> None:
    with torch.inference_mode(), fake_mode():
        x, weight = torch.empty(1, 16, 100, 100), torch.empty(16, 16, 3, 3)
        with LiveMemory([x]) as counting:
            F.conv2d(x, weight, padding=1)
        with LiveMemory([x]) as by_columns:
            F.conv2d(x.double(), weight.double(), padding=1)
    assert counting.peak >= 4 * ONE
    assert by_columns.peak >= 2 * 9 * ONE
