"""After a check nothing of it stays with the user: no tensor, no entry, no count, no flag."""

from __future__ import annotations

import collections
import functools
import queue
import threading
import types
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict

MEANS = (0, 2, 3)
MAP = (1, 4, 12, 14)


def image() -> torch.Tensor:
    return torch.randn(*MAP, generator=torch.Generator().manual_seed(5))


def geometry(model: Any) -> None:
    shiftcheck.geometry(model, image())


def check(model: Any) -> None:
    shiftcheck.check_equivariance(model, image())


def linear(model: Any) -> None:
    shiftcheck.check_linear(model, image())


def invariance(model: Any) -> None:
    shiftcheck.check_invariance(model, torch.cat([image(), image().flip(1)]))


OLD_SCRIPT = pytest.mark.filterwarnings("ignore:.torch.jit")
HOWS = pytest.mark.parametrize("how", [geometry, check, linear, invariance])
TWO = pytest.mark.parametrize("how", [geometry, check])


def mean(x: torch.Tensor) -> torch.Tensor:
    return x.mean(MEANS, keepdim=True)


# -- containers of other classes -------------------------------------------------------------------


class RefusedError(Exception):
    pass


class Frozen(collections.OrderedDict[str, Any]):
    """A configuration that says no to whoever changes it, as that of diffusers does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for key, value in self.items():
            setattr(self, key, value)
        self.__frozen = True

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise RefusedError("You cannot use this on a Frozen")

    __delitem__ = setdefault = pop = update = clear = popitem = _refuse  # type: ignore[assignment]

    def __setitem__(self, key: str, value: Any) -> None:
        if hasattr(self, "_Frozen__frozen"):
            self._refuse()
        super().__setitem__(key, value)


class Stubborn(list[Any]):
    """A list that counts who touches it, and gives another order than it has."""

    def __init__(self, values: Any) -> None:
        super().__init__(values)
        self.touched = 0

    def _touch(self, *args: Any) -> Any:
        self.touched += 1
        raise RefusedError

    clear = extend = append = __setitem__ = __iadd__ = _touch  # type: ignore[assignment]

    def __iter__(self) -> Any:
        return reversed(list.__getitem__(self, slice(None)))


class View(Mapping[str, Any]):
    """A mapping that is no dictionary, and can only be read."""

    def __init__(self, inside: dict[str, Any]) -> None:
        self._inside = inside

    def __getitem__(self, key: str) -> Any:
        return self._inside[key]

    def __iter__(self) -> Any:
        return iter(self._inside)

    def __len__(self) -> int:
        return len(self._inside)


class Dull(set[int]):
    def clear(self) -> None:
        raise RefusedError

    update = add = clear  # type: ignore[assignment]


CONTAINERS: dict[str, Callable[[], Any]] = {
    "frozen": lambda: Frozen(a=1, b=[1, 2], c={"d": (3,)}),
    "list": lambda: Stubborn([1, "2", [3]]),
    "set": lambda: Dull([1, 2]),
    "deque": lambda: collections.deque([1, [2]], maxlen=2),
    "default": lambda: collections.defaultdict(list, a=[1]),
    "counter": lambda: collections.Counter("abba"),
    "ordered": lambda: collections.OrderedDict(b=1, a=2),
    "view": lambda: View({"a": [1]}),
    "proxy": lambda: types.MappingProxyType({"a": [1]}),
    "user's": lambda: collections.UserDict(a=[1]),
    "chain": lambda: collections.ChainMap({"a": 1}, {"b": [2]}),
    "named": lambda: collections.namedtuple("Pair", "a b")(1, [2]),
}


class Configured(nn.Module):
    """Holds a container, of which its forward only reads."""

    def __init__(self, config: Any, use: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.config, self.use = config, use

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.use(self.config, x)
        return self.conv(x)  # type: ignore[no-any-return]


@TWO
@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_container_that_is_only_read_is_not_touched(
    kind: str, how: Callable[[Any], None]
) -> None:
    config = CONTAINERS[kind]()
    before = repr(config), len(config)
    model = Configured(config, lambda config, x: len(config))
    how(model)
    assert model.config is config
    assert (repr(config), len(config)) == before


CHANGES: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "frozen": lambda c, x: (
        collections.OrderedDict.__setitem__(c, "seen", x),
        collections.OrderedDict.__setitem__(c, "a", x),
        collections.OrderedDict.move_to_end(c, "b"),
        c["b"].append(x),
    ),
    "list": lambda c, x: (list.append(c, x), list.__setitem__(c, 0, x), list.pop(c, 1)),
    "set": lambda c, x: (set.discard(c, 1), set.add(c, x)),
    "deque": lambda c, x: c.append(x),
    "default": lambda c, x: (c["new"].append(x), c["a"].append(x)),
    "counter": lambda c, x: c.update("ab"),
    "ordered": lambda c, x: (c.move_to_end("b"), c.update(a=x)),
    "view": lambda c, x: c._inside.update(m=mean(x)),
    "user's": lambda c, x: (c.update(seen=x), c["a"].append(x)),
    "chain": lambda c, x: c.update(seen=x),
    "named": lambda c, x: c.b.append(x),
}


@TWO
@pytest.mark.parametrize("kind", CHANGES)
def test_a_container_that_is_written_to_is_put_back(kind: str, how: Callable[[Any], None]) -> None:
    config = CONTAINERS[kind]()
    before = repr(config), len(config)
    model = Configured(config, CHANGES[kind])
    how(model)
    assert model.config is config
    assert (repr(config), len(config)) == before


def test_elements_are_told_by_what_they_are_and_not_by_what_they_equal() -> None:
    class Same:
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

    first = Same()
    model = Configured([first], lambda config, x: config.__setitem__(0, Same()))
    check(model)
    assert model.config[0] is first


def test_a_dictionary_is_never_empty_while_it_is_put_back() -> None:
    lengths: list[int] = []

    class Looks:
        def __init__(self, table: dict[str, Any]) -> None:
            self.table = table

        def __del__(self) -> None:
            lengths.append(len(self.table))

    model = Configured({"a": 1, "b": 2}, lambda config, x: config.update(a=Looks(config)))
    geometry(model)
    assert lengths == [2]
    assert model.config == {"a": 1, "b": 2}


def test_what_cannot_be_put_back_is_named_and_stops_nothing() -> None:
    class Locks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.array, self.calls, self.waiting = np.zeros(3), 0, queue.SimpleQueue[Any]()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.array.flags.writeable:
                self.array += 1
                self.array.flags.writeable = False
            self.calls += 1
            self.waiting.put(x)
            return x * 2

    model = Locks().train()
    report = shiftcheck.check_equivariance(model, image())
    notes = [note for note in report.notes if "could not be put back" in note]
    assert len(notes) == 2
    assert any("'array' (ndarray)" in note for note in notes)
    assert any("'waiting' (SimpleQueue)" in note for note in notes)
    assert model.calls == 0
    assert model.training
    assert any("'waiting'" in note for note in shiftcheck.geometry(Locks(), image()).notes)
    assert any("'waiting'" in note for note in shiftcheck.check_linear(Locks(), image()).notes)


# -- what stays with whatever a model refers to ----------------------------------------------------


@dataclass
class Store:
    kept: Any = None
    calls: int = 0
    more: dict[str, Any] = field(default_factory=dict)


class Slots:
    __slots__ = ("__hidden", "calls", "kept", "more", "unset")

    def __init__(self) -> None:
        self.kept, self.calls, self.more, self.__hidden = None, 0, {}, 0

    def hide(self, x: torch.Tensor) -> None:
        self.__hidden = x


@dataclass(frozen=True)
class Fixed:
    more: dict[str, Any] = field(default_factory=dict)
    kept: Any = None
    calls: int = 0


def fill(store: Any, x: torch.Tensor) -> torch.Tensor:
    """Keep a mean, as a cache would, and count."""
    write = object.__setattr__ if isinstance(store, Fixed) else setattr
    write(store, "calls", store.calls + 1)
    if store.kept is None:
        write(store, "kept", mean(x))
    if isinstance(store, Slots):
        store.unset = x
        store.hide(x)
    kept: torch.Tensor = store.more.setdefault("m", mean(x))
    return kept


STORES: dict[str, Callable[[], Any]] = {
    "namespace": lambda: types.SimpleNamespace(kept=None, calls=0, more={}),
    "dataclass": Store,
    "slots": Slots,
    "frozen": Fixed,
    "module": lambda: type("Inner", (nn.Module,), {"kept": None, "calls": 0, "more": {}})(),
    "thread's own": lambda: _local(),
    "deep": lambda: types.SimpleNamespace(kept=None, calls=0, more={"deep": [[[[[[[{}]]]]]]]}),
}


def _local() -> Any:
    local = threading.local()
    local.kept, local.calls, local.more = None, 0, {}
    return local


class Holds(nn.Module):
    def __init__(self, store: Any) -> None:
        super().__init__()
        self.store = store

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - fill(self.store, x)


class Calls:
    """A callable that is no module."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x - fill(self.store, x)

    def method(self, x: torch.Tensor) -> torch.Tensor:
        return self(x)


