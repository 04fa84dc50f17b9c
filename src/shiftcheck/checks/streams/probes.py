"""What a step knows of earlier chunks, found by giving it other values there.

The same is asked of the model, so that nothing rests on what the structure says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from shiftcheck.checks.streams.fit import Array, Fit, Fitting, arranged
from shiftcheck.checks.streams.session import Stage

OTHER_SCALE = 1.5
"""How much larger the values are that are put in the place of others."""


LOUDER = 1.2
"""How much louder a signal is of which the digits are other ones."""

ALIKE = 0.5
"""Errors that are so much alike, 1 at most, are no rounding."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a chunk knows of the samples before it.

    ``nearest``: the distance of the nearest sample that it knows, 1 for the one just before;
    ``farthest``: of the farthest. Both 0 where it knows none.
    """

    nearest: int
    farthest: int


class Probes:
    """Changes parts of the signal, and sees what changes in a chunk of a run, and on the whole."""

    def __init__(self, stage: Stage, fitting: Fitting, lengths: Sequence[int], fit: Fit) -> None:
        self.stage, self.fitting, self.lengths, self.fit = stage, fitting, tuple(lengths), fit
        self.starts = np.cumsum([0, *lengths])
        main = stage.inputs.main.tensor
        generator = torch.Generator().manual_seed(1)
        order = torch.randperm(main.numel(), generator=generator, device="cpu").to(main.device)
        self.other = main.flatten()[order].reshape(main.shape)
        if main.is_floating_point():
            self.other = self.other * OTHER_SCALE

    def with_other(self, start: int, stop: int) -> torch.Tensor:
        """The signal with other values from one sample to another."""
        signal = self.stage.inputs.main.tensor.detach().clone()
        dim = self.stage.dim
        size = max(0, stop - start)
        if size:
            signal.narrow(dim, start, size).copy_(self.other.narrow(dim, start, size))
        return signal

    def changes(self, chunk: int, start: int, stop: int) -> bool:
        """Whether a chunk's output changes with the samples from one to another."""
        if stop <= start:
            return False
        return bool(self.changed_by_step(chunk, self.with_other(start, stop)).any())

    def changed_by_step(self, chunk: int, signal: torch.Tensor) -> Array:
        """Which samples of a chunk's output are others for another signal."""
        streamed = self.stage.stream(self.lengths[: chunk + 1], signal, ends=False)
        pieces = streamed.pieces[self.fit.channel.number]
        first, last = self.range_of(chunk)
        if len(pieces) <= chunk or pieces[chunk].shape[self.fit.channel.dim] != last - first:
            return np.ones(1, bool)
        now = arranged(pieces[chunk], self.fit.channel.dim).array
        before = self.fit.came.array[:, :, first:last]
        scale = float(np.abs(self.fit.whole.array).max()) or 1.0
        allowed = self.fit.allowance * scale
        gap = np.abs(now - before)
        return np.asarray((gap > allowed).any(axis=(0, 1, *range(3, gap.ndim))))

    def changed_by_model(self, chunk: int, signal: torch.Tensor) -> Array:
        """Which samples of the whole are others, where that chunk's output is."""
        place = self.fit.channel.place
        now = arranged(self.stage.on_the_whole(signal)[place][1], self.fit.channel.dim)
        changed = self.fitting.changed(self.fit.whole, now)
        first, last = (n - self.fit.delay for n in self.range_of(chunk))
        return changed[max(0, first) : max(0, last)]

    def range_of(self, chunk: int) -> tuple[int, int]:
        """The samples that a chunk gave, in all that came."""
        cuts = [c + self.fit.delay for c in self.fit.cuts]
        last = cuts[chunk + 1] if chunk + 1 < len(cuts) else self.fit.came.array.shape[2]
        return cuts[chunk], last

    def known_by_step(self, chunk: int) -> Known:
        """What a chunk of the step knows."""
        return self._known(chunk, lambda a, b: self.changes(chunk, a, b))

    def known_by_model(self, chunk: int) -> Known:
        """What the model knows at the same samples."""
        return self._known(
            chunk, lambda a, b: bool(self.changed_by_model(chunk, self.with_other(a, b)).any())
        )

    def _known(self, chunk: int, changes: Callable[[int, int], bool]) -> Known:
        cut = int(self.starts[chunk])
        if not changes(0, cut):
            return Known(nearest=0, farthest=0)
        nearest = _least(lambda m: changes(cut - m, cut), 1, cut)
        farthest = cut - _least(lambda m: changes(0, m), 1, cut) + 1
        return Known(nearest=nearest, farthest=farthest)

    def peeks(self, chunk: int) -> bool:
        """Whether outputs depend on later samples of the chunk that the model does not see.

        Those count that stand before what is changed: the others see it, each in its way.
        """
        start, stop = int(self.starts[chunk]), int(self.starts[chunk + 1])
        half = start + (stop - start + 1) // 2
        signal = self.with_other(half, stop)
        mine = self.changed_by_step(chunk, signal)
        models = self.changed_by_model(chunk, signal)
        ratio = self.fit.whole.array.shape[2] / self.stage.length
        before = int(half * ratio) - self.range_of(chunk)[0] + self.fit.delay
        shared = min(len(mine), len(models), max(0, before))
        return bool(shared and (mine[:shared] & ~models[:shared]).any())

    def grows_with_the_signal(self) -> bool:
        """Whether the error of a signal that is somewhat louder is the same, somewhat larger.

        That of rounding to fewer digits is another one, as other digits are lost.
        """
        main = self.stage.inputs.main.tensor
        if not main.is_floating_point():
            return False
        channel = self.fit.channel
        streamed = self.stage.stream(self.lengths, main.detach() * LOUDER)
        if streamed.error is not None:
            return False
        whole = arranged(
            self.stage.on_the_whole(main.detach() * LOUDER)[channel.place][1], channel.dim
        )
        came = arranged(streamed.whole(channel), channel.dim)
        count, delay = self.fit.count, self.fit.delay
        errors = [
            (b.array[:, :, delay : delay + count] - a.array[:, :, :count])
            .astype(np.float64)
            .ravel()
            for a, b in ((self.fit.whole, self.fit.came), (whole, came))
        ]
        if errors[0].size != errors[1].size:
            return False
        sizes = [float(np.linalg.norm(e)) for e in errors]
        return float(errors[0] @ errors[1]) > ALIKE * sizes[0] * sizes[1] > 0

    def mixes_the_batch(self, chunk: int) -> bool:
        """Whether the first element of a batch depends on the others, and not so in the model."""
        main = self.stage.inputs.main.tensor
        if main.shape[0] < 2:
            return False
        signal = main.detach().clone()
        signal[1:] = self.other[1:]
        mine = self._first_changed(chunk, signal)
        place = self.fit.channel.place
        now = arranged(self.stage.on_the_whole(signal)[place][1], self.fit.channel.dim)
        return mine and np.array_equal(now.array[:1], self.fit.whole.array[:1])

    def _first_changed(self, chunk: int, signal: torch.Tensor) -> bool:
        streamed = self.stage.stream(self.lengths[: chunk + 1], signal, ends=False)
        came = arranged(streamed.whole(self.fit.channel), self.fit.channel.dim).array
        shared = min(came.shape[2], self.fit.came.array.shape[2])
        return not np.array_equal(came[:1, :, :shared], self.fit.came.array[:1, :, :shared])


def _least(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The least number for which something holds that holds for all larger ones."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
