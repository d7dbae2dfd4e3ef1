"""Output pixels that a sum misses: one, or the last ones, as where blocks do not divide a batch."""

from collections.abc import Iterator
from functools import partial
from math import prod

import numpy as np

from convdense._util.arguments import Array, unravelled
from convdense.diagnosis.mistakes.mistake import (
    Call,
    Mistake,
    bias_gradient,
    flat_samples,
    products,
)
from convdense.diagnosis.mistakes.observations import Observations
from convdense.geometry import Geometry
from convdense.structure._tie import tie

Candidate = tuple[str, Array]  # a sentence, and which pixels are kept: a mask (samples, pixels)


def outputs_missing(layer: Geometry, observed: Observations) -> str:
    """Return which output pixels dw, db or dx misses in every draw; empty where none explain it."""
    if not observed.comparable or observed.name == "y":
        return ""
    right = Mistake("", tie(layer))

    def of_pixels(keep: Array, call: Call) -> Array:
        dy = call.dy * keep.reshape(-1, 1, *layer.out_shape[1:])  # the same pixels of every channel
        if observed.name == "db":
            return bias_gradient(layer, dy)
        return right.run(call._replace(dy=dy), observed.name)

    for sentence, keep in _candidates(layer, observed):
        if observed.fits(partial(of_pixels, keep)):
            return sentence
    return ""


def _candidates(layer: Geometry, observed: Observations) -> Iterator[Candidate]:
    """Yield the pixels left out, without which one wrong cell of the first draw is as it came."""
    wrong = np.asarray(observed.returned[0]) != observed.expected[0]
    at = int(np.argmax(wrong))  # the first wrong cell; where none is wrong, the first
    terms = _terms(layer, observed, at)  # (batch, pixels)
    missing = float(terms.sum() - np.asarray(observed.returned[0]).ravel()[at])

    single = terms.sum(axis=0)
    for pixel in np.flatnonzero((single == missing) & (single != 0)):
        others = np.arange(len(single)) != pixel
        place = unravelled(pixel, layer.out_shape[1:])
        yield f"the output pixel {place} is left out", others[None]
    if observed.batched:
        return
    yield from _first_or_last(terms, missing, "")
    for sentence, keep in _first_or_last(terms.T, missing, ", counted pixel by pixel,"):
        yield sentence, keep.T


def _first_or_last(terms: Array, missing: float, words: str) -> Iterator[Candidate]:
    """Yield so many of the first or last terms, row by row, that their sum is what is missing."""
    flat = terms.ravel()
    number = np.arange(flat.size).reshape(terms.shape)
    pixels = f"of the batch's {flat.size} output pixels{words} are left out"
    sums = np.cumsum(flat)[:-1]  # of the first term, of the first two, ...
    for m in np.flatnonzero(sums == flat.sum() - missing) + 1:
        yield f"the last {flat.size - m} {pixels}", number < m
    for m in np.flatnonzero(sums == missing) + 1:
        yield f"the first {m} {pixels}", number >= m


def _terms(layer: Geometry, observed: Observations, at: int) -> Array:
    """Return what each output pixel adds to a cell in the first draw, (batch, pixels)."""
    call, ties = observed.calls[0], tie(layer)
    pixels = prod(layer.out_shape[1:])
    terms = np.zeros((len(call.dy), pixels))
    sample: int | slice = slice(None)  # dw and db are sums over all
    if observed.name == "db":
        own = ties.bias.entries()
        rows = own.row[own.index == at]
        each = flat_samples(call.dy)[:, rows]  # (batch, entries)
    else:
        cell = at
        if observed.name == "dx":
            sample, cell = divmod(at, prod(layer.in_shape))
        own = ties.column(cell) if observed.name == "dx" else ties.copies(cell)
        rows, each = own.row, products(observed.name, own, call)
    np.add.at(terms[sample].T, rows % pixels, each[sample].T)
    return terms
