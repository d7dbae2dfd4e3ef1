"""Figures, drawn from the tie map; every function draws into Axes it is given, or makes a Figure; none calls show."""

from convdense.plots.small import gradient, gradient_steps, mask, matrix, tied

__all__ = ["gradient", "gradient_steps", "mask", "matrix", "tied"]
