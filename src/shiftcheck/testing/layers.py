"""One test for each layer of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from shiftcheck.checks.read_geometry import geometry
from shiftcheck.errors import (
    InconclusiveError,
    InputError,
    MissingExtraError,
    NotEquivariantError,
)

if TYPE_CHECKING:
    import pytest


SomeTest = TypeVar("SomeTest", bound=Callable[..., Any])


def parametrize_with_layers(
    model: Callable[..., Any],
    x: Any,
    *,
    expected_failures: Mapping[str, str] | None = None,
    expected_inconclusive: Mapping[str, str] | None = None,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
    training: bool = False,
) -> Callable[[SomeTest], SomeTest]:
    """Run a test of pytest once for each layer of a model, with its name as the argument ``layer``.

    The layers are those of ``geometry``, in the order of execution: modules by their path, and
    functions outside of modules by their name. The test then checks up to that layer, with
    ``assert_equivariant(model, x, layer=layer)``.

    Args:
        model: any module or callable.
        x: the input, or its shape ``[batch, channels, *spatial]``; nothing is computed.
        expected_failures: layers that are known to be broken, each with the reason. Their tests are
            expected to fail with NotEquivariantError; one that passes or fails otherwise, fails.
        expected_inconclusive: the same for layers of which nothing can be told, with
            InconclusiveError.
        boundary, spatial_dims, training: as in ``geometry``.

    Returns:
        A decorator of the test.

    Raises:
        InputError: for arguments that cannot be used, a model without layers, a name that is no
            layer, or a reason that is empty.
        MissingExtraError: where pytest is not installed.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten())
        >>> x = torch.randn(1, 1, 12, 13)
        >>> @shiftcheck.parametrize_with_layers(
        ...     model, x, expected_inconclusive={"1": "a flat vector has no spatial axes"}
        ... )
        ... def test_layer(layer):
        ...     shiftcheck.assert_equivariant(model, x, layer=layer)
        >>> [case.id for case in test_layer.pytestmark[0].args[1]]
        ['0', '1']
    """
    try:
        import pytest
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "parametrize_with_layers needs pytest: pip install 'torch-shiftcheck[pytest]'"
        ) from error
    report = geometry(model, x, boundary=boundary, spatial_dims=spatial_dims, training=training)
    names = [row.name for row in report.layers]
    if not names:
        raise InputError(f"model: {report.model} has no layers, so that there is nothing to test")
    broken = _reasons("expected_failures", expected_failures, names)
    unknown = _reasons("expected_inconclusive", expected_inconclusive, names)
    if broken.keys() & unknown.keys():
        both = sorted(broken.keys() & unknown.keys())
        raise InputError(
            f"expected_failures and expected_inconclusive both name {both}: choose one"
        )

    def marks(name: str) -> list[pytest.MarkDecorator]:
        xfail = pytest.mark.xfail
        if name in broken:
            return [xfail(reason=broken[name], strict=True, raises=NotEquivariantError)]
        if name in unknown:
            return [xfail(reason=unknown[name], strict=True, raises=InconclusiveError)]
        return []

    cases = [pytest.param(name, id=name, marks=marks(name)) for name in names]
    return pytest.mark.parametrize("layer", cases)


def _reasons(argument: str, given: Any, names: Sequence[str]) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InputError(f"{argument}={given!r}: give a dict of layers with their reasons")
    for name, reason in given.items():
        if name not in names:
            there = ", ".join(map(repr, names))
            raise InputError(f"{argument}: there is no layer {name!r}; there are {there}")
        if not isinstance(reason, str) or not reason.strip():
            raise InputError(f"{argument}[{name!r}]={reason!r}: give the reason as a sentence")
    return dict(given)
