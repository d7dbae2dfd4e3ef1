"""only_options: what an implementation that has a few options makes of a layer, or why it has no such layer."""

from typing import Any

from convdense._util.arguments import complain
from convdense.geometry import AvgPool, Conv, ConvTranspose, Geometry, Pool
from convdense.geometry.base import option_defaults, shortest

# of every kind: an option that a layer does not have is at its default
_DEFAULTS: dict[str, Any] = {
    name: default
    for kind in (AvgPool, ConvTranspose, Conv)
    for name, default in option_defaults(kind).items()
    if name != "kernel"
}


def only_options(layer: Geometry | Pool, *names: str, axes: int | None = None) -> tuple[Any, ...]:
    """Return the named options of a layer, one number for all axes each; refuse a layer that has
    any other.

    For ``make(layer)`` of an implementation that has no more than these options: what it does not
    have is skipped.

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
    >>> only_options(Conv((2, 8, 9), out_channels=3, kernel=(3, 2), stride=2, padding=1), "stride", "padding")
    (2, 1)
    >>> only_options(Conv((2, 8, 9), out_channels=3, kernel=(3, 2), dilation=2), "stride", "padding")
    Traceback (most recent call last):
        ...
    NotImplementedError: dilation: got 2; needs 1, for want of this option
    """
    if axes is not None and len(layer.in_shape) - 1 != axes:
        raise NotImplementedError(complain("axes", len(layer.in_shape) - 1, f"{axes}"))
    values = {name: getattr(layer, name) for name in (*_DEFAULTS, "kernel") if hasattr(layer, name)}
    values |= {
        name: one for name, value in values.items() if not isinstance(one := shortest(value), tuple)
    }
    defaults = dict(_DEFAULTS)
    if isinstance(layer, Pool):
        defaults["stride"] = (
            values["stride"] if layer.kernel is None else values["kernel"]
        )  # windows that tile
    for name, default in defaults.items():
        if name in values and name not in names and values[name] != default:
            raise NotImplementedError(
                complain(name, values[name], f"{default!r}, for want of this option")
            )
    for name in names:
        if isinstance(values.get(name), tuple):
            raise NotImplementedError(
                complain(name, values[name], "one number for all axes, at begin and end")
            )
    return tuple(values.get(name, _DEFAULTS.get(name)) for name in names)
