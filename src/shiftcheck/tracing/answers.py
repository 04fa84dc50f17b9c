"""What becomes of the geometry in an operation: its rule is asked, or it is probed.

What is answered must fit what the operation gave, which then has that geometry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftcheck.errors import ModelError
from shiftcheck.lattice.causes import Site, opaque, with_cause
from shiftcheck.lattice.layout import Layout, Recipe, no_longer_uniform
from shiftcheck.lattice.notes import noted
from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.rules import BatchCoupledError, Constant
from shiftcheck.rules.fft import refuse_frequencies
from shiftcheck.rules.mirrored import note_mirrored
from shiftcheck.rules.note_causes import note_missing_causes
from shiftcheck.rules.registry import Entry as Rule
from shiftcheck.rules.scores import Done, followed
from shiftcheck.tracing.leaving.leaks import Leaks
from shiftcheck.tracing.memo import Memo
from shiftcheck.tracing.memory import TensorMemory
from shiftcheck.tracing.operations import POINTWISE, Operation
from shiftcheck.tracing.origins import Origins
from shiftcheck.tracing.probing.laws import NoAnswerError
from shiftcheck.tracing.probing.prober import Prober, Subject, subject_of
from shiftcheck.tracing.torch_internals import (
    is_mutable,
    tensors_of,
    tree_flatten,
    tree_map,
    without_modes,
    without_torch_function,
)
from shiftcheck.tracing.traced import Manner

LOCAL = frozenset(
    f"aten::{name}" for name in ("conv1d", "conv2d", "conv3d", "batch_norm", "linear", "layer_norm")
)
"""Operations whose results depend on the input wherever their first operand does."""

WRITTEN = "written through a view of the same memory"
RANDOM = "random numbers are drawn"
NOT_ASKED = Cause(kind=CauseKind.UNSUPPORTED_OP, detail="the geometry was not asked for")


class Answers:
    """Asks about the operations of one pass; ``coupled``: that they mix the copies, if they do."""

    def __init__(self, memory: TensorMemory, memo: Memo, prober: Prober, how: Manner) -> None:
        self.memory, self.memo, self.prober, self.how = memory, memo, prober, how
        self.coupled: BatchCoupledError | None = None

    def about(self, operation: Operation) -> Any:
        """The layouts of what the operation gives, or the cause for which there are none."""
        rule = operation.rule
        if not self.how.geometry and (rule is POINTWISE or operation.packet in LOCAL):
            return NOT_ASKED
        if rule is None:
            if operation.draws:
                return Cause(kind=CauseKind.STOCHASTIC, detail=RANDOM)
            lacking, form = f"no rule for {operation.func}", CauseForm.NO_RULE
            return self._probed(lacking, lambda: self._subject(operation), form)
        try:
            with without_torch_function():
                key = self.memo.asked(operation, self.memory)
            if key is None:
                return self._ask(operation)
            return self.memo.again(*key, lambda: self._ask(operation))
        except BatchCoupledError as error:
            if self.how.stacked:
                self.couple(error)
                raise
            return Cause(kind=CauseKind.BATCH_COUPLED, detail=str(error))
        except Exception as error:  # a rule that fails has no answer, whatever the failure
            return Cause(kind=CauseKind.UNSUPPORTED_OP, detail=f"{operation.func}: {error}")

    def about_callable(self, call: Any, leaves: Sequence[Any], structure: Any) -> Any:
        """The same of a callable that torch does not see into."""
        return self._probed(
            "a callable that torch does not see into",
            lambda: subject_of(call, leaves, structure, "callable", self.memory),
        )

    def couple(self, error: BatchCoupledError) -> BatchCoupledError:
        """Remember that copies are mixed: the model may catch what is raised."""
        self.coupled = error
        return error

    def _ask(self, operation: Operation) -> Any:
        given = tree_map(self.memory.operand, list(operation.args))
        named = {k: tree_map(self.memory.operand, v) for k, v in operation.kwargs.items()}
        assert operation.rule is not None
        answer = ask(operation.rule, given, named)
        done = Done(operation.packet, given, named, operation.func, without_modes)
        return followed(done, answer, tagged=operation.is_pointwise)

    def _probed(
        self, lacking: str, subject: Callable[[], Subject], form: CauseForm = CauseForm.PLAIN
    ) -> Any:
        """The measured layouts of what has no rule, or the cause for which there are none."""
        try:
            return self.prober.answer(subject())
        except NoAnswerError as reason:
            detail = f"{lacking}, and probing fails: {reason}"
            return Cause(kind=CauseKind.UNSUPPORTED_OP, detail=detail, form=form)
        except BatchCoupledError as error:
            self.couple(error)
            raise

    def _subject(self, operation: Operation) -> Subject:
        """An operation as something that can be called on other tensors."""
        func = operation.func
        if is_mutable(func) or operation.shares_memory:
            raise NoAnswerError("it shares memory with its arguments")
        leaves, structure = tree_flatten((list(operation.args), dict(operation.kwargs)))
        return subject_of(func, leaves, structure, str(func), self.memory)


def ask(rule: Rule, given: Sequence[Any], named: Any) -> Any:
    """What a rule says of operands that stand for tensors."""
    if not rule.keeps_uniform:
        given, named = tree_map(_not_uniform, (list(given), dict(named)))
    if not rule.keeps_frequencies:
        refuse_frequencies(given, named)
    return rule.rule(*given, **named)


def _not_uniform(operand: Any) -> Any:
    """An operand for a rule that is not told that values are the same everywhere."""
    if not isinstance(operand, Layout):
        return operand
    plain = no_longer_uniform(operand)
    return operand if plain is operand else noted(plain, pairs=operand.pairs, made=operand.made)


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What an operation gave, and what its rule ``answer``s.

    ``parents``: the layouts that it was given. ``written``: the tensors that it wrote to.
    ``random``, ``uniform``: whether one of its constants is. ``recipe``: that of each result.
    """

    site: Site
    out: Any
    answer: Any
    parents: Sequence[Layout]
    written: Sequence[torch.Tensor] = ()
    random: bool = False
    uniform: bool = False
    recipe: Callable[[int], Recipe | None] = lambda _: None


