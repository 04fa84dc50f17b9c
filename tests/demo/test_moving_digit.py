"""The moving digit: what the frames hold, and that page and GIF show just that."""

from __future__ import annotations

import itertools
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")
pytest.importorskip("safetensors")
Image = pytest.importorskip("PIL.Image")

from shiftcheck.datasets import digits, embed, standardise  # noqa: E402
from shiftcheck.demo.film import write_gif, write_page  # noqa: E402
from shiftcheck.demo.moving_digit import Film, moving_digit, path  # noqa: E402
from shiftcheck.errors import MissingExtraError  # noqa: E402
from shiftcheck.models import lenet  # noqa: E402


@pytest.fixture(scope="module")
def film() -> Film:
    return moving_digit(3)


def test_the_convolution_moves_exactly_the_pool_at_even_shifts_the_perceptron_never(
    film: Film,
) -> None:
    conv4, pool, perceptron = film.tracks
    for i, (m, n) in enumerate(film.shifts):
        assert conv4.error(i) < 1e-6
        assert (pool.error(i) < 1e-6) == (m % 2 == n % 2 == 0)
        assert (perceptron.error(i) < 1e-6) == (m == n == 0)


def test_the_maps_are_those_of_the_network(film: Film) -> None:
    images, _ = digits()
    canvas = standardise(embed(images, (38, 38)))[3:4]
    net = lenet(pretrained=True).eval()
    i = film.shifts.index((-3, 4))
    moved = torch.roll(canvas, (-3, 4), (2, 3))  # its margin is empty
    kept: list[torch.Tensor] = []
    net.conv4.register_forward_hook(lambda _, __, y: kept.append(y))
    with torch.no_grad(), pytest.raises(RuntimeError):
        net(torch.cat([moved] * 7))  # the classifier takes no such size
    conv4 = film.tracks[0]
    np.testing.assert_allclose(conv4.maps[i].found, kept[0][0].double(), atol=1e-4)
    np.testing.assert_allclose(conv4.maps[i].shifted_signal, moved[0].double(), atol=1e-6)
    # the outline: 22 samples, moved up by 3 and to the right by 4
    assert conv4.maps[i].valid == (((0, 19),), ((4, 22),))


def test_clusters_are_in_the_order_of_the_activations(film: Film) -> None:
    for track in film.tracks:
        values = np.concatenate([m.found[track.channel].ravel() for m in track.maps])
        labels = np.concatenate([c.ravel() for c in track.clusters])
        order = np.argsort(values)
        assert (np.diff(labels[order]) >= 0).all()
        assert set(labels) <= set(range(8))


def test_the_path_goes_pixel_by_pixel_and_comes_back() -> None:
    steps = path()
    assert steps[0] == steps[-1] == (0, 0)
    for (a, b), (c, d) in itertools.pairwise(steps):
        assert abs(a - c) + abs(b - d) in (0, 1)
    assert {max(abs(m), abs(n)) for m, n in steps} == set(range(6))


def test_the_gif_has_a_frame_for_each_step(film: Film, tmp_path: Path) -> None:
    write_gif(film, tmp_path / "film.gif", shifts=[(0, 0), (0, 1), (2, 2)])
    with Image.open(tmp_path / "film.gif") as picture:
        assert picture.n_frames == 3
        assert picture.is_animated


def test_the_page_holds_the_numbers_of_the_film(film: Film, tmp_path: Path) -> None:
    write_page(film, tmp_path / "film.html")
    text = (tmp_path / "film.html").read_text("utf-8")
    assert len(text) < 6_000_000
    assert not re.search(r"(src|href)=.https?:", text)
    found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    said = data["tracks"][1]["said"]
    assert said[film.shifts.index((2, -4))] == "exact"
    assert re.fullmatch(r"off by \d+%", said[film.shifts.index((1, 0))])
    top, left, height, width = data["tracks"][0]["outlines"][film.shifts.index((-3, 4))]
    assert (top, left) == pytest.approx((0, 400 / 22), abs=0.01)
    assert (height, width) == pytest.approx((1900 / 22, 1800 / 22), abs=0.01)
    assert text.count("data:image/png;base64,") == 9


def test_without_the_extras_the_pip_line_is_named(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'torch-shiftcheck\[demo\]'"):
        moving_digit(0)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'torch-shiftcheck\[demo\]'"):
        write_page(film, tmp_path / "film.html")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'torch-shiftcheck\[demo\]'"):
        write_gif(film, tmp_path / "film.gif")
