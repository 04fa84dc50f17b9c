"""Writing into a part of a tensor, against the same done with pads, masks and joins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict

Change = Callable[[torch.Tensor], torch.Tensor]
SIZE = (1, 2, 12, 14)


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*(shape or SIZE), generator=torch.Generator().manual_seed(5))


def canvas(x: torch.Tensor, *, wider: int = 2, higher: int = 2, make: str = "zeros") -> Any:
    shape = (*x.shape[:2], x.shape[2] + higher, x.shape[3] + wider)
    makers: dict[str, Callable[[], torch.Tensor]] = {
        "zeros": lambda: torch.zeros(shape),
        "new_zeros": lambda: x.new_zeros(shape),
        "full": lambda: torch.full(shape, 2.0),
        "zeros_like": lambda: torch.zeros_like(F.pad(x, (0, wider, 0, higher))),
    }
    return makers[make]()


def framed(x: torch.Tensor, make: str = "zeros") -> torch.Tensor:
    out = canvas(x, make=make)
    out[..., 1:-1, 1:-1] = x
    return out  # type: ignore[no-any-return]


def to_the_right(x: torch.Tensor) -> torch.Tensor:
    out = canvas(x, wider=5, higher=0)
    out[..., 5:] = x
    return out  # type: ignore[no-any-return]


def added(x: torch.Tensor) -> torch.Tensor:
    out = canvas(x)
    out[:, :, 1:-1, 1:-1] += x
    return out  # type: ignore[no-any-return]


def narrowed(x: torch.Tensor) -> torch.Tensor:
    out = canvas(x, higher=0)
    out.narrow(3, 1, x.shape[3]).copy_(x)
    return out  # type: ignore[no-any-return]


def padded_again(x: torch.Tensor) -> torch.Tensor:
    y = torch.zeros_like(x)
    y[..., 2:] = x[..., 2:]
    return y * 1


def channels(x: torch.Tensor) -> torch.Tensor:
    out = x.new_zeros(x.shape[0], 3, *x.shape[2:])
    out[:, :2] = x
    out[:, 2] = F.avg_pool2d(x, 3, 1, 1)[:, 0]
    return out


def in_place(change: Callable[[torch.Tensor], Any]) -> Change:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        change(y)
        return y * 1

    return model


def zero_left(y: torch.Tensor) -> None:
    y[..., :3] = 0


def zero_edges(y: torch.Tensor) -> None:
    y[..., :2] = 0
    y[..., -1:] = 0


def zero_first_row(y: torch.Tensor) -> None:
    y[:, :, 0] = 1.0


def one_corner(y: torch.Tensor) -> None:
    y[..., :2, :3] += 1


def doubled_channel(y: torch.Tensor) -> None:
    y[:, :1].mul_(2)


def zero(axis: int, *places: int) -> torch.Tensor:
    """A mask along an axis of the image: zero at the places, one elsewhere."""
    keep = torch.ones(SIZE[axis])
    keep[list(places)] = 0
    return keep.view([-1 if d == axis else 1 for d in range(4)])


LEFT, EDGES, ROW = zero(3, 0, 1, 2), zero(3, 0, 1, -1), zero(2, 0)
CORNER = (1 - zero(2, 0, 1)) * (1 - zero(3, 0, 1, 2))


# name: written by hand, the same without writing
PAIRS: dict[str, tuple[Change, Change]] = {
    "framed": (framed, lambda x: F.pad(x, (1, 1, 1, 1))),
    "framed, new": (lambda x: framed(x, "new_zeros"), lambda x: F.pad(x, (1, 1, 1, 1))),
    "framed, full": (lambda x: framed(x, "full"), lambda x: F.pad(x, (1, 1, 1, 1))),
    "framed, like": (lambda x: framed(x, "zeros_like"), lambda x: F.pad(x, (1, 1, 1, 1))),
    "to the right": (to_the_right, lambda x: F.pad(x, (5, 0))),
    "added": (added, lambda x: F.pad(x, (1, 1, 1, 1))),
    "narrowed": (narrowed, lambda x: F.pad(x, (1, 1))),
    "zeros like x": (
        padded_again,
        lambda x: F.pad(x[..., 2:], (2, 0)),
    ),
    "channels": (channels, lambda x: torch.cat([x, F.avg_pool2d(x, 3, 1, 1)[:, :1]], 1)),
    "channel": (in_place(doubled_channel), lambda x: x * 2),
    "after a pool": (
        lambda x: framed(F.max_pool2d(x, 2)),
        lambda x: F.pad(F.max_pool2d(x, 2), (1, 1, 1, 1)),
    ),
    "before a convolution": (
        lambda x: F.avg_pool2d(framed(x), 3, 1),
        lambda x: F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 1),
    ),
}


OVERWRITTEN: dict[str, tuple[Change, Change]] = {
    "zero left": (in_place(zero_left), lambda x: x * LEFT),
    "zero edges": (in_place(zero_edges), lambda x: x * EDGES),
    "zero row": (in_place(zero_first_row), lambda x: x * ROW + (1 - ROW)),
    "corner": (in_place(one_corner), lambda x: x + CORNER),
}


def facts(report: shiftcheck.Report) -> Any:
    out = report.outputs[0]
    return report.verdict, out.stride, out.period, out.valid


@pytest.mark.parametrize("boundary", ["valid", "circular"])
@pytest.mark.parametrize("name", PAIRS)
def test_writing_by_hand_has_the_geometry_of_the_same_without(name: str, boundary: str) -> None:
    by_hand, other = PAIRS[name]
    options = {"boundary": boundary}
    one = shiftcheck.check_equivariance(by_hand, image(), **options)
    two = shiftcheck.check_equivariance(other, image(), **options)
    assert one.shifts == two.shifts
    assert facts(one) == facts(two)
    assert facts(shiftcheck.geometry(by_hand, image(), **options))[1:] == facts(one)[1:]
    if two.guilty is not None:
        assert one.guilty is not None
        assert one.guilty.kind == two.guilty.kind
        assert one.guilty.layer


@pytest.mark.parametrize("boundary", ["valid", "circular"])
@pytest.mark.parametrize("name", OVERWRITTEN)
def test_samples_that_are_written_over_are_different(name: str, boundary: str) -> None:
    by_hand, other = OVERWRITTEN[name]
    one = shiftcheck.check_equivariance(by_hand, image(), boundary=boundary)
    two = shiftcheck.check_equivariance(other, image(), boundary=boundary)
    assert one.verdict is two.verdict is Verdict.BROKEN
    assert one.guilty is not None
    assert two.guilty is not None
    assert one.guilty.kind == two.guilty.kind == "POSITION"
    assert boundary == "circular" or any(one.outputs[0].different)


def every_other(x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(*x.shape[:3], 2 * x.shape[3])
    out[..., ::2] = x
    return out


def twice_strided(x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(*x.shape[:3], 2 * x.shape[3])
    out[..., ::2] = x * torch.linspace(0, 1, x.shape[3])
    out[..., 1 : 1 + x.shape[3]] += x
    return out


def an_older_view(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    left, right = y[..., :7], y[..., 5:]
    right.mul_(torch.linspace(0, 1, right.shape[3]))
    return left * 1


def a_constants_older_view(x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(x.shape)
    row = out[0, 0, 3]
    out[..., 1:-1] = x[..., 1:-1] * torch.linspace(0, 1, x.shape[3] - 2)
    return x + row


def a_written_canvas(x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(*x.shape[:3], x.shape[3] + 2)
    out[..., 0, :] = torch.linspace(0, 1, out.shape[3])
    out[..., 1:-1] = x
    return out


def crossed(x: torch.Tensor) -> torch.Tensor:
    y = x[..., :12] * 1
    y.mT[..., :3].mul_(2)
    return y


def ring(x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(*x.shape[:3], x.shape[3] + 2)
    out[..., 1:-1] = x
    out[..., :1] = x[..., -1:]
    out[..., -1:] = x[..., :1]
    return F.avg_pool2d(out, (1, 3), 1)


UNKNOWN: dict[str, tuple[Change, str]] = {
    "an older view": (an_older_view, "valid"),
    "an older view of a constant": (a_constants_older_view, "valid"),
    "a canvas that was written": (a_written_canvas, "valid"),
    "crossed": (crossed, "valid"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_understood_is_named(name: str) -> None:
    model, boundary = UNKNOWN[name]
    report = shiftcheck.check_equivariance(model, image(), boundary=boundary)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "unsupported operation")
    assert report.guilty is not None
    assert report.guilty.layer.startswith(("copy", "mul", "add", "fill"))
    assert all(cause.layer for cause in report.causes)


def test_writes_to_every_other_sample_are_followed() -> None:
    assert shiftcheck.assert_equivariant(every_other, image()).outputs[0].period == (1, 1)
    report = shiftcheck.check_equivariance(twice_strided, image())
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"


def test_a_ring_closed_from_another_tensor_is_no_pass_and_no_break() -> None:
    report = shiftcheck.check_equivariance(ring, image(), boundary="circular")
    assert report.verdict is Verdict.INCONCLUSIVE


def test_a_varying_constant_over_a_part_is_a_position_of_the_other_axis() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        y[..., :3] = torch.arange(12.0)[:, None]
        return y

    report = shiftcheck.check_equivariance(model, image())
    assert report.verdict is Verdict.BROKEN
    assert report.outputs[0].period[0] is None
    assert report.outputs[0].different[1] == ((0, 3),)


def test_what_is_written_brings_its_own_geometry_along_the_other_axis() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        y[..., :3] = F.avg_pool2d(x, (3, 1), 1, (1, 0))[..., 2:5]
        return y

    report = shiftcheck.assert_equivariant(model, image(), shifts=[(1, 0), (-2, 0)])
    assert report.outputs[0].valid[0] == ((1, 11),)
    assert report.outputs[0].halo[0] == (1.0, 1.0)
    assert report.outputs[0].different[1] == ((0, 3),)


def test_samples_that_are_not_valid_may_be_written_again() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        out = framed(x)
        out[..., 0] = 3.0
        out[..., -1] = out[..., -2]
        return out

    out = shiftcheck.assert_equivariant(model, image()).outputs[0]
    assert out.valid == (((1, 13),), ((1, 15),))
    one_more = shiftcheck.geometry(lambda x: model(x)[..., 1:].clone(), image()).outputs[0]
    assert one_more.valid[1] == ((0, 14),)


def test_random_numbers_over_a_part_are_said() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        y[..., :3] = torch.rand(3)
        return y

    assert shiftcheck.check_equivariance(model, image()).reason == "nondeterministic"


class Needs(nn.Module):
    """A circular convolution among operations that need gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(False), torch.no_grad():
            return self.conv(x.clone())  # type: ignore[no-any-return]


def test_circular_padding_in_pieces() -> None:
    out = shiftcheck.assert_equivariant(Needs(), image()).outputs[0]
    assert out.valid == (((1, 11),), ((1, 13),))
    ring = shiftcheck.check_equivariance(Needs(), image(), boundary="circular")
    assert ring.verdict is not Verdict.BROKEN


def test_a_canvas_is_named_and_written_again() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        out = framed(x)
        out[..., 5] = 3.0
        return out

    ring = shiftcheck.geometry(framed, image(), boundary="circular")
    assert {cause.layer for cause in ring.causes} == {"copy"}
    report = shiftcheck.geometry(model, image())
    assert report.outputs[0].different == ((), ((5, 6),))
    assert {cause.layer for cause in report.causes if cause.kind == "POSITION"} == {"fill"}
