"""What becomes of the geometry in an operation: its rule is asked, or it is probed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shiftcheck.lattice.layout import Layout, no_longer_uniform, noted
from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.rules import BatchCoupledError
from shiftcheck.rules.fft import refuse_frequencies
from shiftcheck.rules.registry import is_told_uniform
from shiftcheck.rules.scores import Done, followed
from shiftcheck.tracing.memo import Memo
from shiftcheck.tracing.memory import TensorMemory
from shiftcheck.tracing.operations import Operation, pointwise_rule
from shiftcheck.tracing.passes import Manner
from shiftcheck.tracing.probing.experiments import NoAnswerError
from shiftcheck.tracing.probing.prober import Prober, Subject, subject_of
from shiftcheck.tracing.torch_internals import (
    is_mutable,
    tree_flatten,
    tree_map,
    without_modes,
    without_torch_function,
)

LOCAL = frozenset(
    f"aten::{name}" for name in ("conv1d", "conv2d", "conv3d", "batch_norm", "linear", "layer_norm")
)
"""Operations whose results depend on the input wherever their first operand does."""

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
        if not self.how.geometry and (rule is pointwise_rule or operation.packet in LOCAL):
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


def ask(rule: Callable[..., Any], given: Sequence[Any], named: Any) -> Any:
    """What a rule says of operands that stand for tensors."""
    if not is_told_uniform(rule):
        given, named = tree_map(_not_uniform, (list(given), dict(named)))
    refuse_frequencies(rule, given, named)
    return rule(*given, **named)


def _not_uniform(operand: Any) -> Any:
    """An operand for a rule that is not told that values are the same everywhere."""
    if not isinstance(operand, Layout):
        return operand
    plain = no_longer_uniform(operand)
    return operand if plain is operand else noted(plain, pairs=operand.pairs, made=operand.made)
