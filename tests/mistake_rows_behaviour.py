"""What is beside the numbers: repeatability, operands changed, dtypes, exceptions, precision."""

import numpy as np

import convdense as cd
from tests.mistake_rows_base import Table, pair, plain

TABLE = Table()
IMAGE = cd.Conv((2, 4, 5), out_channels=3, kernel=(2, 3))
SIGNAL = cd.Conv((2, 6), out_channels=2, kernel=3)
AVERAGE = cd.AvgPool((2, 5), kernel=3, stride=1)
SUM = cd.SumPool((2, 5), kernel=3, stride=1)
UP = cd.ConvTranspose((2, 3), out_channels=2, kernel=3, stride=2)


@TABLE.made(IMAGE, behaviour=("not repeatable",))
def dropout_left_on():
    rng = np.random.default_rng(0)
    right = plain(IMAGE)

    def forward(x, w, b):
        y = right.forward(x, w, b)
        return y * (rng.random(y.shape) > 0.5)

    return pair(forward, right.backward)


@TABLE.made(SIGNAL, behaviour=("not repeatable",))
def random_sample_in_dw():
    rng = np.random.default_rng(1)
    right = plain(SIGNAL)

    def backward(x, w, dy):
        dx, dw, db = right.backward(x, w, dy)
        return dx, dw + rng.integers(2), db

    return pair(right.forward, backward)


@TABLE.made(IMAGE, behaviour=("changed its input",))
def kernel_reversed_in_place():
    right = plain(IMAGE)

    def backward(x, w, dy):
        results = right.backward(x, w, dy)
        w[...] = w[:, :, ::-1, ::-1].copy()
        return results

    return pair(right.forward, backward)


@TABLE.made(AVERAGE, behaviour=("changed its input",))
def gradient_divided_in_place():
    def backward(x, dy):
        dy /= 3
        dx = np.zeros(x.shape)
        for k in range(3):
            dx[:, :, k : k + 3] += dy
        return dx

    return pair(plain(AVERAGE).forward, backward)


@TABLE.made(SIGNAL, behaviour=("wrong dtype",))
def forward_returns_float32():
    right = plain(SIGNAL)
    return pair(lambda x, w, b: right.forward(x, w, b).astype(np.float32), right.backward)


@TABLE.made(UP, behaviour=("wrong dtype",))
def dw_of_integers():
    right = plain(UP)

    def backward(x, w, dy):
        dx, dw, db = right.backward(x, w, dy)
        return dx, dw.astype(int), db

    return pair(right.forward, backward)


@TABLE.made(IMAGE, behaviour=("raised",))
def loops_as_if_square():
    def forward(x, w, b):
        size = x.shape[3] - w.shape[3] + 2
        y = np.zeros((len(x), 3, 3, 3))
        for i, j in np.ndindex(size, size):
            y[:, :, i, j] = np.einsum("nckm,ockm->no", x[:, :, i : i + 2, j : j + 3], w) + b
        return y

    return pair(forward, plain(IMAGE).backward)


@TABLE.made(SIGNAL, behaviour=("raised",))
def backward_of_other_shapes():
    def backward(x, w, dy):
        dw = x.reshape(len(x), 2, -1) @ dy.swapaxes(1, 2)
        return dy @ w, dw.sum(axis=0), dy.sum(axis=(0, 2))

    return pair(plain(SIGNAL).forward, backward)


@TABLE.made(IMAGE, behaviour=("float32",))
def float32_inside():
    right = plain(IMAGE)

    def forward(x, w, b):
        narrow = [array.astype(np.float32) for array in (x, w, b)]
        return right.forward(*narrow).astype(x.dtype)

    return pair(forward, right.backward)


@TABLE.made(SIGNAL, behaviour=("float32",))
def float32_in_dw():
    right = plain(SIGNAL)

    def backward(x, w, dy):
        dx, _, db = right.backward(x, w, dy)
        dw = np.zeros(w.shape, np.float32)
        for k in range(3):
            dw[:, :, k] = np.einsum("nci,noi->oc", x[:, :, k : k + 4], dy)
        return dx, dw.astype(x.dtype), db

    return pair(right.forward, backward)


@TABLE.made(SUM, behaviour=("float32",))
def float32_in_a_pool():
    right = plain(SUM)
    return pair(lambda x: right.forward(x.astype(np.float32)).astype(x.dtype), right.backward)


@TABLE.made(SIGNAL)
def right_on_copies():
    right = plain(SIGNAL)

    def backward(x, w, dy):
        x, w = x.copy(), w[:, :, ::-1].copy()
        w[...] = w[:, :, ::-1].copy()
        return right.backward(x, w, dy)

    return pair(right.forward, backward)
