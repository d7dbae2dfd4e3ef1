"""certify: equality without a tolerance, on integers so small that every order of summation is exact."""

from typing import Any, TypedDict, Unpack, overload

from convdense._util.arguments import complain
from convdense.certificates.layer_certificate import Certificate, certify_bilinear
from convdense.certificates.network_certificate import NetworkCertificate, certify_network
from convdense.geometry import Pool
from convdense.networks.network import Network


class Options(TypedDict, total=False):
    """The options of `certify`, as both of its signatures have them."""

    dtype: str
    batch: int
    error: float
    method: str
    seed: int | None


@overload
def certify(
    layer: Pool | Network, implementation: Any = None, **options: Unpack[Options]
) -> NetworkCertificate: ...


@overload
def certify(layer: Any, implementation: Any = None, **options: Unpack[Options]) -> Certificate: ...


def certify(
    layer: Any,
    implementation: Any = None,
    *,
    dtype: str = "float64",
    batch: int = 2,
    error: float = 2**-64,
    method: str = "auto",
    seed: int | None = None,
) -> Certificate | NetworkCertificate:
    """Decide exactly whether the tied dense layer (or an implementation) and direct convolution are
    the same.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, any pool, or a Network implementation : object
    with forward(x, w, b) and backward(x, w, dy), or None for the tied dense layer
        ``forward -> y`` adds the bias b, ``backward -> (dx, dw, db)``, or db=None: then it is not
        judged. For a pool ``forward(x) -> y`` and ``backward(x, dy) -> dx``; a network is judged
        itself.
    dtype : {"float64", "float32"}, of an implementation also {"float16", "bfloat16"}
        The integers are drawn so small that every sum is exact in it, in any order; in the last
        two, where that cannot be, sums are within rounding. NumPy has no bfloat16: its numbers are
        held in float32 arrays.
    batch : int
        Samples per random trial.
    error : float
        Probability that two different implementations pass all random trials, at most; between 0
        and 1.
    method : {"auto", "random", "exhaustive"}
        "exhaustive" evaluates every pair of basis vectors; "auto" does so for small layers.
    seed : int or None
        None draws fresh entropy; it is recorded.

    Returns
    -------
    Certificate, or NetworkCertificate for a pool or a network
        The latter with a bit budget and what every |x| met instead of a probability.

    Raises
    ------
    ValueError
        If sums are so long that no integers are exact in this dtype, or a layer is too large for
        "exhaustive".

    Notes
    -----
    Two different polynomials of total degree d agree at a random point of a grid with S values per
    variable with probability at most d / S (Schwartz, Zippel).

    Examples
    --------
    >>> from convdense import Conv
    >>> print(certify(Conv((1, 3, 3), out_channels=1, kernel=2)))  # doctest: +ELLIPSIS
    Conv((1, 3, 3), out_channels=1, kernel=2): tied dense layer against direct convolution
      y   equal
      dx  equal
      dw  equal
      db  equal
    every pair of basis vectors, and random integers of both signs, 170 calls in float64, batch 2: a proof for all ...
    >>> bool(certify(Conv((3, 9, 8), out_channels=4, kernel=3, stride=2), dtype="float32"))
    True
    """
    if isinstance(layer, (Pool, Network)):
        _no_probability(error, method)
        return certify_network(layer, implementation, dtype=dtype, batch=batch, seed=seed)
    chosen: dict[str, Any] = {
        "dtype": dtype,
        "batch": batch,
        "error": error,
        "method": method,
        "seed": seed,
    }
    return certify_bilinear(layer, implementation, **chosen)


def _no_probability(error: Any, method: Any) -> None:
    """Refuse what pools and networks have no answer to: they are only piecewise polynomial."""
    for name, value, default in (("error", error, 2**-64), ("method", method, "auto")):
        if value != default:
            needs = f"{default!r} for a pool or a network, whose certificate reports what was met and no probability"
            raise ValueError(complain(name, repr(value), needs))
