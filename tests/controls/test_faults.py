"""One fault in a network that is equivariant without it: caught, at its layer, by its cause."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from tests.controls.faults import ANYWHERE, ON_A_CIRCLE, ON_THE_PLANE, OTHER_PADDING, Site
from tests.controls.hosts import HOSTS, Host
from torch import nn

import shiftcheck
from shiftcheck import Report, Verdict
from shiftcheck.rules import registry

Record = Callable[[str, object], None]

REAL = 1e-11
"""A relative break in float64 above this is one; rounding stays below 1e-13."""

SEEN = 1e-4
"""What has no sign in the structure is seen in float32 from about a tenth of this on."""

FAINT = 64 * 2.0**-23
"""Beside the largest channel, one of so much is rounding in float32."""

UNSIGNED = frozenset({"UNEXPLAINED"})


@pytest.fixture(autouse=True, name="_wrong_rule")
def wrong_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_table", dict(registry._table))
    shiftcheck.register_rule("faults::hidden")(shiftcheck.rules.pointwise)


@dataclass(frozen=True)
class Case:
    """A network with one fault, where it is, what it is, and the same network without."""

    name: str
    host: Host
    model: nn.Module
    layer: str
    kinds: frozenset[str]
    plain: nn.Module
    x: torch.Tensor

    def report(self, model: nn.Module) -> Report:
        return shiftcheck.check_equivariance(model, self.x, **self.host.options)


def case_of(seed: int) -> Case:
    """A random network, layer and fault: drawn again until float64 sees that it breaks."""
    draw = random.Random(seed)
    while True:
        case = drawn(draw, seed)
        if true_break(case, case.model) > (SEEN if case.kinds == UNSIGNED else REAL):
            return case


def weak_case_of(seed: int) -> Case:
    """One with a fault that has no sign in the structure, and is next to nothing."""
    draw = random.Random(seed)
    while True:
        case = drawn(draw, seed, weakness=1e4)
        if case.kinds == UNSIGNED:
            return case


def drawn(draw: random.Random, seed: int, weakness: float = 1.0) -> Case:
    name = draw.choice(sorted(HOSTS))
    host = HOSTS[name]
    model, plain = host.network(seed), host.network(seed)
    x = host.x(torch.Generator().manual_seed(seed))
    shapes = shapes_at(plain, host.places(plain), x)
    path = draw.choice([place for place, found in shapes.items() if len(found) == 1])
    where = model.get_submodule(path)
    other = getattr(where, "padding_mode", "") == "circular"
    kinds = ANYWHERE | (ON_A_CIRCLE if host.circular else ON_THE_PLANE)
    kind = draw.choice(sorted(kinds) + sorted(OTHER_PADDING) * other)
    told = f"{name}: {kind} at {path}"
    if kind in OTHER_PADDING:
        where.padding_mode = OTHER_PADDING[kind]
        where._reversed_padding_repeated_twice = [1, 1] * len(host.size)
        return Case(
            f"{name}: {kind} at {path}", host, model, path, frozenset({"PADDING"}), plain, x
        )
    make, causes = kinds[kind]
    shape, magnitude = seen_at(plain, path, x)
    site = Site(draw, shape, draw.randrange(2, len(shape)), magnitude, weakness)
    model.set_submodule(path, nn.Sequential(where, make(site)))
    return Case(told, host, model, f"{path}.1", causes, plain, x)


def shapes_at(
    model: nn.Module, paths: Sequence[str], x: torch.Tensor
) -> dict[str, set[tuple[int, ...]]]:
    """The shapes of what layers give; one that is called at several sizes has several."""
    shapes: dict[str, set[tuple[int, ...]]] = {path: set() for path in paths}
    handles = [
        model.get_submodule(path).register_forward_hook(
            lambda _, __, out, path=path: shapes[path].add(tuple(out.shape))
        )
        for path in paths
    ]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return shapes


def seen_at(model: nn.Module, path: str, x: torch.Tensor) -> tuple[tuple[int, ...], float]:
    """The shape of what a layer gives, and its magnitude."""
    seen: list[torch.Tensor] = []
    handle = model.get_submodule(path).register_forward_hook(lambda *a: seen.append(a[2].clone()))
    with torch.no_grad():
        model(x)
    handle.remove()
    assert len({tuple(t.shape) for t in seen}) == 1
    return tuple(seen[0].shape), float(seen[0].std())


Shifts = Sequence[tuple[int, ...]]


def true_break(
    case: Case, model: nn.Module, shifts: Shifts | None = None, faint: float = 0.0
) -> float:
    """The largest relative gap in float64, by plain torch alone; at one step along each axis.

    ``faint``: of channels that have more than this beside the largest.
    """
    model = in_float64(model)
    x = case.x.double()
    dims = tuple(range(2, x.ndim))
    with torch.no_grad():
        base = model(x)
        strides = [n // m for n, m in zip(x.shape[2:], base.shape[2:], strict=True)]
        if shifts is None:
            own = [[s * (a == b) for b in range(len(strides))] for a, s in enumerate(strides)]
            shifts = case.host.options.get("shifts") or [tuple(step) for step in own]
        spans = None if case.host.circular else spans_of(case, base.shape, strides)
        room = max(abs(v) for shift in shifts for v in shift)
        around = canvas(case.x, room, 1)
        gaps = []
        for shift in shifts:
            assert all(v % s == 0 for v, s in zip(shift, strides, strict=True))
            step = [v // s for v, s in zip(shift, strides, strict=True)]
            if spans is None:
                there, here = base.roll(step, dims), model(x.roll(shift, dims))
            else:
                moved = model(cut(around, x.shape[2:], [room - v for v in shift]))
                here, there = overlap(moved, base, step, spans)
            gaps.append(relative(here, there, faint))
    return max(gaps)


def in_float64(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).double()


def relative(here: torch.Tensor, there: torch.Tensor, faint: float) -> float:
    """The largest gap of a channel over its largest magnitude; infinite where it is NaN."""
    if not here.numel():
        return 0.0
    dims = tuple(d for d in range(here.ndim) if d != 1)
    gap, scale = (here - there).abs().amax(dims), there.abs().amax(dims)
    there_is_one = scale != 0 if not faint else ~(scale <= faint * scale.max())
    return float((gap / scale)[there_is_one].nan_to_num(torch.inf, torch.inf).max())


def canvas(x: torch.Tensor, room: int, seed: int) -> torch.Tensor:
    """Noise with x in its middle, and so many pixels around it."""
    generator = torch.Generator().manual_seed(seed)
    size = [n + 2 * room for n in x.shape[2:]]
    out = torch.randn(*x.shape[:2], *size, generator=generator, dtype=torch.float64)
    cut(out, x.shape[2:], [room] * len(size)).copy_(x)
    return out


def cut(tensor: torch.Tensor, size: Sequence[int], starts: Sequence[int]) -> torch.Tensor:
    for d, (start, n) in enumerate(zip(starts, size, strict=True)):
        tensor = tensor.narrow(2 + d, start, n)
    return tensor


Spans = list[tuple[int, int]]


def spans_of(case: Case, shape: Sequence[int], strides: Sequence[int]) -> Spans:
    """The samples along each axis that do not depend on what surrounds the input, by trying."""
    plain = in_float64(case.plain)
    same = torch.ones(tuple(shape[2:]), dtype=torch.bool)
    for seed in range(8):  # a rectifier that is shut hides what a sample sees, for some signals
        x = torch.randn(case.x.shape, generator=torch.Generator().manual_seed(100 + seed))
        alone, whole = plain(x.double()), plain(canvas(x, case.host.halo, seed))
        part = cut(whole, shape[2:], [case.host.halo // s for s in strides])
        same &= ((part - alone).abs() < 1e-12).all(1).all(0)
    middle = [slice(n * 3 // 8, n * 5 // 8 + 1) for n in same.shape]
    spans = []
    for d, n in enumerate(same.shape):
        slab = same[tuple(slice(None) if a == d else m for a, m in enumerate(middle))]
        line = slab.movedim(d, 0).reshape(n, -1).all(1).tolist()
        low = high = n // 2
        while low > 0 and line[low - 1]:
            low -= 1
        while high < n and line[high]:
            high += 1
        spans.append((low, high))
    spans = narrowed(same, spans)
    assert all(low < high for low, high in spans)
    return spans


def narrowed(same: torch.Tensor, spans: Spans) -> Spans:
    """The spans without the outermost samples, until all that are left are marked."""
    while not bool(same[tuple(slice(*s) for s in spans)].all()):
        edges = []
        for d, (low, high) in enumerate(spans):
            for at, left in ((low, (low + 1, high)), (high - 1, (low, high - 1))):
                box = tuple(slice(at, at + 1) if a == d else slice(*s) for a, s in enumerate(spans))
                edges.append((int((~same[box]).sum()), [*spans[:d], left, *spans[d + 1 :]]))
        spans = max(edges, key=lambda edge: edge[0])[1]
    return spans


def overlap(
    moved: torch.Tensor, base: torch.Tensor, step: Sequence[int], spans: Spans
) -> tuple[torch.Tensor, torch.Tensor]:
    """The samples p of one and p - step of the other, where both are valid.

    Along an axis that is not moved, every sample counts.
    """
    for d, (v, (a, b)) in enumerate(zip(step, spans, strict=True)):
        low, high = (max(a, a + v), min(b, b + v)) if v else (0, base.shape[2 + d])
        n = max(0, high - low)
        moved, base = moved.narrow(2 + d, low, n), base.narrow(2 + d, low - v, n)
    return moved, base


@dataclass(frozen=True)
class Tally:
    """What became of faults."""

    missed: list[str]
    false_claims: list[str]
    elsewhere: list[object]
    otherwise: list[object]


def tally(seeds: range) -> Tally:
    out = Tally([], [], [], [])
    for seed in seeds:
        case = case_of(seed)
        report = case.report(case.model)
        found = report.guilty and (report.guilty.kind, report.guilty.layer)
        told = (seed, case.name, case.layer, str(report.verdict), report.reason, found)
        if report.verdict is Verdict.EQUIVARIANT:
            out.missed.append(case.name)
            if is_false(report, case):
                out.false_claims.append(case.name)
        elif report.guilty is None or report.guilty.layer != case.layer:
            out.elsewhere.append(told)
        elif report.guilty.kind not in case.kinds:
            out.otherwise.append(told)
    return out


def judge(found: Tally, count: int) -> None:
    assert found.false_claims == []
    assert len(found.missed) <= 0.01 * count, found.missed
    assert len(found.elsewhere) <= 0.02 * count, found.elsewhere
    assert len(found.otherwise) <= 0.02 * count, found.otherwise


def alarms(seeds: range) -> list[object]:
    """What is said of networks without a fault other than that they pass."""
    said = []
    for seed in seeds:
        case = drawn(random.Random(seed), seed)
        report = case.report(case.plain)
        if report.verdict is not Verdict.EQUIVARIANT:
            said.append((seed, case.name, report.reason, report.guilty))
    return said


def test_some_faults_are_caught_where_they_are(record_property: Record) -> None:
    found = tally(range(1000, 1020))
    record_property("cases", 20)
    record_property("untold", len(found.missed))
    judge(found, 20)


def test_some_networks_without_a_fault_pass(record_property: Record) -> None:
    record_property("cases", 20)
    assert alarms(range(1000, 1020)) == []


def claims(seeds: range) -> tuple[int, list[str]]:
    """How many weak faults pass, and those of them that the report's sensitivity leaves no room."""
    passed, false = 0, []
    for seed in seeds:
        case = weak_case_of(seed)
        report = case.report(case.model)
        if report.verdict is Verdict.EQUIVARIANT:
            passed += 1
            if is_false(report, case):
                false.append(case.name)
    return passed, false


