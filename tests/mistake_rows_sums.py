"""Mistakes in sums: what is kept between calls, means, factors, the bias, complex conjugates."""

import numpy as np

import convdense as cd
from tests.mistake_rows_base import Table, pair, plain

TABLE = Table()
IMAGE = cd.Conv((2, 4, 5), out_channels=3, kernel=(2, 3))
SIGNAL = cd.Conv((2, 7), out_channels=3, kernel=3)
VOLUME = cd.Conv((1, 3, 3, 4), out_channels=2, kernel=2)
UP = cd.ConvTranspose((2, 4), out_channels=3, kernel=3, stride=2)
POOL = cd.AvgPool((2, 5), kernel=3, stride=1)
SQUARE = cd.Conv((2, 3, 3), out_channels=3, kernel=2)

ACCUMULATED = (("accumulat",), ("call", "before"), ("earlier call",), ("never", "zero"))
MEAN = (("mean", "batch"), ("mean", "sample"), ("divided", "batch"))
PER_PIXEL = (("per pixel",), ("pixel", "not summed"), ("position",), ("each pixel",))


# Kept between calls


def remembering(layer, quantity):
    """Return a class that adds to what it gave in the calls before, as frameworks' .grad does."""

    class Remembering:
        def __init__(self):
            self.right = plain(layer)
            self.kept = 0.0

        def summed(self, array):
            if np.shape(self.kept) not in ((), array.shape):
                self.kept = 0.0  # of another batch
            self.kept = self.kept + array
            return self.kept

        def forward(self, *operands):
            y = self.right.forward(*operands)
            return self.summed(y) if quantity == "y" else y

        def backward(self, *operands):
            gradients = self.right.backward(*operands)
            if isinstance(gradients, np.ndarray):
                return self.summed(gradients)
            names = ("dx", "dw", "db")
            return tuple(
                self.summed(gradient) if name == quantity else gradient
                for name, gradient in zip(names, gradients, strict=True)
            )

    return Remembering


for layer, quantity in ((IMAGE, "dw"), (SIGNAL, "db"), (UP, "dw"), (POOL, "dx"), (SIGNAL, "y")):
    name = f"{quantity} of {type(layer).__name__} accumulated over calls"
    TABLE.made(layer, name=name, **{quantity: ACCUMULATED})(remembering(layer, quantity))


# Means for sums


@TABLE.dw(VOLUME, *MEAN)
def dw_mean_over_the_batch(x, w, dy):
    dw = np.zeros(w.shape)
    for n, o, a, i, j in np.ndindex(*dy.shape):
        dw[o] += x[n, :, a : a + 2, i : i + 2, j : j + 2] * dy[n, o, a, i, j] / len(x)
    return dw


@TABLE.db(UP, *MEAN)
def db_mean_over_the_batch(x, w, dy):
    return dy.mean(axis=0).sum(axis=1)


@TABLE.y(IMAGE, ("mean", "channel"), ("divided", "channel"))
def forward_mean_over_channels(x, w, b):
    y = np.zeros((len(x), 3, 3, 3))
    for k, m in np.ndindex(2, 3):
        window = x[:, :, k : k + 3, m : m + 3]
        y += (window[:, None] * w[None, :, :, k, m, None, None]).mean(axis=2)
    return y + b[:, None, None]


@TABLE.dx(SIGNAL, ("mean", "channel"), ("divided", "channel"))
def dx_mean_over_channels(x, w, dy):
    dx = np.zeros(x.shape)
    for k in range(3):
        dx[:, :, k : k + 5] += (dy[:, :, None] * w[None, :, :, k, None]).mean(axis=1)
    return dx


@TABLE.dw(SIGNAL, ("mean", "position"), ("mean", "pixel"), ("divided", "pixel"), ("mean", "output"))
def dw_mean_over_positions(x, w, dy):
    return np.stack(
        [np.einsum("nci,noi->oci", x[:, :, k : k + 5], dy).mean(axis=2) for k in range(3)],
        axis=2,
    )


@TABLE.db(IMAGE, ("mean", "pixel"), ("mean", "position"), ("divided", "pixel"), ("mean", "output"))
def db_mean_over_pixels(x, w, dy):
    return dy.mean(axis=(2, 3)).sum(axis=0)


@TABLE.db(IMAGE, *PER_PIXEL)
def db_per_pixel(x, w, dy):
    return dy.sum(axis=0)


