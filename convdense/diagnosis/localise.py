"""Errors in some cells, samples or channels only: zero there, a copy, too large, or a product that is missing."""

from collections.abc import Iterator, Sequence
from functools import partial
from math import prod

import numpy as np

from convdense._util.arguments import Array, unravelled
from convdense.diagnosis.mistakes.mistake import Call, Mistake
from convdense.diagnosis.mistakes.observations import RIGHT, Observations, multiple
from convdense.geometry import Geometry, Pool
from convdense.structure._tie import tie
from convdense.structure.kronecker import Entries

_CELL = {"y": "output", "dx": "input", "dw": "weight", "db": "bias"}


def local_error(layer: Geometry | Pool, observed: Observations) -> str:
    """Return what is wrong at the few cells that are wrong, in every draw and sample; empty where nothing fits."""
    if not observed.comparable:
        return ""
    got, right = (
        observed.stacked(observed.returned),
        observed.stacked(observed.expected),
    )  # (observations, cells)
    shape = observed.expected[0].shape[1:] if observed.batched else observed.expected[0].shape
    cells = np.flatnonzero((got != right).any(axis=0))
    if not 0 < len(cells) < got.shape[1]:
        return ""
    where, g, r = named(observed.name, cells, shape), got[:, cells], right[:, cells]
    if g.any() and (copied := _copied(g, right, cells)) is not None:
        return f"it holds at {where} what belongs to {named(observed.name, copied, shape)}"
    sentence = _changed(g, r)
    if not sentence and observed.name == "y" and not isinstance(layer, Pool):
        sentence = _biased(layer, observed, (g, r), cells)
    if sentence:
        return f"{sentence} at {where} alone"
    if len(cells) == 1 and observed.name != "db" and not isinstance(layer, Pool):
        product = _product(layer, observed, int(cells[0]), (g - r)[:, 0])
        return f"at {where} it {product}" if product else ""
    return ""


def _changed(got: Array, right: Array) -> str:
    """Return what became of a few values."""
    if not got.any():
        return "it is zero"
    if np.array_equal(got, -right):
        return "the sign is turned"
    factor = multiple(got, right)
    return "" if factor is None or abs(factor - 1) <= RIGHT else f"it is multiplied by {factor:.8g}"


def named(name: str, cells: Array, shape: tuple[int, ...]) -> str:
    """Return words for some cells: one of them, a channel, a pair of channels, a row, or how many
    and the first.

    Examples
    --------
    >>> named("y", np.array([5]), (2, 3)), named("y", np.array([3, 4, 5]), (2, 3)), named("y", np.array([1, 4]), (2, 3))
    ('output (1, 2)', 'channel 1', 'the outputs at 1 along axis 0')
    """
    at = np.unravel_index(cells, shape)
    first = tuple(int(axis[0]) for axis in at)
    if len(cells) == 1:
        return f"{_CELL[name]} {first}"
    spans = [np.unique(axis) for axis in at]
    narrow = [i for i, (span, n) in enumerate(zip(spans, shape, strict=True)) if len(span) < n]
    block = len(cells) == prod(map(len, spans))
    if block and name == "dw" and narrow == [0, 1] and len(spans[0]) == len(spans[1]) == 1:
        return f"weight[{first[0]}, {first[1]}]"
    if block and len(narrow) == 1 and len(spans[narrow[0]]) == 1:
        i = narrow[0]
        if name == "dw" and i < 2:
            return f"weight[{first[0]}]" if i == 0 else f"weight[:, {first[1]}]"
        axis = i - 2 if name == "dw" else i - 1
        return (
            f"channel {first[0]}"
            if not i
            else f"the {_CELL[name]}s at {first[i]} along axis {axis}"
        )
    return f"{len(cells)} {_CELL[name]}s, the first at {first},"


def _copied(g: Array, right: Array, cells: Array) -> Array | None:
    """Return the cells whose values these hold, all at one distance or all the same one; the nearest first."""
    sources = np.flatnonzero((right == g[:, :1]).all(axis=0))
    for source in sorted(sources, key=lambda q: abs(int(q) - int(cells[0]))):
        for others in (cells + (source - cells[0]), np.full(len(cells), source)):
            if (
                others.min() >= 0
                and others.max() < right.shape[1]
                and np.array_equal(right[:, others], g)
            ):
                return np.unique(others)
    return None


def _biased(
    layer: Geometry, observed: Observations, values: tuple[Array, Array], cells: Array
) -> str:
    """Return that the bias is missing, or there twice, or that all but the bias is multiplied by a number."""
    got, right = values
    more = got - right
    samples = len(more) // len(observed.calls)
    whole = tie(layer).bias  # the tie map of the bias
    bias = np.concatenate(
        [np.tile(whole.matrix(c.b).toarray()[:, 0], (samples, 1)) for c in observed.calls]
    )[:, cells]
    if np.array_equal(more, bias):
        return "the bias is added twice"
    if np.array_equal(more, -bias):
        return "the bias is missing"
    factor = multiple(got, right - bias, bias)
    if factor is None or abs(factor - 1) <= RIGHT:
        return ""
    return f"it is multiplied, before the bias is added, by {factor:.8g}"


