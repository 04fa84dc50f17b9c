"""Ways out of a tensor that the dispatcher does not see, and what tells nothing of its values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import GetSetDescriptorType
from typing import Any, Protocol

import torch
from torch.overrides import TorchFunctionMode

from shiftcheck.tracing.torch_internals import (
    OWNERS_OF_METHODS,
    current_function_mode,
    function_mode_popped,
    is_fake,
    is_overload,
    tensors_of,
)

_OUT = (
    "numpy tolist __array__ __cuda_array_interface__ __dlpack__ __dlpack_c_exchange_api__"
    " data_ptr const_data_ptr mutable_data_ptr _cdata storage untyped_storage _typed_storage"
    " share_memory_ __reduce_ex__ _reduce_ex_internal __repr__ __str__ __format__"
    " apply_ map_ map2_ _view_func _view_func_unsafe _rev_view_func_unsafe"
)
OUT = frozenset(_OUT.split())
"""Attributes by which values, or the memory that holds them, leave torch."""

TEXT = frozenset({"__repr__", "__str__", "__format__"})
"""Those of them from which no tensor of the same values can be made."""

IN_MEMORY = frozenset({"apply_", "map_", "map2_", "__dlpack__"})
"""Those of them for which torch takes the memory, whether there is any or not."""

FOLLOWED = frozenset({"__deepcopy__", "data"})
"""Attributes by which a tensor gets the values of another, which is known to be so."""

_HARMLESS = (
    "shape size stride dim ndim ndimension dim_order numel nelement nbytes itemsize element_size"
    " storage_offset storage_type layout dtype type device get_device names has_names name"
    " qscheme is_coalesced sparse_dim dense_dim _dimI _dimV"
    " is_complex is_floating_point is_signed is_conj is_neg _is_zerotensor is_inference is_leaf"
    " is_contiguous is_pinned is_shared is_same_size is_set_to is_nested is_quantized is_sparse"
    " is_sparse_csr is_mkldnn is_cpu is_cuda is_ipu is_maia is_meta is_mps is_mtia is_vulkan"
    " is_xla is_xpu is_distributed _is_view _has_symbolic_sizes_strides volatile"
    " requires_grad requires_grad_ grad _grad grad_fn _grad_fn grad_dtype retain_grad retains_grad"
    " output_nr register_hook register_post_accumulate_grad_hook reinforce _backward_hooks"
    " _post_accumulate_grad_hooks _base _version _use_count _fix_weakref"
    " _clear_non_serializable_cached_data record_stream"
    " __len__ __hash__ __dir__ __sizeof__ __dlpack_device__ __array_priority__ __weakref__"
    " __torch_function__ __torch_dispatch__ __slots__ __module__ __doc__ __dict__ __class__"
    " __new__ __init__ __init_subclass__ __subclasshook__ __setattr__ __getattribute__ __delattr__"
    " __getstate__ __setstate__ __reduce__ __delitem__"
    " result_type broadcast_shapes"
)
HARMLESS = frozenset(_HARMLESS.split())
"""Attributes that tell of shape, type, place and gradients, and never of values."""


class Watcher(Protocol):
    """Who follows tensors: ``dispatched`` counts the operations that were seen."""

    dispatched: int

    def depends_on_input(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is followed."""

    def read(self, op: str) -> None:
        """Values leave."""

    def adopt(self, tensor: torch.Tensor, source: torch.Tensor) -> None:
        """One tensor has the values of another from now on."""


def name_of(func: Any) -> str:
    """The name of a torch function; that of the attribute where it reads or sets one."""
    owner = getattr(func, "__self__", None)
    getter = owner.fget if isinstance(owner, property) else owner
    if isinstance(owner, GetSetDescriptorType | property):
        return str(getattr(getter, "__name__", ""))
    return str(getattr(func, "__name__", func))


def _functions(names: Iterable[str]) -> frozenset[Any]:
    """What a mode is given in the place of attributes of tensors, and functions of the same name.

    A property of Python is read by its getter.
    """
    values = []
    for name in names:
        for owner in OWNERS_OF_METHODS:
            value = getattr(owner, name, None)
            values += [value, getattr(value, "__get__", None)]
    return frozenset(f for f in values if callable(f))


HARMLESS_FUNCTIONS = _functions(HARMLESS)
OUT_FUNCTIONS = _functions(OUT)
DEEPCOPY = torch.Tensor.__deepcopy__
SET_DATA = torch.Tensor.data.__set__  # type: ignore[attr-defined]


class WaysOut(TorchFunctionMode):
    """Notices what never reaches the dispatcher: values that leave torch.

    What is no known way out is one as well, unless it was dispatched and gave tensors, gave back
    what it was given or is known to be harmless.
    """

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self.watcher = watcher

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if is_overload(func):  # TorchScript asks so; it is dispatched now
            return func(*args, **(kwargs or {}))
        if func in OUT_FUNCTIONS:
            self._leave(func, args[0])
            return func(*args, **(kwargs or {}))
        before = self.watcher.dispatched
        out = func(*args, **(kwargs or {}))
        if func == DEEPCOPY:
            self.watcher.adopt(out, args[0])
        elif func == SET_DATA:
            self.watcher.adopt(args[0], args[1])
        elif self.watcher.dispatched == before or not is_tensors(out):
            self._look(func, (args, kwargs), out)
        return out

    def _leave(self, func: Any, tensor: Any) -> None:
        if self.watcher.depends_on_input(tensor):
            self.watcher.read(name_of(func))
        if is_fake(tensor) and name_of(func) in IN_MEMORY:
            raise RuntimeError(f"{name_of(func)} needs a tensor with values")

    def _look(self, func: Any, given: Any, out: Any) -> None:
        """Nothing was dispatched, or no tensor came of it: values left, if any were asked for."""
        if func in HARMLESS_FUNCTIONS or out is None or out is NotImplemented:
            return
        tensors = tensors_of(given)
        if any(out is t for t in tensors):
            return
        if any(map(self.watcher.depends_on_input, tensors)):
            self.watcher.read(name_of(func))


@contextmanager
def not_noticed() -> Iterator[None]:
    """What is done here on tensors that are not followed is not looked at, where that is so now."""
    if not isinstance(current_function_mode(), WaysOut):
        yield
        return
    with function_mode_popped():
        yield


def is_tensors(out: Any) -> bool:
    """Whether something is a tensor, or holds nothing else."""
    if isinstance(out, torch.Tensor):
        return True
    return isinstance(out, tuple | list) and all(isinstance(t, torch.Tensor | None) for t in out)
