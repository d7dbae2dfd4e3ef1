"""Errors in some cells, samples or channels only.

There it is zero, a copy of another cell, multiplied, or one product is missing. An explanation of
the whole may also hold in the wrong samples and channels alone: `views` narrows to those.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from math import prod

import numpy as np

from convdense._util.arguments import Array, unravelled
from convdense.diagnosis.mistakes.mistake import Call, Mistake, products
from convdense.diagnosis.mistakes.observations import RIGHT, Observations, multiple
from convdense.geometry import Geometry, Pool
from convdense.structure._tie import tie
from convdense.structure.kronecker import Entries
from convdense.structure.tie_map import TieMap

_CELL = {"y": "output", "dx": "input", "dw": "weight", "db": "bias"}


def local_error(layer: Geometry | Pool, observed: Observations) -> str:
    """Return what is wrong at the few wrong cells, in every draw; empty if nothing fits."""
    if not observed.comparable:
        return ""
    got = observed.stacked(observed.returned)  # (observations, cells)
    right = observed.stacked(observed.expected)
    cells = np.flatnonzero((got != right).any(axis=0))
    if not 0 < len(cells) < got.shape[1]:
        return ""

    expected = observed.expected[0]
    shape = expected.shape[1:] if observed.batched else expected.shape
    where = cells_in_words(observed.name, cells, shape)
    got_there, right_there = got[:, cells], right[:, cells]
    source = _copied_from(got_there, right, cells)
    if source is not None:
        return f"it holds at {where} what belongs to {cells_in_words(observed.name, source, shape)}"

    sentence = _changed(got_there, right_there)
    if not sentence and observed.name == "y" and not isinstance(layer, Pool):
        sentence = _biased(layer, observed, (got_there, right_there), cells)
    if sentence:
        return f"{sentence} at {where} alone"
    if isinstance(layer, Pool) or len(cells) > 1 or observed.name == "db":
        return ""
    more = (got_there - right_there)[:, 0]
    return _product(layer, observed, int(cells[0]), more)


def _changed(got: Array, right: Array) -> str:
    """Return what became of a few values."""
    if not got.any():
        return "it is zero"
    if np.array_equal(got, -right):
        return "the sign is turned"
    factor = multiple(got, right)
    return "" if factor is None or abs(factor - 1) <= RIGHT else f"it is multiplied by {factor:.8g}"


def cells_in_words(name: str, cells: Array, shape: tuple[int, ...]) -> str:
    """Return words for some cells of a quantity: one cell, a channel, a row, or how many there are.

    Examples
    --------
    >>> cells_in_words("y", np.array([5]), (2, 3))
    'output (1, 2)'
    >>> cells_in_words("y", np.array([3, 4, 5]), (2, 3))
    'channel 1'
    >>> cells_in_words("y", np.array([1, 4]), (2, 3))
    'the outputs at 1 along axis 0'
    >>> cells_in_words("y", np.array([1, 5]), (2, 3))
    '2 outputs, the first at (0, 1),'
    """
    at = np.unravel_index(cells, shape)
    first = tuple(int(axis[0]) for axis in at)
    if len(cells) == 1:
        return f"{_CELL[name]} {first}"

    spans = [np.unique(axis) for axis in at]  # the positions that occur along each axis
    block = ""
    if len(cells) == prod(map(len, spans)) < prod(shape):  # all combinations, but not all cells
        block = _block_in_words(name, spans, shape)
    plural = f"{_CELL[name]}{'es' if name == 'db' else 's'}"
    return block or f"{len(cells)} {plural}, the first at {first},"


def _block_in_words(name: str, spans: list[Array], shape: tuple[int, ...]) -> str:
    """Return words for the cells at one position along one axis, or of one pair of channels."""
    narrow = [axis for axis, n in enumerate(shape) if len(spans[axis]) < n]
    if any(len(spans[axis]) > 1 for axis in narrow):
        return ""
    if name == "dw" and max(narrow) < 2:
        index = [str(spans[i][0]) if i in narrow else ":" for i in range(max(narrow) + 1)]
        return f"weight[{', '.join(index)}]"
    if len(narrow) > 1:
        return ""

    axis = narrow[0]
    position = spans[axis][0]
    if axis == 0:
        return f"channel {position}"
    channel_axes = 2 if name == "dw" else 1
    return f"the {_CELL[name]}s at {position} along axis {axis - channel_axes}"


def _copied_from(got: Array, right: Array, cells: Array) -> Array | None:
    """Return the cells whose right values these hold, the nearest that there are.

    They lie all at one distance, as after an index that is off by some, or are all the same one.
    """
    if not got.any():  # zeros are no copy
        return None
    sources = np.flatnonzero((right == got[:, :1]).all(axis=0))
    nearest_first = sorted(sources, key=lambda source: abs(int(source) - int(cells[0])))
    for source in nearest_first:
        shifted = cells + (source - cells[0])
        repeated = np.full(len(cells), source)
        for others in (shifted, repeated):
            inside = others.min() >= 0 and others.max() < right.shape[1]
            if inside and np.array_equal(right[:, others], got):
                return np.unique(others)
    return None


def _biased(
    layer: Geometry, observed: Observations, values: tuple[Array, Array], cells: Array
) -> str:
    """Return whether the bias is missing or there twice, or all but the bias is multiplied."""
    got, right = values
    more = got - right
    samples = len(more) // len(observed.calls)
    bias_ties = tie(layer).bias
    biases = [bias_ties.matrix(call.b).toarray()[:, 0] for call in observed.calls]
    bias = np.repeat(biases, samples, axis=0)[:, cells]  # (observations, wrong cells)

    if np.array_equal(more, bias):
        return "the bias is added twice"
    if np.array_equal(more, -bias):
        return "the bias is missing"
    factor = multiple(got, right - bias, bias)
    if factor is None or abs(factor - 1) <= RIGHT:
        return ""
    return f"it is multiplied, before the bias is added, by {factor:.8g}"


def _product(layer: Geometry, observed: Observations, cell: int, more: Array) -> str:
    """Return which product is missing, or counted twice, at one cell that has this too much."""
    ties = tie(layer)
    own = {"y": ties.row, "dx": ties.column, "dw": ties.copies}[observed.name](cell)
    for words, summed in _products(observed, own):
        for sign, verb in ((-1, "misses"), (1, "counts twice")):
            found = np.flatnonzero((sign * summed == more[:, None]).all(axis=0))
            if len(found):
                where, factors = _cell_and_factors(observed.name, ties, own, int(found[0]))
                return f"at {where} it {verb} the product of {factors}{words}"
    return ""


def _cell_and_factors(name: str, ties: TieMap, own: Entries, entry: int) -> tuple[str, str]:
    """Return words for an entry's cell (of y its output) and for the two factors of its product."""
    places = {
        "output": f"output {unravelled(own.row[entry], ties.out_shape)}",
        "input": f"input {unravelled(own.col[entry], ties.in_shape)}",
        "weight": f"weight {unravelled(own.index[entry], ties.weight_shape)}",
    }
    cell = places.pop(_CELL[name])
    return cell, " and ".join(places.values())


