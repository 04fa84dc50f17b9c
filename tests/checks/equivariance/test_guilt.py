"""The layer that is blamed is one that does something: no harmless or unknown one hides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck.checks.equivariance.guilt import Evidence
from shiftcheck.lattice.axis import Axis, input_axis, invalidate, with_break
from shiftcheck.lattice.causes import Site, causes_at, merge_causes, with_cause
from shiftcheck.lattice.factors import plain
from shiftcheck.lattice.layout import Layout
from shiftcheck.report.causes import Cause
from shiftcheck.report.equivariance import LayerResult, ShiftResult, Verdict
from shiftcheck.rules import GeometryError, note_padding, registry, with_axis

SIZE = 24
RAMP = torch.linspace(-1, 1, SIZE)
WEIGHT = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(1))
CHECKERS = (torch.arange(SIZE) % 2).float()


def image(seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def conv(seed: int = 1) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(4, 4, 3, padding=1)


def without_border() -> nn.Conv2d:
    """A padded convolution whose weights beyond the middle are zero: its padding does nothing."""
    layer = conv()
    with torch.no_grad():
        middle = layer.weight[..., 1, 1].clone()
        layer.weight.zero_()
        layer.weight[..., 1, 1] = middle
    return layer


class Embedding(nn.Module):
    def __init__(self, size: float) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.places = nn.Parameter(size * torch.randn(1, 4, SIZE, SIZE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.places


class Apply(nn.Module):
    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(x)


def identity() -> nn.Linear:
    layer = nn.Linear(SIZE, SIZE, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(SIZE))
    return layer


@torch.library.custom_op("guilt::mystery", mutates_args=())
def mystery(x: torch.Tensor) -> torch.Tensor:
    return 0.1 * x.cumsum(-1)


@mystery.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> Callable[[torch.Tensor], torch.Tensor]:
    """An operation whose rule refuses, so that nothing is known of what comes after it."""

    def refuse(x: object) -> Layout:
        raise GeometryError("nobody knows")

    monkeypatch.setattr(registry, "_table", dict(registry._table))
    shiftcheck.register_rule("guilt::mystery")(refuse)
    return mystery


def blamed(model: Callable[..., torch.Tensor], **options: object) -> tuple[str, str, str]:
    report = shiftcheck.check_equivariance(model, image(), **options)  # type: ignore[arg-type]
    assert report.guilty is not None
    return str(report.verdict), report.guilty.layer, report.guilty.kind


@pytest.mark.parametrize(
    ("model", "layer", "kind"),
    [
        (lambda x: (x + 1e-30 * RAMP) + RAMP, "add_1", "POSITION"),
        (lambda x: (x + 1e-30 * RAMP) * RAMP, "mul", "POSITION"),
        (lambda x: (x + 1e-30 * RAMP + 1e-30 * RAMP) * RAMP, "mul", "POSITION"),
        (lambda x: (x + 1e-30 * CHECKERS) + CHECKERS, "add_1", "POSITION"),
        (lambda x: (x + 1e-30 * x.flip(-1)).flip(-1) + x, "add_1", "INDEX"),
    ],
)
def test_a_harmless_cause_hides_no_later_one_of_its_kind(
    model: Callable[..., torch.Tensor], layer: str, kind: str
) -> None:
    assert blamed(model, shifts=[(0, 1)]) == ("broken", layer, kind)


def test_the_embedding_that_does_something_is_named_among_layers() -> None:
    model = nn.Sequential(Embedding(1e-30), conv(), Embedding(1e-30), conv(), Embedding(1.0))
    assert blamed(model) == ("broken", "4", "POSITION")


def test_what_is_within_rounding_is_harmless_too() -> None:
    model = nn.Sequential(conv(), Embedding(1e-9), conv(), Embedding(1.0))
    assert blamed(model) == ("broken", "3", "POSITION")


def test_the_first_of_two_that_both_break_is_named() -> None:
    assert blamed(nn.Sequential(Embedding(0.01), conv(), Embedding(1.0)))[1] == "0"


def test_padding_that_does_nothing_hides_no_padding_on_a_circle() -> None:
    model = nn.Sequential(without_border(), conv())
    assert blamed(model, boundary="circular") == ("broken", "1", "PADDING")
    model = nn.Sequential(without_border(), nn.ReLU(), without_border(), conv(), conv(2))
    assert blamed(model, boundary="circular") == ("broken", "3", "PADDING")


def test_a_harmless_loss_of_an_axis_hides_no_later_break() -> None:
    along = {"shifts": [(0, 1)]}
    assert blamed(nn.Sequential(identity(), Embedding(1.0)), **along)[1:] == ("1", "POSITION")
    torch.manual_seed(0)
    mixed = nn.Sequential(identity(), nn.Linear(SIZE, SIZE))
    assert blamed(mixed, **along)[1:] == ("1", "MIXING")


def test_the_causes_of_a_row_are_its_own() -> None:
    report = shiftcheck.geometry(nn.Sequential(conv(), nn.ReLU(), conv()), image())
    assert [(c.layer, c.axis) for c in report.causes] == [("0", 0), ("0", 1), ("2", 0), ("2", 1)]
    assert [{c.layer for c in row.causes} for row in report.layers] == [{"0"}, set(), {"2"}]


def test_a_flip_of_the_output_is_blamed_though_it_mirrors_both_runs_alike() -> None:
    for model in (
        lambda x: (x + 1e-30 * RAMP).flip(-1),
        lambda x: F.conv2d(x + 1e-30 * RAMP, WEIGHT, padding=1).flip(-1),
    ):
        assert blamed(model) == ("broken", "flip", "INDEX")


def test_what_only_hands_on_an_invalid_border_pads_nothing() -> None:
    def padded(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, WEIGHT, padding=1)

    for model in (
        lambda x: padded(x).flip(-1).flip(-1),
        lambda x: padded(x)[..., torch.arange(SIZE)],
    ):
        report = shiftcheck.geometry(model, image())
        assert {c.layer for c in report.causes if c.kind == "PADDING"} == {"conv2d"}
    rolled = shiftcheck.geometry(lambda x: padded(x).roll(3, -1), image())
    assert {c.layer for c in rolled.causes if c.kind == "PADDING"} == {"conv2d", "roll"}


def test_a_rule_that_notes_padding_notes_its_own() -> None:
    whole = input_axis(8, circular=False)
    inner = invalidate(whole, np.arange(8) > 0)
    less = invalidate(inner, np.arange(8) > 1)

    def noted(old: Axis, new: Axis) -> bool:
        before, after = (Layout((plain(2),), (state,)) for state in (old, new))
        return bool(note_padding(before, after, [0], "zeros").causes)

    assert noted(whole, inner)
    assert noted(inner, less)
    assert not noted(inner, inner)
    assert not noted(inner, whole)
    assert noted(inner, replace(inner, stride=Fraction(2)))


def test_a_rule_that_names_no_cause_is_named_behind_layers_that_have_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The causes of earlier layers explain nothing that happens in this one."""

    def breaks(x: Layout) -> Layout:
        return with_axis(x, 1, with_break(x.geometry(1)))

    monkeypatch.setattr(registry, "_table", dict(registry._table))
    shiftcheck.register_rule("guilt::mystery")(breaks)
    report = shiftcheck.geometry(
        lambda x: mystery(F.conv2d(x + RAMP[:, None], WEIGHT, padding=1)), image()
    )
    found = [(c.kind, c.axis) for c in report.causes if c.layer == "guilt::mystery"]
    assert found == [("POSITION", 1)]


