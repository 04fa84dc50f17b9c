"""A layer under a shift, and the shifted layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shiftcheck.checks.figures.feature_maps import FeatureMaps
from shiftcheck.checks.figures.feature_maps import feature_maps as compute_feature_maps
from shiftcheck.errors import InputError
from shiftcheck.measuring.plan import Model
from shiftcheck.plot.canvas import four_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def feature_maps(
    model: Model,
    x: Any,
    shift: Sequence[int],
    layer: str,
    *,
    channel: int = 0,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
    seed: int = 0,
    ax: Sequence[Axes] | None = None,
) -> Sequence[Axes]:
    """Draw a layer's map of a shifted signal, the shifted map, and the difference of the two.

    The outline holds the samples that are compared.

    Args:
        model, x, boundary, spatial_dims, seed: as in ``check_equivariance``; of ``x`` the first
            element of the batch is drawn.
        shift: whole pixels, which are whole samples of the layer.
        layer: the name of the layer.
        channel: the channel that is drawn.
        ax: four axes to draw into; new ones when left out.

    Raises:
        InputError: arguments that cannot be used, or a signal with three axes.
        ModelError: where the model raises.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import matplotlib, torch, shiftcheck
        >>> matplotlib.use("agg")
        >>> from shiftcheck import plot
        >>> drawn = plot.feature_maps(
        ...     torch.nn.Conv2d(1, 2, 3), torch.randn(1, 1, 16, 18), (2, 1), "conv2d"
        ... )
        >>> [ax.get_title() for ax in drawn]
        ['S f', 'phi(S f)', 'S phi(f)', 'difference']
    """
    if ax is not None and len(ax) != 4:
        raise InputError(f"ax has {len(ax)} axes: give four")
    (maps,) = compute_feature_maps(
        model, x, [shift], layer, boundary=boundary, spatial_dims=spatial_dims, seed=seed
    )
    return draw_feature_maps(maps, channel=channel, ax=ax)


def draw_feature_maps(
    maps: FeatureMaps, *, channel: int = 0, ax: Sequence[Axes] | None = None
) -> Sequence[Axes]:
    """The drawing of ``feature_maps``, of maps that were computed before."""
    if maps.found.ndim > 3:
        raise InputError(f"the signal has {maps.found.ndim - 1} axes: one or two can be drawn")
    if not 0 <= channel < len(maps.found):
        raise InputError(f"channel={channel}: the layer has {len(maps.found)} channels")
    axes = four_axes() if ax is None else ax
    moved = maps.shifted_signal[min(channel, len(maps.shifted_signal) - 1)]
    both = maps.found[channel], maps.expected[channel]
    parts = [(moved, "S f"), (both[0], "phi(S f)"), (both[1], "S phi(f)")]
    parts.append((maps.difference[channel], "difference"))
    for one, (values, title) in zip(axes, parts, strict=True):
        draw = _line if values.ndim == 1 else _image
        draw(one, values, signed=title == "difference")
        if title != "S f":
            _outline(one, maps.valid)
        one.set_title(title)
        one.set_xlabel("pixels" if title == "S f" else "samples")
    return axes


def _line(ax: Axes, values: Any, *, signed: bool) -> None:
    ax.plot(values, color="#c51b3a" if signed else "#1f4e79")
    if signed:
        ax.axhline(0.0, color="black", linewidth=0.5)


def _image(ax: Axes, values: Any, *, signed: bool) -> None:
    import numpy as np

    top = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    if signed:
        image = ax.imshow(values, cmap="RdBu_r", vmin=-(top or 1.0), vmax=top or 1.0)
    else:
        image = ax.imshow(values, cmap="viridis")
    ax.figure.colorbar(image, ax=ax, shrink=0.7)


def _outline(ax: Axes, valid: Sequence[Sequence[tuple[int, int]]]) -> None:
    """The samples that are compared, as boxes."""
    from matplotlib.patches import Rectangle

    if len(valid) == 1:
        for start, stop in valid[0]:
            ax.axvspan(start - 0.5, stop - 0.5, color="#1b7837", alpha=0.15)
        return
    for top, bottom in valid[0]:
        for left, right in valid[1]:
            corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
            ax.add_patch(Rectangle(corner, *size, fill=False, edgecolor="#1b7837", linewidth=2))
