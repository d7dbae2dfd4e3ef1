"""What a certificate tries beside the numbers: each defect is refused by what its finding names.

The nearest right neighbour of every defect is accepted.
"""

import re
import time
import tracemalloc

import numpy as np
import pytest

import convdense as cd
from convdense._util.float_formats import rounded_to
from convdense.certificates.other_shapes import CHANNELS, OTHER_SHAPES, layers_of_other_shapes
from convdense.direct import pool as direct_pool
from convdense.implementations import call_contract
from convdense.implementations.array_views import VIEWS
from convdense.implementations.call_contract import Bench
from convdense.implementations.evaluators import Evaluator, small_evaluator
from convdense.verdicts.findings import EQUAL, RAISED, REFUSED, REPORTED

CONV = cd.Conv((2, 5, 4), 3, kernel=(3, 2), stride=(2, 1), padding=1)
MAX = cd.MaxPool((2, 6, 6), kernel=2)
LEFT_OUT = "operand"


def right_forward(x, w, b):
    return cd.convolve(CONV, x, w, b)


def right_backward(x, w, dy):
    return tuple(cd.convolve_backward(CONV, x, w, dy))


def of_forward(change):
    """Return an implementation with the results of forward changed: change(y, x, w, b)."""
    return lambda x, w, b: change(right_forward(x, w, b), x, w, b), right_backward


def of_backward(change):
    """Return one with the results of backward changed: change((dx, dw, db), x, w, dy)."""
    return right_forward, lambda x, w, dy: change(right_backward(x, w, dy), x, w, dy)


def of_operands(change):
    """Return one that changes x, w and b, or x, w and dy, before it starts."""
    return (
        lambda *operands: right_forward(*change(*operands)),
        lambda *operands: right_backward(*change(*operands)),
    )


def pool_of(change_y=lambda y, x: y, change_dx=lambda dx, x, dy: dx, pool=MAX):
    return (
        lambda x: change_y(direct_pool.forward(pool, x), x),
        lambda x, dy: change_dx(direct_pool.backward(pool, x, dy), x, dy),
    )


def from_memory(a):
    """Read what lies in memory from the first address on, as a pointer without strides does."""
    if a.flags.c_contiguous:
        return a
    flat = np.lib.stride_tricks.as_strided(a, (1,), (a.itemsize,))
    return np.full_like(a, flat[0], order="C")


def every(condition, a):
    return a.size > 0 and bool(condition(a).all())


class Keeps:
    """Forward leaves something in the object; what it is, the defects say."""

    def __init__(self):
        self.x = self.w = self.y = self.kernel = None


class StaleWeights(Keeps):
    """A cache of the weights, keyed on which array they are."""

    def forward(self, x, w, b):
        if self.w is not w:
            self.w, self.kernel = w, w.copy()
        return right_forward(x, self.kernel, b)

    backward = staticmethod(right_backward)


class StaleX(Keeps):
    """Backward with the x of the last forward."""

    def forward(self, x, w, b):
        self.x = x.copy()
        return right_forward(x, w, b)

    def backward(self, x, w, dy):
        return right_backward(self.x if len(self.x) == len(x) else x, w, dy)


class KeptX:
    """It keeps the array itself, so that it reads what is written there later."""

    def forward(self, x, w, b):
        self.x = x
        return right_forward(x, w, b)

    def backward(self, x, w, dy):
        return right_backward(self.x, w, dy)


class Buffer(Keeps):
    """One buffer for each size of batch, from three on."""

    def __init__(self):
        self.buffers = {}

    def forward(self, x, w, b):
        y = right_forward(x, w, b)
        if len(x) < 3:
            return y
        buffer = self.buffers.setdefault(len(x), y)
        buffer[...] = y
        return buffer

    backward = staticmethod(right_backward)


class OneForAll(Keeps):
    """A scratch array that two calls at once share."""

    def __init__(self):
        self.scratch = {}

    def forward(self, x, w, b):
        scratch = self.scratch.setdefault(x.shape, x.copy())
        scratch[...] = x
        for _ in range(3):
            time.sleep(1e-5)
        return right_forward(scratch, w, b)

    backward = staticmethod(right_backward)


class FreshScratch(OneForAll):
    def forward(self, x, w, b):
        time.sleep(1e-5)
        return right_forward(x.copy(), w, b)


def batch_limit(most):
    def change(y, x, w, b):
        y[most:] = 0
        return y

    return of_forward(change)


