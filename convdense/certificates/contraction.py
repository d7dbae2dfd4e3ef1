"""Channels contracted: whether results are those of a convolution, without computing them all.

For numbers r, ``sum_o r_o y_o`` is the convolution with one output channel whose kernel is
``sum_o r_o w_o``: one product for as many as there are channels (Freivalds, *Probabilistic Machines
Can Use Less Running Time*, 1977). So it is with dx over the input channels, dw over the outputs,
and within groups. On integers everything is exact modulo a prime: see docs/how_sure.md.

As in `direct.conv`, `big` is the side that the window slides over and `small` the other one. An
axis of `rows` has one entry for each combination that is taken at once.
"""

from functools import cache
from itertools import count
from math import log2, prod
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from convdense._util.arguments import Array
from convdense.direct.conv import _pad, _taps, _unpad
from convdense.geometry import Conv, ConvTranspose

HALF = 2**19  # no residue is larger: primes are below 2^20
# with which a round misses a difference, at most: see docs/how_sure.md
MISSED = 1 / HALF + 2 / 38_635
LIMIT = 2**53 - 2**20  # up to here sums are reduced exactly
UNIT = 2.0**27  # integers up to LIMIT are split into multiples of it, and what is left
LEAST_ROOM = 32  # terms that must fit into a sum, or integers are split
BLOCK = 2**17  # numbers looked at at once
FEW_CHANNELS = 64  # in times out: with fewer a convolution costs no more
FEW_PRODUCTS = 2**23  # of one pass: with fewer a convolution is a matter of milliseconds

MOST_ROUNDS = 4  # of a trial, before there is one more

Sums = dict[str, Array]  # y, dx and dw, their channels contracted


class Draw(NamedTuple):
    """What channels are multiplied with: (groups, rows, channels), and the prime of each row.

    Without primes, (rows, 1), they are real numbers.
    """

    small: Array
    big: Array
    primes: Array | None = None


@cache
def primes() -> Array:
    """Return all primes between 2^19 and 2^20.

    Examples
    --------
    >>> len(primes()), primes()[[0, -1]].astype(int).tolist()
    (38635, [524309, 1048573])
    """
    is_prime = np.ones(2 * HALF, bool)
    for n in range(2, 2**10):
        if is_prime[n]:
            is_prime[n * n :: n] = False
    return np.flatnonzero(is_prime[HALF:]) + float(HALF)


def pays_off(layer: object, batch: int) -> TypeGuard[Conv | ConvTranspose]:
    """Tell whether contracting the channels of a layer is cheaper than computing it."""
    if not isinstance(layer, (Conv, ConvTranspose)) or layer.padding_value:
        return False
    _, outs, ins, *_ = _grouped_shape(layer)
    spatial = layer.in_spatial if isinstance(layer, ConvTranspose) else layer.out_spatial
    products = batch * prod(spatial) * prod(layer.weight_shape)
    return outs * ins >= FEW_CHANNELS and products >= FEW_PRODUCTS


def how_often(trials: int, each: float, bits: float) -> tuple[int, int]:
    """Return how many trials, and rounds in each, reach an error of 2^-bits; few rounds first."""
    for number in count(trials):
        for rounds in range(1, MOST_ROUNDS + 1):
            if -number * log2(2**-each + MISSED**rounds) >= bits:
                return number, rounds
    raise AssertionError  # more trials always suffice


