"""What accepted sizes are good for, from what was seen at those of one period."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction

from shiftcheck.lattice.accepted import Ask, Found, Seen, Standing
from shiftcheck.lattice.outlook import Stretch
from shiftcheck.report.sizes import SizeSet


def even_sizes(found: Found) -> SizeSet:
    """The sizes at which each layer with a stride reaches as far beyond one edge as the other.

    Where a layer does so at none, as a causal one, those at which it reaches as far as it ever
    does: then its windows end where its padding does.
    """
    ranges: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for seen in found.seen.values():
        for name, layer in seen.layers.items():
            if _strides(layer) and layer.edges is not None:
                ranges[name].append(layer.edges)
    level = {name for name, edges in ranges.items() if any(a == b for a, b in edges)}
    farthest = {name: max(b for _, b in edges) for name, edges in ranges.items()}

    def even(seen: Seen) -> bool:
        for name, layer in seen.layers.items():
            if not _strides(layer) or layer.edges is None:
                continue
            left, right = layer.edges
            if right != (left if name in level else farthest[name]):
                return False
        return True

    return found.such([n for n, seen in found.taken.items() if even(seen)])


def _strides(layer: Standing) -> bool:
    """Whether samples stand more than a pixel apart, all of one kind."""
    return abs(layer.stride) > 1 and layer.lattice == abs(layer.stride)


def closed_sizes(found: Found) -> SizeSet:
    """The sizes at which a circle holds a whole number of samples of every layer."""
    return found.such([n for n, seen in found.taken.items() if seen.closed])


def valid_sizes(found: Found, ask: Ask) -> SizeSet | None:
    """The sizes that leave a valid sample in every output; None where none has the axis."""
    return _leaving(found, ask, lambda stretch: 1, works=False)


def comparable_sizes(found: Found, ask: Ask) -> SizeSet | None:
    """The sizes that leave enough for a comparison; None where no output has the axis."""
    return _leaving(found, ask, lambda stretch: stretch.enough, works=True)


def _leaving(
    found: Found, ask: Ask, enough: Callable[[Stretch], int | None], *, works: bool
) -> SizeSet | None:
    """The sizes that leave ``enough`` valid samples, as far as it follows from those seen.

    Where the smallest of them does not, all of the smallest are looked at. None where the strides
    depend on the size, as those of a resize to a fixed one: then nothing follows for other sizes.
    """
    if not any(seen.stretches or seen.lost for seen in found.taken.values()):
        return None
    if found.finite:
        return SizeSet(others=tuple(n for n, s in found.taken.items() if _leaves(s, enough, works)))
    if _strides_vary(found, ask):
        return None
    firsts = {n % found.period: n for n in found.starts}
    starts = []
    for n, seen in found.taken.items():
        first = firsts.get(n % found.period)
        if first is None or not _leaves(seen, enough, works):
            continue
        periods = min(_spare(s, enough(s) or 0, found.period) for s in seen.stretches)
        starts.append(max(first, n - periods * found.period))

    def leaves(size: int) -> bool:
        return size in found.seen or _leaves(ask(size), enough, works)

    if starts and not leaves(min(starts)):
        near = [(n, n + found.period, n + 2 * found.period) for n in starts]
        starts = [n for n in (next(filter(leaves, sizes), None) for sizes in near) if n is not None]
    return SizeSet(
        step=found.period, starts=tuple(sorted(starts)), most=found.accepted.most
    ).simplest()


def _strides_vary(found: Found, ask: Ask) -> bool:
    """Whether the strides of the outputs are others a period away."""
    n, seen = max(found.taken.items(), key=lambda pair: pair[0])
    other = ask(n + found.period)
    return bool(other.stretches and seen.stretches) and [s.stride for s in seen.stretches] != [
        s.stride for s in other.stretches
    ]


def _leaves(seen: Seen, enough: Callable[[Stretch], int | None], works: bool) -> bool:
    if seen.lost or not seen.stretches:
        return False
    for stretch in seen.stretches:
        needed = enough(stretch)
        if needed is None or stretch.count < needed or (works and not stretch.works):
            return False
    return True


def _spare(stretch: Stretch, needed: int, period: int) -> int:
    """By how many periods a size can be smaller so that the valid samples still are enough."""
    return int((stretch.count - needed) // (Fraction(period) / abs(stretch.stride)))
