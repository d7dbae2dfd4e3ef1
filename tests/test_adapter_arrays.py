"""Functions on arrays of other libraries: what they are handed, what comes back, what is judged."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import convdense as cd
from convdense._util.arguments import as_array
from convdense.adapters import array_kinds, arrays
from convdense.adapters.arrays import implementation
from convdense.certificates import Certificate, NetworkCertificate, behaviour_trials
from convdense.implementations import array_views, special_values
from convdense.testing import channels_last, without_bias
from convdense.verdicts.findings import CHANGED, REFUSED
from tests import gpu_table
from tests.few_calls import RefusedError, as_on_large_layers, until_wrong

pytestmark = pytest.mark.few_calls

ROOT = Path(cd.__file__).parents[1]
LAYER = cd.Conv((2, 5), 3, kernel=2)
POOL = cd.SumPool((2, 6), kernel=2)
RNG = np.random.default_rng(3)
X, W, B, DY = (RNG.integers(-9, 9, shape) * 1.0 for shape in ((2, 2, 5), (3, 2, 2), 3, (2, 3, 4)))


def forward(x, w, b):
    return np.einsum("ncl,oc->nol", x[..., :-1], w[..., 0]) + (
        np.einsum("ncl,oc->nol", x[..., 1:], w[..., 1]) + b[:, None]
    )


def backward(x, w, dy):
    dx = np.zeros(x.shape, x.dtype)
    dx[..., :-1] += np.einsum("nol,oc->ncl", dy, w[..., 0])
    dx[..., 1:] += np.einsum("nol,oc->ncl", dy, w[..., 1])
    dw = [np.einsum("ncl,nol->oc", x[..., k : x.shape[2] - 1 + k], dy) for k in (0, 1)]
    return dx, np.stack(dw, -1), dy.sum((0, 2))


def last(function):
    """Return the same function on arrays with the channels last."""

    def moved(x, *w_b_or_dy):
        *rest, end = w_b_or_dy
        end = np.moveaxis(end, -1, 1) if np.ndim(end) == 3 else end
        results = function(np.moveaxis(x, -1, 1), *rest, end)
        if isinstance(results, tuple):
            return (np.moveaxis(results[0], 1, -1), *results[1:])
        return np.moveaxis(results, 1, -1)

    return moved


@pytest.fixture
def few_trials(monkeypatch):
    """Try a few chosen batches, layouts and values, not an eighth by chance."""
    monkeypatch.setattr(behaviour_trials, "BATCHES", (1, 2, 4))
    monkeypatch.setattr(behaviour_trials, "magnitudes", lambda *_, **__: ())
    for module, table, names in (
        (array_views, "VIEWS", ("read-only", "strided views", "negative strides")),
        (special_values, "KINDS", ("values in [0, 1]",)),
    ):
        rows = getattr(module, table)
        monkeypatch.setattr(module, table, {name: rows[name] for name in names})
    with as_on_large_layers():
        yield


def numpy_kind(*functions, **options):
    return implementation(*functions, to="numpy", **options)


def refused(certificate):
    return {finding.name for finding in certificate.findings if finding.refuted}


def certified(mine, layer=LAYER, **options):
    return cd.certify(layer, mine, **{"method": "random", "seed": 0, **options})


# What is judged


@pytest.mark.parametrize("to", ["numpy", "numba", np.asarray])
def test_a_right_function_holds_and_a_wrong_one_is_refused(to):
    certificate = certified(implementation(forward, backward, to=to)).require()
    assert (certificate.evaluator, certificate.exact) == ("forward", True)
    assert {f.name for f in certificate.findings} == {"y", "dx", "dw", "db"}
    wrong = implementation(lambda x, w, b: forward(x, w[..., ::-1], b), backward, to=to)
    assert refused(certified(wrong)) == {"y"}
    wrong = implementation(forward, lambda x, w, dy: backward(x, w, dy[::-1]), to=to)
    assert refused(certified(wrong)) == {"dx", "dw"}


def test_forward_alone_and_a_pool():
    alone = certified(numpy_kind(forward)).require()
    assert [finding.name for finding in alone.findings] == ["y"]

    def sums(x):
        return x[..., ::2] + x[..., 1::2]

    right = numpy_kind(sums, lambda x, dy: dy.repeat(2, -1))
    assert cd.certify(POOL, right, seed=0).require().exact
    assert refused(cd.certify(POOL, numpy_kind(sums, lambda x, dy: np.tile(dy, 2)))) == {"dx"}
    assert [f.name for f in cd.certify(POOL, numpy_kind(sums), seed=0).findings] == ["y"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "complex128"])
def test_dtypes_come_as_they_are(dtype):
    x, w, b = (a.astype(dtype) for a in (X, W, B))
    assert numpy_kind(forward).forward(x, w, b).dtype == dtype
    seen = []
    numpy_kind(lambda x, w, b: seen.append(x.dtype), dtype=dtype).forward(x.real, w.real, b.real)
    assert seen == [np.dtype(dtype)]


def test_bfloat16_is_that_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    seen = []

    def watched(x, w, b):
        seen.append(x.dtype)
        return x[..., 1:] + w[0, 0, 0] * b[0]

    y = numpy_kind(watched, dtype="bfloat16").forward(*(a.astype("f4") for a in (X, W, B)))
    assert (seen, y.dtype) == ([np.dtype(ml_dtypes.bfloat16)], np.dtype("f4"))
    assert np.array_equal(y, X[..., 1:] + W[0, 0, 0] * B[0])
    assert np.array_equal(as_array(X.astype(ml_dtypes.bfloat16), "x"), X)


def test_results_in_lists_and_none_are_those_of_the_function():
    mine = numpy_kind(lambda *a: forward(*a).tolist(), lambda *a: [*backward(*a)[:2], None])
    certificate = certified(mine).require()
    assert [finding.name for finding in certificate.findings] == ["y", "dx", "dw"]
    assert certified(numpy_kind(lambda *a: None))["y"].note == "None where an array is needed"
    two = certified(numpy_kind(lambda *a: (forward(*a), 3)))["y"]
    assert two.note.endswith("a tuple of 2 came, not y alone")
    with pytest.raises(TypeError, match="backward: got tuple; needs three results"):
        certified(numpy_kind(forward, lambda x, w, dy: (x, w)))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_without_a_bias(layout):
    seen = []

    def alone(x, w, b):
        seen.append(b)
        return forward(x, w, np.zeros(3))

    functions = (alone, backward) if layout == "NCHW" else map(last, (alone, backward))
    mine = numpy_kind(*functions, bias=False, layout=layout)
    assert [f.name for f in certified(mine).require().findings] == ["y", "dx", "dw"]
    assert {*seen} == {None}


# Layouts

VIEWS = {
    "contiguous": lambda a: a,
    "read-only": lambda a: np.lib.stride_tricks.as_strided(a, writeable=False),
    "every other": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "transposed": np.asfortranarray,
    "offset": lambda a: np.repeat(np.concatenate([a + 1, a]), 2, -1)[len(a) :, :, 1::2],
    "expanded": lambda a: np.broadcast_to(a[:1], a.shape),
    "a field": lambda a: np.array([*zip(a.ravel(), a.ravel(), strict=True)], "i1, f8")[
        "f1"
    ].reshape(a.shape),
}


def handed(x, **options):
    """Return the x that a function is handed."""
    seen = []

    def look(x, *_):
        seen.append(x)
        return x

    implementation(look, **{"to": "numpy", **options}).forward(x)
    return seen[0]


@pytest.mark.parametrize("name", VIEWS)
def test_views_come_as_they_are(name):
    x = VIEWS[name](X)
    assert handed(x) is x
    for dtype in ("float32", "complex128"):
        copy = handed(x, dtype=dtype)
        assert np.array_equal(copy, x)
        assert copy.dtype == dtype
        assert copy.flags.writeable == x.flags.writeable
        if name != "a field":
            assert [s // copy.itemsize for s in copy.strides] == [s // 8 for s in x.strides]
    empty = handed(x[:0], dtype="float32")
    assert (empty.shape, empty.dtype) == ((0, 2, 5), np.float32)


@pytest.mark.parametrize("name", VIEWS)
def test_channels_last_come_contiguous_where_they_were_and_as_views_where_they_were(name):
    x = VIEWS[name](X)
    moved = handed(x, layout="NHWC")
    assert np.array_equal(moved, np.moveaxis(x, 1, -1))
    assert moved.flags.c_contiguous == x.flags.c_contiguous
    assert moved.flags.writeable == x.flags.writeable
    assert x.flags.c_contiguous or moved.strides == np.moveaxis(x, 1, -1).strides


def test_a_wrong_layout_is_refused():
    right = numpy_kind(last(forward), last(backward), layout="NHWC")
    assert certified(right).require().exact
    for mine in (
        numpy_kind(forward, backward, layout="NHWC"),
        numpy_kind(last(forward), last(backward)),
    ):
        assert refused(certified(mine)) == {"y", "dx", "dw", "db"}


@pytest.mark.few_calls(False)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_function_that_takes_views_for_contiguous_is_refused(layout, few_trials):
    """With the channels last, too: views are not made contiguous on the way."""
    change = last if layout == "NHWC" else lambda function: function

    def careless(x, w, dy):
        if min(dy.strides, default=0) < 0:
            raise ValueError("negative strides")
        plain = np.empty(dy.shape, dy.dtype).strides
        return change(backward)(x, w, np.lib.stride_tricks.as_strided(dy, strides=plain))

    found = certified(numpy_kind(change(forward), careless, layout=layout))
    assert not refused(found)
    assert {f.name for f in found.behaviour if f.refuted} == {"strided views"}
    right = numpy_kind(change(forward), change(backward), layout=layout)
    assert certified(right).require().exact


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_what_is_written_to_is_seen(layout):
    def writes(x, w, b):
        y = forward(x, w, b)
        x *= 2
        return y

    functions = (writes, backward) if layout == "NCHW" else map(last, (writes, backward))
    found = certified(numpy_kind(*functions, layout=layout))
    assert found["y"].verdict == CHANGED


# Other libraries' arrays


class Lazy:
    """An array of which no number is computed before it is asked for."""

    def __init__(self, compute):
        self.compute = compute

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.compute(), dtype)


class Exported:
    """An array that says what it holds by DLPack alone."""

    def __init__(self, array):
        self.array = np.array(array)

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def raises():
    raise RuntimeError("only now")


def test_results_that_are_computed_when_they_are_asked_for():
    def of(x):
        return Lazy(lambda: x)

    def lazily(function):
        return lambda *given: Lazy(lambda: function(*(a.compute() for a in given)))

    right = implementation(lazily(forward), to=of)
    assert certified(right).require()
    assert refused(certified(implementation(lazily(lambda *a: -forward(*a)), to=of))) == {"y"}
    late = certified(implementation(lambda *a: Lazy(raises), to=of))["y"]
    assert str(late).startswith("y   raised; ")


def test_results_come_by_dlpack():
    def exported(function):
        return lambda *given: Exported(function(*(a.array for a in given)))

    assert certified(implementation(exported(forward), to=Exported)).require()
    assert np.array_equal(as_array(Exported(X), "x"), X)
    assert cd.check(LAYER, Exported(X), Exported(W), dy=DY)

    class Elsewhere(Exported):
        def __dlpack__(self, **options):
            raise BufferError("on another device")

    with pytest.raises(TypeError, match=r"^x: got Elsewhere; needs an array of numbers; convert"):
        as_array(Elsewhere(X), "x")


def test_the_array_api():
    xp = pytest.importorskip("array_api_strict")
    mine = implementation(lambda x: x[..., ::2] + x[..., 1::2], to=xp.asarray)
    assert cd.certify(POOL, mine, seed=0).require()


def test_pytorch_with_a_backward_of_its_own_and_by_autograd():
    torch = pytest.importorskip("torch")

    def on_tensors(x, w, b):
        return torch.nn.functional.conv1d(x, w, b)

    def gradients(x, w, dy):
        dx = torch.nn.functional.conv_transpose1d(dy, w)
        return (
            dx,
            torch.einsum("nclk,nol->ock", x.unfold(2, 4, 1).movedim(2, 3), dy),
            dy.sum((0, 2)),
        )

    both = implementation(on_tensors, gradients, to="torch")
    assert certified(both).require()
    with pytest.raises(
        ValueError, match=r"^dy: got strides .*, which torch does not have; copy it"
    ):
        both.backward(X, W, DY[::-1])
    wrong = implementation(
        on_tensors, lambda *a: (*gradients(*a)[:2], a[2].mean((0, 2))), to="torch"
    )
    assert refused(certified(wrong)) == {"db"}
    by_autograd = implementation(on_tensors, to="torch", interpreted=True)
    assert type(by_autograd).__module__ == "convdense.adapters.torch_implementation"
    assert certified(by_autograd).require().interpreted
    for mine in (both, by_autograd):
        y = mine.forward(*(a.astype("f4") for a in (X, W, B)))
        assert y.dtype == np.float32
    strided = VIEWS["every other"](X)
    seen = []
    implementation(lambda x: seen.append(x.stride()) or x, gradients, to="torch").forward(strided)
    assert seen == [(20, 10, 2)]


class OnDevice(np.ndarray):
    """What CuPy's arrays have and NumPy's have not."""

    fetched = 0

    def get(self):
        OnDevice.fetched += 1
        return np.array(self)


def test_cupy_by_a_stand_in_made_of_numpy(monkeypatch):
    """No CuPy runs here: which of its functions are called is tested, not what they do."""
    tricks = SimpleNamespace(as_strided=partial(np.lib.stride_tricks.as_strided, subok=True))
    made = {"asarray": lambda a: np.array(a).view(OnDevice)}
    library = SimpleNamespace(**made, lib=SimpleNamespace(stride_tricks=tricks))
    monkeypatch.setitem(sys.modules, "cupy", library)
    for name, view in VIEWS.items():
        x = view(X)
        there = handed(x, to="cupy")
        assert type(there) is OnDevice
        assert np.array_equal(there, x)
        assert not np.may_share_memory(there, x)
        if name != "a field":
            assert there.strides == x.strides
    before = OnDevice.fetched
    assert certified(implementation(forward, backward, to="cupy")).require()
    assert OnDevice.fetched > before  # CuPy's arrays do not come by themselves


# Interpreters and compilers

INTERPRETED = "run by an interpreter: this judges the source, not what a compiler makes of it"


@pytest.mark.parametrize("interpreted", [True, False])
def test_a_certificate_says_that_an_interpreter_ran_the_code(interpreted):
    mine = numpy_kind(forward, backward, interpreted=interpreted)
    pool = numpy_kind(lambda x: x[..., ::2] + x[..., 1::2], interpreted=interpreted)
    for kind, found in (
        (Certificate, certified(mine)),
        (NetworkCertificate, cd.certify(POOL, pool, seed=0)),
    ):
        assert (INTERPRETED in str(found).splitlines()) == interpreted
        plain = json.loads(json.dumps(found.to_dict()))
        assert ("interpreted" in plain) == interpreted
        assert kind.from_dict(plain) == found
        assert found.rerun(mine if kind is Certificate else pool) == found


def test_wrappers_say_what_the_code_in_them_says():
    class Code:
        compiles = interpreted = True
        forward, backward = staticmethod(forward), staticmethod(backward)

    assert certified(Code()).interpreted
    for wrap in (channels_last, without_bias):
        assert (wrap(Code()).compiles, wrap(Code()).interpreted) == (True, True)
        assert (wrap((forward, backward)).compiles, wrap(forward).interpreted) == (False, False)


def conv_in_numba():
    """Return forward and backward, compiled for arrays of float64 with any strides."""
    numba = pytest.importorskip("numba", reason="Numba is not installed: pip install '.[numba]'")
    array, bias = "float64[:, :, :]", "float64[:]"

    @numba.njit(f"{array}({array}, {array}, {bias})")
    def forward(x, w, b):
        y = np.zeros((len(x), len(w), x.shape[2] - w.shape[2] + 1))
        for n, o, i in np.ndindex(y.shape):
            y[n, o, i] = b[o]
            for c, k in np.ndindex(w.shape[1:]):
                y[n, o, i] += w[o, c, k] * x[n, c, i + k]
        return y

    @numba.njit(f"Tuple(({array}, {array}, {bias}))({array}, {array}, {array})")
    def backward(x, w, dy):
        dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(len(w))
        for n, o, i in np.ndindex(dy.shape):
            db[o] += dy[n, o, i]
            for c, k in np.ndindex(w.shape[1:]):
                dx[n, c, i + k] += w[o, c, k] * dy[n, o, i]
                dw[o, c, k] += x[n, c, i + k] * dy[n, o, i]
        return dx, dw, db

    return forward, backward


@pytest.mark.few_calls(False)
def test_a_numba_kernel(few_trials):
    compiled, gradients = conv_in_numba()
    certificate = certified(implementation(compiled, gradients, to="numba"))
    told = {finding.name: finding for finding in certificate.behaviour}
    # its types are those of arrays that may be written to
    assert [name for name, f in told.items() if f.verdict == REFUSED] == ["read-only"]
    assert "No matching definition" in told["read-only"].note
    assert certificate.exact
    assert certificate["dw"].holds

    def off_by_one(x, w, b):
        return compiled(np.roll(x, 1, 0), w, b)

    assert refused(certified(implementation(off_by_one, to="numba"))) == {"y"}


CAUSAL = cd.Conv((3, 5), 3, kernel=3, padding=((2, 0),), groups=3)


@pytest.fixture
def kernels(monkeypatch):
    """Triton's kernels, interpreted: the variable is asked for when they are made, and run."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton", reason="Triton is not installed: pip install '.[triton]'")
    from tests import kernels_triton

    return kernels_triton


