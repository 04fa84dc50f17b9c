"""The convolution of torch that an operator is: its weight, its kind, where it is right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck

EPS = {torch.float32: 2.0**-23, torch.float64: 2.0**-52}


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand(buffer.shape, generator=draw) + 0.5)
    return module.eval()


SINGLE: dict[str, tuple[Any, tuple[int, ...]]] = {
    "1-D": (lambda bias: nn.Conv1d(2, 3, 4, padding=1, bias=bias), (14,)),
    "2-D": (lambda bias: nn.Conv2d(2, 3, (3, 5), padding=(1, 0), bias=bias), (9, 12)),
    "3-D": (lambda bias: nn.Conv3d(2, 3, (1, 2, 3), stride=(1, 2, 1), bias=bias), (5, 8, 7)),
    "stride": (lambda bias: nn.Conv2d(2, 3, 3, stride=(2, 3), padding=1, bias=bias), (13, 17)),
    "dilation": (lambda bias: nn.Conv2d(2, 3, (3, 2), dilation=(2, 3), bias=bias), (12, 13)),
    "groups": (lambda bias: nn.Conv2d(4, 6, 3, groups=2, padding=1, bias=bias), (10, 10)),
    "depthwise": (lambda bias: nn.Conv1d(4, 4, 3, groups=4, padding=1, bias=bias), (12,)),
    "large padding": (lambda bias: nn.Conv2d(2, 3, 3, padding=4, bias=bias), (8, 9)),
    "one tap": (lambda bias: nn.Conv2d(2, 3, 1, bias=bias), (5, 5)),
    "transposed 1-D": (lambda bias: nn.ConvTranspose1d(2, 3, 5, stride=3, bias=bias), (9,)),
    "transposed 2-D": (
        lambda bias: nn.ConvTranspose2d(
            2, 3, (3, 4), stride=(2, 3), padding=1, output_padding=(1, 2), bias=bias
        ),
        (7, 8),
    ),
    "transposed 3-D": (
        lambda bias: nn.ConvTranspose3d(2, 3, (1, 2, 3), stride=(1, 2, 1), bias=bias),
        (4, 5, 6),
    ),
}
SAME = ("stride", "padding", "dilation", "groups", "kernel_size", "output_padding")


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", SINGLE)
def test_a_single_convolution_is_recovered(name: str, bias: bool, dtype: torch.dtype) -> None:
    make, sizes = SINGLE[name]
    conv = seeded(make(bias)).to(dtype)
    x = torch.randn(2, conv.in_channels, *sizes, dtype=dtype)
    found = shiftcheck.as_convolution(conv, x)
    assert type(found) is type(conv)
    assert {key: getattr(found, key) for key in SAME} == {key: getattr(conv, key) for key in SAME}
    assert found.weight.dtype == dtype
    if not bias:
        assert found.bias is None
        assert torch.equal(found.weight, conv.weight)
        assert torch.equal(found(x), conv(x))
        return
    assert torch.equal(found.bias, conv.bias)
    weight, own = conv.weight.detach(), conv.bias.detach()
    largest = max(float(weight.abs().max()), float(own.abs().max()))
    assert float((found.weight.detach() - weight).abs().max()) <= EPS[dtype] * largest


def test_on_the_torus_it_pads_around() -> None:
    conv = seeded(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular", bias=False))
    x = torch.randn(1, 1, 8, 9)
    found = shiftcheck.as_convolution(conv, x, boundary="circular")
    assert type(found) is nn.Conv2d
    assert found.padding_mode == "circular"
    assert torch.equal(found.weight, conv.weight)
    assert torch.equal(found(x), conv(x))


def test_a_stack_with_norms_becomes_one_convolution_for_any_size() -> None:
    model = seeded(
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 5))
    )
    model = model.double()
    found = shiftcheck.as_convolution(model, torch.randn(1, 1, 12, 12, dtype=torch.float64))
    assert type(found) is nn.Conv2d
    assert found.kernel_size == (7, 7)
    larger = torch.randn(2, 1, 30, 41, dtype=torch.float64)
    with torch.no_grad():
        gap = (found(larger) - model(larger))[:, :, 1:-1, 1:-1].abs().max()
    assert float(gap) <= 1e-12


def test_beside_the_valid_region_it_may_differ() -> None:
    model = seeded(nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.Conv1d(2, 1, 3, padding=1)))
    x = torch.randn(1, 1, 16)
    found = shiftcheck.as_convolution(model, x)
    with torch.no_grad():
        gap = (found(x) - model(x)).abs().flatten()
    assert float(gap[2:-2].max()) <= 1e-5
    assert float(gap[[0, -1]].max()) > 1e-3


POLYPHASE: dict[str, tuple[Any, tuple[int, ...], str]] = {
    "even with padding on one side": (nn.Conv2d(1, 2, 4, padding="same"), (9, 10), "valid"),
    "down and up": (
        nn.Sequential(nn.Conv1d(1, 2, 2, stride=2), nn.ConvTranspose1d(2, 1, 3, stride=2)),
        (17,),
        "valid",
    ),
    "ratio 2/3": (
        nn.Sequential(nn.Upsample(scale_factor=3, mode="linear"), nn.Conv1d(1, 1, 3, stride=2)),
        (20,),
        "valid",
    ),
    "up along one axis, down along the other": (
        nn.Sequential(nn.Conv2d(1, 1, (1, 2), stride=(1, 2)), nn.Upsample(scale_factor=(2, 1))),
        (6, 10),
        "valid",
    ),
    "constants of each phase": (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.PixelShuffle(2)),
        (8, 8),
        "valid",
    ),
    "up on the torus": (nn.Upsample(scale_factor=2), (6, 7), "circular"),
    "rolled": (lambda x: torch.roll(x, (2, 1), (2, 3)) - x, (6, 7), "circular"),
    "mean taken off": (lambda x: x - x.mean((2, 3), keepdim=True), (6, 7), "circular"),
}


@pytest.mark.parametrize("name", POLYPHASE)
def test_other_operators_become_polyphase_convolutions(name: str) -> None:
    model, sizes, boundary = POLYPHASE[name]
    model = seeded(model).double() if isinstance(model, nn.Module) else model
    x = torch.randn(2, 1, *sizes, dtype=torch.float64)
    found = shiftcheck.as_convolution(model, x, boundary=boundary)
    assert type(found) is shiftcheck.PolyphaseConvolution
    assert "phases" in repr(found)
    with torch.no_grad():
        expected, own = model(x), found(x)
    assert expected.shape == own.shape
    valid = shiftcheck.geometry(model, x, boundary=boundary).outputs[0].valid
    for axis, spans in enumerate(valid):
        index = torch.cat([torch.arange(*span) for span in spans])
        expected, own = (t.index_select(axis + 2, index) for t in (expected, own))
    assert float((expected - own).abs().max()) <= 64 * EPS[torch.float64] * float(x.abs().max()) * 9


@pytest.mark.parametrize("operator", [[lambda x: x - x.mean(2, keepdim=True)], [None]])
def test_a_kernel_that_goes_around_is_right_for_its_size_alone(operator: list[Any]) -> None:
    def derived(x: torch.Tensor) -> torch.Tensor:
        """It has 7 taps other than zero, which are others for another size."""
        factors = 1j * torch.fft.fftfreq(x.shape[2], dtype=x.dtype)
        return torch.fft.ifft(torch.fft.fft(x) * factors).real

    found = shiftcheck.as_convolution(
        operator[0] or derived, torch.randn(1, 1, 8), boundary="circular"
    )
    with pytest.raises(shiftcheck.InputError, match="of 8 pixels along axis 0"):
        found(torch.randn(1, 1, 9))
    with pytest.raises(shiftcheck.InputError, match="batch, channels"):
        found(torch.randn(1, 1, 8, 8))


def test_filters_of_numpy_become_convolutions_of_torch() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")

    def blur(a: Any) -> Any:
        return ndimage.gaussian_filter(a, (0, 0, 1, 1), truncate=2)

    x = torch.randn(1, 1, 14, 15, dtype=torch.float64)
    found = shiftcheck.as_convolution(blur, x.numpy())
    assert type(found) is nn.Conv2d
    gap = torch.from_numpy(blur(x.numpy())) - found(x).detach()
    assert float(gap[..., 2:-2, 2:-2].abs().max()) <= 1e-14


def test_only_up_to_a_layer_and_in_a_tuple() -> None:
    model = seeded(nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.ReLU()))
    found = shiftcheck.as_convolution(model, (torch.randn(1, 1, 12, 12),), layer="0")
    assert torch.equal(found.weight, model[0].weight)


def test_the_module_can_be_trained_and_draws_nothing() -> None:
    state = torch.get_rng_state()
    found = shiftcheck.as_convolution(nn.AvgPool2d(2), torch.ones(1, 1, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)
    found(torch.randn(1, 1, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in found.parameters())


def test_half_precision_in_and_out() -> None:
    conv = seeded(nn.Conv2d(1, 2, 3, bias=False)).to(torch.bfloat16)
    found = shiftcheck.as_convolution(conv, torch.randn(1, 1, 9, 9, dtype=torch.bfloat16))
    assert torch.equal(found.weight, conv.weight)


REFUSED: dict[str, tuple[Any, str, Any, str]] = {
    "relu": (nn.ReLU(), "valid", shiftcheck.NotLinearError, "phi\\(f \\+ g\\)"),
    "position": (
        lambda x: x * torch.arange(12.0),
        "valid",
        shiftcheck.NotEquivariantError,
        "cause POSITION",
    ),
    "padding on the torus": (
        nn.Conv2d(1, 1, 3, padding=1),
        "circular",
        shiftcheck.NotEquivariantError,
        "'conv2d'.*cause PADDING(.|\n)*shift \\(.*\\): gap",
    ),
    "mirror": (lambda x: x.flip(2), "valid", shiftcheck.NotEquivariantError, "against the input"),
    "cumulative sum": (
        lambda x: x.cumsum(2),
        "valid",
        shiftcheck.InfiniteSupportError,
        "'cumsum' on",
    ),
    "mean on the plane": (
        lambda x: x - x.mean((2, 3), keepdim=True),
        "valid",
        shiftcheck.InfiniteSupportError,
        "boundary='circular'",
    ),
    "zero": (lambda x: 0 * x, "valid", shiftcheck.InconclusiveError, "dead output"),
    "constant": (lambda x: 0 * x + 1, "valid", shiftcheck.InconclusiveError, "ignores the input"),
    "two outputs": (lambda x: (x, 2 * x), "valid", shiftcheck.InconclusiveError, "several outputs"),
    "channels last": (
        lambda x: x.movedim(1, -1),
        "valid",
        shiftcheck.InconclusiveError,
        "dimension 1|batch, channels",
    ),
    "no axes left": (lambda x: x.mean((2, 3)), "valid", shiftcheck.InconclusiveError, "spatial"),
    "mixes the batch": (
        lambda x: x + x.flip(0),
        "valid",
        shiftcheck.InconclusiveError,
        "batch",
    ),
}


@pytest.mark.parametrize("call", [shiftcheck.as_convolution, shiftcheck.impulse_response])
@pytest.mark.parametrize("name", REFUSED)
def test_other_operators_are_refused_with_the_property_that_fails(name: str, call: Any) -> None:
    model, boundary, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        call(model, torch.randn(2, 1, 11, 12), boundary=boundary)


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        (nn.Conv2d(1, 2, 5, padding=2), (4, 5)),
        (nn.Conv2d(1, 2, 7), (9, 7)),
        (nn.Conv2d(1, 2, 5), (4, 30)),
        (nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.Conv2d(2, 1, 3)), (9, 9)),
        (nn.Conv1d(1, 2, 9, stride=4, padding=4), (12,)),
        (nn.Conv2d(1, 2, 8, stride=8), (8, 8)),
    ],
)
def test_a_signal_that_is_too_small_is_told_how_large_it_must_be(
    model: nn.Module, sizes: tuple[int, ...]
) -> None:
    model = seeded(model)
    x = torch.randn(1, 1, *sizes)
    try:
        report = shiftcheck.check_convolution(model, x)
    except shiftcheck.ModelError as error:
        words = str(error)
        least = tuple(int(n) for n in words.split(" on.")[0].split("from ")[1].split(" x "))
    else:
        assert report.verdict is shiftcheck.report.Theorem.INCONCLUSIVE
        assert report.needed is not None
        least = report.needed
        with pytest.raises(
            shiftcheck.InconclusiveError, match="at least " + " x ".join(map(str, least))
        ):
            shiftcheck.as_convolution(model, x)
    shiftcheck.as_convolution(model, torch.randn(1, 1, *least))
    for axis in range(len(least)):
        smaller = [
            n - (a == axis and n > s) for a, (n, s) in enumerate(zip(least, sizes, strict=True))
        ]
        if tuple(smaller) != least:
            with pytest.raises((shiftcheck.InconclusiveError, shiftcheck.ModelError)):
                shiftcheck.as_convolution(model, torch.randn(1, 1, *smaller))


def test_a_circle_of_one_period_is_too_small() -> None:
    conv = nn.Conv1d(1, 1, 3, stride=4, padding=1, padding_mode="circular")
    report = shiftcheck.check_convolution(conv, torch.randn(1, 1, 4), boundary="circular")
    assert report.verdict is shiftcheck.report.Theorem.INCONCLUSIVE
    assert report.needed == (8,)


def test_everything_is_left_as_it_was() -> None:
    model = seeded(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)))
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.randn(1, 1, 12, 12, requires_grad=True)
    values, state = x.detach().clone(), torch.get_rng_state()
    shiftcheck.as_convolution(model, x)
    assert all(m.training for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, values)
    assert x.grad is None


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "several": ((torch.ones(1, 1, 8), torch.ones(1, 1, 8)), {}, "2 tensors"),
    "integers": (torch.ones(1, 1, 8, dtype=torch.int64), {}, "int64"),
    "complex": (torch.ones(1, 1, 8, dtype=torch.complex64), {}, "complex64"),
    "no batch": (torch.ones(8), {}, "batch"),
    "boundary": (torch.ones(1, 1, 8), {"boundary": "torus"}, "boundary='torus'"),
    "layer": (torch.ones(1, 1, 8), {"layer": "conv9"}, "conv9"),
    "seed": (torch.ones(1, 1, 8), {"seed": "0"}, "seed='0'"),
}


@pytest.mark.parametrize("call", [shiftcheck.as_convolution, shiftcheck.impulse_response])
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name: str, call: Any) -> None:
    x, options, words = BAD[name]
    with pytest.raises(shiftcheck.InputError, match=words):
        call(nn.Conv1d(1, 1, 3), x, **options)


def test_a_kernel_that_would_not_fit_in_memory_is_not_measured() -> None:
    model = nn.Sequential(
        nn.AvgPool2d(64), nn.Upsample(scale_factor=64), nn.AvgPool2d(65, stride=1)
    )
    report = shiftcheck.check_convolution(model, torch.randn(1, 1, 300, 300))
    assert (report.verdict, report.reason) == (
        shiftcheck.report.Theorem.INCONCLUSIVE,
        "kernel too large",
    )
    assert "earlier layer" in str(report)