# -- what is unknown hides no break before it ------------------------------------------------------


Changed = Callable[[torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(
    ("change", "layer", "kind"),
    [
        (lambda x: x + RAMP, "add", "POSITION"),
        (lambda x: x + 0.1 * x.flip(-1), "add", "INDEX"),
        (lambda x: x - x[..., 3:4], "sub", "INDEX"),
        (lambda x: x - x[..., 3][..., None], "select", "INDEX"),
        (lambda x: x[..., :12] + x[..., ::2], "add", "RESIZE"),
        (lambda x: F.linear(x, RAMP.outer(RAMP)), "linear", "MIXING"),
    ],
)
def test_an_unknown_operation_hides_no_break_before_it(
    change: Changed, layer: str, kind: str, unknown: Changed
) -> None:
    assert blamed(lambda x: unknown(change(x))) == ("inconclusive", layer, kind)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x + 1e-30 * RAMP,
        lambda x: F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0),
        lambda x: F.conv2d(x, WEIGHT, padding=1),
        lambda x: x / x.mean((2, 3), keepdim=True),
    ],
)
def test_it_is_blamed_itself_where_nothing_breaks_before(change: Changed, unknown: Changed) -> None:
    verdict, layer, kind = blamed(lambda x: unknown(change(x)))
    assert (verdict, layer, kind) == ("inconclusive", "guilt::mystery", "UNSUPPORTED_OP")


