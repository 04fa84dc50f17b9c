"""Settings of products as torch had them before 2.9, and tags that it did not have yet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.tracing import precision, torch_internals
from shiftcheck.tracing.operations import declared
from shiftcheck.tracing.precision import coarse_products, exact_products

LINEAR, CONVOLUTION = "aten::linear", "aten::conv2d"

pytestmark = pytest.mark.filterwarnings("ignore:Please use the new API")


@pytest.fixture(autouse=True, name="_older")
def older(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The older settings, which all versions have."""
    monkeypatch.setattr(precision, "settings_of_products", torch_internals._settings_before_2_9)
    cudnn = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)
    torch.backends.cudnn.allow_tf32 = cudnn


@pytest.mark.parametrize(
    ("chosen", "on_cpu", "on_cuda"),
    [("highest", set(), set()), ("high", {"tf32"}, {"tf32"}), ("medium", {"bf16"}, {"tf32"})],
)
def test_one_setting_is_of_all_products_of_matrices(
    chosen: str, on_cpu: set[str], on_cuda: set[str]
) -> None:
    torch.set_float32_matmul_precision(chosen)
    assert coarse_products({(LINEAR, "cpu")}) == on_cpu
    assert coarse_products({(LINEAR, "cuda")}) == on_cuda
    assert coarse_products({(CONVOLUTION, "cpu"), (CONVOLUTION, "cuda")}) == frozenset()
    assert coarse_products({("aten::lstm.input", "cpu"), (LINEAR, "mps")}) == frozenset()


@pytest.mark.parametrize("allowed", [False, True])
def test_one_setting_is_of_all_that_cudnn_does(allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = allowed
    coarse = {"tf32"} if allowed else set()
    assert coarse_products({(CONVOLUTION, "cuda")}) == coarse
    assert coarse_products({("aten::lstm.input", "cuda")}) == coarse
    assert coarse_products({(CONVOLUTION, "cpu"), (LINEAR, "cuda")}) == frozenset()


@pytest.mark.parametrize("chosen", ["highest", "high", "medium"])
def test_exact_products_are_for_a_while(chosen: str) -> None:
    torch.set_float32_matmul_precision(chosen)
    torch.backends.cudnn.allow_tf32 = True
    with pytest.raises(ValueError), exact_products():  # noqa: PT011, PT012
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32
        raise ValueError
    assert torch.get_float32_matmul_precision() == chosen
    assert torch.backends.cudnn.allow_tf32


def test_a_report_tells_of_them() -> None:
    torch.set_float32_matmul_precision("medium")
    x = torch.randn(1, 3, 12, generator=torch.Generator().manual_seed(0))
    report = shiftcheck.check_equivariance(lambda x: nn.Linear(3, 2)(x.mT).mT, x, seed=0)
    assert "BF16 is allowed on this device" in " ".join(report.notes)
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.parametrize("named", torch_internals.TAGGED_LATER, ids=".".join)
def test_what_was_tagged_later_has_the_tag(named: tuple[str, str]) -> None:
    tag = torch_internals.TAGGED_LATER[named]
    packet = getattr(torch.ops.aten, named[0].partition("::")[2])
    func = getattr(packet, named[1])
    assert tag in torch_internals.tags_of(func)
    assert tag not in torch_internals.tags_of(torch.ops.aten.max_pool2d.default)
    assert declared(func).is_pointwise is (tag is torch.Tag.pointwise)


def test_a_default_device_that_was_taken_back() -> None:
    torch.set_default_device("cpu")
    torch.set_default_device(None)
    try:
        assert torch_internals.default_device() == torch.device("cpu")
        report = shiftcheck.check_equivariance(nn.Conv2d(1, 1, 3), torch.rand(1, 1, 9, 9))
        assert report.verdict is Verdict.EQUIVARIANT
    finally:
        del torch._GLOBAL_DEVICE_CONTEXT.device_context


def test_structures_of_two_calls_have_one_hash() -> None:
    one, same, other = (
        torch_internals.tree_flatten(value)[1] for value in ([1, {"a": 2}], [3, {"a": 4}], [1, 2])
    )
    assert torch_internals.hash_of(one) == torch_internals.hash_of(same)
    assert torch_internals.hash_of(one) != torch_internals.hash_of(other)