def is_false(report: Report, case: Case) -> bool:
    """Whether a break is larger than what a report that passes says it would have caught.

    That is said of channels that are not faint; the notes must tell that there are others.
    """
    assert report.sensitivity is not None
    if true_break(case, case.model, report.shifts) <= report.sensitivity:
        return False
    told = any("nothing is told of them" in note for note in report.notes)
    seen = true_break(case, case.model, report.shifts, faint=FAINT)
    return not told or seen > report.sensitivity


@pytest.mark.slow
def test_what_passes_is_smaller_than_the_sensitivity(record_property: Record) -> None:
    record_property("cases", 16)
    passed, false = claims(range(2000, 2016))
    assert false == []
    assert passed >= 3


HUNDREDS = [range(start, start + 100) for start in range(0, 500, 100)]
CHUNKS = [
    pytest.param(seeds, marks=pytest.mark.sweep if i else pytest.mark.slow)
    for i, seeds in enumerate(HUNDREDS)
]


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda s: f"{s.start}-{s.stop}")
def test_faults_are_caught_where_they_are(seeds: range, record_property: Record) -> None:
    found = tally(seeds)
    record_property("cases", len(seeds))
    record_property("untold", len(found.missed))
    judge(found, len(seeds))


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda s: f"{s.start}-{s.stop}")
def test_networks_without_a_fault_pass(seeds: range, record_property: Record) -> None:
    record_property("cases", len(seeds))
    assert alarms(seeds) == []


@pytest.mark.sweep
@pytest.mark.parametrize("seeds", HUNDREDS[:2], ids=lambda s: f"{s.start}-{s.stop}")
def test_whatever_passes_is_smaller_than_the_sensitivity(
    seeds: range, record_property: Record
) -> None:
    record_property("cases", len(seeds))
    assert claims(seeds)[1] == []


@pytest.mark.parametrize("name", HOSTS)
def test_plain_torch_finds_no_break_in_a_network_without_a_fault(name: str) -> None:
    host = HOSTS[name]
    model = host.network(3)
    x = host.x(torch.Generator().manual_seed(3))
    case = Case(name, host, model, "", frozenset(), model, x)
    shifts = case.report(model).shifts
    assert true_break(case, model, shifts) < 1e-13