def mixed(a, condition):
    return -a if condition else a


# defect -> the name of the finding that refuses it
def planes_of_a_whole_array(x):
    """Read planes without gaps as if the next followed at once, as pointer arithmetic does."""
    if not x.size or not x[0, 0].flags.c_contiguous:
        return x
    strides = (x.strides[0], x[0, 0].nbytes, *x.strides[2:])
    return np.lib.stride_tricks.as_strided(x, x.shape, strides)


DEFECTS = {
    "a dy as x lies in memory": (
        of_backward(
            lambda g, x, w, dy: (
                g[0],
                mixed(g[1], x.flags.c_contiguous and not dy.flags.c_contiguous),
                g[2],
            )
        ),
        "strided views",
    ),
    "channels without gaps": (
        of_forward(lambda y, x, w, b: right_forward(planes_of_a_whole_array(x), w, b)),
        "strided channels",
    ),
    "batches of four and more": (batch_limit(3), "batch 4"),
    "batches beyond 32": (batch_limit(32), "batch 33"),
    "an x that no C array is": (
        of_forward(lambda y, x, w, b: right_forward(from_memory(x), w, b)),
        "strided views",
    ),
    "a Fortran x in a batch of three": (
        of_forward(lambda y, x, w, b: mixed(y, x.flags.f_contiguous and len(x) == 3)),
        "transposed views",
    ),
    "a dy that is one number": (
        of_backward(lambda g, x, w, dy: tuple(mixed(a, not any(dy.strides)) for a in g)),
        "zero strides",
    ),
    "a dy with a negative stride": (
        of_backward(lambda g, x, w, dy: (mixed(g[0], min(dy.strides) < 0), *g[1:])),
        "negative strides",
    ),
    "channels last": (
        of_forward(lambda y, x, w, b: mixed(y, x.strides[1] == x.itemsize and x.strides[3] > 8)),
        "transposed views",
    ),
    "dx of a zero x": (
        of_backward(lambda g, x, w, dy: (g[0] * x.any() if len(x) else g[0], *g[1:])),
        "zero x",
    ),
    "db of a zero x": (
        of_backward(lambda g, x, w, dy: (*g[:2], g[2] * x.any() if len(x) else g[2])),
        "zero x",
    ),
    "x of one sign": (
        of_forward(lambda y, x, w, b: mixed(y, every(lambda a: a >= 0, x) and x.any())),
        "values of one sign",
    ),
    "an x of ones": (
        of_forward(lambda y, x, w, b: mixed(y, every(lambda a: a == 1, x))),
        "values all 1",
    ),
    "equal weights": (
        of_backward(
            lambda g, x, w, dy: (
                mixed(g[0], every(lambda a: a == a.flat[0], w) and w.any()),
                *g[1:],
            )
        ),
        "values all equal",
    ),
    "x below one": (
        of_forward(lambda y, x, w, b: mixed(y, every(lambda a: abs(a) <= 1, x) and (x % 1).any())),
        "values in [0, 1]",
    ),
    "sorted": (
        of_forward(
            lambda y, x, w, b: mixed(
                y,
                x.size > 9
                and every(lambda a: np.diff(a.ravel()) >= 0, x)
                and x[-1].max() > x[0].min()
                and (x < 0).any(),
            )
        ),
        "sorted values",
    ),
    "one cell": (
        of_forward(lambda y, x, w, b: mixed(y, every(lambda a: (a != 0).sum((2, 3)) == 1, x))),
        "one-hot values",
    ),
    "a flush of small x": (
        of_operands(lambda x, w, last: (np.where(abs(x) < 1e-30, 0, x), w, last)),
        "x and b of ",
    ),
    "a flush near the end": (
        of_operands(lambda x, w, last: (x, np.where(abs(w) < 1e-302, 0, w), last)),
        "w and b of ",
    ),
    "clipped results": (
        of_forward(lambda y, x, w, b: np.clip(y, -1e299, 1e299)),
        "x and b of ",
    ),
    "an epsilon": (
        of_backward(lambda g, x, w, dy: (g[0], g[1] + 1e-200 * (g[1] != 0), g[2])),
        "x and b of ",
    ),
    "a bias that is rounded": (
        of_forward(lambda y, x, w, b: right_forward(x, w, np.rint(b))),
        "x and b of ",
    ),
    "db without small dy": (
        of_backward(lambda g, x, w, dy: (*g[:2], np.where(abs(g[2]) < 1e-40, 0, g[2]))),
        "dy of ",
    ),
    "a cache of weights": (StaleWeights(), "operands changed in place"),
    "the x of the last forward": (StaleX(), "backward after another forward"),
    "the array of the last forward": (KeptX(), "backward after another forward"),
    "one buffer": (Buffer(), "results kept"),
}


