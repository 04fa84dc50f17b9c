"""Coarse products of float32: read from torch's settings, told, and no reason for a doubt."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.rules import registry
from shiftcheck.tracing.precision import coarse_products

ALL = {
    (name, device)
    for name in ("aten::conv2d", "aten::linear", "aten::lstm.input")
    for device in ("cpu", "cuda")
}
BACKENDS = torch.backends

pytestmark = pytest.mark.skipif(
    not hasattr(BACKENDS.mkldnn, "rnn"), reason="no setting for each kind of products"
)
"""Older versions have other settings: see test_older_settings.py."""


@pytest.fixture(autouse=True, name="_settings")
def settings() -> Iterator[None]:
    """The settings of torch before and after, through the one interface that has all of them."""
    places = [BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn]
    places += [BACKENDS.mkldnn.matmul, BACKENDS.mkldnn.conv, BACKENDS.mkldnn.rnn]
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee"
    yield
    for place, value in zip(places, before, strict=True):
        place.fp32_precision = value


def set_to(place: Callable[[], Any], value: str) -> Callable[[], None]:
    return lambda: setattr(place(), "fp32_precision", value)


SETTINGS = [
    (set_to(lambda: BACKENDS.cudnn.conv, "tf32"), ("aten::conv2d", "cuda"), "tf32"),
    (set_to(lambda: BACKENDS.cudnn.rnn, "tf32"), ("aten::lstm.input", "cuda"), "tf32"),
    (set_to(lambda: BACKENDS.cuda.matmul, "tf32"), ("aten::linear", "cuda"), "tf32"),
    (set_to(lambda: BACKENDS.mkldnn.conv, "bf16"), ("aten::conv2d", "cpu"), "bf16"),
    (set_to(lambda: BACKENDS.mkldnn.matmul, "bf16"), ("aten::linear", "cpu"), "bf16"),
    (set_to(lambda: BACKENDS.mkldnn.rnn, "bf16"), ("aten::lstm.input", "cpu"), "bf16"),
]


@pytest.mark.parametrize(("choose", "met", "name"), SETTINGS, ids=[str(s[1]) for s in SETTINGS])
def test_a_setting_is_that_of_its_operations_alone(
    choose: Callable[[], None], met: tuple[str, str], name: str
) -> None:
    assert coarse_products(ALL) == frozenset()
    choose()
    assert coarse_products({met}) == {name}
    assert coarse_products(ALL - {met}) == frozenset()


@pytest.mark.filterwarnings("ignore:Please use the new API")
@pytest.mark.parametrize("allowed", [False, True])
def test_the_older_interface_says_the_same(allowed: bool) -> None:
    BACKENDS.cuda.matmul.allow_tf32 = allowed
    assert coarse_products({("aten::addmm", "cuda")}) == ({"tf32"} if allowed else frozenset())
    BACKENDS.cudnn.allow_tf32 = allowed
    assert coarse_products({("aten::convolution", "cuda")}) == ({"tf32"} if allowed else set())


PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "matmul", "linear", "mv", "dot", "einsum", "bilinear")
OTHERS = ("add.Tensor", "relu", "max_pool2d", "native_layer_norm", "embedding", "cat", "cummax")
OTHERS += ("lgamma", "upsample_bilinear2d", "upsample_linear1d", "hamming_window", "group_norm")
OTHERS += ("_convert_indices_from_csr_to_coo", "digamma", "polar", "unfold")


def test_what_is_a_sum_of_products() -> None:
    BACKENDS.cuda.matmul.fp32_precision = "tf32"
    for name in (*PRODUCTS, "scaled_dot_product_attention", "_scaled_dot_product_flash_attention"):
        met = {(f"aten::{name}", "cuda")}
        assert coarse_products(met) == ({"tf32"} if name != "einsum" else frozenset()), name
    BACKENDS.cudnn.conv.fp32_precision = BACKENDS.cudnn.rnn.fp32_precision = "tf32"
    for name in OTHERS:
        assert coarse_products({(f"aten::{name}", "cuda")}) == frozenset(), name
    for name in ("conv_transpose2d", "cudnn_convolution", "convolution_backward", "conv1d"):
        assert coarse_products({(f"aten::{name}", "cuda")}) == {"tf32"}, name
    for name in ("mkldnn_rnn_layer", "_thnn_fused_gru_cell", "rnn_tanh", "lstm_cell"):
        assert coarse_products({(f"aten::{name}", "cuda")}) == {"tf32"}, name


def test_another_device_has_no_setting() -> None:
    for place in (BACKENDS.cuda.matmul, BACKENDS.cudnn.conv):
        place.fp32_precision = "tf32"
    assert coarse_products({("aten::conv2d", "mps"), ("aten::linear", "meta")}) == frozenset()


FORCED: list[bool] = []
"""Not empty: it rounds in spite of the settings."""


@torch.library.custom_op("products::rounded", mutates_args=())
def rounded(x: torch.Tensor) -> torch.Tensor:
    """Rounds float32 in batches to eight bits, as a product with coarse factors may."""
    allowed = FORCED or BACKENDS.mkldnn.conv.fp32_precision == "bf16"
    coarse = allowed and x.dtype is torch.float32 and len(x) > 1
    return x.bfloat16().to(x.dtype) if coarse else x.clone()


@rounded.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("products::larger_in_batches", mutates_args=())
def larger_in_batches(x: torch.Tensor) -> torch.Tensor:
    more = 0.1 if x.dtype is torch.float16 else 0.001
    return x * (1.0 + more * (len(x) > 1))


@larger_in_batches.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


@pytest.fixture(name="_pointwise")
def pointwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_table", dict(registry._table))
    for name in ("products::rounded", "products::larger_in_batches"):
        shiftcheck.register_rule(name)(shiftcheck.rules.pointwise)


class Network(nn.Module):
    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.change, self.conv = change, nn.Conv2d(2, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(self.conv(x))


X = torch.randn(1, 2, 16, 18, generator=torch.Generator().manual_seed(0))
NOTE = "BF16 is allowed on this device: products of float32 keep 7 bits of the fraction"


@pytest.mark.usefixtures("_pointwise")
@pytest.mark.parametrize("change", [rounded, lambda x: rounded(x)], ids=["no copy", "copied"])
def test_other_rounding_in_a_batch_is_no_doubt_where_it_is_allowed(
    change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    BACKENDS.mkldnn.conv.fp32_precision = "bf16"
    report = shiftcheck.check_equivariance(Network(change), X)
    assert report.verdict is Verdict.EQUIVARIANT, report
    assert NOTE in report.notes
    assert BACKENDS.mkldnn.conv.fp32_precision == "bf16"
    given = shiftcheck.check_equivariance(Network(change), X, rtol=1e-3, atol=0.0)
    assert given.verdict is Verdict.EQUIVARIANT, given
    monkeypatch.setitem(globals(), "FORCED", [True])
    for allowed in ("bf16", "ieee"):
        BACKENDS.mkldnn.conv.fp32_precision = allowed
        report = shiftcheck.check_equivariance(Network(change), X)
        assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "batch coupled")
        assert BACKENDS.mkldnn.conv.fp32_precision == allowed


@pytest.mark.usefixtures("_pointwise")
def test_coupling_is_told_from_coarse_products() -> None:
    BACKENDS.mkldnn.conv.fp32_precision = "bf16"
    for options in ({}, {"rtol": 1e-3, "atol": 0.0}):
        for change in (larger_in_batches, lambda x: larger_in_batches(x)):
            report = shiftcheck.check_equivariance(Network(change), X, **options)
            assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "batch coupled")


@pytest.mark.usefixtures("_pointwise")
@pytest.mark.parametrize("measure", ["layers", "outputs"])
def test_coupling_is_told_from_coarse_types(measure: Any) -> None:
    model = Network(lambda x: larger_in_batches(x)).half()
    report = shiftcheck.check_equivariance(model, X.half(), measure=measure)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "batch coupled")


def test_without_products_nothing_is_told() -> None:
    BACKENDS.mkldnn.conv.fp32_precision = BACKENDS.mkldnn.matmul.fp32_precision = "bf16"
    assert shiftcheck.check_equivariance(nn.ReLU(), X).notes == ()
    assert NOTE in shiftcheck.check_equivariance(nn.Conv2d(2, 2, 1), X).notes
    double = shiftcheck.check_equivariance(nn.Conv2d(2, 2, 1).double(), X.double())
    assert double.notes == ()


class Drawing(nn.Module):
    """Another factor at each call, from Python's random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) * (1 + random.random())


@pytest.mark.parametrize("check", ["equivariance", "invariance"])
def test_what_is_drawn_is_told_from_coarse_products(check: str) -> None:
    BACKENDS.mkldnn.conv.fp32_precision = "bf16"
    model = Drawing()
    if check == "equivariance":
        assert shiftcheck.check_equivariance(model, X).reason == "nondeterministic"
    else:
        found = shiftcheck.check_invariance(lambda x: model(x).mean((2, 3)), X)
        assert found.reason == "nondeterministic"
