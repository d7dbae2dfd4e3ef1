"""only_options: what an implementation with few options makes of a layer, or why it cannot."""

from typing import Any

from convdense._util.arguments import complain
from convdense.geometry import AvgPool, Conv, ConvTranspose, Geometry, Pool
from convdense.geometry.base import option_defaults, shortest

# Of every kind. Conv comes last, for its stride of 1: a pool's is None, which means its kernel.
_DEFAULTS = option_defaults(AvgPool) | option_defaults(ConvTranspose) | option_defaults(Conv)
del _DEFAULTS["kernel"]  # every layer has one: it is no option that may be missing


def only_options(layer: Geometry | Pool, *names: str, axes: int | None = None) -> tuple[Any, ...]:
    """Return the named options of a layer, one number for all axes each; refuse any others.

    For ``make(layer)`` of an implementation that has no more than these options: the checks of a
    layer that needs others are skipped.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected or a pool
    *names : str
        The options there are, such as "stride", "padding", "kernel", "groups". Others must be at
        their defaults.
    axes : int or None
        How many axes beside the channels there are; None: any number.

    Returns
    -------
    tuple
        In the order of the names.

    Raises
    ------
    NotImplementedError
        For any other option, for different numbers along the axes, or for different paddings at
        begin and end.

    Examples
    --------
    >>> from convdense import Conv
    >>> conv = Conv((2, 8, 9), out_channels=3, kernel=(3, 2), stride=2, padding=1)
    >>> only_options(conv, "stride", "padding")
    (2, 1)
    >>> dilated = Conv((2, 8, 9), out_channels=3, kernel=(3, 2), dilation=2)
    >>> only_options(dilated, "stride", "padding")
    Traceback (most recent call last):
        ...
    NotImplementedError: dilation: got 2; needs 1, for want of this option
    """
    layer_axes = len(layer.in_shape) - 1
    if axes is not None and layer_axes != axes:
        raise NotImplementedError(complain("axes", layer_axes, f"{axes}"))

    values = _values(layer)
    for name, default in _defaults(layer, values).items():
        if name in names or name not in values:
            continue
        if values[name] != default:
            needs = f"{default!r}, for want of this option"
            raise NotImplementedError(complain(name, values[name], needs))
    for name in names:
        if isinstance(values.get(name), tuple):
            needs = "one number for all axes, at begin and end"
            raise NotImplementedError(complain(name, values[name], needs))
    return tuple(values.get(name, _DEFAULTS.get(name)) for name in names)


def _values(layer: Geometry | Pool) -> dict[str, Any]:
    """Return the options a layer has, as one number where it is the same along all axes."""
    values = {}
    for name in (*_DEFAULTS, "kernel"):
        if hasattr(layer, name):
            value = getattr(layer, name)
            number = shortest(value)
            values[name] = value if isinstance(number, tuple) else number
    return values


def _defaults(layer: Geometry | Pool, values: dict[str, Any]) -> dict[str, Any]:
    """Return the default of every option; that of a pool's stride is its kernel: windows tile."""
    if not isinstance(layer, Pool):
        return _DEFAULTS
    # with output= in place of a kernel no stride is given, so none is refused
    stride = values["stride"] if layer.kernel is None else values["kernel"]
    return {**_DEFAULTS, "stride": stride}
