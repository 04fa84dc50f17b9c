"""A model in any wrapping has the geometry and the verdict of the bare module."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import shiftcheck
from shiftcheck import Verdict


def image(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(*(shape or (1, 2, 20, 22)), generator=generator).to(dtype)


class Net(nn.Module):
    """Stride 2, a zero-padded border, a functional call: enough to tell geometries apart."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.pool(self.norm(self.conv(x))))


class Breaks(Net):
    """The same, with a ramp on top."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.pool(self.norm(self.conv(x))))
        return y + torch.linspace(0, 1, y.shape[-1])


class Parallel(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)


class Holder:
    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, x: torch.Tensor) -> Any:
        return self.net(x)

    def predict(self, x: torch.Tensor) -> Any:
        return self.net(x)


def plus(net: nn.Module, x: torch.Tensor) -> Any:
    return net(x)


def traced(net: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(net.eval(), image())


def scripted(net: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(net.eval())


def compiled(net: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.compile(net)


def exported(net: nn.Module) -> Any:
    dynamic = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(net.eval(), (image(2, 2, 20, 22),), dynamic_shapes=(dynamic,))
    return program.module()


def with_hooks(net: nn.Module) -> nn.Module:
    net.register_forward_hook(lambda *_: None)
    net.register_forward_pre_hook(lambda *_: None)
    return net


def with_autocast(net: nn.Module) -> Callable[[torch.Tensor], Any]:
    def model(x: torch.Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return net(x)

    return model


def checkpointed(net: nn.Module) -> Callable[[torch.Tensor], Any]:
    return lambda x: checkpoint(net, x, use_reentrant=False)


class Named(NamedTuple):
    y: torch.Tensor
    rest: None = None


@dataclasses.dataclass
class Record:
    y: torch.Tensor
    rest: None = None


WRAPS: dict[str, Callable[[nn.Module], Any]] = {
    "function": lambda net: lambda x: net(x),
    "partial": lambda net: functools.partial(plus, net),
    "method": lambda net: Holder(net).predict,
    "forward": lambda net: net.forward,
    "object": Holder,
    "parallel": Parallel,
    "data parallel": nn.DataParallel,
    "compiled": compiled,
    "compiled function": lambda net: torch.compile(lambda x: net(x), backend="eager"),
    "compiled inside": lambda net: nn.Sequential(torch.compile(net, backend="eager")),
    "compiled, eager": lambda net: torch.compile(net, backend="eager"),
    "jit trace": traced,
    "jit script": scripted,
    "export": exported,
    "fx": lambda net: torch.fx.symbolic_trace(net.eval()),
    "hooks": with_hooks,
    "autocast": with_autocast,
    "checkpoint": checkpointed,
    "sequential": nn.Sequential,
    "ordered": lambda net: nn.Sequential(OrderedDict(net=net)),
    "named tuple": lambda net: lambda x: Named(net(x)),
    "dataclass": lambda net: lambda x: Record(net(x)),
    "nested": lambda net: lambda x: {"a": [{"b": (net(x), None)}], "n": 3},
}


@functools.cache
def bare(kind: type[Net]) -> Any:
    return facts(shiftcheck.check_equivariance(kind(), image()))


def facts(report: shiftcheck.Report) -> Any:
    (out,) = report.outputs
    same = (report.verdict, report.reason, out.stride, out.period, out.valid, out.halo)
    return (*same, report.guilty and report.guilty.kind)


@pytest.mark.parametrize("kind", [Net, Breaks])
@pytest.mark.parametrize("name", WRAPS)
def test_a_wrapping_changes_nothing(name: str, kind: type[Net]) -> None:
    model = WRAPS[name](kind())
    report = shiftcheck.check_equivariance(model, image())
    assert bare(kind)[0] is (Verdict.EQUIVARIANT if kind is Net else Verdict.BROKEN)
    assert facts(report) == bare(kind)
    assert all(row.name for row in report)
    assert report.guilty is None or report.guilty.layer


ROWS: dict[str, list[str]] = {
    "compiled": ["conv", "norm", "pool", "relu"],
    "compiled inside": [
        "0._orig_mod.conv",
        "0._orig_mod.norm",
        "0._orig_mod.pool",
        "0._orig_mod.relu",
    ],
    "jit trace": ["_convolution", "batch_norm", "max_pool2d", "relu"],
    "jit script": ["conv2d", "batch_norm", "max_pool2d", "relu"],
    "fx": ["conv", "norm", "pool", "relu"],
    "parallel": ["module.conv", "module.norm", "module.pool", "module.relu"],
    "object": ["net.conv", "net.norm", "net.pool", "net.relu"],
}


@pytest.mark.parametrize("name", ROWS)
def test_names_of_rows_behind_a_wrapping(name: str) -> None:
    report = shiftcheck.geometry(WRAPS[name](Net()), image())
    assert [row.name.removeprefix("_orig_mod.") for row in report] == ROWS[name]


def test_a_hook_that_changes_the_output_counts() -> None:
    net = Net()
    net.pool.register_forward_hook(lambda _, __, y: y + torch.linspace(0, 1, y.shape[-1]))
    report = shiftcheck.check_equivariance(net, image())
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"


@pytest.mark.parametrize("how", ["weight_norm", "spectral_norm", "orthogonal"])
def test_parametrizations(how: str) -> None:
    net = Net()
    getattr(nn.utils.parametrizations, how)(net.conv)
    assert facts(shiftcheck.check_equivariance(net, image())) == bare(Net)


def test_a_shared_module_has_a_row_for_each_call() -> None:
    conv = nn.Conv2d(2, 2, 3, padding=1)
    report = shiftcheck.assert_equivariant(lambda x: conv(conv(x)), image())
    assert [row.name for row in report] == ["conv", "conv#2"]
    assert report["conv#2"].halo == ((2.0, 2.0), (2.0, 2.0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floating_types(dtype: torch.dtype) -> None:
    for kind in (Net, Breaks):
        report = shiftcheck.check_equivariance(kind().to(dtype), image(dtype=dtype))
        if dtype is not torch.bfloat16:
            assert facts(report) == bare(kind)
        elif kind is Net:  # no gap is far above a noise of an eighth of the signal
            assert report.reason in ("", "shift not visible")
        assert facts(report)[2:6] == bare(kind)[2:6]
        assert (report.verdict is Verdict.BROKEN) == (kind is Breaks)
    small = shiftcheck.check_equivariance(
        lambda x: x + torch.linspace(0, 1e-3, x.shape[-1]).to(dtype), image(dtype=dtype)
    )
    assert small.verdict is not Verdict.EQUIVARIANT


def test_outputs_with_different_strides() -> None:
    net = Net()

    def pyramid(x: torch.Tensor) -> list[torch.Tensor]:
        one = net(x)
        return [one, F.avg_pool2d(one, 2), F.interpolate(one, scale_factor=2.0)]

    report = shiftcheck.assert_equivariant(pyramid, image(1, 2, 40, 44))
    assert [str(o.stride[0]) for o in report.outputs] == ["2", "4", "1"]
    assert [o.name for o in report.outputs] == ["output[0]", "output[1]", "output[2]"]


def test_channels_last_data() -> None:
    net = Net()

    def model(x: torch.Tensor) -> Any:
        return net(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    x = image().permute(0, 2, 3, 1).contiguous()
    report = shiftcheck.check_equivariance(model, x, spatial_dims=(1, 2))
    assert facts(report) == bare(Net)
    assert facts(shiftcheck.check_equivariance(net, image().to(memory_format=torch.channels_last)))


@pytest.mark.parametrize("how", ["tuple", "dict"])
def test_several_inputs(how: str) -> None:
    net = Net()

    def model(x: torch.Tensor, t: torch.Tensor, scale: float = 1.0) -> Any:
        return net(x + t[:, None, None, None]) * scale

    given: Any = (image(), torch.ones(1), 2.0)
    if how == "dict":
        given = dict(zip(("x", "t", "scale"), given, strict=True))
    assert facts(shiftcheck.check_equivariance(model, given)) == bare(Net)


def test_an_input_without_a_batch_is_refused_with_the_remedy() -> None:
    for model in (Net(), lambda x: Net()(x), Parallel(Net())):
        with pytest.raises(shiftcheck.ShiftcheckError, match=r"x\[None\]"):
            shiftcheck.check_equivariance(model, image()[0])
    weight = torch.ones(3, 2, 3, 3)
    report = shiftcheck.check_equivariance(lambda x: F.conv2d(x, weight), image()[0])
    assert report.reason == "unsupported operation"
    assert report.guilty is not None
    assert "x[None]" in report.guilty.detail


def test_a_lazy_module_once_it_was_called() -> None:
    lazy = nn.Sequential(nn.LazyConv2d(3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    with pytest.raises(shiftcheck.InputError, match="call the"):
        shiftcheck.check_equivariance(lazy, image())
    lazy(image())
    assert shiftcheck.check_equivariance(lazy, image()).verdict is Verdict.EQUIVARIANT
