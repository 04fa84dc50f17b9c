"""What a model gives for shifted copies of a batch, item by item."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any

import torch

from shiftcheck.checks.evaluation.accumulators import State
from shiftcheck.checks.evaluation.asked import Asked
from shiftcheck.checks.evaluation.batches import Block, Item, split_batch
from shiftcheck.checks.evaluation.comparing import Answered
from shiftcheck.checks.evaluation.measuring_items import Measuring
from shiftcheck.errors import InputError, ShiftcheckError
from shiftcheck.measuring.plan import Model
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.containers import leaves_of, with_leaves
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import Originals, preserved
from shiftcheck.tracing.torch_internals import version_of


class Known:
    """The geometry of a model for items of each size, as long as the model stays as it is.

    An optimizer's step, other weights, and another value of an attribute have it read again.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nothing is known."""
        self.model: Any = None
        self.marks: Any = None
        self.sizes: dict[Any, Any] = {}

    def of(self, model: Model) -> dict[Any, Any]:
        """What is known of this model as it is now."""
        marks = _marks(model)
        same = self.model is not None and self.model() is model and self.marks == marks
        if not same:
            self.sizes = {}
        self.model, self.marks = None, marks
        if marks is not None:
            self.model = weakref.ref(model)
        return self.sizes


def _marks(model: Model) -> Any:
    """What changes when a model is changed; None where that cannot be known."""
    if not isinstance(model, torch.nn.Module):
        return None
    marks: list[Any] = []
    try:
        for module in model.modules():
            tensors = [*module.parameters(False), *module.buffers(False)]
            plain = {k: v for k, v in vars(module).items() if k not in OF_TORCH and _is_plain(v)}
            marks.append((id(module), [(id(t), version_of(t)) for t in tensors], repr(plain)))
    except RuntimeError:  # tensors made in inference mode do not count what is written to them
        return None
    return marks


OF_TORCH = {*vars(torch.nn.Module())}
"""The attributes that every module has, its training flag among them."""


def _is_plain(value: Any) -> bool:
    """Whether a value is told by its text."""
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str | Fraction | torch.dtype | type(None))


class Noting(Measuring):
    """Keeps every answer."""

    def __init__(self, asked: Asked, originals: Originals, known: dict[Any, Any]) -> None:
        super().__init__(asked, originals)
        self.known = known
        self.answered: list[Answered] = []

    def noted(self, answered: Sequence[Answered]) -> None:
        """Keep what was answered of each item."""
        self.answered += answered


def answers_of(asked: Asked, images: Any, numbers: Sequence[int], known: Known) -> list[Answered]:
    """What is answered of the items with these numbers: of the one output that tells something.

    Everything is left as it was. Raises InputError where no output, or more than one, can tell.
    """
    own = with_leaves(images, [_own(leaf) for _, leaf in leaves_of(images)])
    items = [Item(number, x) for number, x in zip(numbers, split_batch(own), strict=True)]
    sizes = known.of(asked.model)
    try:
        return _answers(asked, Block(0, tuple(items)), sizes)
    except ShiftcheckError:
        known.forget()  # the model may have changed in a way that leaves no mark
        if not sizes:
            raise
    return _answers(asked, Block(0, tuple(items)), known.of(asked.model))


def _answers(asked: Asked, block: Block, sizes: dict[Any, Any]) -> list[Answered]:
    modules = modules_of(asked.model)
    with preserved(modules, (), training=False, model=asked.model) as originals:
        for tensor in originals.watched.values():
            if not isinstance(tensor, torch.nn.Parameter):  # bare passes tell of no writing
                with suppress(Exception):  # a tensor of another library may not be copied
                    originals.saved.append((tensor, tensor.detach().clone()))
        noting = Noting(asked, originals, sizes)
        state = noting.block(block)
    name = _telling(state, noting)
    return [answered for answered in noting.answered if answered.seen.name == name]


def _own(leaf: Any) -> Any:
    """A copy, as a model may write to what it is given."""
    return leaf.detach().clone() if isinstance(leaf, torch.Tensor) else leaf


def rows_in(images: Any) -> int:
    """How many items a batch has; raises InputError for what is none."""
    rows = [len(x) for _, x in leaves_of(images) if isinstance(x, torch.Tensor) and x.ndim > 0]
    if not rows:
        raise InputError(
            f"images={type(images).__name__}: give a tensor [batch, channels, *spatial], or a tuple"
            " or dict of the model's arguments"
        )
    if len(set(rows)) > 1:
        raise InputError(
            f"images: its tensors have {', '.join(map(str, rows))} items: each needs as many"
        )
    return rows[0]


OF_THE_DATA = (
    Reason.DEAD,
    Reason.CONSTANT,
    Reason.CONSTANT_INPUT,
    Reason.INVISIBLE,
    Reason.NOT_FINITE,
    Reason.TOO_LITTLE,
    Reason.NO_REGION,
    Reason.OFF_LATTICE,
    Reason.MEASURED_GAP,
)
"""Why an item may tell nothing under a shift, though the structure is understood."""

OTHER_KIND = (Reason.NOT_SPATIAL, Reason.STILL_SPATIAL, Reason.NO_SCORES)
"""Why a question is not one of an output."""


def _telling(state: State, noting: Noting) -> str:
    """The name of the output that the answers are of."""
    names = list(dict.fromkeys(t.output for t in sorted(state.tallies, key=lambda t: t.place)))
    left: dict[str, Reason] = {}
    for tally in state.tallies:
        for missing in tally.missing:
            reason = Reason(missing.reason)
            if reason in OTHER_KIND:
                left[tally.output] = reason
            elif reason not in OF_THE_DATA:
                raise InputError(_not_followed(tally.output, reason, noting))
    telling = [name for name in names if name not in left]
    if len(telling) == 1:
        return telling[0]
    if telling:
        raise InputError(
            f"outputs: the model has {len(telling)} that can be compared,"
            f" {', '.join(telling)}, and they have no common scale: have one metric for each, with"
            " outputs=[its key or its position]"
        )
    told = "; ".join(f"{name!r}: {reason}, {reason.plain}" for name, reason in left.items())
    asked = " and ".join(noting.asked.what)
    raise InputError(
        f"no output can tell of {asked} ({told}): ShiftConsistency is for a row of class scores,"
        " EquivarianceError and EffectiveHalo are for outputs that have places"
    )


def _not_followed(output: str, reason: Reason, noting: Noting) -> str:
    """That the structure is not understood, where, and what to do."""
    where = ""
    for ways in noting.known.values():
        for seen in (s for one in ways for s in one.size.outputs if s.name == output):
            causes = [c for c in seen.layout.causes if c.hides]
            where = where or "".join(f" at layer {c.layer!r} ({c.op})" for c in causes[:1])
    return (
        f"nothing can be told of {output!r}{where}: {reason}, {reason.plain};"
        " shiftcheck.check_equivariance(model, images[:1]) tells more"
    )
