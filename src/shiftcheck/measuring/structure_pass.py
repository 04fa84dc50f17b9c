"""What the structure alone says: a pass without values, and the shifts to choose from it."""

from __future__ import annotations

import difflib
import math
import random
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import torch

from shiftcheck.errors import InputError, ModelError, ShiftcheckError
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.causes import lose
from shiftcheck.lattice.layout import Layout, Lost
from shiftcheck.lattice.pairing import pair
from shiftcheck.lattice.shares import is_fair
from shiftcheck.measuring.gaps.arrange import is_flattened, size_at, spatial_places
from shiftcheck.measuring.signals.arguments import Inputs, Leaf, Shift
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.tracing.black_box import Whole
from shiftcheck.tracing.leaving.ways_out import OUT, TEXT
from shiftcheck.tracing.memo import Laws
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import LEFT, Originals, preserved
from shiftcheck.tracing.testimony import Testimony, WatchedFakes, cleared
from shiftcheck.tracing.torch_internals import (
    FakeTensor,
    FakeTensorMode,
    fake_mode,
    unset_fake_temporarily,
)
from shiftcheck.tracing.tracer import OnRow, Row, Traced, run
from shiftcheck.tracing.without_values import quiet

Model = Callable[..., Any]


def read_structure(
    model: Model, inputs: Inputs, *, layer: str | None, training: bool
) -> tuple[list[Row], list[Row], list[str]]:
    """Every row and output of one pass on fake tensors, or on real ones where that fails.

    With notes: why it failed there, and what could not be put back.
    """
    with preserved(modules_of(model), inputs.tensors, training=training, model=model) as originals:
        rows, traced, notes = _read(model, inputs, layer, originals)
        outputs = output_rows(traced)
    return rows, outputs, [*notes, *originals.left]


def _read(
    model: Model, inputs: Inputs, layer: str | None, originals: Originals
) -> tuple[list[Row], Traced, list[str]]:
    home = _home(model)
    if isinstance(model, Whole):
        with torch.inference_mode():
            values = [_drawn(leaf, home) for leaf in inputs.leaves]
            return *_guarded_pass(model, inputs, values, layer, originals), []
    try:
        fake = fake_mode()
        with inputs.without_gradients(), fake, quiet():
            values = [_faked(leaf, fake, home) for leaf in inputs.leaves]
            return *_pass(model, inputs, values, layer, originals), []
    except ShiftcheckError:
        raise
    except Exception as error:
        if inputs.main.tensor.device.type == "meta":
            raise ModelError(raised(error, inputs.main.tensor.shape)) from error
        note = f"the structure comes from a real run: without values the model raised {error}"
    originals.rewind()
    with inputs.without_gradients():
        values = inputs.shifted((0,) * len(inputs.pixels), 0)
        rows, traced = _guarded_pass(model, inputs, values, layer, originals)
    return rows, traced, [note.splitlines()[0][:200]]


LEAVES_TORCH = ("numpy", "__array__", "__dlpack__")
"""How values leave torch for another library; a single value that is read decides something."""


class ValuesLeftError(ModelError):
    """Values left torch and came back, so no output can be traced to the input."""


def _guarded_pass(
    model: Model, inputs: Inputs, values: list[Any], layer: str | None, originals: Originals
) -> tuple[list[Row], Traced]:
    try:
        return _pass(model, inputs, values, layer, originals)
    except ShiftcheckError:
        raise
    except Exception as error:
        raise ModelError(raised(error, inputs.main.tensor.shape)) from error


def _home(model: Model) -> torch.device:
    """Where a signal belongs of which only the shape is given: the device of the model."""
    parameters = (p for module in modules_of(model) for p in module.parameters(False))
    own = next((p.device for p in parameters), torch.get_default_device())
    return torch.device("cpu") if own.type == "meta" else own


def _drawn(leaf: Any, home: torch.device) -> Any:
    """A tensor to run on where shapes alone do not do: the caller's, or noise for a shape."""
    if not isinstance(leaf, Leaf):
        return leaf
    if leaf.tensor.device.type != "meta":
        return leaf.dressed(leaf.tensor.detach().clone())
    if not leaf.tensor.is_floating_point():
        return torch.randint(0, 2, leaf.tensor.shape, device=home).to(leaf.tensor.dtype)
    return torch.randn(leaf.tensor.shape, dtype=leaf.tensor.dtype, device=home)


def _faked(leaf: Any, mode: FakeTensorMode, home: torch.device) -> Any:
    if not isinstance(leaf, Leaf):
        return leaf
    if leaf.tensor.device.type == "meta":
        return torch.empty(leaf.tensor.shape, dtype=leaf.tensor.dtype, device=home)
    if leaf.role == "still":  # a constant, of which the values tell
        with unset_fake_temporarily(), torch.inference_mode(False):
            return leaf.tensor.detach().clone()
    return mode.from_tensor(leaf.tensor.detach().clone())


