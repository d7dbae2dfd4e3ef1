"""Objects that behave: copies and pickles stay frozen, NumPy takes no layer for an array.

A layer with a matrix is an operator to SciPy and PyLops, and a network is a sequence of its layers.
"""

import copy
import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator, lsqr, svds

import convdense as cd
from convdense._util.arguments import numeric
from convdense.structure.csr_assembly import make_plan

RNG = np.random.default_rng(5)
CONV = cd.Conv((2, 5, 4), 3, 3, padding=1)
W, B = RNG.normal(size=CONV.weight_shape), np.arange(3.0)
X = RNG.normal(size=(2, *CONV.in_shape))
NET = cd.network(
    CONV,
    cd.LeakyReLU(0.25),
    cd.Residual(cd.Conv((3, 5, 4), 3, 1)),
    cd.batch_norm((3, 5, 4), np.zeros(3), np.ones(3)),
    cd.AvgPool((3, 5, 4), 2),
    cd.MaxPool((3, 2, 2), 2),
    cd.Flatten(),
    cd.Linear(3, 2),
    seed=0,
)
LAYERS = {
    "TiedDense": cd.TiedDense(CONV, W, B),
    "of ConvTranspose": cd.TiedDense(cd.ConvTranspose((2, 3), 1, 2), np.ones((2, 1, 2))),
    "of a tie map": cd.TiedDense(
        cd.TieMap.from_index([[0, 1], [1, -1]], [[0.5, 1], [1, 1]]), [2, 4]
    ),
    "Dense": cd.Dense(RNG.normal(size=(3, 4)), np.ones(3)),
    "ReLU": cd.ReLU((2, 3)),
    "LeakyReLU": cd.LeakyReLU(0.5, (2, 3)),
    "Flatten": cd.Flatten((2, 3)),
    "SumPool": cd.dense_pool(cd.SumPool((1, 4, 4), 2)),
    "AvgPool": cd.dense_pool(cd.AvgPool((1, 4, 4), 2)),
    "MaxPool": cd.dense_pool(cd.MaxPool((1, 4, 4), 2)),
    "LpPool": cd.dense_pool(cd.LpPool((1, 4, 4), 2, p=3)),
    "batch_norm": cd.batch_norm((2, 3), np.zeros(2), np.ones(2)),
    "Network": NET,
    "direct": NET.direct(),
}
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}
in_every_way = pytest.mark.parametrize("again", COPIES.values(), ids=list(COPIES))
on_layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=list(LAYERS))


def arrays_in(value, path="", seen=()):
    """Yield the name and array of everything that this value holds, however deep."""
    if any(value is other for other in seen):
        return
    seen = (*seen, value)
    if isinstance(value, np.ndarray):
        yield path, value
    elif sp.issparse(value):
        for name in ("data", "indices", "indptr"):
            yield f"{path}.{name}", getattr(value, name)
    elif isinstance(value, (tuple, list)):
        for i, part in enumerate(value):
            yield from arrays_in(part, f"{path}[{i}]", seen)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from arrays_in(part, f"{path}[{name}]", seen)
    elif type(value).__module__.startswith("convdense") and hasattr(value, "__dict__"):
        for name, part in vars(value).items():
            if name != "_all_entries" and name != "_plan":  # computed, and found again
                yield from arrays_in(part, f"{path}.{name}", seen)


@on_layers
@in_every_way
def test_copies_and_pickles_of_layers_are_frozen_and_equal(layer, again):
    x = RNG.normal(size=layer.in_shape)
    y = layer.forward(x)
    other = again(layer)
    before, after = dict(arrays_in(layer)), dict(arrays_in(other))
    assert all(np.array_equal(after[name], before[name]) for name in after)
    assert [name for name, array in before.items() if array.flags.writeable] == []
    assert [name for name, array in after.items() if array.flags.writeable] == []
    assert np.array_equal(other.forward(x), y)
    assert repr(other) == repr(layer)
    dy = RNG.normal(size=layer.out_shape)
    results = zip(_flat(other, x, dy), _flat(layer, x, dy), strict=True)
    assert all(np.array_equal(a, b) for a, b in results)


