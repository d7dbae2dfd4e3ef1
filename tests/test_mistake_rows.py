"""Every row of the tables of mistakes is wrong in what it says, and refused by certify.

Beside them right code, which is accepted. Whether a diagnosis names the mistakes is judged by hand:
``python -m tests.mistake_rows``.
"""

from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np
import pytest

import convdense as cd
from convdense.certificates import _certify
from convdense.direct import pool
from tests import few_calls
from tests.few_calls import RefusedError, until_wrong
from tests.mistake_rows import RIGHT, ROWS, chosen, has_words, judged, sentences
from tests.mistake_rows_base import QUANTITIES, Row
from tests.new_passes import NEW, NEW_RIGHT
from tests.student_passes import STUDENT, STUDENT_RIGHT

WRONG = [*ROWS, *NEW, *STUDENT]
ALL_RIGHT = [*RIGHT, *NEW_RIGHT, *STUDENT_RIGHT]
ACCUMULATORS = {"int8": "int32", "uint8": "int32", "int16": "int32"}
LARGEST = {"int16": 10_000, "float16": 15, "bfloat16": 15}


def rows(table):
    return pytest.mark.parametrize("row", table, ids=lambda row: row.name)


# The numbers, by the direct convolution on whole numbers


def operands(layer, batch, rng, largest):
    """Return x, w, b, dy of whole numbers from -largest to largest; of a pool x and dy."""
    shapes = [(batch, *layer.in_shape)]
    if hasattr(layer, "weight_shape"):
        shapes += [layer.weight_shape, layer.bias_shape]
    shapes.append((batch, *layer.out_shape))
    return [rng.integers(-largest, largest + 1, shape) for shape in shapes]


def drawn(row, trial):
    """Return operands in the dtype of a row: the same batch twice, then others."""
    rng, batch = np.random.default_rng(trial), max(2, trial)
    dtype = row.options.get("dtype", "float64")
    if dtype in ("int8", "uint8"):
        return [value.astype(dtype) for value in operands(row.layer, batch, rng, 2**15)]
    values = operands(row.layer, batch, rng, LARGEST.get(dtype, (4, 4, 300, 300)[trial]))
    if dtype == "float64" and trial == 0:
        values[0] = -abs(values[0]) - 1  # where padding with 0 shows in a maximum
    if dtype == "float64" and trial == 1:
        values[0] = np.sign(values[0])  # where many are equal
    if dtype == "complex128":
        parts = operands(row.layer, batch, rng, 4)
        values = [real + 1j * part for real, part in zip(values, parts, strict=True)]
    return [value.astype({"bfloat16": "float32"}.get(dtype, dtype)) for value in values]


def expected(row, values):
    """Return {quantity: the right array}, in the dtype that it is rounded to or wraps in."""
    layer, dtype = row.layer, row.options.get("dtype", "float64")
    wide = {"i": int, "u": int, "f": float, "c": complex}[np.dtype(values[0].dtype).kind]
    x, *w_and_b, dy = (value.astype(wide) for value in values)
    if not w_and_b:
        return {"y": pool.forward(layer, x), "dx": pool.backward(layer, x, dy)}
    w, b = w_and_b
    if isinstance(layer, cd.Linear):
        results = x @ w.T + b, dy @ w, dy.T @ x, dy.sum(axis=0)
    elif isinstance(layer, cd.TieMap):
        dense = cd.TiedDense(layer, w, b)
        results = dense.forward(x), *dense.backward(x, dy)
    else:
        results = cd.convolve(layer, x, w, b), *cd.convolve_backward(layer, x, w, dy)
    if dtype == "bfloat16":
        results = [eight_bits(result) for result in results]
    elif dtype in ("float16", *ACCUMULATORS):
        sums = row.options.get("accumulator", ACCUMULATORS.get(dtype, dtype))
        results = [result.astype(sums) for result in results]
    return dict(zip(QUANTITIES, results, strict=True))


def eight_bits(array):
    """Return numbers rounded to 8 significant bits, half to even."""
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.rint(mantissa * 2**8) / 2**8, exponent)


def computed(implementation, values):
    """Return {quantity: what an implementation gives}."""
    if len(values) == 2:
        x, dy = values
        return {"y": implementation.forward(x), "dx": implementation.backward(x, dy)}
    x, w, b, dy = values
    if callable(implementation):
        return {"y": implementation(x, w, b)}
    results = implementation.forward(x, w, b), *implementation.backward(x, w, dy)
    return dict(zip(QUANTITIES, results, strict=True))


def differs(got, right):
    """Return whether arrays differ by more than what a Fourier transform of integers rounds."""
    if got.shape != right.shape:
        return True
    with np.errstate(invalid="ignore"):
        return not (abs(got.astype(right.dtype) - right) <= 1e-6).all()


def wrong_quantities(row):
    """Return the names of what is wrong in any of four trials of one implementation."""
    found = set()
    implementation = row.implementation
    for trial in range(4):
        values = drawn(row, trial)
        right = expected(row, values)
        got = computed(implementation, [value.copy() for value in values])
        for name, array in got.items():
            if array is not None and differs(np.asarray(array), right[name]):
                found.add(name)
    return found


# The tables


