"""Why a layer is not equivariant: the one list of all kinds of causes, with their words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from shiftcheck.report.reasons import Reason
from shiftcheck.report.words import Word


class CauseKind(Word):
    """What breaks equivariance, or hides it; a kind equals its text.

    ``meaning`` completes "cause KIND: ...", and ``plain`` says it in a few words that need no
    explanation. ``remedy`` may help where equivariance fails, and ``remedy_of_invariance`` where
    invariance fails. ``hides``: nothing can be said of what follows such a cause, and this is the
    reason that is given there.

    Example:
        >>> from shiftcheck.report import CauseKind
        >>> CauseKind.STRIDE, CauseKind.STRIDE == "STRIDE", CauseKind.GLOBAL.meaning
        ('STRIDE', True, 'every sample depends on the whole axis')
    """

    meaning: str
    plain: str
    remedy: str
    remedy_of_invariance: str
    hides: Reason

    def __new__(
        cls,
        text: str,
        meaning: str = "",
        plain: str = "",
        remedy: str = "",
        remedy_of_invariance: str = "",
        hides: Reason = Reason.NONE,
    ) -> Self:
        """A kind with its words."""
        member = str.__new__(cls, text)
        member._value_ = text
        member.meaning, member.plain, member.remedy = meaning, plain, remedy
        member.remedy_of_invariance, member.hides = remedy_of_invariance, hides
        return member

    PADDING = (
        "PADDING",
        "samples near the border see padding instead of the signal",
        "padding at the edge does not move",
        "pad circularly (padding_mode='circular') where the boundary is circular",
    )
    STRIDE = (
        "STRIDE",
        "it keeps only every so many samples, so other shifts meet other samples",
        "it keeps only some of the samples",
        "shift by whole samples of the coarsest layer, or leave the stride out",
        "blur before the stride (anti-aliased pooling), or leave it out",
    )
    RESIZE = (
        "RESIZE",
        "it changes the sampling by a ratio, or combines tensors of different strides",
        "its output does not keep step with its input",
        "resize by a whole number, or bring the tensors it combines to one stride before",
        "resize by a whole number",
    )
    POSITION = (
        "POSITION",
        "a constant that depends on the position is combined with the signal",
        "it adds or multiplies values that depend on the place",
        "leave the constant out, or make it relative",
        "leave the constant out, or make it relative",
    )
    MIXING = (
        "MIXING",
        "a linear map with a weight of its own for each place",
        "it has a weight of its own for each place",
        "a convolution in its place has one weight for all places",
        "a global average or maximum in the place of flattening has one weight for all places",
    )
    GLOBAL = (
        "GLOBAL",
        "every sample depends on the whole axis",
        "each of its values depends on the whole input",
        "no larger input helps: that layer sees the whole axis",
    )
    INDEX = (
        "INDEX",
        "a sample is taken at a fixed place",
        "it treats fixed places in another way",
        "a reduction over the axis in the place of a choice does not depend on the place",
        "a reduction over the axis in the place of a choice does not depend on the place",
    )
    DATA_DEPENDENT = (
        "DATA_DEPENDENT",
        "the place is chosen from the data",
        "it chooses places by their values",
    )
    STOCHASTIC = (
        "STOCHASTIC",
        "it draws random numbers",
        "it draws random numbers",
        "",
        "",
        Reason.UNSTEADY,
    )
    BATCH_COUPLED = (
        "BATCH_COUPLED",
        "it mixes the elements of the batch",
        "it mixes the elements of the batch",
        "",
        "",
        Reason.BATCH_COUPLED,
    )
    UNSUPPORTED_OP = (
        "UNSUPPORTED_OP",
        "no rule knows what the operation does to a shift",
        "it is not known what it does to a shift",
        "",
        "",
        Reason.UNSUPPORTED,
    )
    MEASURED = (
        "MEASURED",
        "what it does to a shift was found by experiments, which can miss something",
        "it is known from experiments only",
    )
    ALIASING = (
        "ALIASING",
        "the shift is between samples, and interpolation does not find what lies there",
        "it makes detail that is too fine for the pixels",
        "low-pass filters before sampling, and finer sampling around what is not linear",
    )
    UNEXPLAINED = (
        "UNEXPLAINED",
        "the structure promises agreement here, and the run contradicts it",
        "nothing that is known of it explains that",
    )


class CauseForm(Word):
    """What is known of a cause beside its kind.

    ``remedy`` stands in the place of that of the kind. ``tells_all``: the detail of the cause is
    shown alone, without the meaning of the kind.

    Example:
        >>> from shiftcheck.report import CauseForm
        >>> CauseForm.MIRRORED, CauseForm.MIRRORED.remedy
        ('mirrored', 'turn the output back, by another flip of the same axis')
    """

    remedy: str
    tells_all: bool

    def __new__(cls, text: str, remedy: str = "", tells_all: bool = False) -> Self:
        """A form with its words."""
        member = str.__new__(cls, text)
        member._value_ = text
        member.remedy, member.tells_all = remedy, tells_all
        return member

    PLAIN = ""
    LEAK = "leak", "", True
    MIRRORED = "mirrored", "turn the output back, by another flip of the same axis", True
    SINGLE = "single sample"
    OWN_PADDING = "own padding"
    AFTER_A_CROP = "after a crop"
    ALIGNED_CORNERS = (
        "aligned corners",
        "leave align_corners out, or give sizes of which (N - 1)/(M - 1) is a plain ratio",
    )
    NO_RULE = "no rule"


STATISTICS = "use running statistics, as in eval mode"
REMEDY_OF_OP = {"batch_norm": STATISTICS, "instance_norm": STATISTICS}
"""Remedies by operation; they come before those of kinds and forms."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why a layer is not equivariant, or not everywhere.

    ``kind`` is one of PADDING, STRIDE, RESIZE, POSITION, MIXING, GLOBAL, INDEX, DATA_DEPENDENT,
    STOCHASTIC, BATCH_COUPLED, UNSUPPORTED_OP, MEASURED (no reason of a break, but what is known of
    the layer comes from experiments), ALIASING (a shift between samples) and UNEXPLAINED (the run
    contradicts the structure). ``axis`` is the spatial axis (0 first), None where it concerns all
    of them. ``period`` in pixels: its multiples are not affected. ``latent``: it breaks nothing
    with the present parameters, and would with others. ``operation``: the qualified name of the
    operation in torch. ``form``: what is known beside the kind. ``line``: where values leave torch,
    the file and the line of the model that take them out, and what it says.

    Raises:
        InputError: for a ``kind`` or a ``form`` that there is not.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.MaxPool2d(2))
        >>> cause = shiftcheck.geometry(model, (1, 1, 12, 12)).causes[0]
        >>> cause.kind, cause.layer, cause.axis, cause.period
        ('STRIDE', '1', 0, 2)
    """

    kind: CauseKind
    axis: int | None = None
    layer: str = ""
    op: str = ""
    detail: str = ""
    period: int | None = None
    latent: bool = False
    operation: str = ""
    form: CauseForm = CauseForm.PLAIN
    line: str = ""

    def __post_init__(self) -> None:
        if type(self.kind) is not CauseKind:
            object.__setattr__(self, "kind", CauseKind(self.kind))
        if type(self.form) is not CauseForm:
            object.__setattr__(self, "form", CauseForm(self.form))

    @property
    def hides(self) -> Reason:
        """Why nothing can be told behind it; NONE where it does not hide what follows."""
        return Reason.LEFT_TORCH if self.form is CauseForm.LEAK else self.kind.hides