def _pass(
    model: Model, inputs: Inputs, values: list[Any], layer: str | None, originals: Originals
) -> tuple[list[Row], Traced]:
    rows: list[Row] = []
    traced = call(
        model,
        inputs,
        values,
        copies=1,
        layer=layer,
        originals=originals,
        on_row=lambda row, _: rows.append(row),
    )
    check_traced(traced, layer, rows)
    return rows, traced


def call(
    model: Model,
    inputs: Inputs,
    values: list[Any],
    *,
    copies: int,
    layer: str | None,
    originals: Originals,
    on_row: OnRow,
    laws: Laws | None = None,
    geometry: bool = True,
    circular_padding: bool = False,
) -> Traced:
    """Run the model on a flat list of its arguments, following their layouts."""
    args, kwargs = inputs.call(values)
    laws = laws or Laws()
    layouts = [
        (value, laws.again((id(leaf), copies), [leaf], partial(inputs.signal, leaf, copies)))
        for leaf, value in zip(inputs.leaves, values, strict=True)
        if isinstance(leaf, Leaf) and leaf.role not in ("fixed", "still")
    ]
    traced = run(
        model,
        args,
        kwargs,
        layouts=layouts,
        stacked=copies > 1,
        on_row=on_row,
        on_write=originals.before_write,
        layer=layer,
        laws=laws,
        geometry=geometry,
        measured=inputs.measured,
        circular_padding=circular_padding,
        wanted=inputs.outputs,
    )
    if traced.leak or not (traced.met.strangers or traced.handed_over) or isinstance(model, Whole):
        return traced
    if any(isinstance(value, FakeTensor) for value in values):
        return traced
    testimony = laws.again(("testimony", layer), [model], lambda: _testify(model, inputs, layer))
    return cleared(traced, testimony)


def _testify(model: Model, inputs: Inputs, layer: str | None) -> Testimony:
    """What a pass without values tells of the constants and the threads of a model."""
    home = _home(model)
    fake = WatchedFakes(allow_non_fake_inputs=True)
    with preserved(modules_of(model), inputs.tensors, training=True) as originals:
        try:
            with inputs.without_gradients(), fake, quiet():
                values = [_faked(leaf, fake, home) for leaf in inputs.leaves]
                _, traced = _pass(model, inputs, values, layer, originals)
        except Exception:  # the model cannot do without values: it tells nothing
            return Testimony(elsewhere=fake.elsewhere)
    told = frozenset() if traced.leak else traced.met.known
    return Testimony(complete=not traced.leak, elsewhere=fake.elsewhere, constants=told)


def check_traced(traced: Traced, layer: str | None, rows: Sequence[Row]) -> None:
    """Raise InputError where ``layer`` was not met, ModelError where nothing can be compared."""
    names = [row.name for row in rows]
    if layer is not None and not traced.stopped:
        near = difflib.get_close_matches(layer, names, n=3, cutoff=0.3)
        known = (
            f"the nearest names are {', '.join(near)}"
            if near
            else (f"there are {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}")
        )
        raise InputError(f"layer={layer!r} was not met in the forward pass; {known}")
    if not traced.outputs and traced.leak in OUT - TEXT:
        raise ValuesLeftError(
            "the model returned no tensor that depends on x: its values left torch by"
            f" {traced.leak}"
        )
    if not traced.outputs:
        what = "no tensor that depends on x" if traced.ignoring else "no tensor"
        raise ModelError(f"the model returned {what}: there is nothing to compare")


def output_rows(traced: Traced) -> list[Row]:
    """The outputs as rows, named by their place in what the model returned."""
    rows = []
    for path, _, signal in traced.outputs:
        name = _output_name(path, len(traced.outputs))
        signal = _in_order(signal, name, traced.order)
        rows.append(Row(name=name, op="output", layout=signal))
    return rows


def _in_order(signal: Layout, name: str, order: Sequence[int]) -> Layout:
    """The signal of an output; axes that have changed places move along others than the input's."""
    placed = signal.axes_in(range(len(signal.dims)))
    if list(placed) == [axis for axis in order if axis in placed]:
        return signal
    detail = "the axes have changed places, as after a transpose"
    return lose(signal, placed, Cause(kind=CauseKind.INDEX, layer=name, op="output", detail=detail))


def _output_name(path: str, count: int) -> str:
    return "output" if count == 1 and not path else f"output{path}"


