"""What a model fills in at an end of a stream, where it joins parts of its input by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck.report import Streaming

CONV = nn.Conv1d(2, 2, 5).double()
FILLED: dict[str, Callable[[Tensor], Tensor]] = {
    "the last ones": lambda x: CONV(torch.cat([x[..., -4:], x], -1)),
    "the last one": lambda x: CONV(torch.cat([x[..., -1:].expand(-1, -1, 4), x], -1)),
    "both": lambda x: CONV(torch.cat([x[..., -2:], x, x[..., :2]], -1)),
    "indices": lambda x: CONV(x[..., torch.arange(-4, x.shape[-1]) % x.shape[-1]]),
    "a mean": lambda x: CONV(torch.cat([x.mean(-1, keepdim=True).expand(-1, -1, 4), x], -1)),
    "dark": lambda x: F.relu(CONV(torch.cat([x[..., -4:], x], -1)) - 1000),
    "dead": lambda x: 0 * CONV(torch.cat([x[..., -4:], x], -1)),
}
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": lambda x: CONV(torch.cat([x.new_zeros(1, 2, 4), x], -1)),
    "a token": lambda x: torch.cat([CONV(F.pad(x, (4, 0))), x.new_ones(1, 2, 1)], -1),
    "mirrored": lambda x: CONV(F.pad(x, (4, 0), "reflect")),
}


@pytest.mark.parametrize("name", FILLED)
@pytest.mark.parametrize("as_shape", [True, False])
def test_an_end_that_is_filled_from_afar_is_no_stream(name: str, as_shape: bool) -> None:
    x = torch.randn(1, 2, 240, dtype=torch.float64)
    plan = shiftcheck.streaming(FILLED[name], tuple(x.shape) if as_shape else x)
    assert plan.streaming is Streaming.UNKNOWN
    assert plan.keep is None
    with pytest.raises(shiftcheck.InputError, match="no finite look-back"):
        shiftcheck.streamed(FILLED[name], plan)


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_filled_with_anything_else_is_one(name: str) -> None:
    x = torch.randn(1, 2, 240, dtype=torch.float64)
    plan = shiftcheck.streaming(PLAIN[name], x)
    assert plan.streaming is Streaming.FINITE
    pieces = list(shiftcheck.streamed(PLAIN[name], plan, chunk=40)(x.split(17, -1)))
    assert torch.allclose(torch.cat(pieces, -1), PLAIN[name](x), atol=1e-9)