def _flat(layer, x, dy):
    return [array for _, array in arrays_in(layer.backward(x, dy))]


@in_every_way
def test_weights_of_a_copy_cannot_leave_its_matrix_behind(again):
    """deepcopy gave a layer whose w could be written to, while its matrix stayed: 4, not 20."""
    layer = again(cd.TiedDense(cd.Conv((1, 2, 2), 1, 2), np.ones((1, 1, 2, 2))))
    with pytest.raises(ValueError, match="read-only"):
        layer.w[...] = 5
    with pytest.raises(ValueError, match="read-only"):
        layer.matrix.data[...] = 5
    assert layer.with_weights(5 * layer.w).forward(np.ones((1, 2, 2))).tolist() == [[[20]]]


@in_every_way
def test_what_a_layer_of_ones_own_adds_is_copied(again):
    other = again(Named("first"))
    # what could be written to can be, in the copy and in the original
    assert (other.name, other.slope, other.weights.flags.writeable) == ("first", 0, True)


def test_numpy_compares_and_holds_layers_as_python_does():
    conv = cd.Conv((1, 3), 1, 2)
    assert np.float64(3) != conv
    assert conv != np.arange(3)
    assert np.array([conv, conv], dtype=object)[1] is conv
    held = np.empty(2, object)
    held[:] = [conv, conv]
    assert held[0] is conv


def test_a_class_of_ones_own_may_have_other_bases():
    class Mixin:
        def __init_subclass__(cls, tag=None, **options):
            super().__init_subclass__(**options)
            cls.tag = tag

    class Mine(cd.Conv, Mixin, tag=3):
        pass

    assert Mine((1, 3), 1, 2).tag == 3


class Named(cd.ReLU):
    """A layer of one's own that is no dataclass and holds more."""

    def __init__(self, name):
        super().__init__((2,))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "weights", np.ones(2))


@pytest.mark.parametrize("name", ["SumPool", "AvgPool"])
def test_a_stored_matrix_of_a_pool_cannot_be_written_to(name):
    layer = LAYERS[name]
    with pytest.raises(ValueError, match="read-only"):
        layer.total.matrix("float64").data[...] = 0
    layer.matrix().data[...] = 0  # one's own
    assert layer.forward(np.ones((1, 4, 4))).all()


@in_every_way
@pytest.mark.parametrize("layer", [CONV, cd.LocallyConnected((2, 4), 1, 2)], ids=repr)
def test_tie_maps_are_frozen_and_equal(again, layer):
    ties = cd.tie(layer)
    ties.matrix(np.ones(ties.weight_shape))  # computes the plan
    other = again(ties)
    assert "_plan" not in vars(other)
    assert not any(array.flags.writeable for _, array in arrays_in(other))
    for a, b in zip(ties.entries()[:3], other.entries()[:3], strict=True):
        assert np.array_equal(a, b)
    plan = again(make_plan(ties.axes))
    assert not any(array.flags.writeable for _, array in arrays_in(plan))


@in_every_way
@pytest.mark.parametrize("channels", [2, 64])
def test_operators_of_tie_maps_multiply_again(again, channels):
    layer = cd.Conv((channels, 24, 24), channels, 3, padding=1)
    w = RNG.normal(size=layer.weight_shape).astype(np.float32)
    A = cd.tie(layer).operator(w)
    x = RNG.normal(size=A.shape[1]).astype(np.float32)
    assert np.array_equal(again(A) @ x, A @ x)
    assert np.array_equal(again(A).H @ x, A.H @ x)


def wrong(x, w, dy):
    dx, dw, db = cd.convolve_backward(CONV, x, w, dy)
    return 2 * dx, dw, db


