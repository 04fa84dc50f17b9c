"""Models on an accelerator: the same geometry, verdict and guilty layer as on the CPU."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.controls import test_broken, test_good
from tests.zoo.models import ZOO
from torch import nn

import shiftcheck
from shiftcheck import Report, Verdict
from shiftcheck.checks.figures.feature_maps import feature_maps

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

MODELS = {
    "equivariant": nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 2, 3)),
    "broken": nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.Conv2d(3, 2, 3)),
    "global": nn.GroupNorm(1, 3),
}


def image(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, device="cpu").to(dtype)


@pytest.fixture(name="_tensors_on_cuda")
def tensors_on_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New tensors are made on the accelerator, as those of the tests are."""
    for name in ("RAMP", "WEIGHT"):
        monkeypatch.setattr(test_broken, name, getattr(test_broken, name).cuda())
    torch.set_default_device("cuda")
    yield
    torch.set_default_device(None)
    del torch._GLOBAL_DEVICE_CONTEXT.device_context  # of which 2.6 asks for the device else


def on_cuda(model: Any) -> Any:
    return model.cuda() if isinstance(model, nn.Module) else model


def assert_alike(here: Report, there: Report) -> None:
    """What does not depend on rounding is the same."""
    assert (here.verdict, here.reason) == (there.verdict, there.reason), there
    assert here.guilty == there.guilty
    assert here.causes == there.causes
    for one, other in zip(here.layers, there.layers, strict=True):
        assert (one.name, one.shape, one.valid) == (other.name, other.shape, other.valid)
        assert (one.stride, one.period, one.halo) == (other.stride, other.period, other.halo)
        assert (one.verdict, one.reason) == (other.verdict, other.reason), one.name
    assert there.device.startswith("cuda")


@pytest.mark.parametrize("boundary", ["valid", "circular"])
@pytest.mark.parametrize("name", MODELS)
def test_as_on_the_cpu(name: str, boundary: str) -> None:
    model, x = MODELS[name].eval(), image(1, 3, 24, 26)
    here = shiftcheck.check_equivariance(model, x, boundary=boundary)
    there = shiftcheck.check_equivariance(copy.deepcopy(model).cuda(), x.cuda(), boundary=boundary)
    assert_alike(here, there)
    assert here.outputs[0].valid == there.outputs[0].valid


@pytest.mark.parametrize("name", ZOO)
def test_networks_of_others_as_on_the_cpu(name: str) -> None:
    family = ZOO[name]
    here = shiftcheck.check_equivariance(family.model(), family.x(), **family.options)
    model = family.model().cuda()
    there = shiftcheck.check_equivariance(model, family.x().cuda(), **family.options)
    assert_alike(here, there)


@pytest.mark.usefixtures("_tensors_on_cuda")
@pytest.mark.parametrize("name", test_good.GOOD)
def test_good_ones_pass(name: str) -> None:
    make, shape, options = test_good.GOOD[name]
    torch.manual_seed(0)
    model = on_cuda(make())
    dtype = next((p.dtype for p in getattr(model, "parameters", list)()), torch.float32)
    report = shiftcheck.check_equivariance(model, image(*shape, dtype=dtype).cuda(), **options)
    assert report.verdict is Verdict.EQUIVARIANT, report


@pytest.mark.usefixtures("_tensors_on_cuda")
@pytest.mark.parametrize("name", test_broken.BROKEN)
def test_broken_ones_are_told_with_layer_and_cause(name: str) -> None:
    make, options, kind, layer = test_broken.BROKEN[name]
    torch.manual_seed(0)
    report = shiftcheck.check_equivariance(
        on_cuda(make()), image(*test_broken.MAP).cuda(), **options
    )
    assert report.verdict is Verdict.BROKEN, report
    assert report.guilty is not None
    assert report.guilty.kind == kind
    assert layer in ("function", report.guilty.layer)


@pytest.mark.usefixtures("_tensors_on_cuda")
@pytest.mark.parametrize("name", test_broken.NEVER)
def test_never_equivariant(name: str) -> None:
    make, options = test_broken.NEVER[name]
    torch.manual_seed(0)
    with pytest.raises(shiftcheck.ShiftcheckError):
        shiftcheck.assert_equivariant(on_cuda(make()), image(*test_broken.MAP).cuda(), **options)