def disagreeing(
    layer: Conv | ConvTranspose,
    operands: tuple[Array, Array, Array, Array],
    results: dict[str, Array],
    rounds: int,
    rng: np.random.Generator,
) -> set[str]:
    """Return which of y, dx and dw are seen to be wrong, or are not for this to judge.

    The operands are integers whose sums stay within 2^53, the results arrays of the right shapes.
    Every round draws a prime, and a factor for each channel. A result that is right is never among
    those returned; a wrong one is missed with a probability of at most ``(1 / 2^19 + 2 /
    38,635)^rounds``.

    Examples
    --------
    >>> from convdense.direct.conv import convolve
    >>> conv = Conv((2, 3), out_channels=4, kernel=2)
    >>> x, w, b, dy = (np.ones(shape) for shape in [(1, 2, 3), (4, 2, 2), 4, (1, 4, 2)])
    >>> y, rng = convolve(conv, x, w, b), np.random.default_rng(0)
    >>> disagreeing(conv, (x, w, b, dy), {"y": y}, 1, rng)
    set()
    >>> y[0, 3, 1] += 1
    >>> disagreeing(conv, (x, w, b, dy), {"y": y}, 1, rng)
    {'y'}
    """
    judged = {name: result for name, result in results.items() if _is_integral(result)}
    p = rng.choice(primes(), (rounds, 1))
    groups, outs, ins, _ = _grouped_shape(layer)
    small, big = (_residue(np.floor(rng.random((groups, rounds, n)) * p), p) for n in (outs, ins))
    draw = Draw(small, big, p)
    due = right_sums(layer, operands, draw, tuple(judged))
    got = result_sums(layer, judged, draw)
    equal = {name for name in judged if not (got[name] - due[name]).any()}
    return results.keys() - equal


def right_sums(
    layer: Conv | ConvTranspose,
    operands: tuple[Array, Array, Array, Array],
    draw: Draw,
    names: tuple[str, ...] = ("y", "dx", "dw"),
) -> Sums:
    """Return y and dx, (batch, groups, rows, *axes), and dw, (groups, rows, in, taps), contracted.

    Nothing of as many channels is computed.
    """
    x, w, b, dy = operands
    of_small, of_big = ("dx", "y") if isinstance(layer, ConvTranspose) else ("y", "dx")
    small, big = (x, dy) if isinstance(layer, ConvTranspose) else (dy, x)
    kernels = w.reshape(_grouped_shape(layer))
    sums = {}
    cells = big  # of dx or y alone they are not asked for
    if of_small in names or "dw" in names:
        cells = _unfolded(layer, big) if _has_few_channels(layer) else _by_groups(layer, big)
    if of_small in names:
        sums[of_small] = _correlated(layer, cells, kernels, draw)
    if of_big in names:
        sums[of_big] = _stamped(layer, small, kernels, draw)
    if "dw" in names:
        sums["dw"] = _weight_gradient(layer, cells, small, draw)
    if "y" in names:
        biases = _combined(
            factors_of(layer, draw, "y"), b.reshape(layer.groups, -1, 1), draw.primes
        )
        sums["y"] = sums["y"] + biases.reshape(*biases.shape[:2], *[1] * len(layer.kernel))
    return {name: _residue(each, _along(draw.primes, each, name)) for name, each in sums.items()}


def result_sums(layer: Conv | ConvTranspose, results: dict[str, Array], draw: Draw) -> Sums:
    """Return what came, y, dx and dw, contracted as `right_sums` does it."""
    shapes = {"y": layer.out_spatial, "dx": layer.in_spatial}
    sums = {}
    for name, result in results.items():
        if name == "dw":
            groups, outs, ins, taps = _grouped_shape(layer)
            cells = result.reshape(groups, outs, ins * taps)
            shape: tuple[int, ...] = (groups, -1, ins, taps)
        else:
            cells = _by_groups(layer, result)
            shape = (len(result), layer.groups, -1, *shapes[name])
        sums[name] = _combined(factors_of(layer, draw, name), cells, draw.primes).reshape(shape)
    return sums


def factors_of(layer: Conv | ConvTranspose, draw: Draw, name: str) -> Array:
    """Return what the channels of y, dx or dw are multiplied with."""
    is_big = name == ("y" if isinstance(layer, ConvTranspose) else "dx")
    return draw.big if is_big else draw.small


def random_draw(layer: Conv | ConvTranspose, rng: np.random.Generator) -> Draw:
    """Return one row of real factors, from 1 to 2 in size, of both signs."""
    groups, outs, ins, _ = _grouped_shape(layer)
    small, big = (
        (1 + rng.random((groups, 1, n))) * rng.choice([-1.0, 1.0], (groups, 1, n))
        for n in (outs, ins)
    )
    return Draw(small, big)


