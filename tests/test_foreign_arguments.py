"""Names, dtypes and seeds as other libraries write them: taken, or answered with what to write."""

import inspect
import pickle

import numpy as np
import pytest

import convdense as cd
from convdense._util.arguments import drawn, seed_or_none
from convdense._util.float_formats import FORMATS, spelled
from convdense._util.foreign_names import _ARGUMENTS, _ATTRIBUTES, named_here
from convdense.geometry import ChannelScale, Pool, Windowed
from convdense.testing import assert_backward_matches_dense, conv_checks
from convdense.training import train

CONV = cd.Conv((2, 5, 6), out_channels=3, kernel=(3, 2))
X, W = np.ones(CONV.in_shape), np.ones(CONV.weight_shape)
LAYERS = cd.Conv, cd.ConvTranspose, cd.LocallyConnected
POOLS = cd.SumPool, cd.MaxPool, cd.MinPool, cd.AvgPool


def message(call, *arguments, **named):
    with pytest.raises((TypeError, ValueError)) as refused:
        call(*arguments, **named)
    return str(refused.value)


def layer(kind, **options):
    return kind(**{"in_shape": (2, 5, 6), "out_channels": 3, "kernel": 2, **options})


# Keywords that are no argument here.

RENAMED = [
    ({"kernel_size": 3}, "write kernel=3"),
    ({"kernel_shape": (3, 2)}, "write kernel=(3, 2)"),
    ({"window_shape": 3}, "write kernel=3"),
    ({"strides": 2}, "write stride=2"),
    ({"window_strides": (1, 2)}, "write stride=(1, 2)"),
    ({"dilations": 2}, "write dilation=2"),
    ({"dilation_rate": 2}, "write dilation=2"),
    ({"rhs_dilation": 2}, "write dilation=2"),
    ({"pads": [1, 1, 0, 0]}, "write padding=((begin, end), ...), a pair for each axis"),
    (
        {"auto_pad": "SAME_UPPER"},
        'write padding="same" for SAME_UPPER, or "same_lower"; NOTSET is 0',
    ),
    ({"depth_multiplier": 2}, "write groups=in_channels, and the product as out_channels"),
    ({"mode": "same"}, 'write padding="valid", "same" or "full", or padding_mode='),
    ({"group": 2}, "write groups=2"),
    ({"feature_group_count": 2}, "write groups=2"),
    ({"filters": 8}, "write out_channels=8"),
    ({"features": 8}, "write out_channels=8"),
    ({"in_channels": 2}, "write in_shape=(in_channels, *sizes), such as (3, 32, 32)"),
    ({"input_shape": (2, 5, 6)}, "write in_shape=(2, 5, 6)"),
    ({"bias": True}, "hand b in with the weights: TiedDense(conv, w, b)"),
    ({"use_bias": False}, "hand b in with the weights: TiedDense(conv, w, b)"),
    (
        {"data_format": "channels_last"},
        "channels come first here: np.moveaxis(x, -1, 1) of a batch, (x, -1, 0) of a sample",
    ),
    ({"activation": "relu"}, "write network(layer, ReLU())"),
    ({"strid": 2}, "write stride=2"),
]


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(("foreign", "do"), RENAMED, ids=[next(iter(f)) for f, _ in RENAMED])
def test_a_foreign_keyword_of_a_layer(kind, foreign, do):
    ((name, value),) = foreign.items()
    expected = f"{name}: got {value!r}; needs an argument of {kind.__name__}; {do}"
    assert message(layer, kind, **foreign) == expected


def of_pool(kind, **options):
    return kind(**{"in_shape": (2, 5, 6), **options})


@pytest.mark.parametrize("kind", POOLS, ids=lambda kind: kind.__name__)
def test_a_foreign_keyword_of_a_pool(kind):
    for name, own in (("pool_size", "kernel"), ("ksize", "kernel"), ("output_size", "output")):
        said = message(of_pool, kind, **{name: 2})
        assert said == f"{name}: got 2; needs an argument of {kind.__name__}; write {own}=2"
        assert isinstance(of_pool(kind, **{own: 2}), kind)
    said = message(of_pool, kind, kernel=2, return_indices=True)
    assert said.endswith("; leave it out: dense_pool(pool).indices(x) has them")


