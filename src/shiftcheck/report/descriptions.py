"""Whether a description of inputs and outputs is right for a model: plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

from shiftcheck.report.base import Shown
from shiftcheck.report.words import Fault


class DescriptionFault(Fault):
    """What is wrong with a description, with what mends it.

    Example:
        >>> from shiftcheck.report import DescriptionFault
        >>> DescriptionFault.HALO, DescriptionFault.HALO.remedy
        ('halo too small', 'declare the halo that is told')
    """

    REFUSED = (
        "sizes that the model refuses",
        "the model raises at sizes that the description allows",
        "declare a least size and a step that the model takes",
    )
    SIZES = (
        "outputs of another size",
        "an output has not the size that follows from the description",
        "declare the scale and the offset that are told",
    )
    ANY_HALO = (
        "no halo is enough",
        "a layer depends on the whole, or on the place",
        "let the image be run as a whole: declare a fixed size, and no halo",
    )
    HALO = (
        "halo too small",
        "samples that are kept depend on pixels that the block does not hold",
        "declare the halo that is told",
    )
    GRID = (
        "blocks off the grid",
        "blocks begin where the strides of the model meet other pixels than on the whole",
        "declare sizes and a halo that are multiples of the period, in pixels",
    )


@dataclass(frozen=True, kw_only=True)
class CheckedInput:
    """An axis of an input whose size is declared.

    ``least`` and ``step``: of the sizes, the step None where there is one size only. ``period``:
    of the model in pixels, None where it has none. ``refused``: sizes that the description allows
    and the model does not take. ``blocks``: how far apart blocks of the least size begin, and
    ``begin``: at which pixel the first one does; None where no blocks are declared. ``faults``:
    what is wrong with it.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.MaxPool2d(4)
        >>> rdf = shiftcheck.tiling(model, (1, 1, 64, 64), tile=16).to_bioimageio().to_rdf()
        >>> found = shiftcheck.verify_bioimageio(rdf, model)
        >>> found.inputs[0].least, found.inputs[0].step, found.inputs[0].period
        (4, 4, 4)
    """

    tensor: str
    axis: str
    least: int
    step: int | None
    period: int | None = None
    refused: tuple[int, ...] = ()
    blocks: int | None = None
    begin: int | None = None
    faults: tuple[DescriptionFault, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CheckedOutput:
    """An axis of an output, in its samples.

    ``halo``: as declared. ``needed``: the samples that are wrong at the beginning and at the end of
    a block, None where that is not known or all of them are. ``enough``: the halo that would do,
    with which blocks begin on the grid. ``size`` and ``declared``: what it has, and what follows
    from the description, at ``pixels`` of the input, the first size at which they differ. ``scale``
    and ``offset``: those that are right, the former relative to the input.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.Conv2d(1, 1, 9, padding=4)
        >>> rdf = shiftcheck.tiling(model, (1, 1, 99, 99), tile=32).to_bioimageio().to_rdf()
        >>> rdf["outputs"][0]["axes"][2]["halo"] = 3
        >>> out = shiftcheck.verify_bioimageio(rdf, model).outputs[1]
        >>> out.axis, out.halo, out.needed, out.missing, out.enough
        ('y', 3, (4, 4), 1, 4)
    """

    tensor: str
    axis: str
    halo: int
    needed: tuple[int, int] | None = None
    enough: int | None = None
    pixels: int | None = None
    size: int | None = None
    declared: int | None = None
    scale: Fraction | None = None
    offset: Fraction | None = None
    faults: tuple[DescriptionFault, ...] = ()

    @property
    def missing(self) -> int:
        """By how many samples the halo is too small; 0 where it is not, or that is not known."""
        return 0 if self.needed is None else max(0, max(self.needed) - self.halo)


@dataclass(frozen=True, kw_only=True)
class DescriptionCheck(Shown):
    """Whether the inputs and outputs that a bioimage.io description declares are those of a model.

    ``faults``: what is wrong, the gravest first. ``layers``: those because of which no halo is
    enough. ``sizes``: those of the first input, along its axes, at which the halo was looked at.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.Conv2d(1, 1, 9, padding=4)
        >>> rdf = shiftcheck.tiling(model, (1, 1, 99, 99), tile=32).to_bioimageio().to_rdf()
        >>> found = shiftcheck.verify_bioimageio(rdf, model)
        >>> found.right, found.faults
        (True, ())
        >>> shiftcheck.report.DescriptionCheck.from_json(found.to_json()) == found
        True
    """

    _called: ClassVar[str] = "check of a description"

    faults: tuple[DescriptionFault, ...] = ()
    inputs: tuple[CheckedInput, ...] = ()
    outputs: tuple[CheckedOutput, ...] = ()
    layers: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    model: str = ""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1

    @property
    def right(self) -> bool:
        """Whether nothing is wrong with the description."""
        return not self.faults