def right(x, w, b):
    return cd.convolve(CONV, x, w, b)


def verdicts():
    dy = np.ones((2, *CONV.out_shape))
    found = cd.recover(lambda x: cd.convolve(CONV, x, W, B), CONV.in_shape, seed=0)
    yield cd.certify(CONV)
    yield cd.certify(CONV, (right, wrong))
    yield cd.certify(cd.MaxPool((1, 4, 4), 2))
    yield cd.certify(NET, seed=0)
    yield cd.check(CONV, X, W, B, dy)
    yield cd.check(NET, X, dy=np.ones((2, 2)))
    yield cd.diagnose(CONV, (right, wrong), seed=0)
    yield found
    yield found.compare(LAYERS["TiedDense"])


VERDICTS = list(verdicts())


@in_every_way
@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: type(verdict).__name__)
def test_verdicts_are_copied_and_pickled(again, verdict):
    other = again(verdict)
    assert str(other) == str(verdict)
    assert repr(other) == repr(verdict)
    assert bool(other) == bool(verdict)
    if hasattr(verdict, "to_dict"):
        assert other.to_dict() == verdict.to_dict()


@pytest.mark.parametrize("value", [*VERDICTS, *LAYERS.values(), cd.tie(CONV), CONV], ids=repr)
def test_every_object_can_be_compared_and_hashed(value):
    assert value == copy.copy(value) or type(value).__eq__ is object.__eq__
    assert value == value
    assert (value == 1, value != None) == (False, True)  # noqa: E711
    if not isinstance(value, cd.Report):
        assert hash(value) == hash(value)
    (value == copy.deepcopy(value)) in {True, False}  # noqa: B015


def test_two_that_were_recovered_are_compared_without_an_error():
    first, second = (cd.recover(lambda x: 2 * x, (1, 3), seed=0) for _ in range(2))
    assert first == first
    assert first != second
    assert len({first, second}) == 2
    with pytest.raises(ValueError, match="read-only"):
        first.matrix.data[...] = 0


NOT_ARRAYS = {
    "layer.matrix is its matrix, layer.w are its weights": LAYERS["TiedDense"],
    "layer.w is its matrix": LAYERS["Dense"],
    "net.parameters are its arrays, and net.dense_layers() has its matrices": NET,
    "ties.matrix(w) is the matrix for the weights w": cd.tie(CONV),
    "found.matrix is its matrix": VERDICTS[-2],
    "cd.tie(layer).matrix(w) is a layer's matrix, cd.conv_matrix(pool) a pool's": CONV,
    "layer.forward(x) runs it": cd.ReLU(),
}


@pytest.mark.parametrize("instead", NOT_ARRAYS)
def test_numpy_takes_no_layer_for_an_array(instead):
    value = NOT_ARRAYS[instead]
    said = f"got {value!r}; needs numbers; {instead}"
    for take in (np.asarray, np.array, lambda v: np.array(v, dtype=float, copy=True)):
        with pytest.raises(TypeError, match=f"^{re.escape('array: ' + said)}$"):
            take(value)
    with pytest.raises(TypeError, match=f"^{re.escape('w: ' + said)}$"):
        numeric(value, "w")
    with pytest.raises(TypeError, match=f"^{re.escape('x: ' + said)}$"):
        LAYERS["Dense"].forward(value)


def test_what_stands_for_an_array_is_one():
    class Ours:
        def __array__(self, dtype=None, copy=None):
            return np.ones(4)

    assert LAYERS["Dense"].forward(Ours()).shape == (3,)


OPERATORS = {
    "real": LAYERS["TiedDense"],
    "complex": cd.TiedDense(CONV, W + 1j * W[::-1], B),
    "dense": LAYERS["Dense"],
    "complex dense": cd.Dense(RNG.normal(size=(3, 4)) + 1j, np.ones(3)),
    "recovered": VERDICTS[-2],
}