def refusals(certificate):
    return [f.name for f in certificate.behaviour if f.refuted]


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_refused_by_what_its_finding_names(defect):
    mine, name = DEFECTS[defect]
    certificate = cd.certify(CONV, mine, method="random", seed=0)
    assert certificate.refuted
    assert any(f.startswith(name) for f in refusals(certificate)), refusals(certificate)


def no_negative_strides(*arrays):
    if any(min(a.strides, default=0) < 0 for a in arrays):
        raise ValueError("at least one stride is negative\nwrite x.copy()")
    return arrays


RIGHT = {
    "as it is": (right_forward, right_backward),
    "lists": (
        lambda x, w, b: right_forward(*map(np.asarray, (x, w, b))).tolist(),
        lambda x, w, dy: [a.tolist() for a in right_backward(x, w, dy)],
    ),
    "longdouble": (
        lambda *a: right_forward(*(v.astype(np.longdouble) for v in a)).astype(float),
        lambda *a: tuple(
            g.astype(float) for g in right_backward(*(v.astype(np.longdouble) for v in a))
        ),
    ),
    "another order of the sums": (
        lambda x, w, b: right_forward(x / 2, w, b / 4) + right_forward(x / 2, w, 3 * b / 4),
        right_backward,
    ),
    "a cache keyed on the numbers": of_operands(lambda *a: tuple(map(np.copy, a))),
    "contiguous copies": of_operands(lambda *a: tuple(map(np.ascontiguousarray, a))),
    "raises on a negative stride": of_operands(no_negative_strides),
    "flushes what is subnormal": of_operands(
        lambda *a: tuple(np.where(abs(v) < 2.0**-1022, 0, v) for v in a)
    ),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_right_code_is_not_blamed(kind):
    assert cd.certify(CONV, RIGHT[kind], method="random", seed=0, threads=True).require()


def verdicts(certificate):
    return {f.name: f.verdict for f in certificate.behaviour}


def test_what_an_exception_refuses_is_a_restriction_that_says_what_was_raised():
    mine = RIGHT["raises on a negative stride"]
    certificate = cd.certify(CONV, mine, method="random", seed=0)
    finding = next(f for f in certificate.behaviour if f.name == "negative strides")
    assert finding.verdict == REFUSED
    assert finding.note.endswith("ValueError: at least one stride is negative")


def test_behind_a_refused_layout_of_one_operand_another_is_still_tried():
    """Forward raises for x, and backward is wrong for a dy that is laid out so."""

    def backward(x, w, dy):
        no_negative_strides(x)
        return [mixed(g, min(dy.strides) < 0) for g in right_backward(x, w, dy)]

    certificate = cd.certify(CONV, (right_forward, backward), method="random", seed=0)
    assert refusals(certificate) == ["negative strides"]


def test_only_layouts_that_could_be_made_are_listed():
    layer = cd.Conv((1, 8), 1, kernel=3)
    names = verdicts(cd.certify(layer, evaluated_by(layer)))
    assert "transposed views of x, dy" in names  # w is (1, 1, 3): contiguous in every order
    assert "zero strides along the first axis of x, dy" in names
    assert "zero strides" in names
    rng = np.random.default_rng(0)
    for change in VIEWS.values():
        view = change(rng.normal(size=(3, 2, 4, 5)))
        assert view.shape == (3, 2, 4, 5)
        assert not np.isnan(view).any()
        assert not (view.flags.c_contiguous and view.flags.writeable)


def evaluated_by(layer):
    return lambda x, w, b: cd.convolve(layer, x, w, b), lambda x, w, dy: cd.convolve_backward(
        layer, x, w, dy
    )


@pytest.mark.parametrize(
    ("sizes", "names"), [((2, 3), {"batch 2", "batch 3"}), ((2,), {"batch 2"})]
)
def test_code_for_some_batches_is_judged_on_those(sizes, names):
    def only(*arrays):
        if len(arrays[0]) not in sizes:
            raise ValueError(f"a batch of {len(arrays[0])}")
        return arrays

    certificate = cd.certify(CONV, of_operands(only), method="random", seed=0).require()
    told = verdicts(certificate)
    assert {n for n in told if n.startswith("batch") and told[n] == EQUAL} == names
    (refused,) = (f for f in certificate.behaviour if f.verdict == REFUSED)
    tried = [n for n in (*range(10), 16, 33, 65) if n not in sizes]
    assert refused.name == f"batch {', '.join(map(str, tried))}"
    assert refused.note.endswith("ValueError: a batch of 0")
    assert told["strided views"] == told["results kept"] == EQUAL
    asked = cd.certify(CONV, of_operands(only), method="random", seed=0, batch=1)
    assert asked["y"].verdict == RAISED
    assert asked.refuted


def test_code_that_compiles_for_every_shape_is_tried_on_few():
    class Compiled:
        compiles = True
        forward = staticmethod(right_forward)
        backward = staticmethod(right_backward)

    told = verdicts(cd.certify(CONV, Compiled(), method="random", seed=0))
    assert [n for n in told if n.startswith("batch")] == [f"batch {n}" for n in (1, 2, 3, 4)]


def test_what_is_flushed_below_the_normal_numbers_is_reported():
    told = cd.certify(CONV, RIGHT["flushes what is subnormal"], method="random", seed=0)
    below = [f for f in told.behaviour if f.name.startswith("subnormal")]
    assert {f.verdict for f in below} == {REPORTED}
    assert "got 0.0, expected" in str(below[0])


# Pools

POOL_DEFECTS = {
    "no gradient of a zero x": (pool_of(change_dx=lambda dx, x, dy: dx * x.any()), "zero x"),
    "flat windows share": (
        pool_of(
            change_dx=lambda dx, x, dy: (
                np.full_like(dx, dy.sum() / max(dx.size, 1))
                if x.size and (x == x.flat[0]).all() and x.any()
                else dx
            )
        ),
        "values all equal",
    ),
    "-0.0 below 0.0": (
        pool_of(
            change_dx=lambda dx, x, dy: direct_pool.backward(
                MAX,
                np.where(x == 0, np.copysign(1e-9, x), x) if np.signbit(x[x == 0]).any() else x,
                dy,
            )
        ),
        "0.0 beside -0.0",
    ),
    "the last of equal cells after a ReLU": (
        pool_of(
            change_dx=lambda dx, x, dy: (
                np.flip(direct_pool.backward(MAX, np.flip(x, (2, 3)), np.flip(dy, (2, 3))), (2, 3))
                if x.size and (x >= 0).all() and not x.all() and x.any()
                else dx
            )
        ),
        "values after a ReLU",
    ),
    "a floor of 1e-20": (pool_of(lambda y, x: np.where(abs(y) < 1e-20, 0, y)), "x of 2^"),
    "batch 5": (pool_of(lambda y, x: mixed(y, len(x) == 5)), "batch 5"),
    "a strided dy": (
        pool_of(change_dx=lambda dx, x, dy: mixed(dx, not dy.flags.c_contiguous)),
        "strided views",
    ),
}


@pytest.mark.parametrize("defect", POOL_DEFECTS)
def test_each_defect_of_a_pool_is_refused_by_what_its_finding_names(defect):
    mine, name = POOL_DEFECTS[defect]
    certificate = cd.certify(MAX, mine, seed=0)
    assert certificate.refuted
    assert any(f.startswith(name) for f in refusals(certificate)), str(certificate)


def test_integers_of_an_image_are_named_where_they_were_tried():
    name = "integers from 0 to 255"
    limited = pool_of(
        lambda y, x: np.minimum(y, 200) if x.size and x.min() >= 0 and x.max() < 256 else y
    )
    for max_pool in (MAX, cd.MaxPool((1, 4, 4), 2)):
        assert name in verdicts(cd.certify(max_pool, pool_of(pool=max_pool), seed=0).require())
    assert name in refusals(cd.certify(MAX, limited, seed=0))
    short = cd.Conv((16, 8, 8), 4, 3)  # whose integers are smaller in float16

    def in_half(*operands):
        return rounded_to(cd.convolve(short, *(a.astype(float) for a in operands)), "float16")

    certificate = cd.certify(short, in_half, dtype="float16", seed=0)
    assert "values of one sign" in verdicts(certificate)
    assert name not in verdicts(certificate)


def test_the_steps_of_magnitudes_are_printed():
    certificate = cd.certify(CONV, (right_forward, right_backward), method="random", seed=0)
    assert re.search(
        r"x and b of 2\^-1014 to 2\^\d+ \(steps of 2\^\d+ near 1, four", str(certificate)
    )
    assert "magnitudes" not in str(certificate)


# Options


def of_any_shape(layer, change=lambda y: y):
    """Return code that learns its shapes from its operands."""

    def at(x, w):
        kernel = w.shape[2:]
        out = len(w) if isinstance(layer, cd.Conv) else w.shape[1]
        return cd.Conv(x.shape[1:], out, kernel, stride=layer.stride, padding=layer.padding)

    return (
        lambda x, w, b: change(cd.convolve(at(x, w), x, w, b)),
        lambda x, w, dy: cd.convolve_backward(at(x, w), x, w, dy),
    )


def test_other_shapes_are_tried_and_named():
    certificate = cd.certify(CONV, of_any_shape(CONV), method="random", seed=0, shapes="near")
    certificate.require()
    told = verdicts(certificate)
    assert f"{OTHER_SHAPES}: channels {' '.join(map(str, CHANNELS))}" in told
    for name in ("kernel 1", "kernel of input size", "stride above kernel"):
        assert told[f"{OTHER_SHAPES}: {name}"] == EQUAL
    assert (
        f"{OTHER_SHAPES}: output 1" not in told
    )  # padding of 2 around a kernel of 2: two outputs at least
    assert certificate.extra == ("near",)
    again = cd.certificates.Certificate.from_dict(certificate.to_dict())
    assert again == certificate == again.rerun(of_any_shape(CONV))
    assert cd.certify(CONV, of_any_shape(CONV), method="random", seed=0).extra == ()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda y: mixed(y, y.shape[1] == 65), "channels"),
        (lambda y: mixed(y, y.shape[3] > 20), "pixels"),
        (lambda y: mixed(y, y.shape[2:] == (1, 1)), "output 1"),
    ],
)
def test_what_is_wrong_at_other_shapes_is_refused(change, name):
    layer = cd.Conv((2, 5, 4), 3, kernel=(3, 2), stride=(2, 1))
    mine = of_any_shape(layer, change)
    assert cd.certify(layer, mine, method="random", seed=0)
    certificate = cd.certify(layer, mine, method="random", seed=0, shapes="near")
    assert any(f.startswith(f"{OTHER_SHAPES}: {name}") for f in refusals(certificate))


