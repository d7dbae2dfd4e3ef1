"""Figures, drawn from the tie map; they take and return Axes or a Figure, and none is shown."""

from convdense.plots.density import density
from convdense.plots.small import gradient, mask, matrix, tied
from convdense.plots.steps import gradient_steps

__all__ = ["density", "gradient", "gradient_steps", "mask", "matrix", "tied"]
