"""A small network as its dense layers in a row, |x| and divisions between them."""

import numpy.typing as npt

from convdense._util.arguments import complain, require
from convdense.display.example_sample import one_sample
from convdense.layers.dense_form import Affine
from convdense.networks.network import Network
from convdense.plots.layer_chain import Link, chain, pointwise
from convdense.plots.shown import Figure


def network(net: Network, x: npt.ArrayLike | None = None) -> Figure:
    """Draw all dense layers of a small network in a row, |x| and divisions between them.

    Matrices whose weights have copies show ties by colour and letter, others their values; grey
    cells hold no edge. All have cells of one size, so that the rows of one are as many as the
    columns of the next.

    Parameters
    ----------
    net : Network
    x : array of the network's in_shape, or None
        One sample, whose numbers then flow through: below each matrix what enters it, beside it
        what leaves it.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    TypeError
        For what is no network, and for a network that is not made of matrices and |x|.
    ValueError
        For x of another shape, and for matrices too large to be drawn.

    Notes
    -----
    A bias is not drawn: it is added to the numbers that leave its matrix, whose title says so.

    Examples
    --------
    >>> import convdense as cd
    >>> net = cd.network(cd.Conv((1, 3), out_channels=1, kernel=2), cd.ReLU(), seed=0)
    >>> [ax.get_title() for ax in network(net).axes]
    ['0: Conv, + bias\\n2 x 3', '1: ReLU\\n4 x 2', '|x|', '1: ReLU\\n2 x 4']
    """
    do = "make one of layers with cd.network(...)"
    refusal = complain("net", type(net).__name__, "a Network", do)
    require(isinstance(net, Network), refusal)
    numbers = None if x is None else one_sample(x, "x", net.in_shape, "draw")
    links = [
        Link(step, _title(net, step)) if isinstance(step, Affine) else Link(pointwise(step))
        for step in net.dense_layers()
    ]
    return chain(links, numbers, f"{net.in_shape} → {net.out_shape}")


def _title(net: Network, step: Affine) -> str:
    """Return whose matrix it is, by place and kind, and its size."""
    place, _, _ = step.name.partition(".")
    layer = net.layers[int(place)]
    wrapped = getattr(layer, "layer", getattr(layer, "pool", layer))  # a Conv is in a TiedDense
    added = "bias" if step.has_bias else "padding"  # a bias, and what padding adds with it
    bias = "" if step.b is None else f", + {added}"
    rows, cols = step.W.shape
    return f"{step.name}: {type(wrapped).__name__}{bias}\n{rows} x {cols}"
