"""Containers of any class, as outputs and as inputs."""

from __future__ import annotations

import collections
import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.tracing.containers import leaves_of, with_leaves

transformers = pytest.importorskip("transformers")


class Entries(dict[str, Any]):
    """A dict subclass, of which torch knows nothing."""


class Parts(list[Any]):
    """A list subclass."""


class Pair(tuple[Any, ...]):
    """A tuple subclass."""


class Named(NamedTuple):
    """A tuple with names."""

    first: Any
    second: Any


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A dataclass."""

    first: Any
    second: Any


@dataclasses.dataclass(slots=True)
class Slotted:
    """A dataclass without a dict."""

    first: Any
    second: Any


class Plain:
    """An object with attributes."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second


class InSlots:
    """An object without a dict."""

    __slots__ = ("first", "second")

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second


class ReadOnly(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, **entries: Any) -> None:
        self.entries = entries

    def __getitem__(self, key: str) -> Any:
        return self.entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def base_output(first: Any, second: Any) -> Any:
    return transformers.modeling_outputs.BaseModelOutput(
        last_hidden_state=first, hidden_states=(second,)
    )


MAKERS: dict[str, Callable[[Any, Any], Any]] = {
    "dict subclass": lambda a, b: Entries(a=a, b=b),
    "list subclass": lambda a, b: Parts([a, b]),
    "tuple subclass": lambda a, b: Pair((a, b)),
    "named tuple": Named,
    "UserDict": lambda a, b: collections.UserDict(a=a, b=b),
    "UserList": lambda a, b: collections.UserList([a, b]),
    "OrderedDict": lambda a, b: collections.OrderedDict(a=a, b=b),
    "deque": lambda a, b: collections.deque([a, b]),
    "SimpleNamespace": lambda a, b: types.SimpleNamespace(a=a, b=b),
    "frozen dataclass": Frozen,
    "slotted dataclass": Slotted,
    "attributes": Plain,
    "slots": InSlots,
    "mapping": lambda a, b: ReadOnly(a=a, b=b),
    "proxy": lambda a, b: types.MappingProxyType({"a": a, "b": b}),
    "ModelOutput": base_output,
    "BatchEncoding": lambda a, b: transformers.BatchEncoding({"a": a, "b": b}),
    "nested": lambda a, b: Entries(a=Parts([a]), b=types.SimpleNamespace(c=Frozen(b, 3))),
    "sets": lambda a, b: [{a}, frozenset([b])],
}
X = torch.randn(1, 2, 16, 17, generator=torch.Generator().manual_seed(0))
CONV = nn.Conv2d(2, 2, 3, padding=1)


@pytest.mark.parametrize("name", MAKERS)
def test_every_tensor_in_an_output_is_an_output(name: str) -> None:
    def good(x: torch.Tensor) -> Any:
        return MAKERS[name](CONV(x), x * 2)

    def bad(x: torch.Tensor) -> Any:
        return MAKERS[name](CONV(x), x + torch.arange(17))

    report = shiftcheck.assert_equivariant(good, X)
    assert len(report.outputs) == 2
    assert shiftcheck.check_equivariance(bad, X).verdict is Verdict.BROKEN


def test_a_layer_may_return_any_container() -> None:
    class Inner(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return types.SimpleNamespace(y=x * 2, z=Entries(y=x + torch.arange(17)))

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, x: torch.Tensor) -> Any:
            return self.inner(x).y.relu()

    report = shiftcheck.check_equivariance(Outer(), X)
    assert [row.name for row in report] == ["inner[0]", "inner[1]", "relu"]
    one = shiftcheck.check_equivariance(Outer(), X, layer="inner", outputs=["y"])
    assert one.verdict is Verdict.EQUIVARIANT


def test_tensors_beside_the_items_of_a_container_count() -> None:
    def bad(x: torch.Tensor) -> Any:
        out = Parts([CONV(x)])
        out.extra = x + torch.arange(17)  # type: ignore[attr-defined]
        return out

    assert shiftcheck.check_equivariance(bad, X).verdict is Verdict.BROKEN


class Opaque:
    """An object whose values are somewhere else."""

    def __init__(self, value: torch.Tensor) -> None:
        self.get = lambda: value


def numbered(x: torch.Tensor) -> Iterator[torch.Tensor]:
    yield x


@pytest.mark.parametrize(
    "make",
    [
        Opaque,
        numbered,
        lambda x: lambda: x,
        lambda x: map(torch.relu, [x]),
        lambda x: {x, x + torch.arange(17)},
    ],
)
def test_what_cannot_be_looked_into_is_no_pass(make: Callable[[torch.Tensor], Any]) -> None:
    report = shiftcheck.check_equivariance(lambda x: (CONV(x), make(x)), X)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "output cannot be read")


def test_a_distribution_is_its_parameters() -> None:
    def model(x: torch.Tensor) -> Any:
        return torch.distributions.Normal(CONV(x), 1 + x.abs(), validate_args=False)

    report = shiftcheck.assert_equivariant(model, X)
    assert {o.name for o in report.outputs} == {"output.loc", "output.scale"}


def test_a_container_within_itself_ends() -> None:
    def model(x: torch.Tensor) -> Any:
        out: dict[str, Any] = Entries(y=CONV(x))
        out["self"] = out
        return out

    assert shiftcheck.check_equivariance(model, X).reason == "output cannot be read"


AS_INPUTS = [n for n in MAKERS if n not in ("sets", "mapping", "proxy")]


@pytest.mark.parametrize("name", AS_INPUTS)
def test_every_tensor_in_an_argument_moves(name: str) -> None:
    like = MAKERS[name](1, 2)

    def good(batch: Any) -> torch.Tensor:
        assert type(batch) is type(like)
        first, second = (v for _, v in leaves_of(batch) if isinstance(v, torch.Tensor))
        return CONV(first) * second

    batch = MAKERS[name](X, X.flip(-1))
    before = [(steps, id(v)) for steps, v in leaves_of(batch)]
    assert shiftcheck.assert_equivariant(good, (batch,))
    assert [(steps, id(v)) for steps, v in leaves_of(batch)] == before
    held = shiftcheck.check_equivariance(good, (batch,), fixed=(_second(name),))
    assert held.verdict is Verdict.BROKEN


def _second(name: str) -> str:
    steps = [
        steps for steps, v in leaves_of(MAKERS[name](X, X * 2)) if isinstance(v, torch.Tensor)
    ][1]
    return "batch" + "".join(step.written for step in steps)


def test_mappings_of_any_class_are_keyword_arguments() -> None:
    def model(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return CONV(x) * scale

    for name in ("UserDict", "mapping", "proxy", "BatchEncoding", "dict subclass"):
        batch = MAKERS[name](X, X)
        kwargs = {"x": batch["a"], "scale": batch["b"]}
        made = collections.UserDict(kwargs) if name == "UserDict" else Entries(kwargs)
        assert shiftcheck.assert_equivariant(model, made)


def test_an_argument_that_cannot_be_copied_is_an_error() -> None:
    batch = ReadOnly(x=X)
    with pytest.raises(shiftcheck.InputError, match=r"ReadOnly.*dict or a tuple"):
        shiftcheck.check_equivariance(lambda batch: batch["x"], (batch,))


def test_what_stays_is_not_copied() -> None:
    config = Plain(1, [2, 3])
    value = {"config": config, "x": 4}
    leaves = [leaf for _, leaf in leaves_of(value)]
    assert with_leaves(value, leaves) is value
    again = with_leaves(value, [*leaves[:-1], 5])
    assert again["config"] is config
    assert (again["x"], value["x"]) == (5, 4)