def test_the_tables():
    names = [row.name for row in (*WRONG, *ALL_RIGHT)]
    assert len(set(names)) == len(names)
    assert len(ROWS) >= 110
    assert len(NEW) >= 40
    assert (len(STUDENT), len(STUDENT_RIGHT)) == (40, 10)
    of_all = [words for row in WRONG for words in row.words.values()]
    assert all(isinstance(alternative, tuple) for words in of_all for alternative in words)
    assert all(type(row.behaviour) is tuple for row in WRONG)


def is_compared(row):
    """Return whether the numbers of a row are exact up to what a transform rounds."""
    in_halves = row.options.get("dtype") in ("float16", "bfloat16")
    return not row.behaviour and not (in_halves and row.rounds)


@contextmanager
def until_numbers_are_wrong():
    """End a certificate where its trials on integers found a difference, by `RefusedError`."""
    on_all = _certify.review_implementation

    def review(evaluators, layer, findings, *more, **how):
        if any(finding.refuted for finding in findings):
            raise RefusedError(findings)
        return on_all(evaluators, layer, findings, *more, **how)

    with mock.patch.object(_certify, "review_implementation", review):
        yield


def certified(row):
    """Return a certificate, ended where it is decided; beside the numbers a part is tried."""
    options = dict(row.options)
    if hasattr(row.layer, "weight_shape"):
        options.update(method="random", error=2**-20)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(few_calls, "PARTS", 24))
        stack.enter_context(few_calls.a_part(row.name))
        stack.enter_context(until_wrong())
        stack.enter_context(until_numbers_are_wrong())
        return cd.certify(row.layer, row.implementation, seed=19, **options)


@rows(WRONG)
def test_it_is_wrong_in_exactly_what_it_says_and_refused(row):
    if is_compared(row):
        assert wrong_quantities(row) == set(row.words)
    try:
        assert not certified(row)
    except RefusedError:
        return


@rows(ALL_RIGHT)
def test_it_is_right_and_accepted(row):
    if is_compared(row):
        assert wrong_quantities(row) == set()
    certificate = certified(row)
    assert not certificate.refuted
    assert certificate or row.rounds


# The judge by hand


def test_the_judge_takes_the_table_that_is_asked_for():
    assert chosen([]) == (ROWS, RIGHT)
    assert chosen(["pool", "--new"]) == (NEW, NEW_RIGHT)
    assert chosen(["--student", "pool"]) == (STUDENT, STUDENT_RIGHT)


class Said:
    """A diagnosis that says this."""

    def __init__(self, *lines):
        self.text = "\n".join(lines)

    def __str__(self):
        return self.text


def test_sentences_are_read_by_quantity():
    said = Said("y: one", "  first at output (0, 0): weight 1", "dw: two: 2", "dw: three")
    assert sentences(said) == {"y": "one", "dw": "two: 2; three"}


@pytest.mark.parametrize(
    ("sentence", "named"),
    [
        ("= for += in the loop over rows", True),
        ("= for += in the loop over samples", False),
        ("the last row alone", True),
        ("the last column alone", False),
    ],
)
def test_words_are_all_of_one_alternative(sentence, named):
    assert has_words(sentence, (("+=", "!samples"), ("LAST", "row"))) == named


ROW = Row("row", cd.Conv((1, 3), 1, 2), lambda: None, {"dw": (("mean", "batch"),)})
CARRIED = Row("row", ROW.layer, ROW.make, behaviour=("raised",))


@pytest.mark.parametrize(
    ("row", "verdict", "lines"),
    [
        (ROW, "matched", ["dw: the mean over the batch is taken", "  first at (0, 0, 0)"]),
        (ROW, "misnamed", ["dw: the kernel is reversed"]),
        (ROW, "missed", ["dw: no mistake that is known here explains it", "  mean, batch"]),
        (ROW, "missed", ["nothing is wrong"]),
        (ROW, "blamed", ["dw: the mean over the batch is taken", "db: the sign"]),
        (CARRIED, "matched", ["y: it raised ValueError"]),
        (CARRIED, "missed", ["nothing is wrong"]),
    ],
)
def test_a_diagnosis_is_judged_by_its_words(row, verdict, lines):
    with mock.patch.object(cd, "diagnose", return_value=Said(*lines), create=True):
        assert judged(row)[0] == verdict


def test_a_diagnosis_that_raises_is_missed():
    with mock.patch.object(cd, "diagnose", mock.Mock(side_effect=TypeError("layer")), create=True):
        assert judged(ROW) == ("missed", "raised TypeError: layer")


# what `diagnose` has no name for: then it says so, and names nothing else
NOT_NAMED = {
    "state kept between sequences",
    "winograd tiles do not overlap",
    "naive backward whose columns are counted by the height",
    "dout enlarged by repeating where zeros belong",
    "np.fft.irfft without the odd length",
    "windows of a pool by reshape with its axes in the wrong order",
}


@pytest.mark.parametrize(
    "row", [*ROWS, *RIGHT, *NEW, *NEW_RIGHT, *STUDENT, *STUDENT_RIGHT], ids=lambda row: row.name
)
@pytest.mark.thinned(10)
def test_a_diagnosis_says_the_words_expected(row):
    verdict, said = judged(row)
    assert verdict == ("missed" if row.name in NOT_NAMED else "matched"), said
