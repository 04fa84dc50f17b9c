"""From the signals of an operation without a rule to a measured law, and back to signals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftcheck.lattice.axis import Axis, Taps, coarsen, join, resample
from shiftcheck.lattice.causes import merge_causes
from shiftcheck.lattice.factors import Dim, Factor, plain, size_of
from shiftcheck.lattice.layout import Layout
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules import BatchCoupledError
from shiftcheck.rules.note_causes import note_new_causes, note_padding
from shiftcheck.tracing.memory import TensorMemory
from shiftcheck.tracing.probing.experiments import measure_law, same_alone
from shiftcheck.tracing.probing.lab import short
from shiftcheck.tracing.probing.laws import AxisLaw, Law, NoAnswerError, Operand, units
from shiftcheck.tracing.torch_internals import tree_leaves, tree_unflatten

MEASURED = Cause(
    kind=CauseKind.MEASURED, detail="its geometry comes from experiments, not from a rule"
)
"""What marks a signal whose geometry rests on experiments, and everything computed from it."""

MOST_OUTPUTS = 4
"""An operation with more outputs than that is not probed."""

Call = Callable[[list[torch.Tensor]], list[torch.Tensor]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What is probed: ``call`` gives the output tensors for operands in the place of ``tensors``.

    ``key`` tells it from others.
    """

    call: Call
    tensors: Sequence[torch.Tensor]
    layouts: Sequence[Layout]
    key: Any


class Prober:
    """Measures laws, each one once; ``laws`` are those that are known already."""

    def __init__(
        self,
        untraced: Callable[[], AbstractContextManager[None]],
        laws: dict[Any, Any] | None = None,
    ) -> None:
        self.untraced = untraced
        self.laws = {} if laws is None else laws

    def answer(self, subject: Subject) -> Any:
        """The signals of the outputs.

        Raises NoAnswerError where no law can be measured, BatchCoupledError where the stacked
        copies do not stay apart.
        """
        operands, copies = _operands(subject)
        states = [[s.geometry(a) for a in range(len(s.axes))] for s in subject.layouts]
        rings = [all(s[a].one_turn for s in states) for a in range(len(states[0]))]
        dtype = subject.tensors[0].dtype
        key = (subject.key, tuple(operands), tuple(rings), dtype)
        if key not in self.laws:
            with self.untraced():
                self.laws[key] = _measure(subject, operands, rings, dtype)
        answer = self.laws[key]
        if isinstance(answer, NoAnswerError):
            raise answer
        if copies > 1 and (key, copies) not in self.laws:
            with self.untraced():
                self.laws[key, copies] = _stay_apart(subject, answer, operands, copies)
        if copies > 1 and not self.laws[key, copies]:
            raise BatchCoupledError("an operation without a rule mixes the elements of the batch")
        return [_layout(law, operands, subject.layouts, copies) for law in answer]


def _stay_apart(
    subject: Subject, laws: Sequence[Law], operands: Sequence[Operand], copies: int
) -> bool:
    """Whether each copy in the batch gives what it gives alone."""
    apart = all(law.shape[:1] == operands[0].shape[:1] for law in laws)
    apart = apart and all(axis.dim != 0 for law in laws for axis in law.axes)
    ones = (_output(subject.call, i) for i in range(len(laws)))
    return apart and all(same_alone(one, subject.tensors, copies) for one in ones)