@pytest.mark.few_calls(False)
def test_a_triton_kernel_and_one_that_ignores_the_strides_of_dy(kernels, few_trials):
    how = {"to": "numpy", "layout": "NHWC", "interpreted": True}
    options = {"layer": CAUSAL, "dtype": "float32", "error": 2**-20}
    right = certified(implementation(kernels.forward, kernels.backward, **how), **options)
    assert right.require().exact
    assert "refused: negative strides" in str(right)
    assert INTERPRETED in str(right).splitlines()
    careless = implementation(kernels.forward, kernels.backward_of_contiguous, **how)
    # where dy is contiguous, in the trials and the batches, it is right
    with until_wrong(), pytest.raises(RefusedError) as found:
        certified(careless, **options)
    assert found.value.args[0].name == "strided views"
    assert found.value.args[0].note.startswith("dx")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_the_triton_kernel_computes(kernels, dtype):
    rng = np.random.default_rng(0)
    x, w, b, dy = (
        rng.integers(-5, 5, shape).astype(dtype)
        for shape in ((4, 3, 5), CAUSAL.weight_shape, 3, (4, 3, 5))
    )
    mine = implementation(kernels.forward, kernels.backward, to="numpy", layout="NHWC")
    assert np.array_equal(mine.forward(x, w, b), cd.convolve(CAUSAL, x, w, b))
    gradients = cd.convolve_backward(CAUSAL, x, w, dy)
    assert all(map(np.array_equal, mine.backward(x, w, dy), gradients))
    assert {g.dtype for g in mine.backward(x, w, dy)} == {np.dtype(dtype)}