def _product(layer: Geometry, observed: Observations, cell: int, more: Array) -> str:
    """Return which product is missing, or counted twice, at one cell where this is more than right."""
    ties = tie(layer)
    entries = ties.entries()
    at = np.flatnonzero(
        (entries.row, entries.col, entries.index)[("y", "dx", "dw").index(observed.name)] == cell
    )
    own = entries.take(at)
    for words, each in _products(observed, own):
        for sign, verb in ((-1, "misses"), (1, "counts twice")):
            found = np.flatnonzero((sign * each == more[:, None]).all(axis=0))
            if len(found):
                e = int(found[0])
                sides = {
                    "output": (own.row[e], ties.out_shape),
                    "input": (own.col[e], ties.in_shape),
                    "weight": (own.index[e], ties.weight_shape),
                }
                del sides[_CELL[observed.name]]
                named_sides = (f"{k} {unravelled(i, s)}" for k, (i, s) in sides.items())
                return f"{verb} the product of {' and '.join(named_sides)}{words}"
    return ""


def _products(observed: Observations, own: Entries) -> Iterator[tuple[str, Array]]:
    """Yield the products of one cell, (observations, products): of dw summed over the batch, or of one sample."""
    flat = [
        (c.x.reshape(len(c.x), -1), c.w.ravel(), c.dy.reshape(len(c.dy), -1))
        for c in observed.calls
    ]
    if observed.name == "y":
        yield (
            "",
            np.concatenate([w[own.index] * x[observed.samples][:, own.col] for x, w, _ in flat]),
        )
    elif observed.name == "dx":
        yield (
            "",
            np.concatenate([w[own.index] * dy[observed.samples][:, own.row] for _, w, dy in flat]),
        )
    else:
        each = np.stack(
            [x[:, own.col] * dy[:, own.row] for x, _, dy in flat]
        )  # (draws, batch, products)
        yield "", each.sum(axis=1)
        for n in range(each.shape[1]):
            yield f" of sample {n}", each[:, n]


def parts(observed: Observations) -> Iterator[tuple[str, Observations]]:
    """Yield words and a narrower view for the samples and channels that are wrong, where not all of them are."""
    if not observed.comparable or np.ndim(observed.expected[0]) < 2:
        return
    wrong = np.any(
        [g != r for g, r in zip(observed.returned, observed.expected, strict=True)], axis=0
    )
    blocks = wrong.any(
        axis=tuple(range(2, wrong.ndim))
    )  # (samples, channels), of dw its first two axes
    rows, cols = np.flatnonzero(blocks.any(axis=1)), np.flatnonzero(blocks.any(axis=0))
    some, few = len(rows) < len(blocks), len(cols) < blocks.shape[1]
    if not some and not few:
        return
    if observed.batched:
        words = [_samples(rows, len(blocks))] * some + [_channels(observed, cols)] * few
    else:
        words = [
            f"in weight[{_listed(rows) if some else ':'}{f', {_listed(cols)}' if few else ''}] alone"
        ]
    yield ", ".join(words), observed._replace(part=np.ix_(rows, cols))


def _samples(rows: Array, n: int) -> str:
    if len(rows) > 1 and len(rows) == n - rows[0]:
        return "from the second sample on" if rows[0] == 1 else f"from sample {rows[0]} on"
    return f"in sample{'s' if len(rows) > 1 else ''} {_listed(rows)} alone"


def _channels(observed: Observations, cols: Array) -> str:
    which = "output" if observed.name == "y" else "input"
    return f"in {which} channel{'s' if len(cols) > 1 else ''} {_listed(cols)} alone"


def _listed(numbers: Array) -> str:
    return " and ".join(map(str, numbers[:3])) + (
        f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
    )


def later_samples(
    layer: Geometry, observed: Observations, known: Sequence[Mistake]
) -> Mistake | None:
    """Return the mistake that dw makes from the second sample on, the first one's share being right."""
    if observed.name != "dw" or not observed.comparable:
        return None
    right = Mistake("", tie(layer))

    def value(mistake: Mistake, call: Call) -> Array:
        first, rest = (
            call._replace(x=call.x[at], dy=call.dy[at]) for at in (slice(0, 1), slice(1, None))
        )
        return right.run(first, "dw") + mistake.run(rest, "dw")

    return next((mistake for mistake in known if observed.fits(partial(value, mistake))), None)