def test_a_break_after_it_does_not_take_its_blame(unknown: Changed) -> None:
    assert blamed(lambda x: unknown(x) + RAMP)[1] == "guilt::mystery"


class UNet(nn.Module):
    """One level, whose encoder does something more to what it passes on."""

    def __init__(self, more: Changed) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.down, self.deep = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.up, self.more = nn.Conv2d(12, 4, 3, padding=1), more

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = self.more(self.down(x)).relu()
        deep = self.deep(F.max_pool2d(skip, 2)).relu()
        return self.up(torch.cat([skip, F.interpolate(deep, scale_factor=2.0)], 1))


@pytest.mark.parametrize(
    ("more", "layer", "kind"),
    [
        (lambda a: a + 0.1 * a.flip(-1), "add", "INDEX"),
        (lambda a: a + 0.1 * RAMP, "add", "POSITION"),
        (lambda a: a - a[..., 5:6], "sub", "INDEX"),
        (lambda a: a - a[..., 5][..., None], "select", "INDEX"),
        (lambda a: a + F.linear(a, RAMP.outer(RAMP)), "linear", "MIXING"),
    ],
)
def test_the_encoder_is_blamed_and_not_the_join(more: Changed, layer: str, kind: str) -> None:
    assert blamed(UNet(more))[1:] == (layer, kind)


def test_frames_that_are_put_together_again_are_not_a_break() -> None:
    layer = conv()
    x = torch.randn(1, 4, 6, 12, 12, generator=torch.Generator().manual_seed(0))
    for apart in (lambda x: x.unbind(2), lambda x: [x[:, :, i] for i in range(6)]):
        report = shiftcheck.check_equivariance(
            lambda x, apart=apart: torch.stack([layer(f) for f in apart(x)], 2), x
        )
        assert report.guilty is None or report.guilty.kind != "INDEX"


def test_the_message_names_both_the_break_and_where_the_geometry_ends(unknown: Changed) -> None:
    text = str(shiftcheck.check_equivariance(lambda x: unknown(x + RAMP), image()))
    joined = " ".join(text.split())
    assert "first guilty layer: 'add' (add), cause POSITION" in joined
    assert "from layer 'guilt::mystery' (guilt::mystery) on, cause UNSUPPORTED_OP" in joined
    assert "hint: leave the constant out, or make it relative" in joined
    assert "alone, given inputs that move exactly" in joined
    assert "mend its rule" not in joined


# -- the evidence ----------------------------------------------------------------------------------


def row(name: str, local: float | None, border: float | None = None, **more: object) -> LayerResult:
    shift = ShiftResult(
        shift=(1, 0), verdict=Verdict.BROKEN, local_interior=local, local_border=border, **more
    )  # type: ignore[arg-type]
    nothing = (None, None)
    return LayerResult(
        name=name, op="op", shape=(1,), stride=nothing, period=nothing, receptive_field=nothing,
        halo=nothing, valid=nothing, shifts=(shift,),
    )  # fmt: skip


