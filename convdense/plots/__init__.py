"""Figures, drawn from the tie map; they take and return Axes or a Figure, and none is shown."""

from convdense.plots.anatomy import anatomy
from convdense.plots.differences import difference
from convdense.plots.networks import network
from convdense.plots.pooling import pooling
from convdense.plots.small import gradient, mask, matrix, tied
from convdense.plots.steps import gradient_steps

__all__ = ["anatomy", "difference", "gradient", "gradient_steps", "mask", "matrix", "network", "pooling", "tied"]