@pytest.mark.parametrize("layer", OPERATORS.values(), ids=list(OPERATORS))
def test_a_layer_with_a_matrix_is_an_operator(layer):
    M = layer.matrix.toarray() if sp.issparse(layer.matrix) else layer.matrix
    outputs, inputs = M.shape
    assert (layer.shape, layer.dtype) == (M.shape, M.dtype)
    x, dy = RNG.normal(size=(inputs, 2)), RNG.normal(size=(outputs, 3)) + 1j
    A = aslinearoperator(layer)
    assert isinstance(A, LinearOperator)
    assert (A.shape, A.dtype) == (M.shape, M.dtype)
    for products in (layer, A):
        np.testing.assert_allclose(products.matvec(x[:, 0]), M @ x[:, 0], atol=1e-12)
        np.testing.assert_allclose(products.matmat(x), M @ x, atol=1e-12)
        np.testing.assert_allclose(products.rmatvec(dy[:, 0]), M.conj().T @ dy[:, 0], atol=1e-12)
        np.testing.assert_allclose(products.rmatmat(dy), M.conj().T @ dy, atol=1e-12)
    largest = svds(layer, k=1, return_singular_vectors=False)
    np.testing.assert_allclose(largest, np.linalg.norm(M, 2))
    solved = lsqr(layer, M @ x[:, 0], atol=1e-13, btol=1e-13)[0]
    np.testing.assert_allclose(M @ solved, M @ x[:, 0], atol=1e-8)


def test_the_operator_is_the_layer_without_its_bias():
    x = RNG.integers(-9, 9, CONV.in_shape)
    layer = cd.TiedDense(CONV, RNG.integers(-9, 9, CONV.weight_shape), [1, 2, 3])
    linear = layer.forward(x) - np.array([1, 2, 3])[:, None, None]
    assert np.array_equal(layer.matvec(x.ravel()), linear.ravel())
    dy = RNG.integers(-9, 9, CONV.out_shape)
    assert np.array_equal(layer.rmatvec(dy.ravel()), layer.backward(x, dy).dx.ravel())


def test_operands_of_an_operator_are_named():
    layer = LAYERS["TiedDense"]
    needs = r"^x: got shape \(2, 5, 4\); needs \(40,\) or \(40, columns\), as an operator; "
    with pytest.raises(ValueError, match=needs + r"write x\.ravel\(\)$"):
        layer.matvec(X[0])
    with pytest.raises(ValueError, match=r"^x: got shape \(40, 1, 1\); needs \(40,\)"):
        layer.matvec(np.ones((40, 1, 1)))
    with pytest.raises(ValueError, match=r"^x: got shape \(40, 2\); needs \(60,\)"):
        layer.rmatmat(np.ones((40, 2)))


def test_pylops_takes_a_layer():
    pylops = pytest.importorskip("pylops")
    layer = LAYERS["TiedDense"]
    A = pylops.LinearOperator(layer)
    assert pylops.utils.dottest(A, *A.shape)
    M, x = layer.matrix.toarray(), X[0].ravel()
    np.testing.assert_allclose(A @ x, M @ x)
    np.testing.assert_allclose(pylops.aslinearoperator(layer).H @ (M @ x), M.T @ M @ x)
    np.testing.assert_allclose(pylops.VStack([A, pylops.Identity(40)]) @ x, [*(M @ x), *x])


def test_what_pylops_asks_for_is_there():
    """The same without it: it calls these two, and reads shape and dtype."""
    layer, x = LAYERS["TiedDense"], X[0].ravel()
    assert np.array_equal(layer._matvec(x), layer.matvec(x))
    assert np.array_equal(layer._rmatvec(layer.matvec(x)), layer.rmatvec(layer.matvec(x)))


@on_layers
def test_a_layer_is_called_like_a_function(layer):
    x = RNG.normal(size=layer.in_shape)
    assert np.array_equal(layer(x), layer.forward(x))


