"""The runs of a comparison: the model on the whole, and what the user puts together from tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.model_errors import RaisedError, needs_gradients
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.modules import flat_outputs, modules_of, takes_hooks
from shiftcheck.tracing.restoring.state import Originals, preserved
from shiftcheck.tracing.rows import leaves_wanted
from shiftcheck.tracing.torch_internals import tensors_of
from shiftcheck.tracing.uncompiled import not_compiled
from shiftcheck.tracing.writes import WatchedWrites


@dataclass(frozen=True, kw_only=True, eq=False)
class Values:
    """An output in float64 or complex128; ``eps`` of the type it came in, 0 for whole numbers."""

    array: np.ndarray[Any, Any]
    eps: float
    dtype: torch.dtype


@dataclass(frozen=True, kw_only=True, eq=False)
class Runner:
    """Runs the model and the tiled callable on copies of the arguments, without gradients."""

    model: Model
    tiled: Callable[..., Any]
    inputs: Inputs
    arrays: bool
    originals: Originals
    pieces: list[tuple[int, ...]] = field(default_factory=list)

    def on(self, main: torch.Tensor | None = None) -> dict[str, Values]:
        """The outputs of the model, by name; ``main``: another signal than the given one."""
        leaves, _ = leaves_wanted(self._returned(self.model, main), self.inputs.outputs)
        return read_leaves(leaves)

    def in_tiles(self, count: int) -> dict[str, Values]:
        """The outputs of the tiled callable; on which pieces it calls the model is kept.

        ``count``: how many outputs of the model count. Where it returns so many, these are they.
        """
        with self._seeing_pieces():
            returned = self._returned(BlackBox(self.tiled, arrays=self.arrays), None)
        found = read_outputs(returned)
        if len(found) == count:
            return found
        try:
            return read_leaves(leaves_wanted(returned, self.inputs.outputs)[0])
        except InputError:  # none of these names: how many there are is told
            return found

    def _returned(self, model: Model, main: torch.Tensor | None) -> Any:
        try:
            return self._run(model, main, gradients=False)
        except ModelError as error:
            if not needs_gradients(error):
                raise
        return self._run(model, main, gradients=True)

    def _run(self, model: Model, main: torch.Tensor | None, *, gradients: bool) -> Any:
        values = [self._value(leaf, main) for leaf in self.inputs.leaves]
        args, kwargs = self.inputs.call(values)
        watched = WatchedWrites(self.originals.before_write)
        try:
            with torch.set_grad_enabled(gradients), not_compiled(), watched:
                returned = model(*args, **kwargs)
        except Exception as error:
            inputs = self.inputs if main is None else self.inputs.with_main(main)
            raised = RaisedError(error, Plan(model=self.model, inputs=inputs))
            if isinstance(model, BlackBox) and model.function is self.tiled:
                raise ModelError(
                    f"the tiled callable raised {type(error).__name__}: {error}"
                ) from error
            raise raised from error
        return returned

    def _value(self, leaf: Any, main: torch.Tensor | None) -> Any:
        if not isinstance(leaf, Leaf):
            return leaf
        other = leaf is self.inputs.main and main is not None
        tensor = main if other and main is not None else leaf.tensor
        return leaf.dressed(tensor.detach().clone())

    @contextmanager
    def _seeing_pieces(self) -> Iterator[None]:
        if not isinstance(self.model, torch.nn.Module):
            yield
            return
        main, pieces = self.inputs.main, self.pieces
        alike = [leaf for leaf in self.inputs.leaves if _has_rank(leaf, main.tensor.ndim)]
        place = next(n for n, leaf in enumerate(alike) if leaf is main)

        def seen(_: Any, args: Any, kwargs: Any) -> None:
            tensors = [t for t in tensors_of((args, kwargs)) if t.ndim == main.tensor.ndim]
            found = tensors[place : place + 1] or tensors[:1]
            pieces.extend(tuple(t.shape) for t in found)

        def seen_by_script(module: Any, args: Any) -> None:
            if module is self.model:
                seen(module, args, {})

        handle = (
            self.model.register_forward_pre_hook(seen, with_kwargs=True)
            if takes_hooks(self.model)
            else register_module_forward_pre_hook(seen_by_script)
        )
        try:
            yield
        finally:
            handle.remove()


def _has_rank(leaf: Any, rank: int) -> bool:
    return isinstance(leaf, Leaf) and leaf.tensor.ndim == rank


def read_outputs(returned: Any) -> dict[str, Values]:
    """The dense tensors and arrays that were returned, by their places."""
    return read_leaves(flat_outputs(returned))


def read_leaves(leaves: Iterable[tuple[str, Any]]) -> dict[str, Values]:
    """The dense values among some outputs with their places; of a DTensor those held here."""
    dense = []
    for path, given in leaves:
        leaf = given.to_local() if hasattr(given, "to_local") else given
        tensor = torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf
        if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
            dense.append((path, tensor))
    return {f"output{path}": values_of(tensor) for path, tensor in dense}


def values_of(tensor: torch.Tensor) -> Values:
    """A tensor as it is compared."""
    kind = tensor.dtype
    counts = not (kind.is_floating_point or kind.is_complex)
    wide = torch.complex128 if kind.is_complex else torch.float64
    array = tensor.detach().cpu().resolve_conj().to(wide).numpy().copy()
    return Values(array=array, eps=0.0 if counts else torch.finfo(kind).eps, dtype=kind)


@contextmanager
def running(
    model: Model, tiled: Callable[..., Any], inputs: Inputs, *, arrays: bool
) -> Iterator[Runner]:
    """Both in eval mode; what they touch is put back, also on exceptions."""
    modules: Sequence[torch.nn.Module] = list(
        {id(m): m for m in (*modules_of(model), *modules_of(tiled))}.values()
    )
    with preserved(modules, inputs.tensors, training=False, model=(model, tiled)) as originals:
        yield Runner(model=model, tiled=tiled, inputs=inputs, arrays=arrays, originals=originals)