def hooked(store: Any) -> nn.Module:
    model = nn.Sequential(nn.Conv2d(4, 4, 3))
    model[0].register_forward_hook(lambda module, args, out: (fill(store, out), None)[1])
    return model


def hooked_before(store: Any) -> nn.Module:
    model = nn.Sequential(nn.Conv2d(4, 4, 3))
    model.register_forward_pre_hook(functools.partial(_before, store))
    return model


def _before(store: Any, module: nn.Module, args: Any) -> None:
    fill(store, args[0])


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "module": Holds,
    "list of a module": lambda store: Holds(_First([store])),
    "closure": lambda store: lambda x: x - fill(store, x),
    "closure of a closure": lambda store: _deeper(lambda x: x - fill(store, x)),
    "default": lambda store: _with_default(store),
    "partial": lambda store: functools.partial(lambda store, x: x - fill(store, x), store),
    "callable": Calls,
    "method": lambda store: Calls(store).method,
    "hook": hooked,
    "hook before": hooked_before,
}


class _First(list[Any]):
    """A list that passes for its first element."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self[0], name)


def _deeper(inner: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    @functools.wraps(inner)
    def outer(x: torch.Tensor) -> torch.Tensor:
        return inner(x) * 2

    return outer


def _with_default(store: Any) -> Callable[..., torch.Tensor]:
    def model(x: torch.Tensor, *, store: Any = store) -> torch.Tensor:
        return x - fill(store, x)

    return model


PAIRS = [(kind, "module") for kind in STORES] + [("namespace", holder) for holder in HOLDERS]


@HOWS
@pytest.mark.parametrize(("kind", "holder"), PAIRS)
def test_nothing_stays(kind: str, holder: str, how: Callable[[Any], None]) -> None:
    store = STORES[kind]()
    keys = set(store.more)
    how(HOLDERS[holder](store))
    assert store.kept is None
    assert set(store.more) == keys
    assert store.calls == 0
    assert not hasattr(store, "unset")
    assert getattr(store, "_Slots__hidden", 0) == 0


def test_a_cache_is_of_use_afterwards() -> None:
    cache: dict[str, torch.Tensor] = {}

    def model(x: torch.Tensor) -> torch.Tensor:
        return x - cache.setdefault("m", x.mean(MEANS, keepdim=True))

    report = shiftcheck.check_equivariance(model, image())
    assert report.verdict is Verdict.INCONCLUSIVE
    assert cache == {}
    x = image().requires_grad_()
    model(x).square().sum().backward()
    assert x.grad is not None


@HOWS
def test_attributes_of_a_class(how: Callable[[Any], None]) -> None:
    class Base(nn.Module):
        table: Any = None
        calls = 0
        cache: dict[str, Any] = {}  # noqa: RUF012

    class Shared(Base):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Base.calls += 1
            Shared.new = x  # type: ignore[attr-defined]
            type(self).table = mean(x)
            self.cache["m"] = x
            return x * 2

    before = dict(vars(Base)), dict(vars(Shared))
    how(Shared())
    assert (dict(vars(Base)), dict(vars(Shared))) == before
    assert Base.cache == {}


CACHE: dict[str, torch.Tensor] = {}
COUNT = 0
WORLD = types.ModuleType("a_module_of_the_user")
WORLD.cache = {}  # type: ignore[attr-defined]
PER_MODULE: weakref.WeakKeyDictionary[nn.Module, torch.Tensor] = weakref.WeakKeyDictionary()


def deep_inside(x: torch.Tensor) -> torch.Tensor:
    global COUNT, APPEARED
    COUNT += 1
    APPEARED = x  # type: ignore[name-defined]
    WORLD.cache["m"] = x  # type: ignore[attr-defined]
    return CACHE.setdefault("m", mean(x))


class UsesTheWorld(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        PER_MODULE[self] = mean(x)
        return self.step(x)

    def step(self, x: torch.Tensor) -> torch.Tensor:
        return (lambda y: y - deep_inside(y))(x)


@HOWS
@pytest.mark.parametrize("model", [UsesTheWorld(), lambda x: x * deep_inside(x)])
def test_variables_of_a_module_of_python(model: Any, how: Callable[[Any], None]) -> None:
    how(model)
    assert CACHE == {}
    assert COUNT == 0
    assert "APPEARED" not in globals()
    assert WORLD.cache == {}  # type: ignore[attr-defined]
    assert len(PER_MODULE) == 0


@HOWS
def test_a_variable_of_an_outer_function(how: Callable[[Any], None]) -> None:
    last, count = None, 0

    def model(x: torch.Tensor) -> torch.Tensor:
        nonlocal last, count
        count += 1
        last = x if last is None else last
        return x * 2

    how(model)
    assert last is None
    assert count == 0


@functools.lru_cache(maxsize=8)
def cached(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@functools.cache
def cached_forever(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@HOWS
@pytest.mark.parametrize("cached", [cached, cached_forever])
def test_a_cache_of_a_function(cached: Any, how: Callable[[Any], None]) -> None:
    cached.cache_clear()
    how(lambda x: cached(x) + 1)
    assert cached.cache_info().currsize == 0


def test_a_cache_of_a_function_is_kept_where_nothing_of_the_check_is_in_it() -> None:
    cached.cache_clear()
    mine = torch.ones(1)
    cached(mine)
    check(lambda x: x * cached(mine))
    assert cached.cache_info().currsize == 1


@HOWS
def test_hooks_of_every_module(how: Callable[[Any], None]) -> None:
    seen: dict[str, Any] = {}
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, out: seen.update(out=out)
    )
    try:
        how(nn.Conv2d(4, 4, 3))
    finally:
        handle.remove()
    assert seen == {}


@HOWS
def test_tensors_in_objects(how: Callable[[Any], None]) -> None:
    store = types.SimpleNamespace(running=torch.zeros(1), weight=torch.ones(1, requires_grad=True))
    weight, running = store.weight, store.running

    def model(x: torch.Tensor) -> torch.Tensor:
        store.running.add_(1)
        store.weight.requires_grad_(False)
        store.weight.data = store.weight.data * 2
        return x * store.weight

    how(model)
    assert store.running is running
    assert store.weight is weight
    assert float(running) == 0
    assert float(weight.detach()) == 1
    assert weight.requires_grad


def test_a_class_without_a_module_of_its_own() -> None:
    world: dict[str, Any] = {"nn": nn}
    exec(
        "cache = {}\n"
        "class Store:\n    pass\n"
        "class Net(nn.Module):\n"
        "    last = None\n"
        "    def forward(self, x):\n"
        "        Net.last = Store.last = cache['x'] = x\n"
        "        return x * 2\n",
        world,
    )
    check(world["Net"]())
    assert world["cache"] == {}
    assert world["Net"].last is None
    assert not hasattr(world["Store"], "last")


def test_notes_that_someone_takes_beside_the_model_stay() -> None:
    sizes: list[Any] = []
    types_met: set[Any] = set()

    class Noted(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append((x.dtype, tuple(x.shape)))
            types_met.add(x.dtype)
            return super().forward(x)

    model = Noted(4, 4, 3)
    check(model)
    assert len(sizes) > 1
    assert types_met == {torch.float32}


@HOWS
def test_a_list_beside_the_model_that_holds_tensors_does_not(how: Callable[[Any], None]) -> None:
    kept: list[Any] = ["mine"]
    how(lambda x: (kept.append((1, {"x": x})), x * 2)[1])
    assert kept == ["mine"]


def test_a_count_beside_the_model_costs_no_other_run() -> None:
    sizes: list[int] = []
    counts: dict[str, int] = {}
    total = 0

    def model(x: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += 1
        counts["n"] = counts.get("n", 0) + 1
        sizes.append(len(x))
        return x * 2

    report = shiftcheck.check_equivariance(model, image(), shifts=[(1, 0), (0, 1)])
    assert report.verdict is Verdict.EQUIVARIANT
    assert sizes == [1, 2]
    assert (total, counts) == (0, {})


# -- within one check ------------------------------------------------------------------------------


class Rotary(nn.Module):
    """Builds a constant table when it is first called, as rotary embeddings do."""

    def __init__(self, cache: Any) -> None:
        super().__init__()
        self.cache = cache

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if "table" not in self.cache:
            self.cache["table"] = torch.arange(4.0)[:, None, None] + 1
        return x * self.cache["table"]


TABLES: dict[str, Any] = {}


@pytest.mark.parametrize("outside", [False, True])
def test_a_constant_that_is_built_on_the_way_is_no_state(outside: bool) -> None:
    model = Rotary(TABLES if outside else {})
    for layers in ("layers", "outputs"):
        report = shiftcheck.check_equivariance(model, image(), measure=layers)  # type: ignore[arg-type]
        assert report.verdict is Verdict.EQUIVARIANT
        assert model.cache == {}
    shiftcheck.assert_equivariant(model, image())


@pytest.mark.parametrize("kind", STORES)
def test_what_was_seen_before_is_state(kind: str) -> None:
    store = STORES[kind]()
    report = shiftcheck.check_equivariance(lambda x: x - fill(store, x), image())
    assert report.verdict is not Verdict.EQUIVARIANT


def test_a_pass_without_values_that_fails_leaves_nothing_to_the_next() -> None:
    kept: dict[str, torch.Tensor] = {}

    def model(x: torch.Tensor) -> torch.Tensor:
        kept.setdefault("first", x)
        assert type(kept["first"]) is type(x)
        return x if float(x.flatten()[0]) > 1e9 else x * 2

    found = shiftcheck.geometry(model, image())
    assert any("from a real run" in note for note in found.notes)
    assert kept == {}


# -- parameters of inference mode, frozen modules, pointers ----------------------------------------


def made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


@HOWS
@pytest.mark.parametrize("training", [True, False])
def test_parameters_of_inference_mode(training: bool, how: Callable[[Any], None]) -> None:
    model = made_in_inference_mode().train(training)
    model[1].eval()
    before = {k: (v, v.clone(), v.data_ptr()) for k, v in model.state_dict(keep_vars=True).items()}
    how(model)
    assert [m.training for m in model] == [training, False, training]
    assert model.training is training
    for name, value in model.state_dict(keep_vars=True).items():
        assert value is before[name][0]
        assert torch.equal(value, before[name][1])
        assert value.data_ptr() == before[name][2]
        assert value.is_inference()


def test_buffers_of_inference_mode_that_are_written_to() -> None:
    model = made_in_inference_mode().train()
    shiftcheck.check_equivariance(model, image(), training=True)
    assert not model[1].running_mean.any()
    assert int(model[1].num_batches_tracked) == 0
    report = shiftcheck.check_equivariance(model, image(), weights="randomized", draws=2)
    assert report.verdict is Verdict.EQUIVARIANT


def test_restoring_never_stops_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    class Guarded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.count = nn.Conv2d(4, 4, 3), 0

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "training" and value and getattr(self, "sealed", False):
                raise RuntimeError("no more training")
            super().__setattr__(name, value)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count += 1
            return self.inner(x)  # type: ignore[no-any-return]

    model = nn.Sequential(Guarded(), nn.ReLU()).train()
    model[0].sealed = True
    check(model)
    assert [m.training for m in (model, model[0].inner, model[1])] == [True, True, True]
    assert model[0].count == 0


@OLD_SCRIPT
@HOWS
def test_a_frozen_module_of_torchscript(how: Callable[[Any], None]) -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()).eval())
    frozen = torch.jit.freeze(scripted)
    how(frozen)
    how(nn.Sequential(nn.Dropout(), frozen))
    assert not hasattr(frozen, "training")


class CountsInScript(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.sizes = [0]
        self.last = torch.zeros(1)
        self.table = {"a": torch.zeros(1)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.sizes.append(x.shape[0])
        self.last = x
        self.table["b"] = x
        return x * 2


@OLD_SCRIPT
def test_a_module_of_torchscript_that_counts() -> None:
    scripted = torch.jit.script(CountsInScript())
    last = scripted.last
    check(scripted)
    assert (scripted.calls, list(scripted.sizes), list(scripted.table)) == (0, [0], ["a"])
    assert scripted.last is last


def through_a_capsule(x: torch.Tensor) -> torch.Tensor:
    capsule = torch.utils.dlpack.to_dlpack(x.clone())
    return torch.from_dlpack(capsule) * 2  # type: ignore[no-any-return]


def by_its_address(x: torch.Tensor) -> torch.Tensor:
    import ctypes

    y = x.contiguous().clone()
    first = ctypes.cast(y.data_ptr(), ctypes.POINTER(ctypes.c_float))[0]
    return y * (first + 3)


def by_the_address_of_its_storage(x: torch.Tensor) -> torch.Tensor:
    import ctypes

    y = x.clone()
    return y * ctypes.string_at(y.untyped_storage().data_ptr(), 4)[0]


POINTERS = [through_a_capsule, by_its_address, by_the_address_of_its_storage]


@HOWS
@pytest.mark.parametrize("model", POINTERS)
def test_the_process_lives_where_a_model_looks_at_memory(
    model: Any, how: Callable[[Any], None]
) -> None:
    with suppress(shiftcheck.ShiftcheckError):
        how(model)


@pytest.mark.parametrize("model", POINTERS)
def test_what_a_model_reads_from_memory_is_no_pass_by_rules(model: Any) -> None:
    try:
        report = shiftcheck.check_equivariance(model, image())
    except shiftcheck.ShiftcheckError:
        return
    assert report.verdict is not Verdict.EQUIVARIANT or report.outputs[0].measured


def test_what_goes_through_dlpack_is_probed_as_a_whole() -> None:
    report = shiftcheck.assert_equivariant(lambda x: torch.from_dlpack(x.clone()) * 2, image())
    assert report.outputs[0].measured
    assert any("probed as a whole" in note for note in report.notes)
    with pytest.raises(shiftcheck.ShiftcheckError):
        shiftcheck.assert_equivariant(
            lambda x: torch.from_dlpack(x.clone()) * torch.linspace(0, 1, 14), image()
        )
