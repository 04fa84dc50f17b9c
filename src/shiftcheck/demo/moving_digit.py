"""A digit that moves over a canvas, and what three networks make of it: the frames as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from shiftcheck.checks.figures.feature_maps import FeatureMaps, Values, feature_maps
from shiftcheck.errors import MissingExtraError
from shiftcheck.models import lenet, mlp
from shiftcheck.models.digit_images import digits, embed, standardise

CANVAS = (38, 38)
CLUSTERS = 8
REACH = 5
CORNERS = ((0, 0), (0, REACH), (REACH, REACH), (REACH, -REACH), (-REACH, -REACH), (-REACH, REACH))

Shift = tuple[int, int]
Labels = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """One layer over all frames; ``maps`` in the order of the shifts of the film.

    ``channel``: the one that is shown, which varies most. ``clusters``: for each frame the cluster
    of each activation, by rising centre. ``scale``: the largest magnitude of the channel.
    """

    title: str
    told: str
    maps: tuple[FeatureMaps, ...]
    channel: int
    clusters: tuple[Labels, ...]
    scale: float

    def error(self, frame: int) -> float:
        """The largest difference on the samples that are compared, over the scale."""
        maps = self.maps[frame]
        inside = maps.difference[self.channel][np.ix_(*map(_places, maps.valid))]
        return float(np.abs(inside).max() / self.scale) if inside.size else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Film:
    """The shifts of a digit, all of ``[-5, 5]^2``, and the tracks of three layers under them."""

    shifts: tuple[Shift, ...]
    tracks: tuple[Track, ...]


def _places(runs: Sequence[tuple[int, int]]) -> Labels:
    return np.concatenate([np.arange(*run) for run in runs]) if runs else np.arange(0)


LAYERS = (
    ("conv4", "LeNet, fourth convolution", "moves with the digit, exactly"),
    ("max_pool2d", "its max-pool, stride 2", "moves exactly at even shifts, and not at odd ones"),
    ("reshape_1", "perceptron, image to image", "does not know that the digit moved"),
)


def moving_digit(digit: int = 0) -> Film:
    """The film of one of the fifty shipped digits.

    A convolutional layer, a pooled one with its stride of two, and a perceptron from image to
    image. A pooled map is moved by half a sample where the shift asks for it.

    Raises MissingExtraError where scikit-learn or the weights' reader is not installed.
    """
    images, _ = digits()
    canvas, small = standardise(embed(images, CANVAS)), standardise(images)
    shifts = tuple((m, n) for m in range(-REACH, REACH + 1) for n in range(-REACH, REACH + 1))
    inputs: list[tuple[torch.nn.Module, torch.Tensor]] = [(lenet(pretrained=True), canvas)] * 2
    inputs.append((mlp(pretrained=True), small))
    tracks = tuple(
        _track(model, x, digit, shifts, *layer)
        for (model, x), layer in zip(inputs, LAYERS, strict=True)
    )
    return Film(shifts=shifts, tracks=tracks)


def path() -> tuple[Shift, ...]:
    """The shifts of one round: from the middle to the edge, around, and back, pixel by pixel."""
    stops = (*CORNERS, CORNERS[1], CORNERS[0])
    places = [stops[0]]
    for start, stop in pairwise(stops):
        steps = max(abs(b - a) for a, b in zip(start, stop, strict=True))
        for k in range(1, steps + 1):
            m, n = (a + (b - a) * k // steps for a, b in zip(start, stop, strict=True))
            places.append((m, n))
    return tuple(places)


def _track(
    model: torch.nn.Module,
    x: torch.Tensor,
    digit: int,
    shifts: Sequence[Shift],
    layer: str,
    title: str,
    told: str,
) -> Track:
    one = x[digit : digit + 1]
    maps = feature_maps(model, one, shifts, layer, fill="replicate", between=True)
    base = maps[0].base
    channel = int(np.argmax(base.reshape(len(base), -1).std(1)))
    (batch,) = feature_maps(model, x, [(0, 0)], layer, elements=len(x), between=True)
    values = batch.base.reshape(len(x), len(base), *base.shape[1:])[:, channel]
    return Track(
        title=title,
        told=told,
        maps=maps,
        channel=channel,
        clusters=_clusters(values, [m.found[channel] for m in maps]),
        scale=float(np.abs(base[channel]).max()),
    )


def _clusters(batch: Values, frames: Sequence[Values]) -> tuple[Labels, ...]:
    """The cluster of each activation, of k-means over the single activations of a batch."""
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise MissingExtraError(
            "the film needs scikit-learn: install it with pip install 'torch-shiftcheck[demo]'"
        ) from error
    fitted = KMeans(n_clusters=CLUSTERS, n_init=4, random_state=0).fit(batch.reshape(-1, 1))
    rank = np.empty(CLUSTERS, dtype=np.intp)
    rank[np.argsort(fitted.cluster_centers_[:, 0])] = np.arange(CLUSTERS)
    return tuple(rank[fitted.predict(f.reshape(-1, 1))].reshape(f.shape) for f in frames)
