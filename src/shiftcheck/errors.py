"""Every exception that the library raises."""

from __future__ import annotations


class ShiftcheckError(Exception):
    """The base of every error that this library raises.

    Example:
        >>> import shiftcheck
        >>> try:
        ...     shiftcheck.shift([1, 2], (1,))
        ... except shiftcheck.ShiftcheckError as error:
        ...     print(type(error).__name__)
        InputError
    """


class InputError(ShiftcheckError, ValueError):
    """An argument cannot be used; the message names it, its value and the remedy.

    Example:
        >>> import torch, shiftcheck
        >>> shiftcheck.check_equivariance(torch.nn.ReLU(), torch.ones(8, 8))
        Traceback (most recent call last):
        shiftcheck.errors.InputError: x has shape (8, 8): give [batch, channels, *spatial], ...
    """


class ModelError(ShiftcheckError, RuntimeError):
    """The model cannot be run as asked; its own error, if any, is the cause of this one.

    Example:
        >>> import torch, shiftcheck
        >>> try:
        ...     shiftcheck.check_equivariance(torch.nn.Conv2d(3, 1, 3), torch.randn(1, 1, 12, 13))
        ... except shiftcheck.ModelError as error:
        ...     print(type(error.__cause__).__name__)
        RuntimeError
    """


class ProcessLostError(ShiftcheckError, RuntimeError):
    """Another process of a shared evaluation failed, or is gone; the message names it.

    Example:
        >>> import shiftcheck
        >>> issubclass(shiftcheck.ProcessLostError, shiftcheck.ShiftcheckError)
        True
    """


class NotEquivariantError(ShiftcheckError, AssertionError):
    """A check found that the model is not equivariant.

    Example:
        >>> import torch, shiftcheck
        >>> try:
        ...     shiftcheck.assert_equivariant(
        ...         lambda x: x + torch.arange(13.0), torch.randn(1, 1, 12, 13)
        ...     )
        ... except shiftcheck.NotEquivariantError as error:
        ...     print(str(error).split(":")[0])
        The output does not move with the input
    """


class NotInvariantError(ShiftcheckError, AssertionError):
    """A check found that the model is not invariant, or not as much as asked.

    Example:
        >>> import torch, shiftcheck
        >>> try:
        ...     shiftcheck.assert_invariant(lambda x: x[:, :, 3, 4], torch.randn(3, 2, 12, 13))
        ... except shiftcheck.NotInvariantError as error:
        ...     print("NOT INVARIANT" in str(error))
        True
    """


class InconclusiveError(ShiftcheckError, AssertionError):
    """A check could not tell whether the model has the property; that never counts as a pass.

    Example:
        >>> import torch, shiftcheck
        >>> try:
        ...     shiftcheck.assert_equivariant(lambda x: 0 * x, torch.randn(1, 1, 12, 13))
        ... except shiftcheck.InconclusiveError as error:
        ...     print(str(error).split(":")[0])
        It cannot be told whether the output moves with the input
    """


class NotLinearError(ShiftcheckError, AssertionError):
    """A check found that the model is not linear, or linear only but for a constant part.

    Example:
        >>> import torch, shiftcheck
        >>> try:
        ...     shiftcheck.assert_linear(torch.nn.ReLU(), torch.randn(1, 1, 8, 8))
        ... except shiftcheck.NotLinearError as error:
        ...     print(str(error).splitlines()[0])
        ReLU on 1x1x8x8: NOT LINEAR
    """


class TilesDifferError(ShiftcheckError, AssertionError):
    """What was put together from tiles is not what the model gives on the whole.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 3, padding=1)
        >>> halves = lambda x: torch.cat([net(x[..., :32]), net(x[..., 32:])], -1)
        >>> try:
        ...     shiftcheck.assert_tiled_equals_whole(net, halves, torch.randn(1, 1, 64))
        ... except shiftcheck.TilesDifferError as error:
        ...     print(str(error).splitlines()[0])
        Conv1d on 1x1x64, in tiles by <lambda>: DIFFERENT, overlap too small
    """


class NotCausalError(ShiftcheckError, AssertionError):
    """A check found that an output depends on input samples that come after it.

    Example:
        >>> import torch, shiftcheck
        >>> try:
        ...     shiftcheck.assert_causal(torch.nn.Conv1d(1, 1, 3, padding=1), torch.randn(1, 1, 64))
        ... except shiftcheck.NotCausalError as error:
        ...     print(str(error).splitlines()[0])
        Conv1d on 1x1x64, time along axis -1: NOT CAUSAL, window reaches ahead
    """


class StreamDiffersError(ShiftcheckError, AssertionError):
    """What a step gives chunk by chunk is not what its model gives on the whole.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(torch.nn.ConstantPad1d((4, 0), 0.0), torch.nn.Conv1d(1, 1, 5))
        >>> try:
        ...     shiftcheck.assert_streamable(net, net, torch.randn(1, 1, 64), 16)
        ... except shiftcheck.StreamDiffersError as error:
        ...     print(str(error).splitlines()[0])
        Sequential on 1x1x64, in chunks of 16 by Sequential: DIFFERENT, no state
    """


class ShardsDifferError(ShiftcheckError, AssertionError):
    """What shards give together is not what the model gives on the whole.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 3, padding=1)
        >>> each = lambda shards: [net(x) for x in shards]
        >>> try:
        ...     shiftcheck.assert_sharded_equals_whole(net, each, torch.randn(1, 1, 64), 2)
        ... except shiftcheck.ShardsDifferError as error:
        ...     print(str(error).splitlines()[0])
        Conv1d on 1x1x64, 2 shards in one process: DIFFERENT, border padding in the middle
    """


class BudgetExceededError(ShiftcheckError, AssertionError):
    """Over a set of data, a figure is larger than the one that its budget stores.

    Example:
        >>> import torch, shiftcheck
        >>> data = torch.rand(4, 1, 12, 14)
        >>> report = shiftcheck.evaluate(torch.nn.Conv2d(1, 2, 3), data, shifts=[(0, 1)])
        >>> try:
        ...     shiftcheck.assert_within_budget(report, "a convolution")
        ... except (shiftcheck.BudgetExceededError, shiftcheck.InputError) as error:
        ...     print("it got worse, or no file of budgets is open")
        it got worse, or no file of budgets is open
    """


class InfiniteSupportError(ShiftcheckError, AssertionError):
    """A linear and equivariant model sees all of an axis: no finite kernel is its convolution.

    Example:
        >>> import torch, shiftcheck
        >>> try:
        ...     shiftcheck.as_convolution(lambda x: x.cumsum(-1), torch.randn(1, 1, 8, 8))
        ... except shiftcheck.InfiniteSupportError as error:
        ...     print(type(error).__name__)
        InfiniteSupportError
    """


class MissingExtraError(ShiftcheckError, ImportError):
    """A package of an extra is not installed; the message holds the line that installs it.

    Example:
        >>> import torch, shiftcheck
        >>> report = shiftcheck.geometry(torch.nn.ReLU(), (1, 1, 8, 8))
        >>> try:
        ...     report.to_html("/no-such-folder/report.html")
        ... except (shiftcheck.MissingExtraError, shiftcheck.InputError) as error:
        ...     print("there is no such folder, or the extra 'html' is missing")
        there is no such folder, or the extra 'html' is missing
    """