def test_other_shapes_that_are_refused_are_no_fault():
    certificate = cd.certify(
        CONV, (right_forward, right_backward), method="random", seed=0, shapes="near"
    ).require()
    told = verdicts(certificate)
    assert REFUSED in told.values()


@pytest.mark.parametrize(
    "layer", [MAX, cd.AvgPool((2, 6), 3), cd.ConvTranspose((4, 3), 2, 3, groups=2)]
)
def test_other_shapes_keep_the_layers_own_numbers(layer):
    for shapes in layers_of_other_shapes(layer).values():
        for shape in shapes.values():
            assert (shape.stride, shape.padding) == (layer.stride, layer.padding)
    assert cd.certify(MAX, pool_any(MAX), seed=0, shapes="near").require()


def pool_any(pool):
    def at(x):
        return cd.MaxPool(x.shape[1:], kernel=pool.kernel, stride=pool.stride)

    return (
        lambda x: direct_pool.forward(at(x), x),
        lambda x, dy: direct_pool.backward(at(x), x, dy),
    )


def test_what_nan_reaches_is_reported_and_not_judged():
    spread = of_forward(lambda y, x, w, b: np.full_like(y, np.nan) if np.isnan(x).any() else y)
    for mine, is_beyond in ((spread, True), ((right_forward, right_backward), False)):
        certificate = cd.certify(CONV, mine, method="random", seed=0, nonfinite=True).require()
        (of_x,) = (f for f in certificate.behaviour if f.name == "nan in x")
        assert of_x.verdict == REPORTED
        y_only = of_x.note.split(";")[0]
        assert y_only.startswith("not finite: y in ")
        assert (" 0 do not read it" not in y_only) == is_beyond
    assert cd.certify(MAX, pool_of(), seed=0, nonfinite=True).require()


