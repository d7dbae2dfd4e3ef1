"""Mistakes people make, as tie maps and weights: what a layer would compute if one of its numbers were got wrong."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from convdense.diagnosis.mistakes.geometry import (
    Change,
    WindowParameters,
    changes,
    exists,
    tie_map,
    window_parameters,
    windows,
)
from convdense.diagnosis.mistakes.mistake import Mistake
from convdense.diagnosis.mistakes.weights import weight_mistakes
from convdense.diagnosis.mistakes.windows import window_mistakes, winograd_mistakes
from convdense.geometry import Conv, ConvTranspose, Geometry
from convdense.structure._tie import tie
from convdense.structure.axis import Axis, channels
from convdense.structure.tie_map import TieMap


def mistakes(layer: Geometry) -> Iterator[Mistake]:
    """Yield the right layer first, then one mistake after the other."""
    right = tie(layer)
    yield Mistake("", right)
    if isinstance(layer, (Conv, ConvTranspose)):
        for sentence, ties in wrong_tie_maps(layer):
            yield Mistake(sentence, ties)
        for sentence, axes in winograd_mistakes(window_parameters(layer)):
            yield Mistake(sentence, tie_map(layer, axes))
    for sentence, read, write in weight_mistakes(right.weight_shape, len(layer.kernel)):
        yield Mistake(sentence, right, read, write)


def wrong_tie_maps(layer: Conv | ConvTranspose) -> Iterator[tuple[str, TieMap]]:
    """Yield the tie map with one of the numbers, the groups or the windows got wrong."""
    n, transposed = window_parameters(layer), isinstance(layer, ConvTranspose)
    for sentence, changed in possible_changes(n, transposed):
        yield sentence, tie_map(layer, windows(n._replace(**changed)))
    for sentence, axis in wrong_groups(layer):
        yield sentence, tie_map(layer, windows(n), axis)
    for sentence, axes in window_mistakes(n, transposed):
        yield sentence, tie_map(layer, axes)


def possible_changes(n: WindowParameters, transposed: bool) -> Iterator[Change]:
    """Yield the changes of a layer's numbers after which all cells that padding copies exist."""
    for sentence, changed in changes(n, transposed):
        if exists(windows(n._replace(**changed))):
            yield sentence, changed


def wrong_groups(layer: Geometry) -> Iterator[tuple[str, Axis]]:
    """Yield the channels' axis with the groups got wrong."""
    transposed, g = isinstance(layer, ConvTranspose), layer.groups
    if g == 1:
        return
    outs, ins = (
        (layer.in_channels, layer.out_channels)
        if transposed
        else (layer.out_channels, layer.in_channels)
    )
    whole = channels(outs, ins, g)
    per_in, per_out = ins // g, outs // g
    if per_out > 1:
        kept = whole.rows % per_out == per_out - 1
        yield "within a group only the last output channel counts", whole.take(kept)
    if per_in < ins:
        yield (
            "the groups' offset is ignored: all groups meet the first one's channels",
            replace(whole, cols=whole.cols % per_in),
        )
    if per_in > 1:
        mixed = (
            np.arange(ins).reshape(per_in, g).T.ravel()
        )  # channel c of the layer belongs to group c mod g
        yield (
            "the input channels of the groups are interleaved",
            replace(whole, cols=mixed[whole.cols]),
        )
    if per_out > 1:
        mixed = np.arange(outs).reshape(per_out, g).T.ravel()
        yield (
            "the output channels of the groups are interleaved",
            replace(whole, rows=mixed[whole.rows]),
        )
        rows = mixed[whole.rows]
        own = replace(whole, rows=rows, taps=rows * per_in + whole.taps % per_in)
        yield "output channel o belongs to group o mod groups", own
