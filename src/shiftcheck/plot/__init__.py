"""Figures of reports and feature maps with matplotlib; what is drawn was computed before.

Every function draws into ``ax``, or into a new figure, and returns the axes it drew into. It needs
no display: ``ax.figure.savefig("file.png")`` writes the figure.
"""

from shiftcheck.plot.bars import layers
from shiftcheck.plot.edge_curves import effective_halo
from shiftcheck.plot.fields import receptive_field
from shiftcheck.plot.kernels import impulse_response
from shiftcheck.plot.maps import feature_maps
from shiftcheck.plot.over_shifts import shifts
from shiftcheck.plot.seams import tiled_difference

__all__ = [
    "effective_halo",
    "feature_maps",
    "impulse_response",
    "layers",
    "receptive_field",
    "shifts",
    "tiled_difference",
]
