"""Everything that this library uses of torch, and of Python, that is private there.

Where a new version differs, it differs here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedOperatorException,
    unset_fake_temporarily,
)
from torch.nn.modules import module as torch_module
from torch.overrides import _get_current_function_mode, _pop_mode_temporarily
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import (
    SUPPORTED_NODES,
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_unflatten,
)
from torch.utils._pytree import tree_map as tree_map_of_any

NOT_KNOWN_WITHOUT_VALUES = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedOperatorException,
)
"""What torch raises where it would need values, or does not know an operation without them."""

COMPILER = "torch._dynamo"
"""The module of what torch compiles, which torch imports when it is first asked to."""

LOG_WITHOUT_VALUES = "torch._subclasses.fake_tensor"
"""Where torch logs what fails on tensors without values."""

HOOKS_OF_ALL_MODULES = (
    torch_module._global_forward_hooks,
    torch_module._global_forward_pre_hooks,
)
"""Hooks that are called for every module of the process."""

TABLES_OF_MODULES = ("_modules", "_parameters", "_buffers")
"""Where torch keeps what is written as an attribute of a module."""

COMPOSITE_KERNEL = torch._C.DispatchKey.CompositeExplicitAutograd
"""The key of a kernel that torch writes in ordinary operations, for tensors of any device."""

ASK_ABOUT_MEMORY = frozenset(
    f"aten::{name}"
    for name in ("is_pinned", "is_same_size", "is_set_to", "_has_compatible_shallow_copy_type")
)
"""Like what torch calls prim, these ask about a tensor, such as for its device: for no value."""

TAGGED_LATER = {
    ("aten::_conj_physical", "default"): torch.Tag.pointwise,
    ("aten::_unique", "default"): torch.Tag.dynamic_output_shape,
    ("aten::ldexp", "Tensor"): torch.Tag.pointwise,
    ("aten::leaky_relu", "default"): torch.Tag.pointwise,
    ("aten::leaky_relu_", "default"): torch.Tag.pointwise,
}
"""What versions after 2.6 tag, by the packet and overload of each operation."""

OWNERS_OF_METHODS = (torch.Tensor, torch._C.TensorBase, torch)
"""Where methods and attributes of tensors are found, and functions of the same names."""

TENSORS = frozenset({torch.Tensor, torch.nn.Parameter, FakeTensor})
"""The classes of tensors that operations are mostly given."""

CachedFunction = functools._lru_cache_wrapper

without_torch_function = torch._C.DisableTorchFunction
without_subclasses = torch._C.DisableTorchFunctionSubclass
without_modes = _disable_current_modes
current_function_mode: Callable[[], Any] = _get_current_function_mode
function_mode_popped: Callable[[], AbstractContextManager[Any]] = _pop_mode_temporarily


class Mode(TorchDispatchMode):
    """A mode that meets operations which take functions, too."""

    supports_higher_order_operators = True

    def __enter__(self) -> Any:
        _announce(type(self))
        return super().__enter__()  # type: ignore[no-untyped-call]


def _announce(mode: type[TorchDispatchMode]) -> None:
    """In older versions an operation that takes functions has to be told of each class of modes."""
    if hasattr(TorchDispatchMode, "supports_higher_order_operators"):
        return
    for operator in list(torch._ops._higher_order_ops.values()):
        if mode not in operator.python_key_table:
            operator.py_impl(mode)(functools.partial(_met_by_mode, operator))


def _met_by_mode(operator: Any, mode: TorchDispatchMode, *args: Any, **kwargs: Any) -> Any:
    return mode.__torch_dispatch__(operator, (), args, kwargs)


def way_of_scan(*rest: Any, additional_inputs: Sequence[Any] = ()) -> tuple[int, bool, Any]:
    """The dimension that a scan goes along, whether backwards, and what else each step is given.

    2.6 gives all three; later versions turn the tensors before.
    """
    if len(rest) < 2:
        return 0, False, rest[0] if rest else additional_inputs
    dim, backwards, *others = rest
    return dim, backwards, others[0] if others else additional_inputs


def fake_mode() -> FakeTensorMode:
    """A mode in which tensors have shapes and no values, nor a place that could be pointed to."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    mode._allow_unsafe_data_ptr_access = False
    return mode


def is_fake(tensor: Any) -> bool:
    """Whether a tensor has no values."""
    return isinstance(tensor, FakeTensor)


def is_overload(func: Any) -> bool:
    """Whether a function is an operation as the dispatcher has it."""
    return isinstance(func, torch._ops.OpOverload)


def packet_name(func: Any) -> str:
    """The qualified name of an operation, such as ``aten::add``."""
    return str(func._schema.name)


def overload_name(func: Any) -> str:
    """Which overload of its packet an operation is, ``default`` for the one without a name."""
    return str(func._overloadname)


def tags_of(func: Any) -> frozenset[Any]:
    """The tags of an operation as torch has them at present."""
    later = TAGGED_LATER.get((packet_name(func), overload_name(func)))
    return frozenset(func.tags) if later is None else frozenset((*func.tags, later))


def arguments_of(func: Any) -> Sequence[Any]:
    """The declared arguments of an operation."""
    arguments: Sequence[Any] = func._schema.arguments
    return arguments


def returns_of(func: Any) -> Sequence[Any]:
    """The declared results of an operation."""
    returns: Sequence[Any] = func._schema.returns
    return returns


def is_mutable(func: Any) -> bool:
    """Whether an operation declares that it writes to an argument."""
    return bool(func._schema.is_mutable)


def version_of(tensor: torch.Tensor) -> int:
    """How often a tensor was written to."""
    return tensor._version