ONE, TWO = (Cause(kind="POSITION", axis=0, layer=name) for name in ("one", "two"))


def first(*rows: LayerResult, noise: float = 1e-6) -> str:
    found = Evidence(layers=rows, shifts=[(1, 0)], noise=noise).first([ONE, TWO])
    return found.layer if found else ""


def test_who_comes_first() -> None:
    assert first() == "one"
    assert first(row("one", 0.0), row("two", 0.1)) == "two"
    assert first(row("one", 1e-7), row("two", 0.1)) == "two"
    assert first(row("one", 1e-5), row("two", 0.1)) == "one"
    assert first(row("one", 1e-5, allowance=1e-4), row("two", 0.1)) == "two"
    assert first(row("one", None), row("two", 0.1)) == "one"
    assert first(row("one", 1e-9), row("two", 1e-7)) == "two"
    assert first(row("one", 2e-8), row("two", 1e-7)) == "one"
    assert first(row("one", 0.0), row("two", 0.0)) == "one"
    assert first(row("one[0]", 0.0), row("one[1]", 0.2), row("two", 0.1)) == "one"
    assert first(row("one", 0.0, border=1.0), row("two", 0.1)) == "two"
    assert Evidence(layers=(), shifts=[(1, 0)]).first([]) is None


def test_only_shifts_that_a_cause_affects_are_its_evidence() -> None:
    evidence = Evidence(layers=[row("one", 0.1)], shifts=[(1, 0)])
    assert evidence.of(ONE) == 0.1
    for other in (
        Cause(kind="POSITION", axis=1, layer="one"),
        Cause(kind="STRIDE", axis=0, layer="one", period=1),
        Cause(kind="PADDING", axis=0, layer="one"),
    ):
        assert evidence.of(other) is None


# -- how causes are kept ---------------------------------------------------------------------------


def signal(*causes: Cause) -> Layout:
    return Layout((plain(2),), (input_axis(4, circular=False),), causes)


def test_a_cause_is_kept_once_for_each_layer() -> None:
    fresh = Cause(kind="POSITION", axis=0)
    out = with_cause(with_cause(signal(ONE), fresh), fresh)
    assert out.causes == (ONE, fresh)
    stamped = causes_at(out.causes, Site("here", "add", "aten::add"))
    assert [c.layer for c in stamped] == ["one", "here"]
    assert causes_at(stamped, Site("there", "", "")) is stamped
    again = with_cause(signal(*stamped), fresh)
    assert causes_at(again.causes, Site("here", "", "")) == stamped


def test_causes_are_merged_in_order_and_each_once() -> None:
    three = Cause(kind="POSITION", axis=0, layer="three")
    short, long, aside = (ONE,), (ONE, TWO), (ONE, three)
    assert merge_causes([]) == ()
    for order in ((short, long), (long, short)):
        assert merge_causes([signal(*c) for c in order]) == long
    assert merge_causes([signal(*long), signal(*aside)]) == (ONE, TWO, three)
    twin = Cause(kind="POSITION", axis=0, layer="three")
    assert merge_causes([signal(*aside), signal(twin)]) == aside


def test_a_deep_network_of_joins_keeps_one_tuple() -> None:
    """Of tensors whose causes begin alike, the longest is taken as it is."""
    chain = [Cause(kind="PADDING", axis=0, layer=str(i)) for i in range(300)]
    signals = [signal(*chain[:n]) for n in range(300)]
    whole = merge_causes(signals)
    assert whole == tuple(chain[:299])
    assert whole is signals[-1].causes


class WithAPoolBeside(nn.Module):
    """Padding reaches every sample of the output; a global pool beside it reaches none."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(nn.Conv2d(4, 4, 7, padding=3) for _ in range(3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.convs(x)
        y.mean((2, 3))
        return y


def test_a_layer_that_reaches_no_output_is_not_guilty() -> None:
    report = shiftcheck.check_equivariance(WithAPoolBeside(), torch.randn(1, 4, 16, 17))
    assert report.reason == "no valid region"
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("PADDING", "convs.0")