def bias_gradient(dy: Array) -> Array:
    """Return db, (out,), of dy, (batch, out, *axes): no channels to contract."""
    return np.asarray(dy.sum(axis=(0, *range(2, dy.ndim))))


def _grouped_shape(layer: Conv | ConvTranspose) -> tuple[int, int, int, int]:
    """Return (groups, channels of `small`, channels of `big`, taps), those of each group."""
    first, second, *kernel = layer.weight_shape
    return layer.groups, first // layer.groups, second, prod(kernel)


def _has_few_channels(layer: Conv | ConvTranspose) -> bool:
    _, _, ins, taps = _grouped_shape(layer)
    return ins < taps


def _views(layer: Conv | ConvTranspose) -> list[Any]:
    """Return the index of the padded cells that each weight meets, in the order of the weights."""
    views: list[Any] = [None] * prod(layer.kernel)
    for (_, *tap), view in _taps(layer):
        views[int(np.ravel_multi_index(tap, layer.kernel))] = view
    return views


def _by_groups(layer: Conv | ConvTranspose, cells: Array) -> Array:
    """Return (batch, groups, channels, positions)."""
    batch, channels, *axes = cells.shape
    return cells.reshape(batch, layer.groups, channels // layer.groups, prod(axes))


def _unfolded(layer: Conv | ConvTranspose, big: Array) -> Array:
    """Return (batch, groups, in * taps, *small): the cells that each weight meets."""
    padded = _pad(layer, big)
    cells = np.stack([padded[view] for view in _views(layer)], axis=2)
    return cells.reshape(len(big), layer.groups, -1, prod(cells.shape[3:]))


def _correlated(layer: Conv | ConvTranspose, cells: Array, kernels: Array, draw: Draw) -> Array:
    """Return the sums over `small`'s channels of a convolution, (batch, groups, rows, *small)."""
    groups, outs, ins, taps = kernels.shape
    small = layer.in_spatial if isinstance(layer, ConvTranspose) else layer.out_spatial
    one = _combined(draw.small, kernels.reshape(groups, outs, ins * taps), draw.primes)
    rows = one.shape[1]
    if _has_few_channels(layer):
        return _combined(one, cells, draw.primes).reshape(len(cells), groups, rows, *small)
    # contract the other channels before the taps: a plane for each tap, (batch, groups, planes, *)
    one = one.reshape(groups, rows, ins, taps).swapaxes(2, 3).reshape(groups, rows * taps, ins)
    planes = _combined(one, cells, _repeated(draw.primes, taps))
    big = layer.out_spatial if isinstance(layer, ConvTranspose) else layer.in_spatial
    padded = _pad(layer, planes.reshape(len(cells), groups * rows * taps, *big))
    padded = padded.reshape(len(cells), groups, rows, taps, *padded.shape[2:])
    total = np.zeros((len(cells), groups, rows, *small))
    for tap, view in enumerate(_views(layer)):
        total += padded[:, :, :, tap][view]
    return total


def _stamped(layer: Conv | ConvTranspose, small: Array, kernels: Array, draw: Draw) -> Array:
    """Return the sums over `big`'s channels of the adjoint, (batch, groups, rows, *big)."""
    groups, outs, _, taps = kernels.shape
    rows = draw.big.shape[1]
    one = _combined(draw.big[:, None], kernels, draw.primes)  # (groups, out, rows, taps)
    one = np.moveaxis(one, 1, 3).reshape(groups, rows * taps, outs)
    planes = _combined(one, _by_groups(layer, small), _repeated(draw.primes, taps))
    planes = planes.reshape(len(small), groups, rows, taps, *small.shape[2:])
    full = _zeros(layer, (len(small), groups, rows))
    for tap, view in enumerate(_views(layer)):
        full[view] += planes[:, :, :, tap]
    return _folded(layer, full, 3, draw.primes)


def _weight_gradient(layer: Conv | ConvTranspose, cells: Array, small: Array, draw: Draw) -> Array:
    """Return the sums over `small`'s channels of dw, (groups, rows, in, taps)."""
    groups, _, ins, taps = _grouped_shape(layer)
    rows, batch, p = draw.small.shape[1], len(small), draw.primes
    one = _combined(draw.small, _by_groups(layer, small), p)  # (batch, groups, rows, positions)
    if not _has_few_channels(layer):  # what each cell of `big` is multiplied with, for every tap
        one = one.reshape(batch, groups, rows, *small.shape[2:])
        full = _zeros(layer, (batch, groups, rows, taps))
        for tap, view in enumerate(_views(layer)):
            full[:, :, :, tap][view] = one
        p = _repeated(p, taps)
        one = _folded(layer, full.reshape(batch, groups, rows * taps, *full.shape[4:]), 3, p)
        one = one.reshape(batch, groups, rows * taps, -1)
    total = np.zeros(())
    for sample, of_sample in zip(one, cells, strict=True):
        total = total + _combined(sample, of_sample.swapaxes(1, 2), p)
    if _has_few_channels(layer):
        return total.reshape(groups, rows, ins, taps)
    return total.reshape(groups, rows, taps, ins).swapaxes(2, 3)


def _zeros(layer: Conv | ConvTranspose, shape: tuple[int, ...]) -> Array:
    """Return zeros of this shape and the padded axes of `big`."""
    big = layer.out_spatial if isinstance(layer, ConvTranspose) else layer.in_spatial
    return np.zeros((*shape, *_pad(layer, np.zeros((1, 1, *big))).shape[2:]))


def _folded(layer: Conv | ConvTranspose, full: Array, before: int, p: Array | None) -> Array:
    """Return what the cells of `big` receive from padded ones, after `before` axes."""
    big = layer.out_spatial if isinstance(layer, ConvTranspose) else layer.in_spatial
    flat = full.reshape(len(full), -1, *full.shape[before:])
    cells = _unpad(layer, flat, big).reshape(*full.shape[:before], *big)
    return _residue(cells, _along(p, cells, "dx"))


def _combined(factors: Array, cells: Array, p: Array | None) -> Array:
    """Return factors, (..., rows, channels), times cells, (..., channels, positions).

    With primes, (rows, 1), modulo those. As many terms are summed at once as are exact.
    """
    if p is None:
        return np.asarray(factors @ cells)
    largest = max(1.0, float(cells.max(initial=0)), -float(cells.min(initial=0)))
    channels = cells.shape[-2]
    room = int(LIMIT // (HALF * largest))
    is_split = room < min(channels, LEAST_ROOM)
    room = int(LIMIT // (HALF * UNIT)) if is_split else room
    total = np.zeros(())
    for start in range(0, channels, room):
        some, part = factors[..., start : start + room], cells[..., start : start + room, :]
        if not is_split:
            total = total + _residue(some @ part, p)
            continue
        high = np.rint(part / UNIT)  # exact: UNIT is a power of two
        total = total + _residue(_residue(some @ high, p) * _residue(np.array(UNIT), p), p)
        total = total + _residue(some @ (part - UNIT * high), p)
    return _residue(total, p)


def _residue(a: Array, p: Array | None) -> Array:
    """Return integers up to LIMIT modulo primes, at most HALF in size: 0 for multiples alone.

    ``a / p`` may be rounded to the other side of a half: what is left is up to 2 more than p / 2.
    """
    if p is None:
        return a
    quotients = np.rint(a / p)
    quotients *= p
    return np.subtract(a, quotients, out=quotients)


def _repeated(p: Array | None, taps: int) -> Array | None:
    return None if p is None else np.repeat(p, taps, axis=0)


def _along(p: Array | None, sums: Array, name: str) -> Array | None:
    """Return primes, (rows, 1), for an array whose rows are its axis 2, or of dw its axis 1."""
    rows = 1 if name == "dw" else 2
    return None if p is None else p.reshape(-1, *[1] * (sums.ndim - 1 - rows))


def _is_integral(result: Array) -> bool:
    """Tell whether all are integers, and so small that their sums are exact."""
    flat = result.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        some = flat[start : start + BLOCK]
        if not (some.max() <= LIMIT and some.min() >= -LIMIT and (np.rint(some) == some).all()):
            return False
    return True