# Refusals, word for word

KINDS = "'numpy', 'numba', 'jax', 'torch', 'cupy'"
REFUSED_CALLS = [
    (lambda: implementation(3, to="numpy"), "forward: got 3; needs a function"),
    (lambda: implementation(forward, 3, to="numpy"), "backward: got 3; needs a function"),
    (lambda: implementation(forward, to="mlx"), f"to: got 'mlx'; needs one of {KINDS}"),
    (lambda: numpy_kind(forward, bias=3), "bias: got 3; needs True, False, or the shape of b"),
    (
        lambda: numpy_kind(forward, layout="NWC"),
        "layout: got 'NWC'; needs one of 'NCHW', 'NHWC'",
    ),
    (
        lambda: numpy_kind(forward, device="cuda"),
        "device: got 'cuda'; needs None, for 'numpy'",
    ),
    (
        lambda: numpy_kind(forward, interpreted=1),
        "interpreted: got 1; needs True or False",
    ),
    (
        lambda: numpy_kind(forward).forward(X > 0, W, B),
        "x: got dtype bool; needs an array of integers, float32, float64, complex64 or complex128; "
        "convert it first, e.g. with .astype(float)",
    ),
    (
        lambda: numpy_kind(forward).forward(X.astype("f16"), W, B),
        f"x: got dtype {np.dtype('f16')}; needs integers, float16, float32, float64, complex64 or "
        "complex128",
    ),
]