class Results:
    """Remembers the layouts of results; ``dtypes`` and ``singles``: what the tensors were of."""

    def __init__(self, memory: TensorMemory, origins: Origins, leaks: Leaks, memo: Memo) -> None:
        self.memory, self.origins, self.leaks, self.memo = memory, origins, leaks, memo
        self.dtypes: set[torch.dtype] = set()
        self.singles: set[tuple[str, str]] = set()

    def remember(self, result: Result) -> None:
        """Give every tensor that an operation gave or wrote to its layout."""
        site, tensors = result.site, tensors_of(result.out)
        if any(t.is_nested for t in tensors):
            raise ModelError(
                f"layer {site.layer!r} gives a nested tensor, which has no grid: pad it"
            )
        returned = len(tensors)
        tensors += [w for w in result.written if not any(w is t for t in tensors)]
        if not returned and (result.out is not None or not result.written):
            self.leaks.note(site.layer, site.op)
        if isinstance(result.answer, Constant):
            for tensor in tensors:
                self.memory.mark(tensor, is_random=result.answer.random, uniform=result.uniform)
            self.origins.note(tensors)
            return
        answers = _for_each(result, tensors, returned)
        parts = any(p.recipe is not None for p in result.parents)
        recipes = [result.recipe(i) if parts else None for i in range(len(answers))]
        self.dtypes.update(t.dtype for t in tensors)
        devices = {t.device.type for t in tensors if t.dtype is torch.float32}
        self.singles.update((site.operation, device) for device in devices)
        for tensor, answer, recipe in zip(tensors, answers, recipes, strict=True):
            self._remember(tensor, self._layout(result, tensor, answer, recipe), result)

    def _layout(
        self, result: Result, tensor: torch.Tensor, answer: Any, recipe: Recipe | None
    ) -> Layout:
        """The layout that is said of a tensor, with all that is to be said of it."""
        layout = _matching(answer, tensor, result.parents)
        layout = note_mirrored(result.parents, note_missing_causes(result.parents, layout))
        if result.random:
            layout = with_cause(layout, Cause(kind=CauseKind.STOCHASTIC, detail=RANDOM))
        if self.leaks.cause is not None:
            layout = opaque(tensor.shape, [layout], self.leaks.cause)
        new = not any(layout is p for p in result.parents)
        return self.memo.stamped(layout, result.site, recipe, new=new)

    def _remember(self, tensor: torch.Tensor, layout: Layout, result: Result) -> None:
        if any(tensor is w for w in result.written):
            by, site = Cause(kind=CauseKind.UNSUPPORTED_OP, detail=WRITTEN), result.site
            by = replace(by, layer=site.layer, op=site.op, operation=site.operation)
            self.memory.write(tensor, layout, by)
        else:
            self.memory.remember(tensor, layout)


def _for_each(result: Result, tensors: Sequence[torch.Tensor], returned: int) -> list[Any]:
    """The rule's answers: for what is returned, and for what is only written, where it has any.

    Answers that end with ``...`` leave the rest open: nothing is known of it.
    """

    def unknown(of: Sequence[torch.Tensor], cause: Cause) -> list[Any]:
        return [opaque(t.shape, result.parents, cause) for t in of]

    if isinstance(result.answer, Cause):
        return unknown(tensors, result.answer)
    answers = [result.answer] if isinstance(result.answer, Layout) else list(result.answer)
    if answers and answers[-1] is ...:
        cause = Cause(kind=CauseKind.UNSUPPORTED_OP, detail="what is returned beside the result")
        return answers[:-1] + unknown(tensors[len(answers) - 1 :], cause)
    if len(answers) == len(tensors):
        return answers
    detail = f"the rule answers for {len(answers)} outputs, torch gives {returned}"
    if len(answers) == returned:
        detail = "the rule does not say what becomes of a tensor that is written to"
    cause = Cause(kind=CauseKind.UNSUPPORTED_OP, detail=detail)
    kept = returned if len(answers) == returned else 0
    return answers[:kept] + unknown(tensors[kept:], cause)


def _matching(layout: Any, tensor: torch.Tensor, parents: Sequence[Layout]) -> Layout:
    """The layout, if it is one of the tensor's shape and masks; else nothing is known."""
    if not isinstance(layout, Layout):
        detail = f"the rule answered {type(layout).__name__}, no Layout"
    elif tensor.layout != torch.strided:
        detail = f"a tensor of layout {tensor.layout}"
    elif layout.shape != tuple(tensor.shape):
        detail = f"the rule says shape {layout.shape}, torch says {tuple(tensor.shape)}"
    else:
        return layout
    return opaque(tensor.shape, parents, Cause(kind=CauseKind.UNSUPPORTED_OP, detail=detail))
