"""Laws every layer obeys on random geometries, exactly, in all its forms."""

import json
import pickle
from collections import Counter
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as first_seed
from hypothesis import strategies as st

import convdense as cd
from convdense import Conv, ConvTranspose, LocallyConnected
from convdense.direct import conv_loops
from convdense.geometry import layer_from_dict
from tests.strategies import (
    FORMS,
    KINDS,
    MODES,
    calls,
    integers_for,
    layers,
    seeds,
    signed_integers,
)
from tests.thinned import examples, in_two_rounds

WINDOWED = (Conv, LocallyConnected)
AT_LEAST = 50  # how often the main property must have met every option, and really used it
OPTIONS = (
    *(kind.__name__ for kind in KINDS),
    *(f"axes: {axes}" for axes in (1, 2, 3, 4)),
    *(f"padding: {form}" for form in FORMS),
    *(f"padding_mode: {mode}" for mode in MODES),
    *(f"{name} > 1" for name in ("stride", "dilation", "groups", "channels per group", "batch")),
    *("depthwise", "asymmetric padding", "output_padding > 0"),
    *("flip", "non-square input", "non-square kernel", "several entries in a cell"),
)
USED = Counter()


def on_examples(count):
    """Run a property on this many examples, by default half of them, the same ones every time."""
    return settings(
        max_examples=examples(count),
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


def options_of(call, layer, batch):
    """Yield the names of the options that this layer really uses."""
    ins, outs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    entries = cd.tie(layer).entries()
    yield from (call.kind.__name__, f"axes: {len(layer.kernel)}", f"padding: {call.form}")
    if call.kind is not ConvTranspose and sum(map(sum, layer.padding)):
        yield f"padding_mode: {layer.padding_mode}"
    steps = layer.in_spatial if call.kind is ConvTranspose else layer.out_spatial
    holds = {
        "stride > 1": any(s > 1 and n > 1 for s, n in zip(layer.stride, steps, strict=True)),
        "dilation > 1": any(
            d > 1 and k > 1 for d, k in zip(layer.dilation, layer.kernel, strict=True)
        ),
        "groups > 1": layer.groups > 1,
        "depthwise": layer.groups > 1 and ins == 1,
        "channels per group > 1": ins > 1 and outs > 1,
        "batch > 1": batch > 1,
        "asymmetric padding": any(begin != end for begin, end in layer.padding),
        "output_padding > 0": "output_padding" in call.options,
        "flip": layer.flip and max(layer.kernel) > 1,
        "non-square input": len(set(layer.in_spatial)) > 1,
        "non-square kernel": len(set(layer.kernel)) > 1,
        "several entries in a cell": len(cells_of(entries)) < len(entries.row),
    }
    yield from (name for name, used in holds.items() if used)


def cells_of(entries):
    return set(zip(entries.row.tolist(), entries.col.tolist(), strict=True))


def triples(entries):
    """Return the entries as a list of (row, column, index)."""
    return list(
        zip(entries.row.tolist(), entries.col.tolist(), entries.index.tolist(), strict=True)
    )


def weights_of(layer, seed):
    return signed_integers(seed, layer.weight_shape, 9)


def dense_of(layer, w):
    """Return the layer's dense matrix from the edges of the plain loops."""
    dense = np.zeros((prod(layer.out_shape), prod(layer.in_shape)), w.dtype)
    kernel = conv_loops.flipped(layer, w)
    for out, inp, k in conv_loops.edges(layer):
        dense[
            np.ravel_multi_index(out, layer.out_shape), np.ravel_multi_index(inp, layer.in_shape)
        ] += kernel[k]
    return dense


def evaluators(layer, x, w, b, dy):
    """Return y, dx, dw, db by every evaluator."""
    tied = cd.TiedDense(layer, w, b)
    return {
        "loops": (conv_loops.forward(layer, x, w, b), *conv_loops.backward(layer, x, w, dy)),
        "fast": (cd.convolve(layer, x, w, b), *cd.convolve_backward(layer, x, w, dy)),
        "tied": (tied.forward(x), *tied.backward(x, dy)),
    }


def disagreements(results):
    """Return which result of which evaluator is not the loops', shape, dtype and every bit."""
    alike = lambda a, b: a.dtype == b.dtype and np.array_equal(a, b)  # noqa: E731  (one line)
    return [
        f"{name} of {evaluator}"
        for evaluator, values in results.items()
        for name, got, expected in zip(
            ("y", "dx", "dw", "db"), values, results["loops"], strict=True
        )
        if not alike(got, expected)
    ]


PADDED = tuple(form for form in FORMS if form != "valid")
PARTS = (  # kind, padding mode and forms of padding: each is met often, whatever is drawn
    *((kind, mode, PADDED) for kind, mode in product(WINDOWED, MODES)),
    *((ConvTranspose, "zeros", PADDED) for _ in range(2)),
    *((kind, "zeros", ("valid",)) for kind in KINDS),
)


def agree(part, number):
    """Run the main property on 40 layers of one part, and count the options they use.

    Hypothesis draws the first of several forms most often, so that is another one each time.
    """
    kind, mode, forms = part
    first = number % len(forms)
    forms = forms[first:] + forms[:first]

    @first_seed(number)
    @settings(
        max_examples=40, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(calls((kind,), 4, forms, (mode,)), st.integers(2, 3), seeds)
    def loops_fast_form_and_tied_layer_agree(call, batch, seed):
        layer = call.layer()
        x, w, b, dy = integers_for(layer, seed, batch)
        assert x.min() < 0 < x.max()
        assert dy.min() < 0 < dy.max()
        USED.update(options_of(call, layer, batch))
        results = evaluators(layer, x, w, b, dy)
        assert disagreements(results) == []
        assert [v.shape for v in results["loops"]] == [dy.shape, x.shape, w.shape, b.shape]
        assert {v.dtype for v in results["loops"]} == {np.dtype(np.float64)}

    loops_fast_form_and_tied_layer_agree()


@pytest.mark.claim("forward", "dx", "dw", "db", "transposed", "local")
def test_loops_fast_form_and_tied_layer_agree_and_every_option_was_drawn():
    USED.clear()
    rare = lambda: {option: USED[option] for option in OPTIONS if USED[option] < AT_LEAST}  # noqa: E731
    assert in_two_rounds(agree, PARTS, rare) == {}


@pytest.mark.claim("forward", "dx", "dw", "db")
@on_examples(60)
@given(layers(), st.integers(1, 3), seeds)
def test_complex_numbers_conjugate_x_and_w(layer, batch, seed):
    x, w, b, dy = integers_for(layer, seed, batch, dtype=np.complex128)
    results = evaluators(layer, x, w, b, dy)
    assert disagreements(results) == []
    y, dx, dw, db = results["tied"]
    assert np.vdot(dy, y) == np.vdot(dx, x) + np.vdot(db, b) == np.vdot(dw, w) + np.vdot(db, b)


@pytest.mark.claim("forward", "dx", "dw", "db")
@on_examples(60)
@given(layers(), st.integers(1, 3), seeds)
def test_float32_stays_float32_and_is_as_exact(layer, batch, seed):
    numbers = integers_for(layer, seed, batch, dtype=np.float32)
    single, double = (
        evaluators(layer, *numbers),
        evaluators(layer, *(v.astype(np.float64) for v in numbers)),
    )
    assert disagreements(single) == []
    assert {v.dtype for v in single["loops"]} == {np.dtype(np.float32)}
    assert all(np.array_equal(s, d) for s, d in zip(single["loops"], double["loops"], strict=True))


@pytest.mark.claim("dx")
@on_examples(80)
@given(layers(max_axes=4), seeds)
def test_adjoint_of_every_evaluator(layer, seed):
    """Backward belongs to forward: <dy, W x> = <W^T dy, x> = <dw, w>.

    This is so in x and in w, whoever computes them.
    """
    x, w, b, dy = integers_for(layer, seed)
    for y, dx, dw, db in evaluators(layer, x, w, b, dy).values():
        without_bias = np.vdot(dy, y) - np.vdot(db, b)
        assert without_bias == np.vdot(dx, x) == np.vdot(dw, w)
    matrix, columns = cd.tie(layer).matrix(w), x.reshape(len(x), -1).T
    assert np.vdot(dy.reshape(len(x), -1).T, matrix @ columns) == without_bias


@on_examples(150)
@given(calls(max_axes=4))
def test_written_and_read_back(call):
    layer = call.layer()
    copies = {  # eval knows the three kinds from this module's imports
        "repr": eval(repr(layer)),
        "repr of the call": eval(repr(call)),
        "dict": layer_from_dict(layer.to_dict()),
        "json": layer_from_dict(json.loads(json.dumps(layer.to_dict()))),
        "pickle": pickle.loads(pickle.dumps(layer)),
    }
    assert [
        way for way, copy in copies.items() if copy != layer or type(copy) is not type(layer)
    ] == []
    assert [
        way
        for way, copy in copies.items()
        if hash(copy) != hash(layer) or repr(copy) != repr(layer)
    ] == []


@pytest.mark.claim("forward", "second")
@on_examples(120)
@given(layers(max_axes=4))
def test_entries_are_the_edges_of_the_loops(layer):
    numbers = conv_loops.flipped(
        layer, np.arange(prod(layer.weight_shape)).reshape(layer.weight_shape)
    )
    edges = [
        (
            np.ravel_multi_index(out, layer.out_shape),
            np.ravel_multi_index(inp, layer.in_shape),
            numbers[k],
        )
        for out, inp, k in conv_loops.edges(layer)
    ]
    ties = cd.tie(layer)
    assert triples(ties.entries()) == sorted(edges)
    assert ties.n_entries == len(edges)
    assert (ties.in_shape, ties.out_shape) == (layer.in_shape, layer.out_shape)
    assert (ties.weight_shape, ties.bias_shape) == (layer.weight_shape, layer.bias_shape)


@on_examples(120)
@given(layers(max_axes=4), seeds)
def test_matrix_is_canonical_and_its_pattern_never_depends_on_the_weights(layer, seed):
    ties, w = cd.tie(layer), weights_of(layer, seed)
    matrix, zero, ones = (ties.matrix(v) for v in (w, np.zeros_like(w), np.ones_like(w)))
    assert np.array_equal(matrix.toarray(), dense_of(layer, w))
    for row in np.split(matrix.indices, matrix.indptr[1:-1]):
        assert (np.diff(row) > 0).all()  # sorted, no duplicates
    for other in (zero, ones):
        assert np.array_equal(other.indptr, matrix.indptr)
        assert np.array_equal(other.indices, matrix.indices)
    assert not zero.data.any()
    assert matrix.nnz == len(cells_of(ties.entries())) == ties.mask().nnz
    assert np.array_equal(ties.mask().toarray(), ones.toarray() > 0)


@on_examples(100)
@given(layers(), seeds)
def test_row_column_and_copies_are_selections_of_the_entries(layer, seed):
    ties, rng = cd.tie(layer), np.random.default_rng(seed)
    listed = triples(ties.entries())
    for select, shape, part in (
        (ties.row, ties.out_shape, 0),
        (ties.column, ties.in_shape, 1),
        (ties.copies, ties.weight_shape, 2),
    ):
        for flat in rng.integers(prod(shape), size=10).tolist():
            expected = [entry for entry in listed if entry[part] == flat]
            assert triples(select(flat)) == expected
            assert triples(select(tuple(int(i) for i in np.unravel_index(flat, shape)))) == expected


@on_examples(100)
@given(layers(max_axes=4))
def test_counts_add_up_the_entries(layer):
    ties = cd.tie(layer)
    entries, counts = ties.entries(), ties.counts()
    for got, shape, numbers in (
        (counts.outputs, ties.out_shape, entries.row),
        (counts.inputs, ties.in_shape, entries.col),
        (counts.weights, ties.weight_shape, entries.index),
    ):
        assert np.array_equal(got, np.bincount(numbers, minlength=prod(shape)).reshape(shape))


@on_examples(80)
@given(layers(), seeds)
def test_block_is_the_submatrix(layer, seed):
    ties = cd.tie(layer)
    w = weights_of(layer, seed)
    rng = np.random.default_rng(seed)
    whole = dense_of(layer, w).reshape(*ties.out_shape, *ties.in_shape)
    n_axes = len(ties.out_shape)
    for depth in range(1, n_axes + 1):
        i, j = (
            tuple(int(rng.integers(n)) for n in shape[:depth])
            for shape in (ties.out_shape, ties.in_shape)
        )
        block = ties.block(i, j) if depth > 1 else ties.block(i[0], j[0])
        expected = whole[(*i, *[slice(None)] * (n_axes - depth), *j)]
        assert np.array_equal(block.matrix(w).toarray(), expected.reshape(block.shape))
        assert block.shape == (prod(ties.out_shape[depth:]), prod(ties.in_shape[depth:]))


@on_examples(100)
@given(layers(), seeds)
def test_transposed_map_is_the_transposed_matrix(layer, seed):
    ties, (x, w, _, dy) = cd.tie(layer), integers_for(layer, seed)
    assert np.array_equal(ties.T.matrix(w).toarray(), ties.matrix(w).toarray().T)
    assert triples(ties.T.T.entries()) == triples(ties.entries())
    assert sorted((col, row, k) for row, col, k in triples(ties.T.entries())) == triples(
        ties.entries()
    )
    dx, dw, _ = cd.convolve_backward(layer, x, w, dy)
    backwards = cd.TiedDense(
        ties.T, w
    )  # what flows back through a layer flows forward through its transpose
    assert np.array_equal(backwards.forward(dy), dx)
    assert np.array_equal(backwards.backward(dy, x).dw, dw)


def visits_every_input(layer):
    """Tell whether the convolution back has as many positions as there are inputs.

    output_padding can add some.
    """
    return all(
        extra < stride for extra, stride in zip(layer.output_padding, layer.stride, strict=True)
    )


@pytest.mark.claim("transposed")
@on_examples(100)
@given(layers(kinds=(ConvTranspose,), max_axes=4).filter(visits_every_input), seeds)
def test_transposed_convolution_is_the_convolution_transposed(layer, seed):
    shared = {
        name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups", "flip")
    }
    conv = Conv(layer.out_shape, layer.in_channels, layer.kernel, **shared)
    w = weights_of(layer, seed)
    assert (conv.out_shape, conv.weight_shape) == (layer.in_shape, layer.weight_shape)
    assert np.array_equal(cd.tie(layer).matrix(w).toarray(), cd.tie(conv).matrix(w).toarray().T)


@pytest.mark.claim("local")
@on_examples(80)
@given(layers(kinds=(Conv,), max_axes=4), seeds)
def test_locally_connected_layer_is_the_convolution_untied(layer, seed):
    numbers = {name: value for name, value in layer.to_dict().items() if name != "type"}
    untied, (x, w, _, dy) = LocallyConnected(**numbers), integers_for(layer, seed)
    positions = tuple(
        range(2, 2 + len(layer.kernel))
    )  # axes of the untied weights that the tied ones lack
    own = np.broadcast_to(np.expand_dims(w, positions), untied.weight_shape)
    assert (cd.tie(untied).mask() != cd.tie(layer).mask()).nnz == 0
    assert np.array_equal(cd.tie(untied).matrix(own).toarray(), cd.tie(layer).matrix(w).toarray())
    dw = (
        cd.TiedDense(untied, own).backward(x, dy).dw
    )  # a gradient for every position, not yet added up
    assert np.array_equal(dw.sum(axis=positions), cd.TiedDense(layer, w).backward(x, dy).dw)


@pytest.mark.claim("forward")
@on_examples(100)
@given(layers(kinds=WINDOWED), seeds)
def test_padding_is_numpys_padding_of_the_input(layer, seed):
    mode = {"zeros": "constant", "circular": "wrap", "replicate": "edge"}.get(
        layer.padding_mode, layer.padding_mode
    )
    x, w, b, _ = integers_for(layer, seed)
    padded = np.pad(x, ((0, 0), (0, 0), *layer.padding), mode=mode)
    shared = {name: getattr(layer, name) for name in ("stride", "dilation", "groups", "flip")}
    valid = type(layer)(
        padded.shape[1:], layer.out_channels, layer.kernel, padding="valid", **shared
    )
    assert np.array_equal(
        cd.TiedDense(layer, w, b).forward(x), cd.TiedDense(valid, w, b).forward(padded)
    )


@on_examples(80)
@given(layers(max_axes=2), seeds, st.integers(1, 40))
def test_slabs_are_the_entries_cut_up(layer, seed, limit):
    ties = cd.tie(layer)
    slabs = list(ties.slabs(limit))
    assert max(len(slab.row) for slab in slabs) <= limit
    assert sorted(entry for slab in slabs for entry in triples(slab)) == triples(ties.entries())
