"""Figures, drawn from the tie map; they take and return Axes or a Figure, and none is shown."""

from convdense.plots.animation import animate
from convdense.plots.density import density
from convdense.plots.frame import frame
from convdense.plots.small import gradient, mask, matrix, tied
from convdense.plots.steps import gradient_steps

__all__ = ["animate", "density", "frame", "gradient", "gradient_steps", "mask", "matrix", "tied"]
