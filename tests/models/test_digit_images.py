"""The reader of IDX files takes what is right, and says what is wrong with the rest."""

import gzip
import math
import struct
from pathlib import Path

import pytest
import torch

from shiftcheck.datasets import digits, embed, mnist, read_idx, standardise
from shiftcheck.errors import InputError, ShiftcheckError

DATA = Path(__file__).parents[1] / "data"


def idx(*shape: int, kind: int = 0x08, values: bytes | None = None) -> bytes:
    """Return the bytes of an IDX file; by default it counts from 0 to 9 over and over."""
    if values is None:
        values = bytes(i % 10 for i in range(math.prod(shape)))
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + values


@pytest.fixture
def folder(tmp_path):
    """Hold a test split of 12 images; each case then spoils one file."""
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(12, 28, 28))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(12), mtime=0))
    return tmp_path


class TestReadIdx:
    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    def test_bytes_plain_or_gzipped(self, tmp_path, pack):
        path = tmp_path / "any-name"
        path.write_bytes(pack(idx(2, 3, 4)))
        expected = (torch.arange(24) % 10).to(torch.uint8).reshape(2, 3, 4)
        torch.testing.assert_close(read_idx(path), expected, rtol=0, atol=0)
        torch.testing.assert_close(read_idx(str(path)), expected, rtol=0, atol=0)

    @pytest.mark.parametrize(
        ("kind", "code", "dtype", "values"),
        [
            (0x09, "b", torch.int8, [-128, 0, 127]),
            (0x0B, "h", torch.int16, [-2, 0, 300]),
            (0x0C, "i", torch.int32, [-2, 0, 70_000]),
            (0x0D, "f", torch.float32, [-0.5, 0.0, 1e10]),
            (0x0E, "d", torch.float64, [-0.5, 0.0, 1e100]),
        ],
    )
    def test_other_types_stand_big_end_first(self, tmp_path, kind, code, dtype, values):
        path = tmp_path / "values"
        path.write_bytes(idx(3, kind=kind, values=struct.pack(f">3{code}", *values)))
        expected = torch.tensor(values, dtype=dtype)
        torch.testing.assert_close(read_idx(path), expected, rtol=0, atol=0)

    def test_result_can_be_written_to_and_an_empty_dimension_is_allowed(self, tmp_path):
        path = tmp_path / "values"
        path.write_bytes(idx(0, 28, 28))
        assert read_idx(path).shape == (0, 28, 28)
        path.write_bytes(idx(3))
        read_idx(path)[0] = 7

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "not an IDX file: it starts with nothing"),
            (b"\0\0\x08", "not an IDX file: it starts with 00 00 08"),
            (b"\x89PNG\r\n", "not an IDX file: it starts with 89 50 4e 47"),
            (idx(3, kind=0x0A), "not an IDX file: it starts with 00 00 0a 01"),
            (b"\0\0\x08\0", "not an IDX file: it starts with 00 00 08 00"),
            (idx(3, 4)[:9], "truncated: 2 dimensions need a header of 12 bytes, the file holds 9"),
            (idx(3, 4)[:-1], r"truncated: dimensions \[3, 4\] .* need 24 bytes .* holds 23"),
            (idx(3, 4) + b"x", r"too long: dimensions \[3, 4\] .* need 24 bytes .* holds 25"),
            (idx(3, kind=0x0C, values=bytes(11)), "of 4-byte values need 20 bytes .* holds 19"),
            (idx(*[2**32 - 1] * 4, values=b""), "truncated: dimensions"),
            (gzip.compress(idx(3, 4), mtime=0)[:-9], "truncated or damaged gzip file"),
            (
                gzip.compress(idx(3, 4), mtime=0)[:10] + b"\xff" * 20,
                "truncated or damaged gzip file",
            ),
            (gzip.compress(idx(3, 4), mtime=0)[:-8] + bytes(8), "cannot be read: CRC check failed"),
            (gzip.compress(idx(3, 4), mtime=0) + b"more", "cannot be read: Not a gzipped file"),
        ],
    )
    def test_damaged_file_names_its_path_and_what_is_wrong(self, tmp_path, content, message):
        path = tmp_path / "spoilt-idx3-ubyte"
        path.write_bytes(content)
        with pytest.raises(ShiftcheckError, match=message) as caught:
            read_idx(path)
        assert str(path) in str(caught.value)

    def test_missing_file(self, tmp_path):
        with pytest.raises(InputError, match=r"nowhere\.gz: no such file"):
            read_idx(tmp_path / "nowhere.gz")

    def test_folder_instead_of_a_file(self, tmp_path):
        with pytest.raises(InputError, match=r"cannot be read: .*[Dd]irectory"):
            read_idx(tmp_path)


