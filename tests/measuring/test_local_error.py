"""Local errors against layers that are run by hand on exactly shifted inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Report

SHIFTS = [(1, 0), (0, 2), (3, -1)]


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


class Position(nn.Module):
    """Adds a constant that depends on the place."""

    def __init__(self, scale: float, size: tuple[int, int] = (16, 18)) -> None:
        super().__init__()
        self.table = nn.Parameter(image(1, 4, *size) * scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        Position(1e-2),
        nn.Conv2d(4, 4, 5, padding=(2, 0), padding_mode="reflect"),
        nn.Sigmoid(),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
        nn.AvgPool2d(3, 1, 1),
    )


def check(model: Any, x: torch.Tensor, **options: Any) -> Report:
    options.setdefault("shifts", SHIFTS)
    return shiftcheck.check_equivariance(model, x, **options)


def locals_of(report: Report, name: str) -> list[tuple[float | None, float | None]]:
    return [(s.local_interior, s.local_border) for s in report[name].shifts]


def by_hand(
    layer: nn.Module, before: torch.Tensor, shift: tuple[int, int], border: int
) -> tuple[float, float]:
    """The gap of one layer on the torus, inside and at its border, over each channel's peak."""
    out = layer(before.clone())
    moved = layer(before.roll(shift, (2, 3)))
    gap = (moved - out.roll(shift, (2, 3))).abs()[0]
    inner = torch.zeros(gap.shape[1:], dtype=torch.bool)
    height, width = inner.shape
    for p in range(height):
        for q in range(width):
            here = border <= p < height - border and border <= q < width - border
            p_from, q_from = (p - shift[0]) % height, (q - shift[1]) % width
            there = border <= p_from < height - border and border <= q_from < width - border
            if shift[0] == 0:  # an axis that does not move needs no validity
                here, there = border <= q < width - border, border <= q_from < width - border
            if shift[1] == 0:
                here, there = border <= p < height - border, border <= p_from < height - border
            inner[p, q] = here and there
    peaks = out[0].flatten(1).abs().amax(1)[:, None, None]
    interior = float((gap / peaks)[:, inner].max())
    rest = gap[:, ~inner]
    return interior, float(rest.max() / peaks.max()) if rest.numel() else 0.0


def test_on_a_circle_every_layer_is_that_layer_run_by_hand() -> None:
    model = chain()
    model[3] = nn.Conv2d(4, 4, 5, padding=2, padding_mode="reflect")
    x = image(1, 2, 16, 18)
    report = check(model, x, boundary="circular")
    borders = {0: 1, 1: 0, 2: 0, 3: 2, 4: 0, 5: 0, 6: 1}
    with torch.no_grad():
        for i, layer in enumerate(model):
            before = model[:i](x)
            for shift, (interior, border) in zip(SHIFTS, locals_of(report, str(i)), strict=True):
                expected = by_hand(layer, before, shift, borders[i])
                assert interior == pytest.approx(expected[0], abs=2e-7)
                assert (border or 0.0) == pytest.approx(expected[1], abs=2e-7)


def test_errors_do_not_travel() -> None:
    report = check(chain(), image(1, 2, 16, 18))
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("POSITION", "2")
    for name in "013456":
        assert report[name].local_interior == 0.0
    assert report["2"].local_interior == pytest.approx(2.9e-2, rel=0.05)
    assert report["2"].local_border is None
    assert report["4"].relative_error is not None
    assert report["4"].relative_error > 1e-4
    padded = [name for name in "0123456" if report[name].local_border is not None]
    assert padded == ["0", "3", "5", "6"]


class Net(nn.Module):
    """One pool down and one step up, joined with what was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.pool = nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d(2)
        self.up, self.last = nn.ConvTranspose2d(4, 4, 2, 2), nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = self.first(x)
        up = self.up(self.pool(before))
        return self.last(torch.cat([before, up], 1))  # type: ignore[no-any-return]


def test_what_is_off_the_lattice_leads_astray_until_it_is_on_it_again() -> None:
    torch.manual_seed(0)
    report = check(Net(), image(1, 2, 16, 18), shifts=[(1, 0), (2, 0)])
    assert locals_of(report, "pool") == [(None, None), (0.0, None)]
    assert locals_of(report, "up") == [(None, None), (0.0, None)]
    assert locals_of(report, "cat") == [(0.0, None), (0.0, None)]
    assert report["last"].local_interior == 0.0
    assert report["up"].shifts[0].relative_error is not None
    assert report["up"].shifts[0].relative_error > 0.1
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("STRIDE", "pool")


class Coupled(nn.Module):
    """Its batch is swallowed by a view, so that the copies run one at a time."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x.reshape(1, 2, 16, 18))  # type: ignore[no-any-return]


