"""Output pixels that a sum misses: one of them, or the last ones of the batch, as where blocks do not divide it."""

from collections.abc import Iterator
from math import prod

import numpy as np

from convdense._util.arguments import Array, unravelled
from convdense.diagnosis.mistakes.mistake import Call, Mistake, bias_gradient
from convdense.diagnosis.mistakes.observations import Observations
from convdense.geometry import Geometry
from convdense.structure._tie import tie


def outputs_missing(layer: Geometry, observed: Observations) -> str:
    """Return which output pixels dw, db or dx misses, the same in every draw; empty where none explain it."""
    if not observed.comparable or observed.name == "y":
        return ""
    right = Mistake("", tie(layer))

    def value(call: Call, keep: Array) -> Array:
        dy = call.dy * keep.reshape(-1, 1, *layer.out_spatial)
        return (
            bias_gradient(layer, dy)
            if observed.name == "db"
            else right.run(call._replace(dy=dy), observed.name)
        )

    for sentence, keep in _candidates(layer, observed):
        if observed.fits(lambda call, keep=keep: value(call, keep)):  # type: ignore[misc]  # bound at once
            return sentence
    return ""


def _candidates(layer: Geometry, observed: Observations) -> Iterator[tuple[str, Array]]:
    """Yield output pixels to leave out, as masks (samples, pixels), that explain one cell of the first draw."""
    terms = _terms(layer, observed)  # (batch, pixels)
    missing = float(terms.sum() - _cell(observed))
    n, pixels = terms.shape
    single = terms.sum(axis=0)
    for p in np.flatnonzero((single == missing) & (single != 0)):
        yield (
            f"the output pixel {unravelled(p, layer.out_spatial)} is left out",
            (np.arange(pixels) != p)[None],
        )
    if observed.batched:
        return
    for words, order in (("", (0, 1)), (", counted pixel by pixel,", (1, 0))):
        flat, number = terms.transpose(order).ravel(), np.arange(n * pixels)
        for m in np.flatnonzero(np.cumsum(flat)[:-1] == flat.sum() - missing) + 1:
            keep = (number < m).reshape([(n, pixels)[i] for i in order]).transpose(order)
            yield (
                f"the last {n * pixels - m} of the batch's {n * pixels} output pixels{words} are left out",
                keep,
            )
        for m in np.flatnonzero(np.cumsum(flat)[:-1] == missing) + 1:
            keep = (number >= m).reshape([(n, pixels)[i] for i in order]).transpose(order)
            yield (
                f"the first {m} of the batch's {n * pixels} output pixels{words} are left out",
                keep,
            )


def _cell(observed: Observations) -> float:
    return float(np.asarray(observed.returned[0]).ravel()[_at(observed)])


def _at(observed: Observations) -> int:
    """Return the first cell that is wrong in the first draw; where none is, the first."""
    return int(np.argmax(np.asarray(observed.returned[0]) != observed.expected[0]))


def _terms(layer: Geometry, observed: Observations) -> Array:
    """Return what each output pixel of each sample adds to one wrong cell, (batch, pixels), in the first draw."""
    call, pixels, at = observed.calls[0], prod(layer.out_spatial), _at(observed)
    dy = call.dy.reshape(len(call.dy), -1)
    terms = np.zeros((len(dy), pixels))
    if observed.name == "db":
        own = tie(layer).bias.entries()
        rows = own.row[own.index == at]
        np.add.at(terms.T, rows % pixels, dy[:, rows].T)
        return terms
    entries = tie(layer).entries()
    if observed.name == "dw":
        of = entries.index == at
        each = call.x.reshape(len(call.x), -1)[:, entries.col[of]] * dy[:, entries.row[of]]
        np.add.at(terms.T, entries.row[of] % pixels, each.T)
        return terms
    sample, cell = divmod(at, prod(layer.in_shape))
    of = entries.col == cell
    each = call.w.ravel()[entries.index[of]] * dy[sample, entries.row[of]]
    np.add.at(terms[sample], entries.row[of] % pixels, each)
    return terms
