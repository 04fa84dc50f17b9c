"""The runs of a comparison: the model on the whole, and what the user puts together from tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from shiftcheck.errors import ModelError
from shiftcheck.measuring.model_errors import RaisedError, needs_gradients
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.modules import flat_outputs, modules_of
from shiftcheck.tracing.restoring.state import Originals, preserved
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
        return self._outputs(self.model, main)

    def in_tiles(self) -> dict[str, Values]:
        """The outputs of the tiled callable; on which pieces it calls the model is kept."""
        with self._seeing_pieces():
            return self._outputs(BlackBox(self.tiled, arrays=self.arrays), None)

    def _outputs(self, model: Model, main: torch.Tensor | None) -> dict[str, Values]:
        try:
            return self._run(model, main, gradients=False)
        except ModelError as error:
            if not needs_gradients(error):
                raise
        return self._run(model, main, gradients=True)

    def _run(
        self, model: Model, main: torch.Tensor | None, *, gradients: bool
    ) -> dict[str, Values]:
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
        return _read(returned)

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
        rank, pieces = self.inputs.main.tensor.ndim, self.pieces

        def seen(_: Any, args: Any, kwargs: Any) -> None:
            shapes = [tuple(t.shape) for t in tensors_of((args, kwargs)) if t.ndim == rank]
            pieces.extend(shapes[:1])

        handle = self.model.register_forward_pre_hook(seen, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


def _read(returned: Any) -> dict[str, Values]:
    leaves = []
    for path, leaf in flat_outputs(returned):
        tensor = torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf
        if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
            leaves.append((path, tensor))
    single = len(leaves) == 1
    return {"output" if single else f"output{path}": _values(leaf) for path, leaf in leaves}


def _values(tensor: torch.Tensor) -> Values:
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