@pytest.mark.parametrize(("call", "text"), REFUSED_CALLS, ids=[t[:20] for _, t in REFUSED_CALLS])
def test_what_is_wrong_is_refused_with_what_to_write(call, text):
    with pytest.raises((TypeError, ValueError)) as found:
        call()
    assert str(found.value) == text


def test_a_format_that_there_is_not():
    with pytest.raises(ValueError, match=r"^dtype: got 'float8'; needs one of 'float64', "):
        numpy_kind(forward, dtype="float8")


@pytest.mark.parametrize(
    ("library", "to", "do"),
    [
        ("jax", "jax", "run pip install '.[jax]' in a clone of convdense"),
        ("ml_dtypes", "numpy", "run pip install '.[jax]' in a clone of convdense"),
        ("cupy", "cupy", "install the CuPy of your CUDA"),
    ],
)
def test_without_a_library_one_line_says_what_to_install(library, to, do, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    kept = {"dtype": "bfloat16"} if to == "numpy" else {}
    with pytest.raises(ImportError) as found:
        implementation(forward, to=to, **kept).forward(X, W, B)
    needs = f"needs {library}, to make arrays"
    assert str(found.value) == f"{library}: got no module of this name; {needs}; {do}"


def test_a_broken_library_speaks_for_itself(tmp_path, monkeypatch):
    (tmp_path / "cupy.py").write_text("import no_such_library\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'no_such_library'$"):
        implementation(forward, to="cupy").forward(X, W, B)


def test_no_library_is_imported_before_it_is_needed():
    code = (
        "import sys, convdense.adapters.arrays as a; m = a.implementation(abs, to='jax'); "
        "print({'jax', 'torch', 'numba', 'cupy', 'triton', 'ml_dtypes'} & {*sys.modules})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == ("set()\n", "")


def test_every_kind_has_a_test_and_a_word_in_the_docstring():
    assert f"to : {{{KINDS}}}".replace("'", '"') in arrays.implementation.__doc__
    assert ", ".join(map(repr, array_kinds.KINDS)) == KINDS


# The table of a GPU, where there is none


def test_the_table_of_a_gpu_says_in_one_line_that_nothing_was_judged(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_table"])
    monkeypatch.setitem(sys.modules, "torch", None)
    gpu_table.main()
    assert capsys.readouterr().out == "PyTorch is not installed: nothing was judged\n"
    monkeypatch.undo()
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(sys, "argv", ["gpu_table"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu_table.main()
    assert capsys.readouterr().out == "no CUDA device here: nothing was judged\n"


def test_its_rows_on_the_cpu(monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    small = {"up": cd.ConvTranspose((2, 2, 3), 2, (3, 2), stride=2, groups=2)}
    monkeypatch.setattr(gpu_table, "LAYERS", small)
    monkeypatch.setattr(gpu_table, "SETTINGS", gpu_table.SETTINGS[1:2])
    monkeypatch.setattr(sys, "argv", ["gpu_table", "--device", "cpu"])
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)  # then the kernels are left out
    before = torch.backends.cudnn.allow_tf32
    gpu_table.main()
    assert torch.backends.cudnn.allow_tf32 == before
    first, _, header, _, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("CPU; PyTorch ")
    assert header.count("|") == len(gpu_table.HEADER) + 1
    assert [row.split(" | ")[:7] for row in rows] == [
        [f"| torch: {name}", "TF32 on", "float32", *["equal"] * 4] for name in small
    ]
    conv = cd.Conv((2, 5, 4), 2, (3, 2), stride=2, padding=1, dilation=(1, 2), groups=2)
    x, w, b = np.ones((1, 2, 5, 4)), np.ones(conv.weight_shape), np.ones(2)
    mine = implementation(gpu_table.of_torch(conv), to="torch")
    assert np.array_equal(mine.forward(x, w, b), cd.convolve(conv, x, w, b))
    wrong = numpy_kind(lambda *given: -forward(*given), backward)
    cells = dict(zip(gpu_table.HEADER, gpu_table.row("", "", LAYER, wrong, "float64"), strict=True))
    assert (cells["y"], cells["dx"], cells["error probability"]) == ("wrong", "equal", "-")
