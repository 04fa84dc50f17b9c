"""The arithmetic of one sliding window, against torch's own operations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shiftcheck.rules.sliding import Window, paddings, windows_of

CASES = [
    (Window(kernel=k, step=s, before=p, after=p, dilation=d, ceil=ceil), size)
    for k in (1, 2, 3)
    for s in (1, 2, 3)
    for p in range(k // 2 + 1)
    for d in (1, 2)
    for ceil in (False, True)
    for size in (7, 8, 9)
]


@pytest.mark.parametrize(("window", "size"), CASES)
def test_there_are_as_many_windows_as_a_pool_gives(window: Window, size: int) -> None:
    w = window
    x = torch.zeros(1, 1, size)
    pooled = F.max_pool1d(x, w.kernel, w.step, w.before, w.dilation, w.ceil)
    assert w.count(size) == pooled.shape[-1]


@pytest.mark.parametrize("window", dict.fromkeys(w for w, _ in CASES if not w.ceil))
def test_they_cover_what_a_transposed_convolution_gives(window: Window) -> None:
    w = window
    x, kernel = torch.zeros(1, 1, 6), torch.zeros(1, 1, w.kernel)
    out = F.conv_transpose1d(x, kernel, None, w.step, w.before, dilation=w.dilation)
    assert w.extent(6) == out.shape[-1]


def test_what_windows_read_is_what_is_added_to_where_they_are_put_back() -> None:
    window = Window(kernel=3, step=2, before=1, after=1)
    assert (window.reads.num, window.reads.phases) == (2, ((-1, 0, 1),))
    assert (window.adds.num, window.adds.phases) == (1, ((0,), (1, 0)))


def test_only_a_window_of_one_sample_is_idle() -> None:
    assert Window(kernel=1).idle
    assert not any(w.idle for w in windows_of((2, 1, 1), (1, 2, 1), (0, 0, 1)))


@pytest.mark.parametrize(
    ("padding", "both"),
    [("valid", ([0, 0], [0, 0])), ("same", ([1, 1], [1, 2])), (2, (2, 2)), ((1, 2), ((1, 2),) * 2)],
)
def test_padding_may_be_a_word(padding: int | str, both: object) -> None:
    assert paddings(padding, (3, 4), 1) == both