def _operands(subject: Subject) -> tuple[list[Operand], int]:
    """The operands without their copies, and how many copies there are."""
    if not all(t.is_floating_point() and t.layout == torch.strided for t in subject.tensors):
        raise NoAnswerError("a tensor that depends on the input is not dense and floating")
    counts = {_copies(layout) for layout in subject.layouts}
    if len(counts) > 1:
        raise NoAnswerError("not all of its tensors hold the batch alike")
    copies = counts.pop()
    places = [_places(layout) for layout in subject.layouts]
    rates = []
    for a in range(len(subject.layouts[0].axes)):
        strides = [s.geometry(a).stride for s in subject.layouts]
        if min(strides) <= 0:
            raise NoAnswerError(f"axis {a} runs backwards")
        rates.append(units(strides))
    out = []
    for i, layout in enumerate(subject.layouts):
        shape = (layout.shape[0] // copies, *layout.shape[1:])
        out.append(Operand(shape=shape, dims=places[i], rates=tuple(r[i] for r in rates)))
    return out, copies


def _copies(layout: Layout) -> int:
    leading = layout.dims[0][0] if layout.dims and layout.dims[0] else None
    return leading.size if leading is not None and leading.kind == "copies" else 1


def _places(layout: Layout) -> tuple[int, ...]:
    """The dimension of each axis; raises NoAnswerError where one is not a dimension of its own."""
    places: dict[int, int] = {}
    for d, dim in enumerate(layout.dims):
        kinds = [f.kind for f in dim]
        if "copies" in (kinds[1:] if d == 0 else kinds):
            raise NoAnswerError("the batch is mixed with other dimensions")
        if not set(kinds) - {"plain", "copies"}:
            continue
        axis = layout.axis_in(d) if isinstance(layout.axes[dim[0].axis], Axis) else None
        if axis is None or axis in places or d == 0:
            raise NoAnswerError("a spatial axis is no dimension of its own")
        places[axis] = d
    if sorted(places) != list(range(len(layout.axes))):
        raise NoAnswerError("a tensor that depends on the input lacks a spatial axis")
    return tuple(places[a] for a in range(len(layout.axes)))


def _output(call: Call, index: int) -> Callable[[list[torch.Tensor]], torch.Tensor]:
    def one(tensors: list[torch.Tensor]) -> torch.Tensor:
        outputs = call(tensors)
        if len(outputs) <= index:
            raise NoAnswerError("the number of its outputs changes")
        return outputs[index]

    return one


def _measure(
    subject: Subject, operands: Sequence[Operand], rings: Sequence[bool], dtype: torch.dtype
) -> list[Law] | NoAnswerError:
    """The law of every output, or why there is none."""
    count = 1
    device = subject.tensors[0].device

    def counted(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        nonlocal count
        outputs = subject.call(tensors)
        count = len(outputs)
        if not 1 <= count <= MOST_OUTPUTS:
            raise NoAnswerError(f"it gives {count} tensors")
        return outputs

    laws: list[Law] = []
    try:
        while len(laws) < count:
            one = _output(counted, len(laws))
            laws.append(measure_law(one, operands, circular=rings, dtype=dtype, device=device))
    except NoAnswerError as reason:
        return reason
    except Exception as error:  # whatever an operation that is not ours may raise on other sizes
        return NoAnswerError(f"it raises on noise: {short(error)}")
    return laws


def _layout(
    law: Law, operands: Sequence[Operand], layouts: Sequence[Layout], copies: int
) -> Layout:
    """The signal of an output, from those of the operands and the measured law."""
    dims: list[Dim] = [plain(n) for n in law.shape]
    if law.shape and all(axis.dim for axis in law.axes) and law.shape[0] == operands[0].shape[0]:
        lead = layouts[0].dims[0]
        dims[0] = lead if size_of(lead) == copies * law.shape[0] else dims[0]
    states = []
    for a, axis in enumerate(law.axes):
        dims[axis.dim] = (Factor("axis", len(axis.valid), a),)
        states.append(_axis(axis, operands, [s.geometry(a) for s in layouts], a))
    out = Layout(tuple(dims), tuple(states), merge_causes(layouts))
    out = note_new_causes(layouts[0], out, detail="measured")
    open_axes = [a for a, axis in enumerate(law.axes) if not axis.circle and not axis.valid.all()]
    out = note_padding(layouts[0], out, open_axes, "measured")
    return replace(out, causes=(*out.causes, MEASURED))  # one for each such operation


def _axis(law: AxisLaw, operands: Sequence[Operand], states: Sequence[Axis], axis: int) -> Axis:
    size, parts = len(law.valid), []
    for spans, operand, state in zip(law.spans, operands, states, strict=True):
        num = law.steps * operand.rates[axis]
        phases = tuple(() if s is None else tuple(range(s[0], s[1] + 1)) for s in spans)
        source = coarsen(state, num) if law.samples > 1 else state
        parts.append(resample(source, Taps(num=num, phases=phases), size, wrap=law.circle))
    out = parts[0]
    for part in parts[1:]:
        out = join(out, part)
    return out


def subject_of(
    call: Any, leaves: Sequence[Any], structure: Any, key: Any, memory: TensorMemory
) -> Subject:
    """Something that takes the tensors among ``leaves``, as what can be called on others.

    Raises NoAnswerError where an argument that does not depend on the input is not known.
    """
    places, constants = [], {}
    for i, leaf in enumerate(leaves):
        if not isinstance(leaf, torch.Tensor):
            continue
        if memory.layout(leaf) is not None:
            places.append(i)
        else:
            constants[i] = _known(leaf, memory)
    tensors = [leaves[i] for i in places]
    layouts = [memory.layout(t) for t in tensors]

    def outputs(given: list[torch.Tensor]) -> list[torch.Tensor]:
        values = list(leaves)
        for i, real in constants.items():
            values[i] = _of_type(real, given[0].dtype)
        for i, tensor in zip(places, given, strict=True):
            values[i] = tensor
        args, kwargs = tree_unflatten(values, structure)
        returned = tree_leaves(call(*args, **kwargs))
        if not all(isinstance(t, torch.Tensor) for t in returned):
            raise NoAnswerError("it gives something that is no tensor")
        return returned

    with memory.untraced():
        rest = tuple(
            _fingerprint(constants[i]) if i in constants else repr(leaf)
            for i, leaf in enumerate(leaves)
            if i not in places
        )
    return Subject(
        call=outputs,
        tensors=tensors,
        layouts=[s for s in layouts if s is not None],
        key=(key, tuple(places), rest),
    )


def _known(constant: torch.Tensor, memory: TensorMemory) -> torch.Tensor:
    real = memory.constants.real_of(constant)
    if real is None or memory.constants.is_random(constant):
        raise NoAnswerError("the values of one of its arguments are not known")
    if real.layout != torch.strided:
        raise NoAnswerError("one of its arguments is not dense")
    return real


def _fingerprint(constant: torch.Tensor) -> tuple[Any, ...]:
    """What tells a constant from another one: its shape, its type and its values."""
    data = constant.detach().contiguous().flatten().view(torch.uint8).cpu().numpy().tobytes()
    return tuple(constant.shape), constant.dtype, hashlib.sha256(data).digest()


def _of_type(constant: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A constant in the type of the noise."""
    values = constant.detach()
    return values.to(dtype) if values.is_floating_point() else values
