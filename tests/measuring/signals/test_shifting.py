"""The shift operator against loops over single pixels."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftcheck.errors import InputError
from shiftcheck.measuring.signals.shifting import fresh_shift, fresh_shifts, shift

CASES = [
    ((7,), (2,)),
    ((7,), (-3,)),
    ((5, 8), (1, -3)),
    ((5, 8), (-2, 4)),
    ((5, 8), (0, 5)),
    ((3, 4, 6), (1, -2, 4)),
    ((3, 4, 6), (-2, 3, 0)),
]


def numbered(*shape, start=1):
    """A signal whose values are all different."""
    return np.arange(start, start + np.prod(shape)).reshape(shape)


def looked_up(signal, place, fill):
    """The value of a signal at one place, inside or outside."""
    inside = []
    for p, size in zip(place, signal.shape, strict=True):
        if fill == "zeros" and not 0 <= p < size:
            return 0
        if fill == "circular":
            while p < 0:
                p += size
            while p >= size:
                p -= size
        if fill == "replicate":
            p = 0 if p < 0 else size - 1 if p >= size else p
        if fill == "reflect":
            if p < 0:
                p = -p
            if p >= size:
                p = size - 1 - (p - (size - 1))
        inside.append(p)
    return signal[tuple(inside)]


def by_pixels(signal, offset, fill):
    """(S_v f)(p) = f(p - v), written down place by place."""
    out = np.zeros_like(signal)
    for place in product(*map(range, signal.shape)):
        source = [p - v for p, v in zip(place, offset, strict=True)]
        out[place] = looked_up(signal, source, fill)
    return out


@pytest.mark.parametrize("fill", ["circular", "zeros", "reflect", "replicate"])
@pytest.mark.parametrize(("sizes", "offset"), CASES)
def test_each_fill_puts_each_pixel_where_the_loop_does(sizes, offset, fill):
    signal = numbered(*sizes)
    expected = by_pixels(signal, offset, fill)
    np.testing.assert_array_equal(shift(signal, offset, fill=fill), expected)
    batch = torch.as_tensor(np.stack([signal, 100 + signal]))[:, None]
    moved = shift(batch, offset, fill=fill)
    np.testing.assert_array_equal(moved[0, 0].numpy(), expected)
    np.testing.assert_array_equal(moved[1, 0].numpy(), by_pixels(100 + signal, offset, fill))


def test_a_positive_offset_moves_content_down_and_to_the_right():
    signal = np.zeros((5, 8), dtype=np.int64)
    signal[1, 2] = 9
    assert shift(signal, (2, 3))[3, 5] == 9
    assert shift(signal, (-1, 4))[0, 6] == 9


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
@pytest.mark.parametrize("v", [3, -3])
def test_what_enters_is_what_the_padding_of_torch_makes(mode, v):
    x = torch.randn(1, 2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pad = (v, 0) if v > 0 else (0, -v)
    padded = torch.nn.functional.pad(x, pad, mode=mode)
    expected = padded[..., :7] if v > 0 else padded[..., -7:]
    torch.testing.assert_close(shift(x, (v,), fill=mode), expected, rtol=0, atol=0)


offsets = st.tuples(st.integers(-12, 12), st.integers(-12, 12))


@settings(max_examples=60, deadline=None)
@given(offsets, offsets)
def test_on_the_circle_shifts_form_a_group(u, v):
    signal = numbered(4, 7)
    together = (u[0] + v[0], u[1] + v[1])
    np.testing.assert_array_equal(shift(shift(signal, u), v), shift(signal, together))
    back = (-u[0], -u[1])
    np.testing.assert_array_equal(shift(shift(signal, u), back), signal)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(-4, 4), st.integers(-7, 7)))
def test_there_and_back_under_zeros_keeps_what_stayed_inside(v):
    signal = numbered(4, 7)
    back = shift(shift(signal, v, fill="zeros"), (-v[0], -v[1]), fill="zeros")
    for place in product(range(4), range(7)):
        stayed = 0 <= place[0] + v[0] < 4 and 0 <= place[1] + v[1] < 7
        assert back[place] == (signal[place] if stayed else 0)


def test_channels_last_and_negative_or_unordered_dims():
    signal = numbered(4, 6)
    image = np.stack([signal, -signal], axis=-1)[None]
    expected = by_pixels(signal, (1, -2), "zeros")
    for dims, offset in [((1, 2), (1, -2)), ((-3, -2), (1, -2)), ((2, 1), (-2, 1))]:
        moved = shift(image, offset, fill="zeros", spatial_dims=dims)
        np.testing.assert_array_equal(moved[0, ..., 0], expected)
        np.testing.assert_array_equal(moved[0, ..., 1], -expected)


def fresh_places(shape, offset):
    """Places of a fresh shift that hold what came from outside."""
    for place in product(*map(range, shape)):
        sources = [p - v for p, v in zip(place, offset, strict=True)]
        if any(not 0 <= s < n for s, n in zip(sources, shape, strict=True)):
            yield place


@pytest.mark.parametrize(("sizes", "offset"), [*CASES, ((1, 2), (0, 1)), ((6,), (6,))])
@pytest.mark.parametrize("seed", range(5))
def test_fresh_content_is_the_signals_own_and_never_the_rolled_rest(sizes, offset, seed):
    signal = numbered(*sizes)
    moved = shift(signal, offset, fill="fresh", seed=seed)
    rolled = by_pixels(signal, offset, "circular")
    outside = set(fresh_places(sizes, offset))
    for place in product(*map(range, sizes)):
        assert moved[place] in signal
        assert (moved[place] != rolled[place]) == (place in outside)


def test_fresh_content_stays_in_its_batch_element_and_channel():
    x = torch.as_tensor(numbered(2, 3, 5, 6))
    moved = shift(x, (2, -1), fill="fresh")
    for b, c in product(range(2), range(3)):
        assert set(moved[b, c].flatten().tolist()) <= set(x[b, c].flatten().tolist())


def test_fresh_content_is_seeded_and_draws_from_everywhere():
    signal = numbered(4, 50)
    one = shift(signal, (0, 25), fill="fresh", seed=1)
    np.testing.assert_array_equal(one, shift(signal, (0, 25), fill="fresh", seed=1))
    other = shift(signal, (0, 25), fill="fresh", seed=2)
    assert (one[:, :25] != other[:, :25]).mean() > 0.9
    assert len(np.unique(one[:, :25])) > 50


def test_fresh_shift_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    shift(torch.arange(9), (3,), fill="fresh")
    assert torch.equal(before, torch.get_rng_state())


def test_fresh_shift_of_one_axis_brings_in_other_rows():
    x = torch.as_tensor(numbered(1, 1, 6, 4))
    for seed in range(20):
        moved = fresh_shift(x, (1,), (2,), torch.Generator().manual_seed(seed))
        assert torch.equal(moved[:, :, 1:], x[:, :, :-1])
        assert not torch.equal(moved[:, :, 0], x[:, :, -1])


DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
]  # fmt: skip
FILLS = ["circular", "zeros", "reflect", "replicate", "fresh"]


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_dtype_of_torch_is_kept(dtype, fill):
    x = (torch.arange(12).reshape(3, 4) % 5).to(dtype)
    moved = shift(x, (1, -2), fill=fill)
    assert moved.dtype == dtype
    assert moved.shape == x.shape
    assert torch.equal(moved[1:, :2], x[:-1, 2:])


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "i4", "u8", "f2", "f8", "c16", "O"])
def test_any_dtype_of_numpy_is_kept(dtype, fill):
    x = (np.arange(12).reshape(3, 4) % 5).astype(dtype)
    moved = shift(x, (1, -2), fill=fill)
    assert isinstance(moved, np.ndarray)
    assert moved.dtype == x.dtype
    np.testing.assert_array_equal(moved[1:, :2], x[:-1, 2:])


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("offset", [(0, 0), (1, -2)])
def test_the_input_is_untouched_and_the_result_is_no_view(fill, offset):
    x = torch.randn(2, 3, 4, 5)
    kept = x.clone()
    moved = shift(x, offset, fill=fill)
    moved.fill_(7)
    assert torch.equal(x, kept)
    array = numbered(4, 5)
    shift(array, offset, fill=fill)[:] = 0
    np.testing.assert_array_equal(array, numbered(4, 5))


@pytest.mark.parametrize("fill", FILLS)
def test_the_memory_format_is_kept(fill):
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    moved = shift(x, (1, 1), fill=fill)
    assert moved.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("fill", FILLS)
def test_gradients_pass(fill):
    x = torch.randn(1, 1, 4, 5, requires_grad=True)
    shift(x, (1, 1), fill=fill).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize(
    "offset", [(np.int64(1), np.int32(-2)), (1.0, -2.0), torch.tensor([1, -2])]
)
def test_whole_numbers_of_any_type_do(offset):
    signal = numbered(4, 6)
    np.testing.assert_array_equal(shift(signal, offset), shift(signal, (1, -2)))


def test_a_circle_may_turn_more_than_once_and_the_rest_by_its_size_at_most():
    signal = numbered(4)
    np.testing.assert_array_equal(shift(signal, (9,)), shift(signal, (1,)))
    np.testing.assert_array_equal(shift(signal, (4,), fill="zeros"), [0, 0, 0, 0])
    np.testing.assert_array_equal(shift(signal, (-4,), fill="replicate"), [4, 4, 4, 4])
    np.testing.assert_array_equal(shift(signal, (3,), fill="reflect"), [4, 3, 2, 1])


X = np.zeros((2, 3, 4))


@pytest.mark.parametrize(
    ("x", "offset", "options", "message"),
    [
        ([1, 2], (1,), {}, r"x is a list: give a torch\.Tensor or a NumPy array"),
        (np.zeros((2, 0)), (1,), {}, r"x has shape \(2, 0\), which holds no values"),
        (X, 1, {}, r"offset=1 is not a sequence: write \(1,\)"),
        (X, (), {}, r"offset=\(\) has 0 entries: give one, two or three"),
        (X, (1, 1, 1, 1), {}, "has 4 entries: give one, two or three"),
        (np.zeros(5), (1, 1), {}, r"offset=\(1, 1\) has 2 entries, but x of shape \(5,\)"),
        (X, (1, float("nan")), {}, "holds nan, which is no number of pixels"),
        (X, (1, "a"), {}, "holds 'a', which is no number of pixels"),
        (X, (1, None), {}, "holds None, which is no number of pixels"),
        (X, (5,), {"fill": "zeros"}, r"dimension 2, which has 4 samples, by 5.*at most 4"),
        (X, (-5,), {"fill": "fresh"}, r"by -5: with fill='fresh' use at most 4"),
        (X, (0, 4), {"fill": "reflect"}, r"by 4: with fill='reflect' use at most 3"),
        (X, (1,), {"fill": "wrap"}, "fill='wrap' is unknown: use one of 'circular', 'zeros', "),
        (X, (1,), {"spatial_dims": (0, 1)}, r"1 entries, but spatial_dims=\(0, 1\) has 2"),
        (X, (1, 1), {"spatial_dims": (1, -2)}, r"spatial_dims=\(1, -2\) repeats a dimension"),
        (X, (1,), {"spatial_dims": (3,)}, "whole numbers from -3 to 2"),
        (X, (1,), {"spatial_dims": (1.0,)}, "whole numbers from -3 to 2"),
    ],
)
def test_errors_name_the_argument_its_value_and_the_remedy(x, offset, options, message):
    with pytest.raises(InputError, match=message):
        shift(x, offset, **options)


@pytest.mark.parametrize("dims", [(2, 3), (3, 1)])
def test_many_fresh_shifts_are_the_single_ones(dims: tuple[int, int]) -> None:
    x = torch.arange(2 * 5 * 6 * 7.0).reshape(2, 5, 6, 7)
    offsets = [(0, 0), (2, -1), (-3, 0), (0, 4)]
    many = fresh_shifts(x, offsets, dims, [3, 1, 4, 1])
    for found, offset, seed in zip(many, offsets, [3, 1, 4, 1], strict=True):
        one = fresh_shift(x, offset, dims, torch.Generator().manual_seed(seed))
        assert torch.equal(found, one)
