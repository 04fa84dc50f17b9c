"""The smallest size that works, by a few looks, against trying every one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shiftcheck.lattice.axis import Axis, globalise, input_axis, resample, window
from shiftcheck.lattice.outlook import Outlook, compares, outlook, stretch_of
from shiftcheck.lattice.shares import fewest, is_fair
from shiftcheck.lattice.sizes import Smallest, smallest_below, smallest_sizes

Layers = tuple[tuple[int, int, int], ...]
Accepts = Callable[[int], bool]
CASES: dict[str, Layers] = {  # kernel, stride, padding
    "one convolution": ((3, 1, 1),),
    "a large one": ((41, 1, 20),),
    "strides": ((3, 2, 1), (3, 2, 1), (3, 2, 1), (5, 1, 2)),
    "not padded": ((4, 3, 0), (4, 2, 0), (3, 1, 0)),
    "thirds and halves": ((3, 3, 0), (2, 2, 1), (7, 1, 3)),
    "much padding": ((2, 1, 9), (5, 4, 8)),
}
LIMIT = 4096


def axis_at(layers: Layers, size: int) -> Axis | None:
    axis = input_axis(size, circular=False)
    for kernel, stride, padding in layers:
        size = (size + 2 * padding - kernel) // stride + 1
        if size < 1:
            return None
        axis = resample(axis, window(stride, range(-padding, kernel - padding)), size)
    return axis


def unit_of(layers: Layers) -> int:
    unit = 1
    for _, stride, _ in layers:
        unit *= stride
    return unit


def search(
    layers: Layers, given: tuple[int, ...], accepts: Accepts = lambda n: True, unit: int = 0
) -> tuple[Smallest | None, int]:
    """The answer, and how many looks it took."""
    looks: list[tuple[int, ...]] = []

    def look(sizes: tuple[int, ...]) -> list[Outlook | None] | None:
        looks.append(sizes)
        axes = [axis_at(layers, n) for n in sizes]
        if None in axes or not all(accepts(n) for n in sizes):
            return None
        return [outlook([stretch_of(axis, unit or unit_of(layers))]) for axis in axes]

    answer = smallest_sizes(look, given, range(len(given)), LIMIT)
    assert len(set(looks)) == len(looks)
    return answer, len(looks)


def works(layers: Layers, size: int) -> bool:
    axis, unit = axis_at(layers, size), unit_of(layers)
    return axis is not None and unit < size and compares(axis, unit)


def smallest_of_all(layers: Layers, accepts: Accepts = lambda n: True) -> int:
    return next(n for n in range(1, LIMIT) if accepts(n) and works(layers, n))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("given", [1, 2, 3, 5, 7, 8, 12, 16, 20, 31, 32, 40])
def test_it_is_that_of_trying_every_one(case: str, given: int) -> None:
    layers = CASES[case]
    least = max(smallest_of_all(layers), given if works(layers, given) else 0)
    answer, looks = search(layers, (given,))
    assert answer == Smallest(sizes=(least,), steps=(1,))
    assert looks <= 5


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("step", [2, 6, 8, 16, 64])
def test_where_only_multiples_are_accepted(case: str, step: int) -> None:
    def accepts(n: int) -> bool:
        return n % step == 0

    layers = CASES[case]
    least = smallest_of_all(layers, accepts)
    answer, looks = search(layers, (step,), accepts)
    if answer is not None and answer.sizes != (step,):
        assert answer.steps[0] % step == 0 or answer.steps == (0,)
        assert works(layers, answer.sizes[0])
        if unit_of(layers) % step == 0:
            assert answer == Smallest(sizes=(least,), steps=(step,))
    assert looks <= 12


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("given", [64, 65, 100, 256, 1001])
def test_from_a_size_that_works_it_is_that_of_trying_every_one(case: str, given: int) -> None:
    layers = CASES[case]

    def look(sizes: tuple[int, ...]) -> list[Outlook | None] | None:
        axis = axis_at(layers, sizes[0])
        return None if axis is None else [outlook([stretch_of(axis, unit_of(layers))])]

    answer = smallest_below(look, (given,))
    if works(layers, given):
        assert answer == Smallest(sizes=(smallest_of_all(layers),), steps=(1,))
    else:
        assert answer is None


def test_a_few_tiny_sizes_at_which_samples_stand_otherwise_are_passed_over() -> None:
    layers = ((3, 3, 0),)

    def look(sizes: tuple[int, ...], odd: int) -> list[Outlook | None] | None:
        axis = axis_at(layers, sizes[0]) if sizes[0] % 3 == 0 else None
        if axis is None:
            return None
        return [None if sizes[0] < odd else outlook([stretch_of(axis, 3)])]

    assert smallest_below(lambda n: look(n, 0), (66,)) == Smallest(sizes=(9,), steps=(3,))
    assert smallest_below(lambda n: look(n, 18), (66,)) == Smallest(sizes=(18,), steps=(3,))
    assert smallest_below(lambda n: look(n, 60), (66,)) is None
    assert smallest_below(lambda n: None, (66,)) is None


def test_several_axes_are_searched_at_once() -> None:
    layers = CASES["strides"]
    least = smallest_of_all(layers)
    answer, looks = search(layers, (9, 9, 9))
    assert answer == Smallest(sizes=(least,) * 3, steps=(1, 1, 1))
    assert looks <= 5
    answer, looks = search(layers, (9, least + 40, 16))
    assert answer == Smallest(sizes=(least, least + 40, least), steps=(1, 1, 1))
    assert looks <= 6


def test_a_size_that_the_weights_fix_is_given_up_at_once() -> None:
    answer, looks = search(CASES["a large one"], (32,), lambda n: n == 32)
    assert answer is None
    assert looks <= 3


def test_what_sees_all_of_an_axis_is_given_up_at_once() -> None:
    looks = []

    def look(sizes: tuple[int, ...]) -> list[Outlook | None]:
        looks.append(sizes)
        return [outlook([stretch_of(globalise(input_axis(sizes[0], circular=False)), 1)])]

    assert smallest_sizes(look, (16,), [0], LIMIT) is None
    assert looks == [(16,)]


def test_no_size_is_beyond_the_limit() -> None:
    def look(sizes: tuple[int, ...]) -> list[Outlook | None]:
        axis = axis_at(((201, 1, 100),), sizes[0])
        return [outlook([stretch_of(axis, 1)])]

    assert smallest_sizes(look, (8,), [0], 203) == Smallest(sizes=(203,), steps=(1,))
    assert smallest_sizes(look, (8,), [0], 202) is None


def test_a_shift_between_samples_is_possible_at_no_size() -> None:
    answer, looks = search(CASES["strides"], (9,), unit=4)
    assert answer is None
    assert looks <= 2


def test_where_sizes_have_laws_of_their_own_none_is_named() -> None:
    def look(sizes: tuple[int, ...]) -> list[Outlook | None]:  # always 64 samples
        axis = resample(input_axis(sizes[0], circular=False), window(sizes[0], [0]), 1)
        return [outlook([stretch_of(axis, sizes[0])])]

    assert smallest_sizes(look, (31,), [0], LIMIT) is None


def test_the_fewest_samples_are_fair_and_one_less_is_not() -> None:
    for steps in range(1, 200):
        least = fewest(steps)
        assert is_fair(least - steps, least)
        assert not is_fair(least - 1 - steps, least - 1)