def test_what_does_not_exist_was_not_tried():
    linear = cd.Linear(3, 2)
    mine = (lambda x, w, b: x @ w.T + b, lambda x, w, dy: (dy @ w, dy.T @ x, dy.sum(0)))
    said = str(cd.certify(linear, mine, seed=0, shapes="near").require())
    assert "not tried: other shapes, NaN and infinity, threads, double backward\n" in said
    fails = of_forward(lambda y, x, w, b: mixed(y, len(x) == 5))
    said = str(cd.certify(CONV, fails, method="random", seed=0, shapes="near", threads=True))
    untried = "other shapes, NaN and infinity, threads, double backward, magnitudes"
    assert f"not tried: {untried}\n" in said
    with pytest.raises(ValueError, match="nonfinite: got True in int8; needs a dtype of floats"):
        cd.certify(CONV, right_forward, dtype="int8", nonfinite=True)


def test_forward_alone_reads_no_dy():
    layer = cd.Conv((1, 3), 1, kernel=2)  # whose w is too small for some layouts
    certificate = cd.certify(layer, lambda x, w, b: cd.convolve(layer, x, w, b), seed=0)
    assert "slices of x" in verdicts(certificate.require())


def test_views_of_functions_of_x_are_reported():
    flat = cd.Flatten((2, 3))
    for mine in (flat, (lambda x: x.reshape(len(x), 6), lambda x, dy: dy.reshape(x.shape))):
        certificate = cd.certify(flat, mine, seed=0).require()
        memory = next(f for f in certificate.behaviour if f.name == "memory")
        assert (memory.verdict, memory.note) == (
            REPORTED,
            "y lies in the memory of x: it changes when that does",
        )
    copied = (lambda x: x.reshape(len(x), 6).copy(), lambda x, dy: dy.reshape(x.shape).copy())
    assert "memory" not in verdicts(cd.certify(flat, copied, seed=0).require())