@TABLE.db(SIGNAL, ("batch", "not summed"), ("per sample",), ("each sample",), ("sum", "batch"))
def db_per_sample(x, w, dy):
    return dy.sum(axis=2)


@TABLE.db(SQUARE, ("channel",), ("one sum",), ("same for all",))
def db_summed_over_channels(x, w, dy):
    return np.full(3, dy.sum())


# The bias


@TABLE.y(UP, ("bias", "left out"), ("bias", "forgotten"), ("no bias",), ("bias", "not added"))
def bias_forgotten(x, w, b):
    y = np.zeros((len(x), 3, 9))
    for i in range(4):
        y[:, :, 2 * i : 2 * i + 3] += np.einsum("nc,cok->nok", x[:, :, i], w)
    return y


@TABLE.y(IMAGE, ("bias", "time"), ("bias", "every tap"), ("bias", "each tap"), ("bias", "6"))
def bias_added_for_every_tap(x, w, b):
    y = np.zeros((len(x), 3, 3, 3))
    for k, m in np.ndindex(2, 3):
        window = x[:, :, k : k + 3, m : m + 3]
        y += np.einsum("oc,ncij->noij", w[:, :, k, m], window) + b[:, None, None]
    return y


@TABLE.y(cd.Conv((2, 4, 4), 3, 2), ("bias", "axis"), ("bias", "column"), ("bias", "broadcast"))
def bias_broadcast_along_the_columns(x, w, b):
    y = np.zeros((len(x), 3, 3, 3))
    for k, m in np.ndindex(2, 2):
        y += np.einsum("oc,ncij->noij", w[:, :, k, m], x[:, :, k : k + 3, m : m + 3])
    return y + b


# One sample for all


@TABLE.dw(IMAGE, ("first sample",), ("sample 0",))
def dw_of_the_first_sample(x, w, dy):
    dw = np.zeros(w.shape)
    for k, m in np.ndindex(2, 3):
        dw[:, :, k, m] = np.einsum("cij,oij->oc", x[0, :, k : k + 3, m : m + 3], dy[0])
    return dw


@TABLE.dx(SIGNAL, ("first sample",), ("sample", "first one"))
def dx_of_the_first_sample_for_all(x, w, dy):
    dx = np.zeros(x.shape)
    for i in range(5):
        dx[:, :, i : i + 3] += np.einsum("ock,o->ck", w, dy[0, :, i])
    return dx


# Complex numbers


COMPLEX = cd.Conv((2, 5), out_channels=2, kernel=2)
CONJUGATE = (("conjugat",),)


@TABLE.dx(COMPLEX, *CONJUGATE, options={"dtype": "complex128"})
def dx_not_conjugated(x, w, dy):
    dx = np.zeros(x.shape, complex)
    for k in range(2):
        dx[:, :, k : k + 4] += np.einsum("oc,noi->nci", w[:, :, k], dy)
    return dx


@TABLE.made(COMPLEX, options={"dtype": "complex128"})
def right_conjugates():
    def forward(x, w, b):
        return sum(
            np.einsum("oc,nci->noi", w[:, :, k], x[:, :, k : k + 4]) for k in range(2)
        ) + b.reshape(-1, 1)

    def backward(x, w, dy):
        dx, dw = np.zeros(x.shape, complex), np.zeros(w.shape, complex)
        for k in range(2):
            dx[:, :, k : k + 4] += np.einsum("oc,noi->nci", w[:, :, k].conj(), dy)
            dw[:, :, k] = np.einsum("nci,noi->oc", x[:, :, k : k + 4].conj(), dy)
        return dx, dw, dy.sum(axis=(0, 2))

    return pair(forward, backward)


@TABLE.made(SIGNAL)
def right_gradients_kept_and_zeroed():
    class Zeroing:
        def __init__(self):
            self.right = plain(SIGNAL)
            self.dw = np.zeros(SIGNAL.weight_shape)

        def forward(self, x, w, b):
            return self.right.forward(x, w, b)

        def backward(self, x, w, dy):
            self.dw = np.zeros(w.shape)
            dx, dw, db = self.right.backward(x, w, dy)
            self.dw += dw
            return dx, self.dw, db

    return Zeroing()


@TABLE.dw(SIGNAL)
def right_mean_times_the_batch(x, w, dy):
    windows = np.stack([x[:, :, k : k + 5] for k in range(3)], axis=2)
    return np.einsum("ncki,noi->ock", windows, dy)