def memory_of(tensor: torch.Tensor) -> int:
    """The memory that a tensor is a view of; only meaningful while the tensor lives.

    No mode sees that it is asked for: from within TorchScript it would look as if the model did.
    """
    return memories_of([tensor])[0]


def memories_of(tensors: Iterable[torch.Tensor]) -> list[int]:
    """The memory of each tensor."""
    with without_torch_function():
        return [tensor.untyped_storage()._cdata for tensor in tensors]


def default_device() -> torch.device:
    """Where tensors are made; 2.6 fails to tell once the default was taken back."""
    try:
        return torch.get_default_device()
    except AttributeError:
        return torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How exact torch makes products of float32: a value of torch's, read and written as it is.

    ``exact``: the value for float32. ``types``: what other values allow, by torch's present names.
    """

    read: Callable[[], Any]
    write: Callable[[Any], None]
    exact: Any
    types: Mapping[Any, str]

    def allowed(self) -> str:
        """The type that factors may be rounded to, ``ieee`` or ``none`` where to none."""
        return self.types.get(self.read(), "ieee")


def settings_of_products() -> dict[tuple[str, str], Setting]:
    """Where torch keeps how exact products are, for each kind of them and type of device."""
    if not hasattr(torch.backends.mkldnn, "rnn"):
        return _settings_before_2_9()
    of_cpu: Any = torch.backends.mkldnn
    of_cuda: Any = torch.backends.cudnn
    places: dict[tuple[str, str], Any] = {
        ("rnn", "cpu"): of_cpu.rnn,
        ("conv", "cpu"): of_cpu.conv,
        ("matmul", "cpu"): of_cpu.matmul,
        ("rnn", "cuda"): of_cuda.rnn,
        ("conv", "cuda"): of_cuda.conv,
        ("matmul", "cuda"): torch.backends.cuda.matmul,
    }
    return {key: _setting(place, "fp32_precision") for key, place in places.items()}


def _setting(place: Any, name: str, exact: Any = "ieee", types: Any = None) -> Setting:
    return Setting(
        read=lambda: getattr(place, name),
        write=lambda value: setattr(place, name, value),
        exact=exact,
        types={coarse: coarse for coarse in ("tf32", "bf16", "none")} if types is None else types,
    )


def _settings_before_2_9() -> dict[tuple[str, str], Setting]:
    """One setting for all products of matrices, and one for cuDNN; the CPU convolves exactly."""
    read, write = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    on_cpu, on_cuda = {"high": "tf32", "medium": "bf16"}, {"high": "tf32", "medium": "tf32"}
    cudnn = _setting(torch.backends.cudnn, "allow_tf32", exact=False, types={True: "tf32"})
    return {
        ("matmul", "cpu"): Setting(read=read, write=write, exact="highest", types=on_cpu),
        ("matmul", "cuda"): Setting(read=read, write=write, exact="highest", types=on_cuda),
        ("conv", "cuda"): cudnn,
        ("rnn", "cuda"): cudnn,
    }


def uncompiled(model: Any) -> Any:
    """What was given to torch.compile, where the model is what that returned."""
    if isinstance(model, torch.nn.Module):
        return getattr(model, "_orig_mod", model)
    return getattr(model, "_torchdynamo_orig_callable", model)


def tensors_of(value: Any) -> list[torch.Tensor]:
    """The tensors among the leaves of a nested value."""
    tensors: list[torch.Tensor] = []
    _collect(value, tensors)
    return tensors


def _collect(value: Any, tensors: list[torch.Tensor]) -> None:
    kind = type(value)
    if kind is tuple or kind is list:
        for part in value:
            _collect(part, tensors)
    elif kind is dict:
        for part in value.values():
            _collect(part, tensors)
    elif kind in TENSORS:
        tensors.append(value)
    elif not _is_leaf(value, kind):
        tensors += [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]
    elif isinstance(value, torch.Tensor):
        tensors.append(value)


def tree_map(change: Callable[[Any], Any], value: Any) -> Any:
    """A nested value with every leaf changed."""
    kind = type(value)
    if kind is tuple or kind is list:
        return kind([tree_map(change, part) for part in value])
    if kind is dict:
        return {key: tree_map(change, part) for key, part in value.items()}
    return change(value) if _is_leaf(value, kind) else tree_map_of_any(change, value)


def _is_leaf(value: Any, kind: type) -> bool:
    """Whether torch does not know a type, other than those of Python itself, to hold others."""
    return not isinstance(value, tuple) and kind not in SUPPORTED_NODES


def hash_of(structure: Any) -> int:
    """A hash of the structure that ``tree_flatten`` gives, which had none at first."""
    try:
        return hash(structure)
    except TypeError:
        return hash(repr(structure))


def tensors_in(module: torch.nn.Module) -> Iterable[tuple[str, torch.Tensor | None]]:
    """The parameters and buffers of a module itself, by name."""
    return (*module._parameters.items(), *module._buffers.items())


def scripted_object(module: torch.jit.ScriptModule) -> Any:
    """What holds the attributes of a module of TorchScript."""
    return module._c


def graphs_of_script(inner: Any) -> Iterator[Any]:
    """The graph of each method of a module of TorchScript."""
    for method in inner._method_names():
        yield inner._get_method(method).graph


def default_store() -> Any:
    """What the processes of torch.distributed write notes for each other to."""
    from torch.distributed.distributed_c10d import _get_default_store

    return _get_default_store()


__all__ = [
    "FakeTensor",
    "FakeTensorMode",
    "HigherOrderOperator",
    "TorchDispatchMode",
    "keystr",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_unflatten",
    "unset_fake_temporarily",
]
"""What comes from torch as it is."""