def test_a_layer_can_be_recovered_as_it_is():
    layer = cd.TiedDense(CONV, RNG.integers(1, 9, CONV.weight_shape), [1, 2, 3])
    assert not cd.recover(layer, layer.in_shape, seed=0).compare(layer)


def test_a_network_is_a_sequence_of_its_layers():
    assert len(NET) == 8
    assert list(NET) == [NET[i] for i in range(8)] == list(NET.layers)
    assert NET[-1] is NET.layers[7]
    assert NET[np.int64(1)] is NET.layers[1]
    first, rest = NET[:3], NET[3:]
    assert isinstance(first, cd.Network)
    assert isinstance(rest, cd.Network)
    assert np.array_equal(rest(first(X)), NET(X))
    assert NET  # with a length it would be false where that is 0


@pytest.mark.parametrize(
    ("error", "at", "message"),
    [
        (IndexError, 8, "layer: got 8; needs an integer from -8 to 7, or a slice; "),
        (IndexError, -9, "layer: got -9; needs an integer from -8 to 7, or a slice; "),
        (TypeError, "0.w", "layer: got '0.w'; needs an integer from -8 to 7, or a slice; "),
        (TypeError, True, "layer: got True; needs an integer from -8 to 7, or a slice; "),
        (ValueError, slice(8, None), "layers: got none; needs at least one layer"),
        (ValueError, slice(None, None, -1), "layer 1, Flatten((3, 1, 1)): got an input of shape"),
    ],
)
def test_what_a_network_has_no_layer_for(error, at, message):
    if message.startswith("layer: "):
        message += "net.parameters has arrays by name"
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        NET[at]


def lines(pool, **options):
    return cd.equations(pool, **options).splitlines()


def test_equations_of_a_sum_have_no_weight_and_no_bias():
    assert lines(cd.SumPool((1, 3), 2, stride=1)) == [
        "forward",
        "  o1 = i1 + i2",
        "  o2 = i2 + i3",
        "gradient of the inputs",
        "  dC/di1 = dC/do1",
        "  dC/di2 = dC/do1 + dC/do2",
        "  dC/di3 = dC/do2",
    ]
    with_ties = lines(cd.tie(cd.SumPool((1, 3), 2, stride=1)))  # whose weight is a user's own
    assert with_ties[1] == "  o1 = w1 i1 + w1 i2 + b1"


def test_equations_of_an_average_have_its_divisor():
    pool = cd.AvgPool((1, 4), 3, stride=2, padding=1, count_include_pad=False)
    assert lines(pool) == [
        "forward",
        "  o1 = 1/2 i1 + 1/2 i2",
        "  o2 = 1/3 i2 + 1/3 i3 + 1/3 i4",
        "gradient of the inputs",
        "  dC/di1 = 1/2 dC/do1",
        "  dC/di2 = 1/2 dC/do1 + 1/3 dC/do2",
        "  dC/di3 = 1/3 dC/do2",
        "  dC/di4 = 1/3 dC/do2",
    ]
    assert lines(cd.AvgPool((1, 2), 2), format="latex") == [
        "forward",
        r"\begin{align*}",
        r"o_{1} &= \frac{1}{2} i_{1} + \frac{1}{2} i_{2}",
        r"\end{align*}",
        "gradient of the inputs",
        r"\begin{align*}",
        r"\frac{\partial C}{\partial i_{1}} &= \frac{1}{2} \frac{\partial C}{\partial o_{1}} \\",
        r"\frac{\partial C}{\partial i_{2}} &= \frac{1}{2} \frac{\partial C}{\partial o_{1}}",
        r"\end{align*}",
    ]
    with pytest.raises(TypeError, match=r"^layer: got MaxPool.* look at cd\.dense_pool\(layer\)"):
        cd.equations(cd.MaxPool((1, 4), 2))