@pytest.mark.parametrize("boundary", ["valid", "circular"])
def test_linear_operators_as_on_the_cpu(boundary: str) -> None:
    mode = "zeros" if boundary == "valid" else "circular"
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode=mode), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1)
    ).eval()
    x = image(2, 3, 24, 26)
    here = shiftcheck.as_convolution(model, x, boundary=boundary)
    there = shiftcheck.as_convolution(copy.deepcopy(model).cuda(), x.cuda(), boundary=boundary)
    assert all(p.is_cuda for p in there.parameters())
    assert torch.allclose(there.weight.cpu(), here.weight, rtol=1e-6, atol=1e-7)
    assert (
        shiftcheck.check_linear(torch.relu, x.cuda()).verdict
        is shiftcheck.report.Linearity.NOT_LINEAR
    )
    view = shiftcheck.operator_matrix(nn.AvgPool1d(2).cuda(), torch.randn(1, 1, 8).cuda())
    assert view.toeplitz == (2,)


Work = Callable[[nn.Module, torch.Tensor], Any]
WORK: dict[str, Work] = {
    "metrics": lambda m, x: [r.samples for r in shiftcheck.equivariance_metrics(m, x)],
    "derivatives": lambda m, x: [(r.name, r.share) for r in shiftcheck.lie_derivatives(m, x)],
    "invariance": lambda m, x: shiftcheck.check_invariance(lambda x: m(x).mean((2, 3)), x).verdict,
    "weights": lambda m, x: shiftcheck.check_equivariance(m, x, weights="randomized").verdict,
    "between pixels": lambda m, x: (
        shiftcheck.check_equivariance(
            m, x, shifts=[(0.5, 0.0), (0.0, -1.5)], boundary="circular"
        ).verdict
    ),
    "several inputs": lambda m, x: (
        shiftcheck.check_equivariance(lambda x, y: m(x) + y[:, :2], (x, x.flip(1))).verdict
    ),
    "feature maps": lambda m, x: [
        (f.valid, f.difference.shape) for f in feature_maps(m, x, [(1, 0), (0, -2)], "1")
    ],
    "energy": lambda m, x: shiftcheck.check_equivariance(Slope(m), x).verdict,
    "kernel": lambda m, x: shiftcheck.impulse_response(m[0], x).support,
    "theorem": lambda m, x: shiftcheck.check_convolution(m[0], x).verdict,
}


class Slope(nn.Module):
    """The slope of an energy: the model computes gradients in its forward."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(inner, nn.BatchNorm2d(2).to(next(inner.parameters()).device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(self.inner(x).square().sum(), x)[0]


@pytest.mark.parametrize("name", WORK)
def test_other_work_as_on_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 1)).eval()
    x = image(2, 3, 24, 26)
    here = WORK[name](copy.deepcopy(model), x)
    assert here == WORK[name](model.cuda(), x.cuda())


def local_maximum(x: torch.Tensor) -> torch.Tensor:
    """Without a rule."""
    return F.local_response_norm(x, 3).unfold(-1, 3, 1).sort(-1).values[..., 0].cummax(1).values


class Scaled(nn.Module):
    """An operation without a rule that has a constant of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 1, 1) + 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.entr(torch.logcumsumexp(x * self.weight, 1))


@pytest.mark.parametrize("model", [local_maximum, Scaled()], ids=["function", "module"])
def test_what_is_probed_as_on_the_cpu(model: Any) -> None:
    x = image(1, 3, 24, 26)
    here = shiftcheck.check_equivariance(copy.deepcopy(model), x)
    there = shiftcheck.check_equivariance(on_cuda(copy.deepcopy(model)), x.cuda())
    assert_alike(here, there)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("fault", [False, True], ids=["good", "broken"])
def test_in_low_precision(dtype: torch.dtype, fault: bool) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 5), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 8, 3)]
    layers.insert(3, nn.Upsample(scale_factor=2)) if fault else None
    layers.insert(3, nn.MaxPool2d(2)) if fault else None
    model = nn.Sequential(*layers).eval()
    half = shiftcheck.check_equivariance(
        copy.deepcopy(model).to("cuda", dtype), image(2, 3, 40, 44, dtype=dtype).cuda()
    )
    assert half.verdict is (Verdict.BROKEN if fault else Verdict.EQUIVARIANT), half
    with torch.autocast("cuda", dtype=dtype):
        own = shiftcheck.check_equivariance(model.cuda(), image(2, 3, 40, 44).cuda())
    assert own.verdict is half.verdict, own
    named = str(dtype).removeprefix("torch.")
    assert f"computed in {named} on the way, the input is float32" in own.notes
    assert next(model.parameters()).dtype is torch.float32