ELSEWHERE = [
    (lambda: cd.Linear(3, units=2),
     "units: got 2; needs an argument of Linear; write out_features=2"),
    (lambda: cd.Linear(3, 2, bias=True), "bias: got True; needs an argument of Linear; "
     "hand b in with the weights: Dense(w, b)"),
    (lambda: cd.LpPool((1, 4), 2, norm_type=3),
     "norm_type: got 3; needs an argument of LpPool; write p=3"),
    (lambda: cd.LpPool((1, 4), 2), "LpPool: got no 'p'; needs in_shape, kernel in this order, "
     "then p=, stride=, padding=, dilation=, ceil_mode=, output="),
    (lambda: cd.TiedDense(CONV, weight=W),
     "weight: got ...; needs an argument of TiedDense; write w=..."),
    (lambda: cd.TiedDense(CONV), "TiedDense: got no 'w'; needs layer, w, b in this order"),
    (lambda: cd.convolve(CONV, input=X, w=W),
     "input: got ...; needs an argument of convolve; write x=..."),
    (lambda: cd.convolve(CONV, X, W, bias=3),
     "bias: got 3; needs an argument of convolve; write b=3"),
    (lambda: cd.convolve_backward(CONV, X, W, grad_output=1),
     "grad_output: got 1; needs an argument of convolve_backward; write dy=1"),
    (lambda: cd.check(CONV, X, kernel=W),
     "kernel: got ...; needs an argument of check; write w=..."),
    (lambda: cd.certify(CONV, random_state=3),
     "random_state: got 3; needs an argument of certify; write seed=3"),
    (lambda: cd.diagnose(CONV, rng=3), "rng: got 3; needs an argument of diagnose; write seed=3"),
    (lambda: cd.recover(len, (2, 3), key=3),
     "key: got 3; needs an argument of recover; write seed=3"),
    (lambda: cd.network(CONV, random_state=3),
     "random_state: got 3; needs an argument of network; write seed=3"),
    (lambda: cd.conv_matrix(W, (2, 5, 6), strides=2),
     "strides: got 2; needs an argument of conv_matrix; write stride=2"),
    (lambda: cd.conv_matrix(kernel=W, in_shape=(2, 5, 6)),
     "kernel: got ...; needs an argument of conv_matrix; write w=..."),
    (lambda: cd.LeakyReLU(negative_slope=0.1),
     "negative_slope: got 0.1; needs an argument of LeakyReLU; write slope=0.1"),
    (lambda: cd.ReLU(inplace=True),
     "inplace: got True; needs an argument of ReLU; leave it out: no layer here has it"),
    (lambda: cd.Linear(3, 2, quick=1),
     "quick: got 1; needs an argument of Linear; it has in_features, out_features"),
    (lambda: cd.Conv((1, 3, 3), 1),
     "Conv: got no 'kernel'; needs in_shape, out_channels, kernel in "
     "this order, then stride=, padding=, dilation=, groups=, padding_mode=, padding_value=, "
     "input_dilation=, flip="),
    (lambda: cd.Conv((1, 3, 3), 1, 3, 2),
     "Conv: got too many positional arguments; needs in_shape, "
     "out_channels, kernel in this order, then stride=, padding=, dilation=, groups=, "
     "padding_mode=, padding_value=, input_dilation=, flip="),
    (lambda: cd.Linear(3, 2, in_features=3), "Linear: got multiple values for argument "
     "'in_features'; needs in_features, out_features in this order"),
    (lambda: cd.Conv(3, 8, 3), "in_shape: got 3; needs a tuple (channels, *axes), such as "
     "(3, 32, 32); write (3, *sizes): the sizes of x belong to it"),
    (lambda: cd.MaxPool(2), None),
]  # fmt: skip