def choose_shifts(
    model: Model, inputs: Inputs, *, layer: str | None, seed: int, training: bool
) -> tuple[tuple[Shift, ...], list[str]]:
    """Unit steps of the outputs' lattice along each axis, a diagonal, and seeded larger ones.

    With notes about what could not be put back.
    """
    spatial, notes = _moving(model, inputs, layer, training)
    axes = len(inputs.pixels)
    steps_of = [_unit(spatial, inputs, a) for a in range(axes)]
    room = [_room(spatial, inputs, a, steps_of[a]) for a in range(axes)]
    draw = random.Random(seed)
    found: list[Shift] = []
    for axis in range(axes):
        steps = [1, -1, *(s * draw.randint(2, room[axis]) for s in (1, -1) if room[axis] >= 2)]
        for step in steps:
            found.append(tuple(step * steps_of[a] if a == axis else 0 for a in range(axes)))
    if axes > 1:
        found.append(tuple(steps_of))
    fitting = [s for s in found if all(abs(v) < n for v, n in zip(s, inputs.pixels, strict=True))]
    chosen = tuple(dict.fromkeys(fitting)) or ((0,) * axes,)
    return chosen, [note for note in notes if LEFT in note]


def units(model: Model, inputs: Inputs, *, layer: str | None, training: bool) -> tuple[Shift, ...]:
    """One step of the outputs' and inputs' lattice along all axes, whatever the signal's size."""
    spatial, _ = _moving(model, inputs, layer, training)
    return (tuple(_unit(spatial, inputs, a) for a in range(len(inputs.pixels))),)


def _moving(
    model: Model, inputs: Inputs, layer: str | None, training: bool
) -> tuple[list[Layout], list[str]]:
    """What the shifts are chosen for: the outputs, or where none has an axis, the last layer.

    With the notes of the pass that found them.
    """
    rows, outputs, notes = read_structure(model, inputs, layer=layer, training=training)
    axes = len(inputs.pixels)
    spatial = [r.layout for r in outputs if _is_spatial(r.layout, axes)]
    if spatial:
        return spatial, notes
    last = [r.layout for r in rows if _is_spatial(r.layout, axes)][-1:]
    fits = [_unit(last, inputs, a) < n for a, n in enumerate(inputs.pixels)]
    return (last if all(fits) else []), notes  # one pixel tells of the outputs


def _is_spatial(signal: Layout, axes: int) -> bool:
    return len(spatial_places(signal, axes)) == axes and not is_flattened(signal)


def _unit(signals: Sequence[Layout], inputs: Inputs, axis: int) -> int:
    """The smallest shift that is a whole number of samples of every output and every input."""
    strides = [
        inputs.signal(leaf, 1).axes[axis] for leaf in inputs.leaves if isinstance(leaf, Leaf)
    ]
    numbers = [s.stride.numerator for s in strides if isinstance(s, Axis)]
    for signal in signals:
        state = signal.axes[axis]
        if isinstance(state, Axis):
            numbers.append(abs(state.stride.numerator))
        elif isinstance(state, Lost):
            place = spatial_places(signal, len(inputs.pixels))[axis]
            size = size_at(signal, place)
            numbers += [Fraction(inputs.pixels[axis], size).numerator] if size else []
    return math.lcm(*numbers) if numbers else 1


def _room(signals: Sequence[Layout], inputs: Inputs, axis: int, unit: int) -> int:
    """The largest number of unit steps, up to a quarter of the signal, that leave something."""
    most = max(1, inputs.pixels[axis] // (4 * unit))
    for steps in range(most, 1, -1):
        if all(compares(s.axes[axis], steps * unit) for s in signals):
            return steps
    return 1


def compares(state: Any, v: int) -> bool:
    """Whether a shift of ``v`` pixels leaves enough to compare along an axis."""
    if not isinstance(state, Axis):
        return True
    pairing = pair(state, v)
    valid = state.size if state.circular else int(state.readable.sum())
    return pairing is not None and is_fair(int(pairing.ok.sum()), valid)


def raised(error: Exception, shape: Sequence[int], rows: Sequence[Row] = ()) -> str:
    """Our sentence above the model's own error."""
    after = f" after layer {rows[-1].name!r}" if rows else ""
    return (
        f"the model raised {type(error).__name__} on an input of shape {tuple(shape)}{after}:"
        f" {error}\n{_remedy(str(error))}"
    )


def _remedy(error: str) -> str:
    if any(words in error for words in GRADIENTS):
        return (
            "The check runs without gradients: a forward that needs them has to ask for them,"
            " inside torch.enable_grad()"
        )
    if re.search(OF_TYPES, error):
        return "If the model takes another type than x has, convert it, for example with x.float()"
    if re.search(r"\b\d-?D\b|dimension", error):
        return (
            "The shape is [batch, channels, *spatial]; a batch dimension is added with x[None]."
            " If a later layer needs another size, stop before it with layer=..."
        )
    return "If a later layer needs another size, stop before it with layer=..."


OF_TYPES = r"scalar type|\(.* should be the same|same dtype|not implemented for '[A-Z]"
"""Words of torch about operands of types that do not go together."""

GRADIENTS = ("does not require grad", "Inference tensors", "inference tensor")
"""Words of torch about a model that needs gradients in its forward, where there are none."""


def needs_gradients(error: ModelError) -> bool:
    """Whether a model failed because it computes gradients in its forward."""
    return any(words in str(error.__cause__) for words in GRADIENTS)
