"""Why a verdict is what it is, with what may help: the one list of all reasons."""

from __future__ import annotations

from typing import NamedTuple, Self

from shiftcheck.report.words import Word


class Hints(NamedTuple):
    """What may help, for each check; None for a check in which the reason does not occur.

    Example:
        >>> from shiftcheck.report import Reason
        >>> Reason.TOO_LITTLE.hints.equivariance, Reason.TOO_LITTLE.hints.linearity
        ('give a larger input, or smaller shifts', None)
    """

    equivariance: str | None = None
    invariance: str | None = None
    linearity: str | None = None
    tiles: str | None = None
    streams: str | None = None
    causality: str | None = None
    evaluation: str | None = None


NOTHING = ""
"""The reason occurs in the check, and has no hint."""

SHORTER = (
    "give a shorter input, of at most 512 samples, so that NaN can be tried behind each of them; or"
    " give the operation a rule"
)
A_RULE = (
    "give the operation a rule; or an input of at most 512 samples, as only then NaN can be tried"
    " behind each of them"
)
FLOAT64 = "run the check with the model and the input in float64"
FINER = "compute this part of the model in a finer type"
BUG = "please report this as a bug of shiftcheck, unless the rule is your own"
LOOK_AT_WEIGHTS = "look at the weights and the signal that lead to that layer"


