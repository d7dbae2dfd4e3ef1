"""Figures, drawn from the tie map; they take and return Axes or a Figure, and none is shown."""

from convdense.plots.anatomy import anatomy
from convdense.plots.animation import animate
from convdense.plots.density import density
from convdense.plots.differences import difference
from convdense.plots.frame import frame
from convdense.plots.networks import network
from convdense.plots.pooling import pooling
from convdense.plots.small import gradient, mask, matrix, tied
from convdense.plots.steps import gradient_steps

__all__ = [
    "anatomy",
    "animate",
    "density",
    "difference",
    "frame",
    "gradient",
    "gradient_steps",
    "mask",
    "matrix",
    "network",
    "pooling",
    "tied",
]