@pytest.mark.parametrize("ramp", [0.0, 1e-7, 1e-2])
def test_products_of_tf32(ramp: float) -> None:
    """Coarse products are no break, and a break is not taken for them."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        torch.manual_seed(0)
        model = nn.Sequential(*(nn.Conv2d(16, 16, 3) for _ in range(6))).cuda()
        place = torch.linspace(0, 1, 48, device="cuda")

        def network(x: torch.Tensor) -> Any:
            return model(x + ramp * place.to(x.dtype))

        report = shiftcheck.check_equivariance(network, image(2, 16, 48, 48).cuda())
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    assert any("TF32 is allowed" in note for note in report.notes)
    if ramp == 0.0:
        assert report.verdict is Verdict.EQUIVARIANT, report
    else:
        assert report.verdict is not Verdict.EQUIVARIANT, report
    if ramp == 1e-2:
        assert report.verdict is Verdict.BROKEN, report


BACKENDS = {
    "math": torch.nn.attention.SDPBackend.MATH,
    "flash": torch.nn.attention.SDPBackend.FLASH_ATTENTION,
    "efficient": torch.nn.attention.SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": torch.nn.attention.SDPBackend.CUDNN_ATTENTION,
}


class Attention(nn.Module):
    """Attention over all places of a circle."""

    def __init__(self, position: bool) -> None:
        super().__init__()
        self.into = nn.Linear(16, 48)
        self.position = nn.Parameter(torch.randn(36, 16)) if position else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        if self.position is not None:
            tokens = tokens + self.position
        q, k, v = self.into(tokens).chunk(3, -1)
        out = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return out.transpose(1, 2).unflatten(2, (6, 6))


@pytest.mark.parametrize("position", [False, True], ids=["good", "broken"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_attention_of_every_backend(backend: str, position: bool) -> None:
    torch.manual_seed(0)
    model = Attention(position).to("cuda", torch.float16)
    x = image(1, 16, 6, 6, dtype=torch.float16).cuda()
    with torch.nn.attention.sdpa_kernel(BACKENDS[backend]):
        report = shiftcheck.check_equivariance(model, x, boundary="circular")
    assert report.verdict is (Verdict.BROKEN if position else Verdict.EQUIVARIANT), report


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_as_on_the_cpu(layer: type[nn.Module]) -> None:
    torch.manual_seed(0)
    rnn = layer(4, 6, batch_first=True)

    def model(x: torch.Tensor) -> torch.Tensor:
        lines = x.permute(0, 2, 3, 1).flatten(0, 1)
        return rnn(lines)[0].unflatten(0, (x.shape[0], -1)).permute(0, 3, 1, 2)

    x = image(2, 4, 12, 10)
    here = shiftcheck.check_equivariance(model, x)
    rnn.cuda()
    there = shiftcheck.check_equivariance(model, x.cuda())
    assert_alike(here, there)


def test_a_shape_for_a_model_on_the_accelerator() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU()).eval()
    here = shiftcheck.geometry(copy.deepcopy(model), (1, 3, 40, 44))
    there = shiftcheck.geometry(model.cuda(), (1, 3, 40, 44))
    assert here.outputs[0].valid == there.outputs[0].valid
    assert here.layers == there.layers


def test_another_device_is_named() -> None:
    model = nn.Conv2d(3, 8, 5).cuda()
    with pytest.raises(shiftcheck.InputError, match=r"x is on cpu, the model's .* cuda:0"):
        shiftcheck.check_equivariance(model, image(1, 3, 20, 20))
    with pytest.raises(shiftcheck.InputError, match=r"x is on cuda:0, the model's .* cpu"):
        shiftcheck.check_equivariance(model.cpu(), image(1, 3, 20, 20).cuda())


def test_everything_is_left_as_it_was() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8), nn.Dropout(0.5)).cuda().train()
    x = image(2, 3, 20, 20).cuda()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    given, drawn = x.clone(), torch.cuda.get_rng_state()
    for training in (False, True):
        shiftcheck.check_equivariance(model, x, training=training)
        assert torch.equal(torch.cuda.get_rng_state(), drawn)
        assert all(m.training for m in model.modules())
        assert all(torch.equal(value, state[n]) for n, value in model.state_dict().items())
    assert torch.equal(x, given)


SCRIPT = """
import torch, shiftcheck
from torch import nn
drawing = {drawing}
torch.manual_seed(0)
def model(x):
    return x.relu() + (torch.rand(1, device="cuda").cpu() * 0 if drawing else 0)
report = shiftcheck.check_equivariance(model, torch.randn(1, 2, 20, 20))
print(torch.cuda.is_initialized(), torch.rand(1, device="cuda").item())
"""


def test_a_check_on_the_cpu_leaves_the_accelerator_alone() -> None:
    """A process that has begun to use CUDA can no longer be forked."""
    outs = []
    for drawing in (False, True):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(drawing=drawing)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(shiftcheck.__file__).parents[1],
        )
        outs.append(done.stdout.split())
    assert [out[0] for out in outs] == ["False", "True"]
    assert outs[0][1] == outs[1][1]
