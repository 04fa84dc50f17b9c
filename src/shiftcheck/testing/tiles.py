"""The assertion that tiles give what the whole gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.checks.seams.compare import compare_tiled
from shiftcheck.errors import InconclusiveError, TilesDifferError
from shiftcheck.measuring.plan import Model
from shiftcheck.report.seams import TiledComparison, TilesVerdict


def assert_tiled_equals_whole(
    model: Model,
    tiled: Callable[..., Any],
    x: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
) -> TiledComparison:
    """Pass only if what is put together from tiles is what the model gives on the whole.

    Args:
        model, tiled, x, rtol, atol, boundary, spatial_dims, fixed, outputs: as in
            ``compare_tiled``.

    Returns:
        The record of ``compare_tiled``.

    Raises:
        TilesDifferError: an AssertionError; the message says why they differ, where the seams are
            and which overlap would do.
        InconclusiveError: an AssertionError; the outputs agree, and that tells nothing.
        InputError: for arguments that cannot be used.
        ModelError: where the model or the tiled callable raises.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> def tiled(x):
        ...     return torch.cat([net(x[..., :33])[..., :32], net(x[..., 31:])[..., 1:]], -1)
        >>> shiftcheck.assert_tiled_equals_whole(net, tiled, torch.randn(1, 1, 64, 64)).verdict
        'same'
    """
    __tracebackhide__ = True
    found = compare_tiled(
        model,
        tiled,
        x,
        rtol=rtol,
        atol=atol,
        boundary=boundary,
        spatial_dims=spatial_dims,
        fixed=fixed,
        outputs=outputs,
    )
    tell(Outcome(report=found, passed=found.verdict is TilesVerdict.SAME))
    if found.verdict is TilesVerdict.DIFFERENT:
        raise TilesDifferError(str(found))
    if found.verdict is TilesVerdict.INCONCLUSIVE:
        raise InconclusiveError(str(found))
    return found
