"""Every way out of a tensor is followed, known, harmless or dispatched; nothing leaves unseen."""

from __future__ import annotations

import copy
import ctypes
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.tracing.leaving import ways_out
from shiftcheck.tracing.leaving.ways_out import FOLLOWED, HARMLESS, OUT

Model = Callable[[torch.Tensor], torch.Tensor]
Value = Callable[[torch.Tensor], float]


def image() -> torch.Tensor:
    return torch.randn(1, 2, 12, 13, generator=torch.Generator().manual_seed(0))


# -- every attribute of a tensor -------------------------------------------------------------------


class Counting(TorchDispatchMode):
    """Counts what is dispatched."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


UNARY = "__abs__ __neg__ __pos__ __reversed__ bool byte cdouble cfloat char double float half int"
UNARY += " long short bfloat16 unique new H T lu"
NUMBER = "__bool__ __complex__ __float__ __index__ __int__ __long__ __nonzero__"
BINARY = "__add__ __div__ __floordiv__ __iadd__ __idiv__ __ifloordiv__ __imod__ __imul__ __ipow__"
BINARY += " __isub__ __itruediv__ __matmul__ __mod__ __mul__ __pow__ __radd__ __rdiv__"
BINARY += " __rfloordiv__ __rmatmul__ __rmod__ __rmul__ __rpow__ __rsub__ __rtruediv__ __sub__"
BINARY += " __truediv__ new_tensor"
WHOLE = "__rand__ __ror__ __rxor__ __rlshift__ __rrshift__"
CALLS: dict[str, Callable[[torch.Tensor], Any]] = {
    **{n: lambda y, n=n: _called(getattr(y, n)) for n in UNARY.split()},
    **{n: lambda y, n=n: getattr(y[0, 0].long(), n)() for n in NUMBER.split()},
    **{n: lambda y, n=n: getattr(y, n)(y) for n in BINARY.split()},
    **{n: lambda y, n=n: getattr(y.long(), n)(1) for n in WHOLE.split()},
    "__invert__": lambda y: ~y.long(),
    "__setitem__": lambda y: y.__setitem__(0, 1.0),
    "__contains__": lambda y: 1.0 in y,
    "to_sparse_coo": lambda y: y.to_sparse_coo(),
    "module_load": lambda y: y.module_load(y.clone()),
    "eq": lambda y: y == y,
}
"""How to call attributes of whose name there is no operation."""

GONE = {"cholesky", "eig", "lstsq", "qr", "solve", "symeig"}
"""Torch raises where these are called, and says what to call instead."""

OF_NAMES = {"_update_names"}
"""Older versions of torch give names to dimensions, which tell of no values."""

ELSEWHERE = {"ipu", "mtia", "xpu"}
"""Copies to devices that are not here, as ``cuda`` does, of whose name there is an operation."""

MAKES = {"__array_wrap__", "_make_subclass", "_make_wrapper_subclass", "_dtensor__new__"}
MAKES |= {"as_subclass"}
"""These make tensors of arrays and tensors."""

OF_THE_CLASS = {"_python_dispatch", "__slotnames__"}
"""These are of the class, and of no tensor; Python notes one of them when a tensor is pickled."""

COMPARES = {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__getitem__", "__iter__"}


def _called(value: Any) -> Any:
    return value() if callable(value) and not isinstance(value, torch.Tensor) else value


def _is_operation(name: str) -> bool:
    return hasattr(torch.ops.aten, name) or name in COMPARES


@pytest.mark.filterwarnings("ignore")
def test_every_attribute_is_dispatched_or_known() -> None:
    known = OUT | FOLLOWED | HARMLESS | GONE | ELSEWHERE | MAKES | OF_THE_CLASS | OF_NAMES
    rest = [n for n in dir(torch.Tensor) if n not in known and not _is_operation(n)]
    new = [name for name in rest if name not in CALLS]
    assert not new, "a tensor has new attributes: do they tell of values?"
    for name in rest:
        y = torch.rand(1, 1) + 1
        with torch.inference_mode(), Counting() as mode:
            CALLS[name](y)
        assert mode.count, f"{name} is not dispatched"


def test_what_is_known_is_known_once() -> None:
    assert not OUT & HARMLESS
    assert not FOLLOWED & (OUT | HARMLESS)


# -- values ----------------------------------------------------------------------------------------


def through_memory(y: torch.Tensor) -> float:
    return ctypes.cast(y.data_ptr(), ctypes.POINTER(ctypes.c_float))[3]


def pickled(y: torch.Tensor) -> float:
    return float(len(pickle.dumps(y)) + pickle.dumps(y)[-100])


def saved(y: torch.Tensor) -> float:
    file = io.BytesIO()
    torch.save(y, file)
    return float(sum(file.getvalue()))


def elementwise(y: torch.Tensor) -> float:
    found: list[float] = []
    copy.deepcopy(y).apply_(lambda v: found.append(v) or v)
    return max(found)


VALUES: dict[str, Value] = {
    "a number of a deep copy": lambda y: float(copy.deepcopy(y).max()),
    "storage": lambda y: max(y.storage()),
    "untyped storage": lambda y: bytes(y.untyped_storage())[3],
    "text": lambda y: float(len(str(y))),
    "text of a number": lambda y: float(str(y.max())[7:12]),
    "repr": lambda y: float(len(repr(y * 7))),
    "a format": lambda y: float(f"{y.max():.3f}"),
    "a format of all": lambda y: float(len(f"{y}")),
    "the old way of text": lambda y: float(len("%s" % y.max())),  # noqa: UP031
    "an array": lambda y: float(np.asarray(y).max()),
    "a forced array": lambda y: float(y.numpy(force=True).max()),
    "a list": lambda y: y.tolist()[0][0][0][0],
    "a pickle": pickled,
    "a file": saved,
    "memory": through_memory,
    "apply_": elementwise,
    "dlpack": lambda y: float(np.from_dlpack(y).max()),
    "an index": lambda y: float([1, 2][y[0, 0, 0, 0].long().clamp(0, 1)]),
    "a truth": lambda y: 1.0 + bool(y.max() > 2),
    "membership": lambda y: float(1.0 in y),
    "data": lambda y: float(y.data.max()),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("shifts", [None, [(1, 0), (0, 1)]], ids=["chosen", "given"])
@pytest.mark.filterwarnings("ignore:.*TypedStorage is deprecated")
def test_a_value_that_leaves_decides_what_follows(
    value: Value, shifts: list[tuple[int, int]] | None
) -> None:
    report = shiftcheck.check_equivariance(
        lambda y: torch.relu(y) * value(y), image(), shifts=shifts
    )
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "values leave torch")


def test_a_deep_copy_decides() -> None:
    report = shiftcheck.check_equivariance(
        lambda y: y if copy.deepcopy(y).max() > 50 else 2 * y, image()
    )
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "values leave torch")


@pytest.mark.parametrize("value", [VALUES["a list"], VALUES["text"]])
def test_a_way_out_that_nobody_knows_of(value: Value, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways_out, "OUT_FUNCTIONS", frozenset())
    given = [(1, 0), (0, 1)]
    report = shiftcheck.check_equivariance(lambda y: y * value(y), image(), shifts=given)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "values leave torch")


# -- errors ----------------------------------------------------------------------------------------

TABLE = nn.Embedding(3, 1)


def looked_up(y: torch.Tensor) -> torch.Tensor:
    try:
        TABLE(y.abs().long())
    except IndexError:
        return y.flip(-1)
    return 2 * y


def gathered(y: torch.Tensor) -> torch.Tensor:
    try:
        torch.zeros(2).index_select(0, y.abs().long().flatten())
    except (IndexError, RuntimeError):
        return y + 1
    return 2 * y


def factorised(y: torch.Tensor) -> torch.Tensor:
    try:
        torch.linalg.cholesky(y[0, 0, :3, :3])
    except RuntimeError:
        return y + 1
    return 2 * y


def one_hot_or_not(y: torch.Tensor) -> torch.Tensor:
    try:
        F.one_hot(y.long(), 1)
    except RuntimeError:
        return y + 1
    return 2 * y


@pytest.mark.parametrize("model", [looked_up, gathered, factorised, one_hot_or_not])
def test_an_error_that_values_decide_is_a_leak(model: Model) -> None:
    report = shiftcheck.check_equivariance(model, 2 * image())
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "values leave torch")


def viewed(y: torch.Tensor) -> torch.Tensor:
    try:
        rows = y.transpose(1, 2).view(len(y), 24, 13)
    except RuntimeError:
        rows = y.transpose(1, 2).reshape(len(y), 24, 13)
    return rows.unflatten(1, (12, 2)).transpose(1, 2)


def out_of_range(y: torch.Tensor) -> torch.Tensor:
    try:
        return y[:, 7]
    except IndexError:
        return y * 2


@pytest.mark.parametrize("model", [viewed, out_of_range])
def test_an_error_that_shapes_decide_is_none(model: Model) -> None:
    assert shiftcheck.check_equivariance(model, image()).verdict is Verdict.EQUIVARIANT


# -- copies ----------------------------------------------------------------------------------------

CONV = nn.Conv2d(2, 2, 3)


def with_data(y: torch.Tensor) -> torch.Tensor:
    z = torch.zeros_like(y)
    z.data = CONV(y)
    return z.relu()


def with_data_back(y: torch.Tensor) -> torch.Tensor:
    z = CONV(y)
    z.data = torch.ones(2, 1, 1)
    return y * z


COPIES: dict[str, Model] = {
    "a deep copy": lambda y: CONV(copy.deepcopy(y)),
    "a deep copy of a list": lambda y: copy.deepcopy([CONV(y), y])[0],
    "a deep copy of a constant": lambda y: y + copy.deepcopy(CONV.bias)[:, None, None],
    "data": with_data,
    "data of a constant": with_data_back,
    "data that is read": lambda y: CONV(y.data),
    "asarray": lambda y: CONV(torch.asarray(y)),
    "as_tensor": lambda y: CONV(torch.as_tensor(y)),
    "contiguous": lambda y: CONV(y.contiguous()),
    "what asks for shapes": lambda y: (
        CONV(y) * (y.dim() + y[:1].numel() + y.stride(1) + y.element_size() + y.is_conj())
    ),
}


@pytest.mark.parametrize("model", COPIES.values(), ids=COPIES)
def test_what_is_followed_passes(model: Model) -> None:
    assert shiftcheck.check_equivariance(model, image()).verdict is Verdict.EQUIVARIANT


RAMPED: dict[str, Model] = {
    "a deep copy": lambda y: copy.deepcopy(y * torch.linspace(0, 1, 13)),
    "data": lambda y: _with(torch.zeros_like(y), y * torch.linspace(0, 1, 13)),
    "data of a parameter": lambda y: y + _with(nn.Parameter(y[:1]), y.roll(1, 1).flip(-1)),
}


def _with(tensor: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
    tensor.data = data
    return tensor


@pytest.mark.parametrize("model", RAMPED.values(), ids=RAMPED)
def test_what_is_followed_is_no_constant(model: Model) -> None:
    assert shiftcheck.check_equivariance(model, image()).verdict is Verdict.BROKEN


BACK: dict[str, Model] = {
    "a shallow copy": lambda y: torch.relu(copy.copy(y)),
    "a pickle": lambda y: torch.relu(pickle.loads(pickle.dumps(y))),
    "an array": lambda y: torch.relu(torch.from_numpy(y.numpy())),
}


@pytest.mark.parametrize("model", BACK.values(), ids=BACK)
def test_what_leaves_and_comes_back_is_probed_as_a_whole(model: Model) -> None:
    report = shiftcheck.check_equivariance(model, image())
    assert report.outputs[0].measured
    assert report.verdict is Verdict.EQUIVARIANT


@pytest.mark.parametrize("model", BACK.values(), ids=BACK)
def test_what_comes_back_beside_what_is_followed(model: Model) -> None:
    report = shiftcheck.check_equivariance(
        lambda y: y + model(y) * torch.linspace(0, 1, 13), image()
    )
    assert report.verdict is not Verdict.EQUIVARIANT