def test_entries_beyond_their_bounds_are_said_to_keep_their_norm():
    dense = cd.dense_pool(cd.MaxPool((1, 4, 4), 2))
    said = str(cd.certify(dense.pool, (dense.forward, dense.backward), seed=0).require())
    assert "each with its own bound: 8 of y by its norm alone, 32 of dx\n" in said


def test_two_threads_at_once():
    right = cd.certify(CONV, FreshScratch(), method="random", seed=0, threads=True).require()
    assert verdicts(right)["two threads at once"] == EQUAL
    certificate = cd.certify(CONV, OneForAll(), method="random", seed=0, threads=True)
    assert refusals(certificate) == ["two threads at once"]


@pytest.mark.parametrize("options", [{"shapes": "near"}, {"nonfinite": True}, {"threads": True}])
def test_options_of_an_implementation_need_one(options):
    with pytest.raises(ValueError, match="needs an implementation, to try it on"):
        cd.certify(CONV, **options)


def test_options_are_refused_if_they_are_not_what_is_needed():
    with pytest.raises(ValueError, match="shapes: got 'far'; needs one of 'near'"):
        cd.certify(CONV, RIGHT["as it is"], shapes="far")
    with pytest.raises(TypeError, match="threads: got 2; needs True or False"):
        cd.certify(CONV, RIGHT["as it is"], threads=2)


@pytest.mark.parametrize("size", [10, 2**14, 2**21])  # numbers: kept for long, for a while, not
def test_what_is_right_is_computed_again_only_where_numbers_differ_or_are_many(size):
    calls = []

    def by(x, w, b, dy):
        calls.append(x)
        return x + 1, x + 2, w, b

    evaluator = Evaluator("counts", by)
    bench = Bench(evaluator, evaluator, "float64", lambda *_: None)
    x, none = np.arange(float(size)), np.zeros(0)
    again = np.repeat(x, 2)[::2]  # in another layout
    other = np.where(x == size - 1, -x, x)  # in its last number
    for value in (x, again, other, x, again):
        y, dx, _, _ = bench.right((value, none, none, none))
        assert np.array_equal(y, value + 1)
        assert np.array_equal(dx, value + 2)
    assert len(calls) == (5 if size == 2**21 else 2)
    for i in range(call_contract.RECENT):
        bench.right((x + 1 + i, none, none, none))
    bench.right((x, none, none, none))
    assert len(calls) - call_contract.RECENT == {10: 2, 2**14: 3, 2**21: 6}[size]


def test_a_sparse_layer_of_few_edges_is_not_judged_by_its_dense_matrix():
    layer = cd.Conv((1, 3000), 1, 2)  # 5,998 edges, and 72 MB as a dense matrix
    x, w, b, dy = (np.ones(s) for s in ((1, 1, 3000), (1, 1, 2), (1,), (1, 1, 2999)))
    evaluator = small_evaluator(layer)
    tracemalloc.start()
    try:
        evaluator.run(x, w, b, dy)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_999 * 3_000
