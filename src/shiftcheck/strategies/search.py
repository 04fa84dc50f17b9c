"""What a property test has found so far, and what follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.errors import InconclusiveError, ModelError, NotEquivariantError
from shiftcheck.report.equivariance import Report, Verdict
from shiftcheck.report.reasons import BLIND, Reason
from shiftcheck.report.render import explain
from shiftcheck.strategies.examples import Example, Scene

UNSEEN = (
    Reason.DEAD,
    Reason.CONSTANT,
    Reason.CONSTANT_INPUT,
    Reason.SATURATED,
    Reason.INVISIBLE,
    Reason.NO_REGION,
    Reason.TOO_LITTLE,
    Reason.TOO_TOLERANT,
)
"""Reasons that lie in the example: another one may show what this one does not."""

HOPELESS = (
    *BLIND,
    Reason.BATCH_COUPLED,
    Reason.UNSTEADY,
    Reason.NOT_SPATIAL,
    Reason.IGNORES,
    Reason.UNREAD,
)
"""Reasons that lie in the model: no other example is worth a run."""

PATIENCE = 40
"""So many examples may show nothing before the search is given up, if none showed anything."""

ATTEMPTS = 20
"""How often an example is replaced by a simpler one at most."""


@dataclass(kw_only=True, eq=False)
class Search:
    """The examples looked at in one run of a property test.

    ``moved``: the axes along which something was shown. ``nearest``: of the reports that did so,
    the one whose gap is nearest to what is allowed. ``doubt``: the first example that was
    neither equivariant nor broken for a reason of its own; ``unseen``: one that showed nothing, of
    which there were ``blank``. ``hopeless``: no other example is worth a run.
    """

    scene: Scene
    moved: set[int] = field(default_factory=set)
    nearest: Report | None = None
    broken: tuple[Example, Report] | None = None
    doubt: tuple[Example, Report] | None = None
    unseen: tuple[Example, Report] | None = None
    blank: int = 0
    hopeless: bool = False

    def judge(self, example: Example) -> bool:
        """Whether an example showed equivariance; raises NotEquivariantError where it is broken."""
        __tracebackhide__ = True
        if self.broken is not None and self.broken[0] == example:
            raise NotEquivariantError(explain(self.broken[1]))
        if self.hopeless and self.broken is None:
            return False
        report = self._measured(example)
        if report is None:
            return False
        if report.verdict is Verdict.BROKEN:
            self.broken = example, report
            raise NotEquivariantError(explain(report))
        if report.verdict is Verdict.EQUIVARIANT:
            self.moved |= {axis for axis, v in enumerate(example.shift) if v}
            if self.nearest is None or _share(report) > _share(self.nearest):
                self.nearest = report
            return True
        if report.reason in UNSEEN:
            self.unseen = self.unseen or (example, report)
            self.blank += 1
            self.hopeless = not self.moved and self.blank >= PATIENCE
        else:
            self.doubt = self.doubt or (example, report)
            self.hopeless = report.reason in HOPELESS
        return False

    def _measured(self, example: Example) -> Report | None:
        """The report on an example; None where the model does not accept its sizes together."""
        try:
            return self.scene.run(example, "outputs")
        except ModelError:
            if self.scene.found.question.accepts(example.channels, example.sizes):
                raise
            return None

    def failure(self) -> NotEquivariantError:
        """The error for the simplest example near the broken one."""
        assert self.broken is not None
        return NotEquivariantError(self._message(*self._simplest(*self.broken)))

    def _simplest(self, example: Example, report: Report) -> tuple[Example, Report]:
        """Go on to a simpler example of the same verdict, changing one part, while there is one.

        Examples that show nothing are passed over.
        """
        others: set[Example] = set()
        for _ in range(ATTEMPTS):
            for simpler in self.scene.simpler(example):
                if simpler in others:
                    continue
                smaller = self._measured(simpler)
                if smaller is not None and _alike(smaller, report):
                    example, report = simpler, smaller
                    break
                others.add(simpler)
            else:
                break
        return example, report

    def settled(self) -> Report:
        """The report of a pass; raises InconclusiveError where some axis was not shown, or doubted.

        So it passes only if something was shown along every axis, and nothing is in doubt.
        """
        if self.doubt is not None:
            raise InconclusiveError(self._message(*self._simplest(*self.doubt)))
        missing = [
            axis for axis, most in enumerate(self.scene.farthest) if most and axis not in self.moved
        ]
        if missing and self.unseen is not None:
            raise InconclusiveError(self._message(*self.unseen))
        if missing or self.nearest is None:
            raise InconclusiveError(
                f"no example moved axis {min(missing)} and showed something; let hypothesis draw"
                " more examples, with settings=hypothesis.settings(max_examples=...)"
            )
        return self.nearest

    def _message(self, example: Example, seen: Report) -> str:
        """The explanation, and the example as code; whoever listens is told of the report."""
        report = self.scene.run(example, "layers")
        shown = report if _alike(report, seen) else seen
        tell(Outcome(report=shown))
        lines = [line for line in explain(shown).splitlines() if not line.startswith(AGAIN)]
        told = any(trial.works and trial.change.multiples for trial in shown.trials)
        asked = shown.verdict is Verdict.BROKEN and not told
        lattice = self._kept(shown) if asked else None
        if lattice is not None:
            lines.append(f"remedy: lattice={lattice}, if that is all that the network promises")
        return "\n".join([*lines, AS_CODE, self.scene.written(example)])

    def _kept(self, report: Report) -> int | tuple[int, ...] | None:
        """A coarser lattice of which one step along each axis passes; None where there is none."""
        axes = range(len(self.scene.lattice))
        periods = [[output.period[a] for output in report.outputs] for a in axes]
        if any(period is None for along in periods for period in along):
            return None
        steps = tuple(
            math.lcm(step, *(period or 1 for period in along))
            for step, along in zip(self.scene.lattice, periods, strict=True)
        )
        scene = self.scene.coarser(steps) if steps != self.scene.lattice else None
        if scene is None:
            return None
        for example in scene.simplest():
            tried = self._measured(example)
            if tried is None or tried.verdict is not Verdict.EQUIVARIANT:
                return None
        return steps[0] if len(set(steps)) == 1 else steps


AGAIN = "reproduce: "
"""Before a call that leaves open what x and the model are."""

AS_CODE = "the simplest example found, as code:"


def _share(report: Report) -> float:
    """How much of what is allowed the largest gap of an output takes."""
    gaps = (
        (s.relative_error if s.float64_error is None else s.float64_error, s.allowance)
        for output in report.outputs
        for s in output.shifts
    )
    return max((gap / most for gap, most in gaps if gap is not None and most), default=0.0)


def _alike(one: Report, other: Report) -> bool:
    """Whether two reports say the same; a break is a break for whichever reason."""
    if one.verdict is other.verdict is Verdict.BROKEN:
        return True
    return (one.verdict, one.reason) == (other.verdict, other.reason)