def test_one_at_a_time_gives_the_same() -> None:
    x = image(1, 2, 16, 18)
    together, single = check(chain(), x), check(Coupled(chain()), x)
    assert any("one at a time" in note for note in single.notes)
    for i in range(7):
        one, two = locals_of(together, str(i)), locals_of(single, f"inner.{i}")
        for a, b in zip(one, two, strict=True):
            assert a == pytest.approx(b, abs=1e-6)


class Gate(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


def test_a_gate_is_fed_with_the_same_mean() -> None:
    torch.manual_seed(0)

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = Position(1e-2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            gate = self.table(x).mean((2, 3), keepdim=True)
            return x * gate.sigmoid()

    report = check(Gated(), image(1, 4, 16, 18))
    assert report["mul"].shifts[0].error is None
    assert report["mul"].local_border == 0.0, "the gate of a copy is that of the base"
    assert report["table"].local_interior == pytest.approx(2.0e-2, rel=0.5)


def test_what_is_written_in_place_leads_astray() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        y[:, :, ::2] += y[:, :, 1::2]
        return y.relu()

    report = check(model, image(1, 2, 16, 18), shifts=[(1, 0)])
    assert report.verdict is not shiftcheck.Verdict.EQUIVARIANT
    assert report["relu"].shifts[0].local_interior is None


def test_everything_is_left_as_it_was() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.ones(1, 2, 16, 18))
            self.seen: torch.Tensor
            self.table = nn.Parameter(image(1, 2, 16, 18))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.seen.mul_(0).add_(x[:1]) * 1 + self.table + x

    model, x = Keeps(), image(1, 2, 16, 18)
    before, table = x.clone(), model.table.detach().clone()
    check(model, x)
    check(lambda y: y + table, x)
    check(lambda y: y, x, shifts=[(0, 0)])
    assert torch.equal(x, before)
    assert torch.equal(model.seen, torch.ones(1, 2, 16, 18))
    assert torch.equal(model.table, table)


def test_a_pass_costs_no_other_run() -> None:
    runs = []

    class Counts(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            runs.append(len(x))
            return super().forward(x)

    report = check(Counts(2, 2, 3), image(1, 2, 16, 18))
    assert report.verdict is shiftcheck.Verdict.EQUIVARIANT
    assert all(row.local_interior is None for row in report)
    assert runs == [1, 3]  # x alone, and its copies


def test_a_volume_and_a_sequence() -> None:
    torch.manual_seed(0)
    for dims, conv in ((1, nn.Conv1d), (3, nn.Conv3d)):
        size = (11, 12, 13)[:dims]
        table = image(1, 2, *size) * 1e-3

        class Adds(nn.Module):
            def __init__(self, table: torch.Tensor) -> None:
                super().__init__()
                self.table = table

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x + self.table

        model = nn.Sequential(conv(2, 2, 3, padding=1), Adds(table), conv(2, 2, 3, padding=1))
        shift = (2, 0, 1)[:dims]
        report = check(model, image(1, 2, *size), shifts=[shift])
        assert report["0"].local_interior == 0.0
        assert report["2"].local_interior == 0.0
        assert report["0"].local_border is not None
        assert report["1"].local_interior is not None
        assert report["1"].local_interior > 1e-4


def test_behind_a_lost_geometry_the_layers_are_fed_with_exact_shifts_again() -> None:
    torch.manual_seed(0)
    size = 2 * 12 * 14
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(size, size),
        nn.Unflatten(1, (2, 12, 14)),
        nn.Conv2d(2, 2, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(2, 2, 3, 2, padding=1),
    )
    report = check(model, image(1, 2, 12, 14), shifts=[(2, 0), (0, 2)])
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("MIXING", "1")
    for name in "345":
        assert report[name].local_interior == 0.0
    assert report["3"].local_border is not None
    assert report["4"].local_border is None
    assert report["5"].local_border is not None