class Reason(Word):
    """Why a verdict is what it is, and what may help; a reason equals its text.

    ``plain`` says it in a sentence that needs no explanation.

    Example:
        >>> from shiftcheck.report import Reason
        >>> Reason.NO_REGION, Reason.NO_REGION == "no valid region"
        ('no valid region', True)
        >>> Reason.NO_REGION.hints.equivariance
        'give a larger input, so that some samples see no padding'
    """

    plain: str
    hints: Hints

    def __new__(cls, text: str, plain: str = "", hints: Hints | None = None) -> Self:
        """A reason with its text, in plain words, and its hints."""
        member = str.__new__(cls, text)
        member._value_, member.plain = text, plain
        member.hints = hints or Hints()
        return member

    NONE = ""
    IDENTITY = (
        "identity shift",
        "nothing was moved",
        Hints(NOTHING, "give a shift that is not zero"),
    )
    NOT_SPATIAL = (
        "not spatial",
        "no places are left in the output that could move",
        Hints(
            NOTHING,
            causality="check what comes before the time is gone, with layer=... or outputs=[...]",
        ),
    )
    OFF_LATTICE = (
        "off the lattice",
        "the shift falls between two samples of the output",
        Hints(NOTHING),
    )
    TOO_LITTLE = (
        "too little compared",
        "too small a part of the output could be compared",
        Hints(
            "give a larger input, or smaller shifts",
            causality="give a longer input",
            evaluation="give larger items, or smaller shifts",
        ),
    )
    NO_REGION = (
        "no valid region",
        "all of the output depends on what lies beyond the edge of the input",
        Hints(
            "give a larger input, so that some samples see no padding",
            evaluation="give larger items, or boundary='circular', with which all of it is"
            " compared",
        ),
    )
    NOT_FINITE = (
        "not finite",
        "the output holds NaN or infinity",
        Hints(
            "look at the values of that layer: they overflow, or NaN comes from 0/0",
            "look at the values: they overflow, or NaN comes from 0/0",
            "the output holds NaN or infinity; look at the values that the model returns",
            causality="look at the values of the output: they overflow, or come from 0/0",
        ),
    )
    DEAD = (
        "dead output",
        "the output is zero everywhere",
        Hints(
            LOOK_AT_WEIGHTS,
            "look at the weights that lead to that layer",
            "the output is zero for every signal; check the weights",
            causality=LOOK_AT_WEIGHTS,
        ),
    )
    CONSTANT = (
        "constant output",
        "the output is the same everywhere",
        Hints(
            LOOK_AT_WEIGHTS,
            "look at the weights that lead to that layer, and give signals that differ by more"
            " than a shift",
        ),
    )
    CONSTANT_INPUT = (
        "constant input",
        "the input is the same everywhere, so that no shift of it can be seen",
        Hints(
            "give a signal that varies",
            "give a signal that varies over space",
            causality="give a signal that varies over time",
        ),
    )
    SATURATED = (
        "saturated output",
        "the output is at its limit nearly everywhere",
        Hints(
            "give a signal of smaller magnitude, or look at the weights before it",
            "give a signal of smaller magnitude, or check the logits with layer=...",
        ),
    )
    INVISIBLE = (
        "shift not visible",
        "the output looks the same whether it moves or not",
        Hints(
            "the output hardly varies along the shift; give a signal that does",
            "the shifted signal is the same: give one that is not periodic",
        ),
    )
    IN_NOISE = (
        "within noise of a break",
        "the model need not do so, and no difference beyond rounding was seen",
        Hints(
            "the structure breaks here but no gap was seen; give another signal",
            "the structure breaks here but no gap was seen: give another signal",
            causality="no change was seen: give another signal, or run the check in float64",
        ),
    )
    AGAINST_RULES = (
        "disagrees with the structure",
        "it should, by all that is known of its layers, and does not",
        Hints(BUG, BUG),
    )
    NEVER_MOVED = (
        "axis never moved",
        "it was not moved along every axis",
        Hints(
            "give an input that is large enough for one step of the output's lattice",
            "give an input of more than one pixel along every axis",
        ),
    )
    TOO_TOLERANT = (
        "tolerance larger than the signal",
        "the tolerance is larger than the output itself",
        Hints(NOTHING),
    )
    IGNORES = (
        "output ignores the input",
        "the output is the same for every input",
        Hints(
            "leave the constant out of the outputs, or check up to a layer",
            "leave the constant out of the outputs, or check a layer",
            "the output is the same for every signal; leave it out",
            causality="leave the constant out of the outputs, with outputs=[...]",
        ),
    )
    UNREAD = (
        "output cannot be read",
        "the output is nothing that can be compared",
        Hints(
            "return tensors, or check up to a layer with layer=...",
            "return dense tensors, or check a layer with layer=...",
            "return dense tensors, or check up to a layer with layer=...",
        ),
    )
    BATCH_COUPLED = (
        "batch coupled",
        "one element of a batch changes what comes out for another",
        Hints(
            "use statistics that do not come from the batch",
            causality="use statistics that do not come from the batch",
        ),
    )
    UNSTEADY = (
        "nondeterministic",
        "the same input can give another output",
        Hints(
            "switch the random operation off for the test",
            "the same input gave something else, or could: switch the random or stateful part off",
            "the same signal gave another output; switch what is random off",
            causality="switch the random or stateful part off for the check",
        ),
    )
    UNSUPPORTED = (
        "unsupported operation",
        "it is not known what an operation of the model does to a shift",
        Hints(
            "write that step with other operations of torch, or mend its rule where that is your"
            " own",
            causality=A_RULE,
        ),
    )
    LEFT_TORCH = (
        "values leave torch",
        "the model takes values out of its tensors, and may decide by them",
        Hints(
            "decide with operations of torch on tensors of a known size, such as torch.where, or a"
            " sum over a mask in the place of a count",
            causality="decide with operations of torch on tensors, such as torch.where",
        ),
    )
    UNCONFIRMED = (
        "gap not confirmed in float64",
        "a difference was seen that could not be confirmed in float64",
        Hints(
            FLOAT64,
            FLOAT64,
            causality=FLOAT64,
        ),
    )
    MEASURED_GAP = (
        "gap where the geometry was measured",
        "a difference was seen behind a layer that is known from experiments only",
        Hints("give the operation a rule, or a larger input"),
    )
    LOW_PRECISION = (
        "only in low precision",
        "the difference is there in low precision only",
        Hints(FINER, FINER),
    )
    CHOSEN = (
        "chosen from the data",
        "a choice by the values could come out otherwise by rounding",
        Hints(FLOAT64),
    )
    BETWEEN = (
        "measured between pixels",
        "a shift between pixels is measured and not judged",
        Hints("give rtol and atol to have it pass or fail"),
    )

    STILL_SPATIAL = (
        "still spatial",
        "the output has places that move with the input",
        Hints(
            invariance="the output moves with the input: use shiftcheck.assert_equivariant for it",
            evaluation="ask for equivariance, or for class_maps where it holds scores",
        ),
    )
    NO_BOUND = (
        "no bound on an open axis",
        "what enters at the edge changes the output, and nothing says how much it may",
        Hints(
            invariance="what enters changes the output, so this was measured and not judged: give"
            " max_relative_error=..."
        ),
    )
    BELOW_NOISE = (
        "bound below the noise",
        "the outputs differ by no more than rounding can do",
        Hints(
            invariance="the outputs differ by no more than rounding may do, and by more than the"
            " bound: give a larger one, or none"
        ),
    )
    INSENSITIVE = (
        "variation within rounding",
        "the outputs for other inputs differ by no more than rounding can do",
        Hints(
            invariance="signals differ by no more than rounding does in this type: run the check in"
            " a finer one, or give signals that differ more"
        ),
    )
    ONLY_CLASSES = (
        "only classes agree",
        "the class stays the same while the scores move",
        Hints(
            invariance="classes stay the same while scores move: check the scores, with layer=...,"
            " or state a bound with max_relative_error=..."
        ),
    )
    EMPTY = (
        "empty output",
        "the output holds no values",
        Hints(
            invariance="give an input for which the output holds values",
            linearity="give a signal that is large enough for an output",
        ),
    )

    NO_SCORES = (
        "no row of scores",
        "the output is no row of scores of which the largest could be chosen",
        Hints(
            evaluation="name the output that holds the scores, with outputs=... or layer=..., or"
            " have the model return classes, as lambda x: model(x) > 0 does of one score"
        ),
    )
    NO_ITEMS = (
        "no item was measured",
        "no item of the data could be measured",
        Hints(evaluation="look at the errors of the first items, which the report names"),
    )

    SHAPES = (
        "output of another shape",
        "the shape of the output depends on the values",
        Hints(linearity="the shape of the output depends on the values of the signal"),
    )
    DECIDES = (
        "values are read to decide",
        "the model decides by values that it takes out of its tensors",
        Hints(
            linearity="only the branches that were taken are known; write the decision with"
            " operations of torch, such as torch.where"
        ),
    )
    WITHIN_ROUNDING = (
        "within rounding",
        "the difference is no larger than rounding can make it",
        Hints(linearity="rounding is as large as the gap; give a model that runs in float64"),
    )
    COVERED = (
        "linear part hidden by the constant",
        "what does not depend on the input hides what does",
        Hints(
            linearity="subtract the constant part phi(0) first, or give a signal of larger values"
        ),
    )
    SEVERAL_OUTPUTS = (
        "several outputs",
        "the model has several outputs",
        Hints(linearity="give a model with one output, or name a layer with layer=..."),
    )
    NO_PERIOD = (
        "no period is known",
        "it is not known which shifts it keeps",
        Hints(linearity=NOTHING),
    )
    TOO_SMALL = (
        "signal too small for the kernel",
        "the input is smaller than what one sample sees",
        Hints(linearity=NOTHING),
    )
    TOO_LARGE = (
        "kernel too large",
        "what one sample sees is too large to be written down",
        Hints(linearity="check up to an earlier layer with layer=..."),
    )
    MIRRORED = (
        "the output moves against the input",
        "the output moves against the input",
        Hints(linearity="mirror the output: then it moves with the input"),
    )
    OTHER_ORDER = (
        "output axes in another order",
        "the axes of the output stand in another order",
        Hints(linearity="move the channels of the output to dimension 1"),
    )
    UNCUT = (
        "nothing was cut",
        "the model was called on all of the input at once, so that no tile was seen",
        Hints(tiles="give a callable that cuts its input, or a smaller tile"),
    )
    STRUCTURE_UNKNOWN = (
        "structure not known",
        "nothing was seen, and the structure does not say that there is nothing to be seen",
        Hints(causality=SHORTER),
    )
    NO_SEAM = (
        "no seam",
        "all of the signal came in one chunk, so that no state was carried from one to the next",
        Hints(streams="give a chunk that is shorter than half of x, or a longer x"),
    )
    NOT_REPEATED = (
        "step not repeatable",
        "the step gave something else for the same chunks, as its state could not be put back",
        Hints(streams="give make_step=..., which makes a fresh step, or reset=..."),
    )
    INVISIBLE_STATE = (
        "state not visible",
        "the model looks back, and what came before a chunk changes nothing in it",
        Hints(streams="give a signal that varies, or look at the weights of what looks back"),
    )
    SEAMLESS = (
        "no seam visible",
        "shards that exchange nothing give the same, so that no fault of an exchange could be seen",
        Hints(tiles="give a signal that varies next to the seams, or look at the weights"),
    )
    DIFFERS = (
        "the convolution found differs from the operator",
        "the convolution that was found gives something else",
        Hints(
            linearity="the operator mixes the batch, its output is not [batch, channels,"
            " *spatial], or it does not see what it was found to see"
        ),
    )


class Reasoned:
    """A record with a reason, which may be given as its text."""

    reason: Reason

    def __post_init__(self) -> None:
        if type(self.reason) is not Reason:
            object.__setattr__(self, "reason", Reason(self.reason))


SKIPPED = frozenset({Reason.IDENTITY, Reason.OFF_LATTICE})
"""A shift with such a reason is passed over when its layer is judged."""

TOO_FEW = frozenset({Reason.NO_REGION, Reason.TOO_LITTLE})
"""Too few samples were compared, or none."""

NOTHING_VARIES = frozenset({Reason.DEAD, Reason.CONSTANT, Reason.SATURATED})
"""The output does not depend on the place, so that no shift of it can be seen."""

BLIND = frozenset({Reason.UNSUPPORTED, Reason.LEFT_TORCH, Reason.UNSTEADY, Reason.BATCH_COUPLED})
"""The gaps say nothing: it is not known which samples belong together."""
