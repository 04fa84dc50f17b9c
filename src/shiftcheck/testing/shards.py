"""The assertion that shards give together what the whole gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.checks.shards.compare import check_sharded
from shiftcheck.errors import InconclusiveError, ShardsDifferError
from shiftcheck.measuring.plan import Model
from shiftcheck.report.seams import TilesVerdict
from shiftcheck.report.shards_compared import ShardedComparison


def assert_sharded_equals_whole(
    model: Model,
    sharded: Callable[..., Any],
    x: Any,
    parts: int,
    axis: int = -1,
    *,
    bounds: Sequence[int] | None = None,
    distributed: bool = False,
    rtol: float | None = None,
    atol: float | None = None,
    spatial_dims: Sequence[int] | None = None,
) -> ShardedComparison:
    """Pass only if shards give together what the model gives on the whole.

    Args:
        model, sharded, x, parts, axis, bounds, distributed: as in ``check_sharded``.
        rtol, atol, spatial_dims: as in ``check_sharded``.

    Returns:
        The record of ``check_sharded``.

    Raises:
        ShardsDifferError: an AssertionError; the message names the first layer that differs, the
            seams, what was exchanged and what is needed. With ``distributed``, on every rank.
        InconclusiveError: an AssertionError; the outputs agree, and that tells nothing.
        InputError: for arguments that cannot be used.
        ModelError: where the model or the sharded callable raises.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 3, padding=1)
        >>> def exchanging(shards):
        ...     a, b = shards
        ...     return [net(torch.cat([a, b[..., :1]], -1))[..., :-1],
        ...             net(torch.cat([a[..., -1:], b], -1))[..., 1:]]
        >>> x = torch.randn(1, 1, 64)
        >>> shiftcheck.assert_sharded_equals_whole(net, exchanging, x, 2).verdict
        'same'
    """
    __tracebackhide__ = True
    found = check_sharded(
        model,
        sharded,
        x,
        parts,
        axis,
        bounds=bounds,
        distributed=distributed,
        rtol=rtol,
        atol=atol,
        spatial_dims=spatial_dims,
    )
    tell(Outcome(report=found, passed=found.verdict is TilesVerdict.SAME))
    if found.verdict is TilesVerdict.DIFFERENT:
        raise ShardsDifferError(str(found))
    if found.verdict is TilesVerdict.INCONCLUSIVE:
        raise InconclusiveError(str(found))
    return found
