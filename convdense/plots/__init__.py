"""Figures, drawn from the tie map: Axes or a Figure, which a notebook shows and a script does not.

* `matrices`: matrix, mask, gradient, tied
* `gradient_figure`: gradient_steps
* `_anatomy`: anatomy: one output four times
* `_frame`: frame: one output with the gradient so far
* `animation`: animate: the kernel sliding, as a GIF
* `_density`: density: any large layer
* `density_bins`: exact counts per bin
* `differences`: difference: expected against recovered
* `networks`: network
* `pools`: pooling
* `layer_chain`: matrices in a row
* `cell_grid`: axes of cells, frames, hatches
* `panel_layout`: panels placed in inches
* `shown`: the Figure and Axes that a notebook shows
"""

from convdense.plots._anatomy import anatomy
from convdense.plots._density import density
from convdense.plots._frame import frame
from convdense.plots.animation import animate
from convdense.plots.differences import difference
from convdense.plots.gradient_figure import gradient_steps
from convdense.plots.matrices import gradient, mask, matrix, tied
from convdense.plots.networks import network
from convdense.plots.pools import pooling

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


def __dir__() -> list[str]:  # what is public: the files of the folder are not
    return __all__
