"""Arrays come to PyTorch's code as tensors with their own strides, offsets and memory formats."""

import numpy as np
import pytest

import convdense as cd

torch = pytest.importorskip("torch", reason="PyTorch, which this adapter is for, is not installed")

from convdense.adapters.torch import certify_module, implementation  # noqa: E402  (after the skip)

nn, F = torch.nn, torch.nn.functional
LAYER = cd.Conv((4, 6, 5), 3, kernel=(3, 2))
RNG = np.random.default_rng(5)
X = RNG.integers(-9, 9, (2, 4, 6, 5)).astype(float)
W = RNG.integers(-9, 9, (3, 4, 3, 2)).astype(float)
B, DY = np.array([1.0, 2, 3]), RNG.integers(-9, 9, (2, 3, 4, 4)).astype(float)


def every_other(array):
    """Return the same numbers within a wider array, whose other cells are never to be read."""
    wide = np.full((len(array) + 1, *array.shape[1:-1], 2 * array.shape[-1]), 77.0, array.dtype)
    view = wide[1:, ..., ::2]
    view[...] = array
    return view


def last(array):
    """Return a view with the strides of channels_last."""
    return np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1)


LAYOUTS = {
    "contiguous": lambda a: a,
    "every other": every_other,
    "transposed": lambda a: a.swapaxes(-1, -2).copy().swapaxes(-1, -2),
    "Fortran": np.asfortranarray,
    "channels last": last,
    "offset": lambda a: np.concatenate([a + 1, a])[len(a) :],
    "expanded": lambda a: np.broadcast_to(a[:1, :1], a.shape),
    "overlapping": lambda a: np.lib.stride_tricks.as_strided(a, a.shape, [8] * a.ndim),
}


def seen(arrays, dtype=None, **options):
    """Return what a function of tensors was called with: strides, offset, numbers."""
    met = []

    def conv(x, w, b):
        met.extend(
            (tuple(t.stride()), t.storage_offset(), t.double().numpy().copy()) for t in (x, w)
        )
        return F.conv2d(x, w, b)

    implementation(conv, dtype=dtype, **options).forward(*arrays, None)
    return met


