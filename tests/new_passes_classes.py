"""Wrong passes in many hands: classes that remember, what is added to gradients, the bias."""

import numpy as np

import convdense as cd
from tests.mistake_rows_base import Table, pair, plain

TABLE = Table()
IMAGE = cd.Conv((2, 5, 4), out_channels=3, kernel=2)
SIGNAL = cd.Conv((2, 8), out_channels=3, kernel=3)
HALVED = cd.Conv((2, 6, 5), out_channels=2, kernel=(3, 2), stride=2)


# The bias


@TABLE.db(cd.Conv((2, 4, 4), 3, 2), ("axis",), ("axes",), ("column",))
def bias_summed_over_other_axes(x, w, dy):
    return dy.sum(axis=(0, 1, 2))


@TABLE.db(IMAGE, ("shape",), ("keep",), ("dimension",))
def bias_keeps_its_axes(x, w, dy):
    return np.sum(dy, axis=(0, 2, 3), keepdims=True)


# Classes


class Layer:
    """A layer as in a course: it keeps its input, and its gradients."""

    def __init__(self, layer):
        self.inner = plain(layer)
        self.cache = None

    def forward(self, x, w, b):
        self.cache = x
        return self.inner.forward(x, w, b)

    def backward(self, x, w, dy):
        return self.inner.backward(x, w, dy)


@TABLE.made(SIGNAL, behaviour=("another forward",))
def input_of_the_last_forward():
    class Cached(Layer):
        def backward(self, x, w, dy):
            kept = x if self.cache is None or self.cache.shape != x.shape else self.cache
            return self.inner.backward(kept, w, dy)

    return Cached(SIGNAL)


@TABLE.made(IMAGE, behaviour=("changed its input",))
def backward_takes_the_step():
    class Trained(Layer):
        def backward(self, x, w, dy):
            dx, dw, db = self.inner.backward(x, w, dy)
            w -= 0.5 * dw
            return dx, dw, db

    return Trained(IMAGE)


@TABLE.made(SIGNAL, y=(("relu",), ("negative",), ("clip",), ("maximum",)))
def activation_inside_the_layer():
    class Activated(Layer):
        def forward(self, x, w, b):
            return np.maximum(super().forward(x, w, b), 0)

    return Activated(SIGNAL)


@TABLE.made(
    IMAGE, dw=(("weight decay",), ("multiple of w",), ("w is added",), ("weights", "added"))
)
def weight_decay_in_dw():
    class Decayed(Layer):
        def backward(self, x, w, dy):
            dx, dw, db = self.inner.backward(x, w, dy)
            return dx, dw + 0.5 * w, db

    return Decayed(IMAGE)


MINUS = (("sign",), ("minus",), ("negat",), ("-1",))


@TABLE.made(HALVED, dw=MINUS, db=MINUS)
def gradients_point_downhill():
    def backward(x, w, dy):
        dx, dw, db = plain(HALVED).backward(x, w, dy)
        return dx, -dw, -db

    return pair(plain(HALVED).forward, backward)


# Their nearest right relatives


@TABLE.made(SIGNAL)
def right_input_of_its_own_call():
    return Layer(SIGNAL)


@TABLE.db(IMAGE)
def right_bias_by_a_product(x, w, dy):
    ones = np.ones(dy.shape[2] * dy.shape[3])
    return (dy.reshape(len(dy), 3, -1) @ ones).sum(axis=0)