class TestMnist:
    def test_the_ten_thousand_test_digits(self):
        images, labels = mnist(DATA, "test")
        assert images.shape == (10_000, 28, 28)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        assert labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        assert labels[:5].tolist() == [7, 2, 1, 0, 4]

    def test_files_may_be_gzipped_or_not(self, folder):
        images, labels = mnist(folder, "test")
        assert images.shape == (12, 28, 28)
        assert labels.tolist() == [*range(10), 0, 1]

    def test_train_is_the_default_split_and_has_its_own_files(self, folder):
        with pytest.raises(InputError, match=r"holds neither train-images-idx3-ubyte\.gz nor"):
            mnist(folder)

    def test_unknown_split(self, folder):
        with pytest.raises(InputError, match="'train' or 'test', not 'validation'"):
            mnist(folder, "validation")

    def test_missing_folder(self, tmp_path):
        with pytest.raises(InputError, match="nowhere: no such folder"):
            mnist(tmp_path / "nowhere", "test")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("images-idx3", idx(12, 784), r"uint8 images \[n, 28, 28\], found .* \[12, 784\]"),
            ("images-idx3", idx(12, 28, 29), r"found torch.uint8 \[12, 28, 29\]"),
            ("images-idx3", idx(12, 28, 28, kind=0x09), r"found torch.int8 \[12, 28, 28\]"),
            ("images-idx3", idx(0, 28, 28), "holds no image"),
            ("images-idx3", idx(11, 28, 28), "holds 12 labels for 11 images"),
            ("labels-idx1", idx(13), "holds 13 labels for 12 images"),
            ("labels-idx1", idx(12, 1), r"uint8 labels \[n\], found torch.uint8 \[12, 1\]"),
            ("labels-idx1", idx(12, kind=0x09), r"found torch.int8 \[12\]"),
            ("labels-idx1", idx(12, values=bytes([*range(11), 0])), "from 0 to 9, found 10"),
        ],
    )
    def test_content_that_is_not_mnist(self, folder, name, content, message):
        for suffix in ("", ".gz"):
            (folder / f"t10k-{name}-ubyte{suffix}").unlink(missing_ok=True)
        (folder / f"t10k-{name}-ubyte").write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            mnist(folder, "test")
        assert str(folder) in str(caught.value)


def test_digits_are_fifty_of_the_test_digits_five_of_each_class():
    images, labels = digits()
    assert images.shape == (50, 1, 28, 28)
    assert images.dtype == torch.float32
    assert images.amin() == 0
    assert images.amax() == 1
    assert labels.tolist() == [digit for digit in range(10) for _ in range(5)]
    whole, whole_labels = mnist(DATA, "test")
    for digit in range(10):
        mine = images[labels == digit][:, 0]
        assert torch.equal(mine, whole[whole_labels == digit][:5] / 255)


class TestStandardise:
    def test_training_statistics_become_zero_and_one(self):
        x = torch.tensor([0.1307, 0.1307 + 0.3081, 0.1307 - 2 * 0.3081], dtype=torch.float64)
        expected = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64)
        torch.testing.assert_close(standardise(x), expected)

    def test_bytes_are_refused_with_the_remedy(self):
        with pytest.raises(InputError, match=r"not torch.uint8: divide bytes by 255"):
            standardise(torch.zeros(1, 1, 28, 28, dtype=torch.uint8))


class TestEmbed:
    def test_default_canvas_leaves_five_pixels_on_each_side(self):
        images, _ = digits()
        canvas = embed(images)
        assert canvas.shape == (50, 1, 38, 38)
        assert torch.equal(canvas[..., 5:33, 5:33], images)
        assert canvas.count_nonzero() == images.count_nonzero()

    def test_odd_margins_and_unequal_sides(self):
        canvas = embed(torch.ones(2, 3, dtype=torch.uint8), canvas=(5, 4))
        expected = torch.zeros(5, 4, dtype=torch.uint8)
        expected[1:3, 0:3] = 1
        assert torch.equal(canvas, expected)

    def test_canvas_of_the_same_size_gives_a_copy(self):
        images = torch.ones(1, 2, 2)
        canvas = embed(images, canvas=(2, 2))
        canvas.zero_()
        assert images.sum() == 4

    @pytest.mark.parametrize("canvas", [(27, 40), (40, 27), (0, 40), (-1, 40)])
    def test_canvas_smaller_than_the_images(self, canvas):
        with pytest.raises(InputError, match=r"is smaller than the images, \(28, 28\)"):
            embed(torch.zeros(1, 1, 28, 28), canvas=canvas)

    @pytest.mark.parametrize("canvas", [(38,), (38, 38, 38), (38.0, 38), 38, True])
    def test_canvas_that_is_not_two_whole_numbers(self, canvas):
        with pytest.raises(InputError, match="two whole numbers"):
            embed(torch.zeros(1, 1, 28, 28), canvas=canvas)

    def test_images_without_two_dimensions(self):
        with pytest.raises(InputError, match=r"\[\.\.\., height, width\], not of shape \[28\]"):
            embed(torch.zeros(28))