def _products(observed: Observations, own: Entries) -> Iterator[tuple[str, Array]]:
    """Yield the products that one cell sums, (observations, products), and words for them.

    Of y and dx an observation is a sample, of dw a draw: there a product is summed over the batch,
    or taken of one sample alone.
    """
    if observed.name == "dw":
        # (draws, batch, products)
        of_samples = np.stack([products("dw", own, call) for call in observed.calls])
        yield "", of_samples.sum(axis=1)
        for sample in range(of_samples.shape[1]):
            yield f" of sample {sample}", of_samples[:, sample]
        return

    each = [products(observed.name, own, call)[observed.samples] for call in observed.calls]
    yield "", np.concatenate(each)


def views(observed: Observations) -> Iterator[tuple[str, Observations]]:
    """Yield the whole, and with words the wrong samples and channels where others are right."""
    yield "", observed
    if not observed.comparable or np.ndim(observed.expected[0]) < 2:
        return

    draws = zip(observed.returned, observed.expected, strict=True)
    wrong = np.any([got != right for got, right in draws], axis=0)
    blocks = wrong.any(axis=tuple(range(2, wrong.ndim)))  # (samples, channels), of dw (out, in)
    rows, cols = np.flatnonzero(blocks.any(axis=1)), np.flatnonzero(blocks.any(axis=0))
    if (len(rows), len(cols)) != blocks.shape:
        words = _part_in_words(observed, rows, cols, blocks.shape)
        yield words, observed._replace(part=np.ix_(rows, cols))


def _part_in_words(observed: Observations, rows: Array, cols: Array, sizes: tuple[int, ...]) -> str:
    """Return words for some samples and channels, or for some output and input channels of dw."""
    some_rows, some_cols = len(rows) < sizes[0], len(cols) < sizes[1]
    if not observed.batched:
        outs = _listed(rows) if some_rows else ":"
        ins = f", {_listed(cols)}" if some_cols else ""
        return f"in weight[{outs}{ins}] alone"
    words = []
    if some_rows:
        words.append(_samples_in_words(rows, sizes[0]))
    if some_cols:
        which = "output" if observed.name == "y" else "input"
        words.append(f"in {which} channel{'s' * (len(cols) > 1)} {_listed(cols)} alone")
    return ", ".join(words)


def _samples_in_words(rows: Array, n: int) -> str:
    if len(rows) > 1 and len(rows) == n - rows[0]:
        return "from the second sample on" if rows[0] == 1 else f"from sample {rows[0]} on"
    return f"in sample{'s' * (len(rows) > 1)} {_listed(rows)} alone"


def _listed(numbers: Array) -> str:
    shown = " and ".join(map(str, numbers[:3]))
    return f"{shown} and {len(numbers) - 3} more" if len(numbers) > 3 else shown


def later_samples(
    layer: Geometry, observed: Observations, known: Sequence[Mistake]
) -> Mistake | None:
    """Return the mistake that dw makes from the second sample on, the first one being right."""
    if observed.name != "dw" or not observed.comparable:
        return None
    right = Mistake("", tie(layer))

    def value(mistake: Mistake, call: Call) -> Array:
        first = call._replace(x=call.x[:1], dy=call.dy[:1])
        rest = call._replace(x=call.x[1:], dy=call.dy[1:])
        return right.run(first, "dw") + mistake.run(rest, "dw")

    return next((mistake for mistake in known if observed.fits(partial(value, mistake))), None)