@pytest.mark.parametrize("dtype", [None, "float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_strides_go_through_to_the_tensors(name, dtype):
    x, w = LAYOUTS[name](X), LAYOUTS[name](W)
    (x_strides, x_offset, x_seen), (w_strides, _, w_seen) = seen((x, w), dtype)
    assert x_strides == tuple(stride // 8 for stride in x.strides)
    assert w_strides == tuple(stride // 8 for stride in w.strides)
    assert np.array_equal(x_seen, x)
    assert np.array_equal(w_seen, w)
    assert (x_offset > 0) == (name in ("every other", "offset"))


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_change_no_number(name):
    mine = implementation(F.conv2d)
    x, w, dy = (LAYOUTS[name](array) for array in (X, W, DY))
    y, gradients = cd.convolve(LAYER, x, w, B), cd.convolve_backward(LAYER, x, w, dy)
    assert np.array_equal(mine.forward(x, w, B), y)
    assert all(map(np.array_equal, mine.backward(x, w, dy), gradients))


def test_integers_and_empty_arrays_too():
    (strides, _, numbers), _ = seen((last(X.astype(np.int32)), W))
    assert strides == (120, 1, 20, 4)
    assert np.array_equal(numbers, X)
    assert implementation(F.conv2d).forward(X[:0], W, B).shape == (0, 3, 4, 4)
    records = np.zeros(X.shape, [("a", "i1"), ("b", "f8")])
    records["b"] = X
    assert np.array_equal(seen((records["b"], W))[0][2], X)


@pytest.mark.parametrize("name", ["x", "w", "dy"])
def test_torch_has_no_negative_strides(name):
    operands = {"x": X, "w": W, "dy": DY}
    operands[name] = operands[name][..., ::-1]
    message = f"{name}: got strides ("
    do = f"needs none below 0, which torch does not have; copy it: np.ascontiguousarray({name})"
    with pytest.raises(ValueError, match="strides") as found:
        implementation(F.conv2d).backward(*operands.values())
    assert str(found.value).startswith(message)
    assert str(found.value).endswith(do)


def test_what_is_written_to_is_seen_and_what_is_read_only_is_not_written_to():
    def writes(x, w, b):
        y = F.conv2d(x, w, b)
        x.zero_()
        return y

    x, frozen = X.copy(), X.copy()
    frozen.setflags(write=False)
    assert np.array_equal(
        implementation(writes).forward(x, W, B), F.conv2d(*map(torch.tensor, (X, W, B)))
    )
    assert not x.any()
    implementation(writes).forward(frozen, W, B)
    assert np.array_equal(frozen, X)


def test_nhwc_code_gets_contiguous_arrays_for_contiguous_ones_and_views_for_views():
    met = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y):
            return y.clone()

        @staticmethod
        def backward(ctx, dy):
            met.append(dy.stride())
            return dy

    def conv(x, w, b):
        met.append(x.stride())
        return Watched.apply(F.conv2d(x.movedim(-1, 1), w, b).movedim(1, -1))

    mine = implementation(conv, layout="NHWC")
    mine.backward(X, W, DY)
    assert met == [(120, 20, 4, 1), (48, 12, 3, 1)]
    met.clear()
    mine.backward(every_other(X), W, every_other(DY))
    assert met == [(240, 10, 2, 60), (96, 8, 2, 32)]


def test_the_memory_format_channels_last():
    (x_strides, _, x), (w_strides, _, w) = seen((X, W), layout="channels_last")
    assert (x_strides, w_strides) == ((120, 1, 20, 4), (24, 1, 8, 4))
    assert np.array_equal(x, X)
    assert np.array_equal(w, W)
    assert cd.certify(LAYER, implementation(nn.Conv2d(4, 3, (3, 2)), layout="channels_last"))
    pool = implementation(nn.MaxPool2d(2), layout="channels_last")
    assert cd.certify(cd.MaxPool((4, 6, 4), 2), pool)


# Code that takes memory for what it is not, each beside its right neighbour


def contiguous_strides(tensor):
    return torch.empty(tensor.shape).stride()


def raw(tensor):
    """Return what lies in memory from a tensor's first number on, as if it were contiguous."""
    span = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    if span < tensor.numel():  # there is not enough of it
        return tensor.contiguous() * 0
    return tensor.as_strided(tensor.shape, contiguous_strides(tensor))


def from_the_start(tensor):
    """Return a tensor's numbers as if its storage began with them."""
    return tensor.as_strided(tensor.shape, tensor.stride(), 0)


class Backward(torch.autograd.Function):
    """A gradient that is passed on as `change` leaves it."""

    change = staticmethod(lambda dy: dy)

    @staticmethod
    def forward(ctx, y):
        return y.clone()

    @classmethod
    def backward(cls, ctx, dy):
        return cls.change(dy)


class RawBackward(Backward):
    @staticmethod
    def backward(ctx, dy):
        return raw(dy)


class AlsoOfOffset(Backward):
    @staticmethod
    def backward(ctx, dy):
        return from_the_start(dy)


class RightBackward(Backward):
    @staticmethod
    def backward(ctx, dy):
        return raw(dy.contiguous())


def convs():
    """Return functions with a defect that only some layouts show, and which operand shows it."""
    return {
        "x": lambda x, w, b: F.conv2d(raw(x), w, b),
        "w": lambda x, w, b: F.conv2d(x, raw(w), b),
        "dy": lambda x, w, b: RawBackward.apply(F.conv2d(x, w, b)),
        "dy offset": lambda x, w, b: AlsoOfOffset.apply(F.conv2d(x, w, b)),
        "x offset": lambda x, w, b: F.conv2d(from_the_start(x), w, b),
    }


@pytest.mark.parametrize("name", convs())
@pytest.mark.parametrize(
    "layout", ["every other", "transposed", "expanded", "channels last", "offset"]
)
def test_code_that_takes_memory_for_what_it_is_not_is_wrong(name, layout):
    """Only there: of contiguous arrays its numbers are right."""
    mine = implementation(convs()[name])
    right = cd.convolve_backward(LAYER, X, W, DY)
    assert np.array_equal(mine.forward(X, W, B), cd.convolve(LAYER, X, W, B))
    assert all(map(np.array_equal, mine.backward(X, W, DY), right))

    change = LAYOUTS[layout]
    operand = name.split()[0]
    x, w, dy = (change(a) if n == operand else a for n, a in (("x", X), ("w", W), ("dy", DY)))
    got, due = [mine.forward(x, w, B)], [cd.convolve(LAYER, x, w, B)]
    if operand == "dy":
        got, due = mine.backward(x, w, dy), cd.convolve_backward(LAYER, x, w, dy)
    needs_offset = name.endswith("offset")
    shows = layout in ("every other", "offset") if needs_offset else layout != "offset"
    assert all(map(np.array_equal, got, due)) is not shows


def test_the_right_neighbour_takes_every_layout():
    mine = implementation(lambda x, w, b: RightBackward.apply(F.conv2d(raw(x.contiguous()), w, b)))
    for change in LAYOUTS.values():
        x, dy = change(X), change(DY)
        assert np.array_equal(mine.forward(x, W, B), cd.convolve(LAYER, x, W, B))
        assert all(
            map(np.array_equal, mine.backward(x, W, dy), cd.convolve_backward(LAYER, x, W, dy))
        )


@pytest.mark.parametrize("operand", ["x", "dy"])
def test_a_certificate_refuses_them(operand):
    certificate = cd.certify(LAYER, implementation(convs()[operand]), seed=0)
    assert certificate.refuted
    wrong = [f.name for f in certificate.behaviour if f.refuted and f.verdict == "wrong"]
    assert "non-contiguous" in wrong or "strided views" in wrong
    assert certify_module(nn.Conv2d(4, 3, (3, 2)), LAYER.in_shape, seed=0)


def test_in_place_writes_within_the_graph_are_allowed_on_what_a_view_comes_as():
    def doubles(x, w, b):
        x += x
        return F.conv2d(x, w, b)

    mine = implementation(doubles)
    for change in (LAYOUTS["every other"], last):
        dx, dw, _ = mine.backward(change(X), W, DY)
        due = cd.convolve_backward(LAYER, X, W, DY)
        assert np.array_equal(dx, 2 * due[0])
        assert np.array_equal(dw, 2 * due[1])