@pytest.mark.parametrize(("call", "expected"), ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_arguments_that_do_not_fit(call, expected):
    said = message(call)
    if expected is not None:
        # options that are added later may stand after padding_mode
        assert said.partition("padding_mode=")[0] == expected.partition("padding_mode=")[0]
    assert "__init__" not in said
    assert "Windowed" not in said


def test_a_new_option_wins_over_a_row_of_another():
    """Rows apply where a callable has the argument: an option that is new needs no other table."""

    class WithFill(cd.Conv):
        __module__ = "convdense.somewhere"  # only our own classes are explained

        def __init__(self, in_shape, out_channels, kernel, *, padding_value=0.0):
            super().__init__(in_shape, out_channels, kernel)

    said = message(WithFill, (1, 3), 1, 2, constant_values=1.0)
    assert (
        said == "constant_values: got 1.0; needs an argument of WithFill; write padding_value=1.0"
    )
    assert WithFill((1, 3), 1, 2, padding_value=1.0).out_shape == (1, 2)


def test_no_row_hides_another_and_none_is_an_own_name():
    seen = set()
    for own, foreign, _ in _ARGUMENTS:
        for name in foreign.split():
            assert (own, name) not in seen, (own, name)
            assert name != own
            seen.add((own, name))
    for kind in (*LAYERS, *POOLS, cd.Linear):
        for name in inspect.signature(kind).parameters:
            assert "needs an argument" not in str(try_call(kind, name))


def try_call(kind, name):
    try:
        kind(**{name: 1})
    except (TypeError, ValueError) as error:
        return error


def test_an_error_raised_inside_stays_what_it_is():
    def broken(x):
        return len(3) + x

    assert message(cd.recover, broken, (1, 3)) == "object of type 'int' has no len()"
    assert message(layer, cd.Conv, stride="2").startswith("stride: got '2'; needs an integer")


def test_signatures_and_pickles_stay():
    assert list(inspect.signature(cd.Conv).parameters)[:3] == ["in_shape", "out_channels", "kernel"]
    assert list(inspect.signature(cd.certify).parameters)[:2] == ["layer", "implementation"]
    assert cd.certify.__name__ == "certify"
    for public in (cd.certify, cd.convolve, cd.conv_matrix, CONV, cd.Conv):
        assert pickle.loads(pickle.dumps(public)) == public
    for kind in (Windowed, Pool, ChannelScale):
        assert kind.__init__.__wrapped__.__qualname__ == f"{kind.__name__}.__init__"


# Names that `convdense` has not.

AXES = "(in_shape, ...), of any number of axes: in_shape is (channels, *sizes)"
ATTRIBUTES = [
    ("Conv2d", f"Conv{AXES}"),
    ("Conv1D", f"Conv{AXES}"),
    ("ConvTranspose3d", f"ConvTranspose{AXES}"),
    ("Conv2DTranspose", f"ConvTranspose{AXES}"),
    ("MaxPool2d", f"MaxPool{AXES}"),
    ("MaxPooling2D", "MaxPool(in_shape, kernel), which dense_pool(pool) runs"),
    ("AdaptiveAvgPool2d", "AvgPool(in_shape, output=1)"),
    ("GlobalAveragePooling2D", "AvgPool(in_shape, output=1)"),
    ("BatchNorm2d", "batch_norm(in_shape, mean, var, weight, bias), a layer"),
    ("Sequential", "network(*layers)"),
    ("nn", "Conv(in_shape, out_channels, kernel) or what else is in dir(convdense)"),
    ("functional", "convolve(Conv(in_shape, out_channels, kernel), x, w, b)"),
    ("conv2d", "convolve(Conv(in_shape, out_channels, kernel), x, w, b)"),
    ("conv_transpose2d", "convolve(ConvTranspose(in_shape, out_channels, kernel), x, w, b)"),
    ("max_pool2d", "MaxPool(in_shape, kernel), which dense_pool(pool) runs"),
    ("convmtx2", "conv_matrix(w, in_shape)"),
    ("convolution_matrix", "conv_matrix(w, in_shape)"),
    ("toeplitz", "conv_matrix(w, in_shape)"),
    ("im2col", "tie(conv).data_matrix(x), which multiplies the weights"),
]


@pytest.mark.parametrize(("name", "do"), ATTRIBUTES)
def test_a_name_of_another_library_is_answered_with_ours(name, do):
    with pytest.raises(AttributeError) as refused:
        getattr(cd, name)
    assert str(refused.value) == f"module 'convdense' has no attribute {name!r}; write {do}"
    assert not hasattr(cd, name)
    assert name not in dir(cd)


def test_any_other_name_is_refused_as_before():
    with pytest.raises(AttributeError) as refused:
        cd.nothing_of_this_name()
    assert str(refused.value) == "module 'convdense' has no attribute 'nothing_of_this_name'"
    assert named_here("Conv2d", []) == ""  # what is not ours is not promised


def test_what_the_table_says_to_write_exists():
    for text in _ATTRIBUTES.values():
        word = text.removeprefix("import convdense.").split("(")[0].split(".")[0]
        assert word in {*dir(cd), "adapters"}, text


# dtypes, however they are spelled.

FLOAT32 = [np.float32, "float32", "f4", "<f4", ">f4", "single", np.dtype("float32"), "np.float32",
           "torch.float32", "jnp.float32"]  # fmt: skip
OTHERS = [
    (float, "float64"),
    ("double", "float64"),
    (np.float16, "float16"),
    ("half", "float16"),
    ("torch.bfloat16", "bfloat16"),
    (type("bfloat16", (), {}), "bfloat16"),  # a scalar type, as those of JAX and ml_dtypes
]


@pytest.mark.parametrize(("dtype", "name"), [*((d, "float32") for d in FLOAT32), *OTHERS])
def test_every_spelling_has_one_name(dtype, name):
    assert spelled(dtype) == name
    assert name in FORMATS


INTEGER = int, "int64", np.int8


@pytest.mark.parametrize(
    "dtype", [None, int, "int64", "", "a number", "(2,", 4, np.int8, np.longdouble, "Float32"]
)
def test_what_is_no_format_is_refused_with_those_there_are(dtype):
    said = message(cd.certify, CONV, dtype=dtype)
    do, got = ("; write 'float32'" if dtype == "Float32" else ""), repr(dtype)
    if dtype in INTEGER:
        do, got = "; give an implementation as well", repr(np.dtype(dtype).name)
    needs = "one of 'float32', 'float64', 'complex64', 'complex128'"
    assert said == f"dtype: got {got}; needs {needs}{do}"


class Mine:
    forward = staticmethod(lambda x, w, b: cd.convolve(CONV, x, w, b))
    backward = staticmethod(lambda x, w, dy: cd.convolve_backward(CONV, x, w, dy))


def dtype_calls(dtype):
    box = cd.TiedDense(CONV, W)
    checks = conv_checks(
        lambda layer: cd.TiedDense(layer, np.ones(layer.weight_shape)), dtype=dtype
    )
    assert_backward_matches_dense(CONV, Mine(), dtype=dtype)
    return [
        cd.certify(CONV, dtype=dtype).dtype,
        cd.certify(CONV, dtype=dtype, method="random").to_dict()["dtype"],
        cd.certify(cd.MaxPool((1, 4), 2), dtype=dtype).dtype,
        cd.network(CONV, dtype=dtype, seed=0).parameters["0.w"].dtype.name,
        next(iter(checks)).results.dtype,
        cd.recover(box.forward, CONV.in_shape, CONV, dtype=dtype).matrix.dtype.name,
    ]


@pytest.mark.parametrize("dtype", [np.float32, "f4", "torch.float32"])
def test_every_entry_takes_every_spelling_and_records_one(dtype):
    assert set(dtype_calls(dtype)[:-1]) == {"float32"}


def test_dtypes_of_torch():
    torch = pytest.importorskip("torch")
    from convdense.adapters.torch import _half_precision, certify_module, implementation

    assert cd.certify(CONV, dtype=torch.float32).dtype == "float32"
    module = torch.nn.Conv1d(1, 1, 2)
    for dtype in (torch.bfloat16, "torch.bfloat16", "bfloat16"):
        assert implementation(module, dtype=dtype).dtype == "bfloat16"
    certificate = certify_module(module, (1, 3), dtype=torch.bfloat16, seed=0)
    assert (certificate.dtype, bool(certificate)) == ("bfloat16", True)
    # a module that ran in float32 would be right as well
    assert _half_precision({"dtype": torch.bfloat16}) == "bfloat16"
    assert _half_precision({"dtype": torch.float32}) is None
    said = message(implementation, module, dtype=torch.qint8)
    assert said.startswith("dtype: got torch.qint8; needs one of ")


@pytest.mark.parametrize("library", ["jax.numpy", "ml_dtypes"])
def test_dtypes_of_jax(library):
    assert cd.certify(CONV, Mine(), dtype=pytest.importorskip(library).bfloat16).dtype == "bfloat16"


# Seeds.

SEEDED = {
    "certify": lambda seed: cd.certify(CONV, method="random", seed=seed),
    "certify a pool": lambda seed: cd.certify(cd.MaxPool((1, 4), 2), seed=seed),
    "network": lambda seed: cd.network(CONV, seed=seed),
    "diagnose": lambda seed: cd.diagnose(CONV, Mine(), seed=seed),
    "recover": lambda seed: cd.recover(lambda x: x, (1, 3), seed=seed),
    "train": lambda seed: list(
        train(cd.network(cd.Linear(2, 2), seed=0), np.eye(2), [0, 1], epochs=1, seed=seed)
    ),
}
on_all_seeded = pytest.mark.parametrize("name", SEEDED)


@on_all_seeded
def test_every_seed_is_an_int_a_sequence_or_none(name):
    for seed in (3, np.uint8(3), np.random.SeedSequence(3), np.random.SeedSequence(), None):
        SEEDED[name](seed)


class Key:
    """As those of JAX."""

    def __repr__(self):
        return "Key"


@on_all_seeded
def test_what_could_not_be_recorded_is_refused_with_the_reason(name):
    needs = (
        "needs an integer of at least 0, or an unspawned np.random.SeedSequence of one; anything "
        "else could not be recorded; draw one: int(rng.integers(2**63))"
    )
    sequence = np.random.SeedSequence(3)
    for seed in (
        np.random.default_rng(0),
        np.random.RandomState(0),
        np.array([0, 42], np.uint32),
        Key(),
        sequence.spawn(1)[0],
        np.random.SeedSequence(3, pool_size=8),
        np.random.SeedSequence([3, 4]),
    ):
        said = message(SEEDED[name], seed)
        assert said == f"seed: got {type(seed).__name__}; {needs}"
    SEEDED[name](sequence)  # that it has spawned others changes nothing in it
    assert message(SEEDED[name], -1) == "seed: got -1; needs an integer of at least 0"
    assert message(SEEDED[name], 1.5) == "seed: got 1.5; needs an integer of at least 0"
    assert message(SEEDED[name], True) == "seed: got True; needs an integer of at least 0"


def test_a_sequence_is_its_integer():
    sequence = np.random.SeedSequence(5)
    assert seed_or_none(sequence) == 5
    first, second = (np.random.default_rng(s).integers(2**60, size=9) for s in (sequence, 5))
    assert np.array_equal(first, second)  # NumPy's own word for it
    fresh = np.random.SeedSequence()
    assert seed_or_none(fresh) == fresh.entropy
    for name in ("network",):
        both = [SEEDED[name](s).parameters["0.w"] for s in (5, sequence)]
        assert np.array_equal(*both)


def test_a_certificate_records_the_integer_and_repeats():
    certificate = cd.certify(CONV, method="random", seed=np.random.SeedSequence(2**100))
    assert certificate.to_dict()["seed"] == 2**100
    again = certificate.rerun()
    assert again.to_dict() == certificate.to_dict()


def test_one_default_everywhere():
    for public in (cd.certify, cd.network, cd.diagnose, cd.recover, train):
        assert inspect.signature(public).parameters["seed"].default is None, public
    assert len({drawn(None) for _ in range(9)}) == 9  # fresh
    assert drawn(7) == 7
    seeds = {cd.certify(CONV, method="random").seed for _ in range(3)}
    assert len(seeds) == 3
    nets = [cd.network(CONV).parameters["0.w"] for _ in range(2)]
    assert not np.array_equal(*nets)


def test_a_diagnosis_records_its_seed():
    assert cd.diagnose(CONV, Mine(), seed=3).seed == 3
    assert cd.diagnose(CONV, Mine()).seed != cd.diagnose(CONV, Mine()).seed
    assert cd.diagnose(CONV, Mine(), seed=3) == cd.diagnose(CONV, Mine(), seed=4)
