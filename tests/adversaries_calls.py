"""Adversaries that depend on calls: state, operands written to, results shared, types, cheats."""

import builtins
import decimal
import sys
import threading
import time

import numpy as np

import convdense as cd
from tests.adversary_rows import (
    AVG,
    CONV,
    CONVOLVE,
    MAX,
    POINT,
    SAME,
    SMALL,
    SQUARE,
    Call,
    Right,
    Table,
    again,
    drawn,
    entry,
    filled,
    given,
    pair,
    times,
)

ROWS = Table()
change, forward, backward, operands = ROWS.change, ROWS.forward, ROWS.backward, ROWS.operands
implementation = ROWS.build

# Calls in sequence that show it


def changed_in_place(*names, parts="fb"):
    """Return what yields two calls with the same arrays, whose numbers change in between."""

    def shows(layer):
        rng = np.random.default_rng(5)
        arrays = dict(zip(("x", "w", "b", "dy"), drawn(layer, 2, rng), strict=True))
        yield Call(**arrays, parts=parts)
        for name in names:
            arrays[name][...] = rng.normal(size=arrays[name].shape)
        yield Call(**arrays, parts=parts)

    return shows


def backward_after_another_forward(layer):
    rng = np.random.default_rng(6)
    first, second = Call(*drawn(layer, 2, rng)), Call(*drawn(layer, 2, rng))
    yield first._replace(parts="f")
    yield second._replace(parts="f")
    yield first._replace(parts="b")
    yield second._replace(parts="b")


def backward_alone(layer):
    yield Call(*drawn(layer, 2, np.random.default_rng(6)), parts="b")


def overwritten(*names, **transforms):
    """Return what yields one call, and overwrites the operands told once it is over."""

    def shows(layer):
        for call in given(**transforms)(layer):
            yield call
            for name in names:
                getattr(call, name)[...] = 7

    return shows


def alternating_batches(layer):
    rng = np.random.default_rng(7)
    for batch in (3, 2, 3, 1, 3):
        yield Call(*drawn(layer, batch, rng))


def other_samples_same(*same):
    """Return what yields two calls that share some operands."""

    def shows(layer):
        rng = np.random.default_rng(8)
        first, second = Call(*drawn(layer, 2, rng)), Call(*drawn(layer, 2, rng))
        yield first
        yield second._replace(**{name: getattr(first, name) for name in same})

    return shows


def reversed_samples(layer):
    x, w, b, dy = drawn(layer, 2, np.random.default_rng(3))
    x = np.rint(x * 9)
    yield Call(x, w, b, dy)
    yield Call(x[..., ::-1].copy(), w, b, dy)


def same_first_entry(layer):
    x, w, b, dy = drawn(layer, 2, np.random.default_rng(3))
    yield Call(x, w, b, dy)
    yield Call(entry(5.0, ..., -1)(x), w, b, dy)


def flipped_kernel(layer):
    x, w, b, dy = drawn(layer, 2, np.random.default_rng(3))
    w = np.rint(w * 9)
    yield Call(x, w, b, dy)
    yield Call(x, w[..., ::-1].copy(), b, dy)


def same_first_weight(layer):
    x, w, b, dy = drawn(layer, 2, np.random.default_rng(3))
    yield Call(x, w, b, dy)
    yield Call(x, entry(5.0, -1)(w), b, dy)


def changed_between_the_two(layer):
    rng = np.random.default_rng(5)
    x, w, b, dy = drawn(layer, 2, rng)
    yield Call(x, w, b, dy, "f")
    x[...] = rng.normal(size=x.shape)
    yield Call(x, w, b, dy, "b")


def two_backwards(layer):
    rng = np.random.default_rng(5)
    call = Call(*drawn(layer, 2, rng))
    yield call
    yield call._replace(dy=rng.normal(size=call.dy.shape), parts="b")


def small_then_large(layer):
    x, w, b, dy = drawn(layer, 2, np.random.default_rng(5))
    yield Call(x, w, b, dy)
    yield Call(x * 1e4, w, b, dy)


def freed_and_made_again(layer):
    """Yield a call, and once its arrays are freed one whose w has the id of the freed one."""
    rng = np.random.default_rng(6)
    call = Call(*drawn(layer, 2, rng))
    place = id(call.w)
    yield call
    x, dy, b = call.x, call.dy, call.b
    del call
    others = [np.zeros(layer.weight_shape)]
    while id(others[-1]) != place and len(others) < 10000:
        others.append(np.zeros(layer.weight_shape))
    others[-1][...] = rng.normal(size=layer.weight_shape)
    yield Call(x, others[-1], b, dy)


def two_batch_sizes(layer):
    for batch in (2, 3):
        yield Call(*drawn(layer, batch, np.random.default_rng(batch)))


# State

STATE = "state"


@implementation(STATE, "y is one buffer for all calls", shows=again(2))
def buffer_of_y(right):
    buffers = {}

    def forward(x, *w_and_b):
        y = right.forward(x, *w_and_b)
        buffer = buffers.setdefault(y.shape, np.empty_like(y))
        buffer[...] = y
        return buffer

    return pair(forward, right.backward)


@implementation(STATE, "dx is one buffer for all calls", shows=again(2))
def buffer_of_dx(right):
    buffers = {}

    def backward(*three):
        dx, dw, db = right.backward(*three)
        buffer = buffers.setdefault(dx.shape, np.empty_like(dx))
        buffer[...] = dx
        return buffer, dw, db

    return pair(right.forward, backward)


@implementation(STATE, "dw and db are views of one buffer for all calls", shows=again(2))
def buffer_of_gradients(right):
    buffer = np.zeros(99)

    def backward(*three):
        dx, dw, db = right.backward(*three)
        views = buffer[: dw.size].reshape(dw.shape), buffer[dw.size : dw.size + db.size]
        for view, result in zip(views, (dw, db), strict=True):
            view[...] = result
        return dx, *views

    return pair(right.forward, backward)


@implementation(STATE, "two buffers take turns: y is overwritten two calls later", shows=again(3))
def two_buffers(right):
    buffers, count = {}, [0]

    def forward(x, *more):
        y = right.forward(x, *more)
        count[0] += 1
        buffer = buffers.setdefault((y.shape, count[0] % 2), np.empty_like(y))
        buffer[...] = y
        return buffer

    return pair(forward, right.backward)


@implementation(
    STATE, "one workspace, large enough for the largest batch", shows=alternating_batches
)
def workspace(right):
    space = np.zeros((99, *right.layer.out_shape))

    def forward(x, *more):
        if len(x) < 3 or len(x) > 99:
            return right.forward(x, *more)
        space[: len(x)] = right.forward(x, *more)
        return space[: len(x)]

    return pair(forward, right.backward)


@implementation(STATE, "backward uses forward's result buffer for scratch", shows=given())
def overwritten_by_backward(right):
    last = []

    def forward(*three):
        last[:] = [right.forward(*three)]
        return last[0]

    def backward(*three):
        for y in last:
            np.multiply(y, 0.5, out=y)
        return right.backward(*three)

    return pair(forward, backward)


@implementation(STATE, "packed weights are kept by id", shows=changed_in_place("w"))
def weights_by_id(right):
    kept = {}

    def forward(x, w, b):
        return right.forward(x, kept.setdefault(id(w), (w, w.copy()))[1], b)

    return pair(forward, right.backward)


@implementation(STATE, "in backward weights are kept by id", shows=changed_in_place("w"))
def weights_by_id_in_backward(right):
    kept = {}

    def backward(x, w, dy):
        return right.backward(x, kept.setdefault(id(w), (w, w.copy()))[1], dy)

    return pair(right.forward, backward)


@implementation(STATE, "columns of x are kept by id", shows=changed_in_place("x"))
def inputs_by_id(right):
    kept = {}

    def forward(x, w, b):
        return right.forward(kept.setdefault(id(x), (x, x.copy()))[1], w, b)

    return pair(forward, right.backward)


@implementation(
    STATE, "columns of x are kept by id, from forward for dw", shows=changed_in_place("x")
)
def inputs_by_id_for_dw(right):
    kept = {}

    def backward(x, w, dy):
        dx, _, db = right.backward(x, w, dy)
        x = kept.setdefault(id(x), (x, x.copy()))[1]
        return dx, right.backward(x, w, dy)[1], db

    return pair(right.forward, backward)


@implementation(STATE, "the bias is kept by id", shows=changed_in_place("b"))
def bias_by_id(right):
    kept = {}

    def forward(x, w, b):
        return right.forward(x, w, kept.setdefault(id(b), (b, b.copy()))[1])

    return pair(forward, right.backward)


@implementation(STATE, "a freed array's id is taken for the same array", shows=freed_and_made_again)
def ids_of_freed_arrays(right):
    kept = {}

    def forward(x, w, b):
        return right.forward(x, kept.setdefault(id(w), w.copy()), b)

    return pair(forward, right.backward)


@implementation(STATE, "kept by address of the data", shows=changed_in_place("dy"))
def by_address(right):
    kept = {}

    def backward(x, w, dy):
        key = dy.__array_interface__["data"][0], dy.shape
        return right.backward(x, w, kept.setdefault(key, (dy, dy.copy()))[1])

    return pair(right.forward, backward)


@implementation(STATE, "results are kept by the shape of x", shows=again(2))
def by_shape(right):
    kept = {}

    def forward(x, w, b):
        return kept.setdefault(x.shape, right.forward(x, w, b)).copy()

    return pair(forward, right.backward)


@implementation(STATE, "memoised by the sum of x", shows=reversed_samples)
def by_sum(right):
    kept = {}

    def forward(x, w, b):
        key = x.shape, float(x.sum()), w.tobytes(), b.tobytes()
        return kept.setdefault(key, right.forward(x, w, b)).copy()

    return pair(forward, right.backward)


@implementation(STATE, "memoised by the first entry of x", shows=same_first_entry)
def by_first_entry(right):
    kept = {}

    def forward(x, w, b):
        key = x.shape, x.flat[:1].tobytes(), w.tobytes(), b.tobytes()
        return kept.setdefault(key, right.forward(x, w, b)).copy()

    return pair(forward, right.backward)


@implementation(
    STATE, "the transformed kernel is kept as long as w's sum is the same", shows=flipped_kernel
)
def kernel_by_sum(right):
    kept = []

    def forward(x, w, b):
        if not kept or kept[0].sum() != w.sum():
            kept[:] = [w.copy()]
        return right.forward(x, kept[0], b)

    return pair(forward, right.backward)


@implementation(STATE, "the kernel is kept until its first number changes", shows=same_first_weight)
def kernel_by_first_number(right):
    kept = []

    def backward(x, w, dy):
        if not kept or kept[0].flat[0] != w.flat[0]:
            kept[:] = [w.copy()]
        return right.backward(x, kept[0], dy)

    return pair(right.forward, backward)


@implementation(STATE, "x as it was in the last forward", shows=backward_after_another_forward)
def saved_x(right):
    saved = []

    def forward(x, w, b):
        saved[:] = [x.copy()]
        return right.forward(x, w, b)

    def backward(x, w, dy):
        return right.backward(saved[0] if saved and saved[0].shape == x.shape else x, w, dy)

    return pair(forward, backward)


@implementation(STATE, "w as it was in the last forward", shows=backward_after_another_forward)
def saved_w(right):
    saved = []

    def forward(x, w, b):
        saved[:] = [w.copy()]
        return right.forward(x, w, b)

    def backward(x, w, dy):
        return right.backward(x, saved[0] if saved else w, dy)

    return pair(forward, backward)


@implementation(STATE, "w as it was in the first forward ever", shows=again(2))
def first_w(right):
    saved = []

    def forward(x, w, b):
        saved.append(w.copy())
        return right.forward(x, w, b)

    def backward(x, w, dy):
        return right.backward(x, saved[0] if saved else w, dy)

    return pair(forward, backward)


@implementation(STATE, "x, by reference, since the last forward", shows=changed_between_the_two)
def saved_reference(right):
    saved = []

    def forward(x, w, b):
        saved[:] = [x, x.copy()]
        return right.forward(x, w, b)

    def backward(x, w, dy):
        return right.backward(saved[1] if saved and saved[0] is x else x, w, dy)

    return pair(forward, backward)


@implementation(STATE, "backward before any forward returns zeros", shows=backward_alone)
def backward_first(right):
    ready = []

    def forward(*three):
        ready.append(True)
        return right.forward(*three)

    def backward(*three):
        return tuple(result * (1 if ready else 0) for result in right.backward(*three))

    return pair(forward, backward)


@implementation(
    STATE, "backward runs once for each forward: the second time zeros", shows=two_backwards
)
def backward_twice(right):
    tape = []

    def forward(*three):
        tape.append(True)
        return right.forward(*three)

    def backward(*three):
        scale = 1 if tape else 0
        del tape[:]
        return tuple(result * scale for result in right.backward(*three))

    return pair(forward, backward)


@implementation(STATE, "dw is added up over calls", shows=again(2))
def gradients_add_up(right):
    total = [0.0]

    def backward(*three):
        dx, dw, db = right.backward(*three)
        total[0] = total[0] + dw
        return dx, total[0].copy(), db

    return pair(right.forward, backward)


@implementation(STATE, "db is added up over calls", shows=again(2))
def db_adds_up(right):
    total = [0.0]

    def backward(*three):
        dx, dw, db = right.backward(*three)
        total[0] = total[0] + db
        return dx, dw, total[0].copy()

    return pair(right.forward, backward)


@implementation(STATE, "the border of the padded buffer is not cleared again", SAME, again(2))
def dirty_border(right):
    inner, dirt = cd.Conv((2, 5, 6), out_channels=2, kernel=3), {}

    def forward(x, w, b):
        padded = dirt.setdefault(x.shape, np.zeros((*x.shape[:2], 5, 6)))
        padded[:, :, 1:-1, 1:-1] = x
        y = CONVOLVE(inner, padded, w, b)
        padded[:, :, 0, 1:-1] = x[:, :, 0]  # scratch that is left there
        return y

    return pair(forward, right.backward)


def by_number(name, sentence, condition, part="y", factor=1.5, **more):
    """Register what is wrong in the calls whose number meets a condition."""

    def function(right):
        count = [0]

        def forward(*three):
            y = right.forward(*three)
            count[0] += part == "y"
            return y * factor if part == "y" and condition(count[0]) else y

        def backward(*three):
            results = list(right.backward(*three))
            count[0] += part != "y"
            if part != "y" and condition(count[0]):
                place = ("dx", "dw", "db").index(part)
                results[place] = results[place] * factor
            return tuple(results)

        return pair(forward, backward)

    ROWS.build(STATE, sentence, name=name, **more)(function)


by_number("first_call", "the first call is warm-up", lambda n: n == 1, shows=again(1))
by_number("first_backward", "the first backward is warm-up", lambda n: n == 1, "dx", shows=again(1))
by_number("second_call", "from the second call on wrong", lambda n: n >= 2, "dw", shows=again(2))
by_number("third_call", "the third call is wrong", lambda n: n == 3, shows=again(3))
by_number("third_backward", "the third backward is wrong", lambda n: n == 3, "db", shows=again(3))
by_number(
    "every_fourth", "every fourth backward is wrong", lambda n: n % 4 == 0, "dx", shows=again(4)
)
by_number("every_seventh", "every seventh call is wrong", lambda n: n % 7 == 0, shows=again(7))
by_number("after_ten", "from the tenth call on wrong", lambda n: n >= 10, "dw", shows=again(10))
by_number("after_twenty", "from call 20 on wrong", lambda n: n >= 20, shows=again(20))
by_number("odd_calls", "odd calls are scaled by 1 + 2^-35", lambda n: n % 2, "y", 1 + 2.0**-35)


@implementation(STATE, "a running mean of the inputs is taken off, 1e-3 of it", shows=again(2))
def running_mean(right):
    mean = [0.0]

    def forward(x, w, b):
        shifted = x - 1e-3 * mean[0]
        mean[0] = 0.9 * mean[0] + 0.1 * (x.mean() if x.size else 0)
        return right.forward(shifted, w, b)

    return pair(forward, right.backward)


@implementation(STATE, "the scale of a quantiser is that of the first call", shows=small_then_large)
def calibrated(right):
    scale = []

    def forward(x, w, b):
        if not scale and x.size:
            scale.append(16 * max(1e-300, abs(x).max()))
        return right.forward(np.clip(x, -scale[0], scale[0]) if scale else x, w, b)

    return pair(forward, right.backward)


@implementation(
    STATE,
    "after a smaller batch the rest of the last one is added to dw",
    shows=alternating_batches,
)
def rest_of_the_last_batch(right):
    last = []

    def backward(x, w, dy):
        dx, dw, db = right.backward(x, w, dy)
        if last and len(last[0]) > len(x) > 0:
            dw = dw + right.backward(last[0][len(x) :], w, last[1][len(x) :])[1]
        last[:] = [x.copy(), dy.copy()]
        return dx, dw, db

    return pair(right.forward, backward)


@implementation(
    STATE, "tuned for the first batch size; another mixes samples", shows=two_batch_sizes
)
def tuned_for_the_first(right):
    first = []

    def forward(x, w, b):
        first.append(len(x))
        y = right.forward(x, w, b)
        return y if len(x) == first[0] or len(x) < 3 else y[::-1].copy()

    return pair(forward, right.backward)


# Operands written to

WRITES = "writes to operands"


def writing(part, place, name, sentence, write, layer=CONV, before=False, **shown):
    """Register what writes to an operand after (or before) the right results are computed."""

    def function(right):
        def forward(*three):
            y = right.forward(*three)
            if part == "f" and three[place].flags.writeable:
                write(three[place])
            return y

        def backward(*three):
            results = right.backward(*three)
            if part == "b" and three[place].flags.writeable:
                write(three[place])
            return results

        return pair(forward, backward)

    ROWS.build(WRITES, sentence, layer, given(**shown), name=name)(function)


def relu_in_place(a):
    np.maximum(a, 0, out=a)


def zero_in_place(a):
    a[...] = 0


def shift_and_back(a):
    a += 1
    a -= 1


def flip_in_place(a):
    a[...] = a[..., ::-1].copy()


def scale_in_place(a):
    a *= 2


def last_in_place(a):
    if len(a) >= 3:
        a[-1, ..., -1] = 0


def sort_in_place(a):
    a.sort()


def unsign_zeros(a):
    a += 0.0  # -0.0 becomes 0.0


writing("f", 0, "x_rectified", "forward applies ReLU to x in place", relu_in_place)
writing("f", 0, "x_shifted_and_back", "forward adds 1 to x, and takes it off", shift_and_back)
writing("f", 1, "w_flipped", "forward flips w in place and leaves it so", flip_in_place)
writing("f", 1, "w_scaled", "forward scales w in place", scale_in_place, layer=SMALL)
writing("f", 2, "b_zeroed", "forward takes b for its accumulator and clears it", zero_in_place)
writing("f", 2, "b_sorted", "forward sorts b", sort_in_place)
writing("b", 0, "x_zeroed", "backward frees x by clearing it", zero_in_place)
writing("b", 0, "x_flipped", "backward leaves x flipped", flip_in_place, layer=SMALL)
writing("b", 1, "w_updated", "backward takes a step of gradient descent", scale_in_place)
writing("b", 1, "w_shifted_and_back", "backward adds 1 to w, and takes it off", shift_and_back)
writing("b", 2, "dy_scaled", "backward scales dy in place", scale_in_place)
writing("b", 2, "dy_cleared", "backward clears dy when done", zero_in_place, layer=SMALL)
writing("b", 2, "dy_masked", "backward masks dy in place", relu_in_place)
writing(
    "f", 0, "last_of_three", "from batch 3 on x's last column is cleared", last_in_place, batch=3
)
writing("b", 2, "last_of_dy", "from batch 3 on dy's last column is cleared", last_in_place, batch=3)


@implementation(WRITES, "dx is written over dy where their shapes agree", SAME)
def dx_over_dy(right):
    def backward(x, w, dy):
        dx, dw, db = right.backward(x, w, dy)
        if dx.shape == dy.shape and dy.flags.writeable:
            dy[...] = dx
            return dy, dw, db
        return dx, dw, db

    return pair(right.forward, backward)


@implementation(WRITES, "y is written over x where their shapes agree", SAME)
def y_over_x(right):
    def forward(x, w, b):
        y = right.forward(x, w, b)
        if y.shape == x.shape and x.flags.writeable:
            x[...] = y
            return x
        return y

    return pair(forward, right.backward)


@implementation(WRITES, "operands seen before are written to, a call later", shows=again(2))
def writes_later(right):
    seen = []

    def forward(x, w, b):
        y = right.forward(x, w, b)
        for array in seen:
            np.multiply(array, 0.5, out=array)
        seen[:] = [y]
        return y

    return pair(forward, right.backward)


# Results that share memory with operands

SHARED = "shares memory"


@forward(
    SHARED, "a weight of 1 returns x itself", POINT, overwritten("x", w=filled(1.0), b=times(0))
)
def identity_returns_x(right, x, w, b):
    return x if (w == 1).all() and not b.any() else right.forward(x, w, b)


@backward(SHARED, "a weight of 1 returns dy for dx", POINT, overwritten("dy", w=filled(1.0)))
def identity_returns_dy(right, x, w, dy):
    dx, dw, db = right.backward(x, w, dy)
    return (dy if (w == 1).all() else dx), dw, db


ONE_OUTPUT = cd.Conv((2, 2, 3), out_channels=2, kernel=(2, 3))


@backward(
    SHARED, "of one sample and one pixel db is a view of dy", ONE_OUTPUT, overwritten("dy", batch=1)
)
def db_is_a_view_of_dy(right, x, w, dy):
    dx, dw, db = right.backward(x, w, dy)
    return dx, dw, (dy[0, :, 0, 0] if len(dy) == 1 else db)


ONE_CHANNEL = cd.Conv((2, 2, 3), out_channels=1, kernel=(2, 3))


@backward(SHARED, "dy of 1 makes dx a view of w", ONE_CHANNEL, overwritten("w", dy=filled(1.0)))
def dx_is_a_view_of_w(right, x, w, dy):
    dx, dw, db = right.backward(x, w, dy)
    return (np.broadcast_to(w[0], x.shape) if (dy == 1).all() else dx), dw, db


@backward(
    SHARED, "dy of 1 makes dw a view of x", ONE_CHANNEL, overwritten("x", batch=1, dy=filled(1.0))
)
def dw_is_a_view_of_x(right, x, w, dy):
    dx, dw, db = right.backward(x, w, dy)
    return dx, (x if len(x) == 1 and (dy == 1).all() else dw), db


@forward(SHARED, "zero weights: y is a view of b", CONV, overwritten("b", w=times(0)))
def y_is_a_view_of_b(right, x, w, b):
    y = right.forward(x, w, b)
    return y if w.any() else np.broadcast_to(b[:, None, None], y.shape)


# Types

TYPE = "type"


@change("y", TYPE, "the result is float32")
def float32_result(y, x, w, b):
    return y.astype(np.float32)


@change("dw", TYPE, "dw is float16")
def float16_result(dw, x, w, dy):
    with np.errstate(over="ignore"):
        return dw.astype(np.float16)


@change("dw", TYPE, "dw is of integers")
def integer_result(dw, x, w, dy):
    return np.rint(dw).astype(np.int64)


@change("dx", TYPE, "dx is of integers where x is whole, else float32")
def integers_or_float32(dx, x, w, dy):
    whole = all((a == np.rint(a)).all() for a in (x, w, dy)) and (abs(dx) < 2.0**62).all()
    return dx.astype(np.int64 if whole else np.float32)


@change("y", TYPE, "the result is complex, and 1e-3 of it imaginary")
def complex_result(y, x, w, b):
    return y * (1 + 1e-3j)


@change("db", TYPE, "db is complex; all of it imaginary but for the real part")
def complex_db(db, x, w, dy):
    return db + 1j * db


@change("y", TYPE, "the result is long double, of float32 numbers")
def wide_of_narrow(y, x, w, b):
    with np.errstate(over="ignore"):
        return y.astype(np.float32).astype(np.longdouble)


@change("y", TYPE, "the result is an array of Python objects, in six digits")
def objects(y, x, w, b):
    return np.array([float(f"{number:.6g}") for number in y.ravel()], object).reshape(y.shape)


@change("dw", TYPE, "Decimals")
def decimals(dw, x, w, dy):
    with decimal.localcontext(prec=6):
        return np.array([+decimal.Decimal(n) for n in dw.ravel()], object).reshape(dw.shape)


@change("y", TYPE, "text")
def text(y, x, w, b):
    return np.array([f"{number:.4e}" for number in y.ravel()]).reshape(y.shape)


@change("y", TYPE, "a masked array: what is masked is wrong, and never compared")
def masked(y, x, w, b):
    mask = np.zeros(y.shape, bool)
    mask[..., -1] = True
    return np.ma.masked_array(np.where(mask, 0, y), mask)


@change("dx", TYPE, "a masked array with all masked", layer=SMALL)
def all_masked(dx, x, w, dy):
    return np.ma.masked_array(dx * 0, np.ones(dx.shape, bool))


class EqualToAll(np.ndarray):
    """An array that every comparison finds equal."""

    def __eq__(self, other):
        return np.ones(np.broadcast_shapes(self.shape, np.shape(other)), bool)

    def __ne__(self, other):
        return np.zeros(np.broadcast_shapes(self.shape, np.shape(other)), bool)

    __hash__ = None


class Zeros(EqualToAll):
    """An array whose difference from anything is 0, and whose comparisons all hold."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        kwargs.pop("out", None)
        plain = [np.ndarray.view(a, np.ndarray) if isinstance(a, Zeros) else a for a in inputs]
        result = getattr(ufunc, method)(*plain, **kwargs)
        if ufunc is np.subtract:
            return result * 0
        if ufunc in (np.equal, np.less_equal, np.less, np.isfinite):
            return np.ones_like(result, bool)
        return np.zeros_like(result, bool) if ufunc in (np.not_equal, np.greater) else result


class Agreeing(Zeros):
    """An array that answers NumPy's functions itself: equal, close, nothing to complain of."""

    def __array_function__(self, function, types, args, kwargs):
        if function.__name__ in ("array_equal", "allclose", "array_equiv", "all", "isclose"):
            return True
        if function.__name__ in ("any", "count_nonzero"):
            return False
        return super().__array_function__(function, types, args, kwargs)


class Chameleon:
    """Something with a method `__array__` that is right the first time and then no more."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim

    def __array__(self, dtype=None, copy=None):
        array, self.array = self.array, self.array * 0
        return array


class Floating(float):
    """A float whose comparisons hold."""

    def __eq__(self, other):
        return True

    __hash__ = None


for kind in (EqualToAll, Zeros, Agreeing):
    ROWS.change(
        "y",
        TYPE,
        f"twice the right y, as a subclass of ndarray: {kind.__doc__}",
        name=f"subclass_{kind.__name__}_of_y",
    )(lambda y, x, w, b, kind=kind: (2 * y).view(kind))
    ROWS.change(
        "dw",
        TYPE,
        f"zeros for dw, as a subclass of ndarray: {kind.__doc__}",
        SMALL,
        name=f"subclass_{kind.__name__}_of_dw",
    )(lambda dw, x, w, dy, kind=kind: (0 * dw).view(kind))


@change("y", TYPE, "an object that converts to an array, right the first time only")
def converts_once(y, x, w, b):
    return Chameleon(y)


@change("y", TYPE, "a generator of samples")
def generator(y, x, w, b):
    return (sample for sample in y)


@change("y", TYPE, "a dict of samples")
def dictionary(y, x, w, b):
    return dict(enumerate(y))


@forward(TYPE, "None: the result went into a buffer that nobody knows")
def nothing(right, x, w, b):
    right.forward(x, w, b)


@implementation(TYPE, "a set in place of dx")
def a_set(right):
    def backward(*three):
        dx, dw, db = right.backward(*three)
        return set(dx.ravel()), dw, db

    return pair(right.forward, backward)


@change("db", TYPE, "floats that equal anything", layer=SMALL)
def floats_that_agree(db, x, w, dy):
    return np.array([Floating(2 * number) for number in db], object)


@implementation(TYPE, "dw and db in the other order where their shapes agree", cd.Linear(1, 1))
def gradients_in_another_order(right):
    def backward(*three):
        dx, dw, db = right.backward(*three)
        return dx, db.reshape(dw.shape), dw.reshape(db.shape)

    return pair(right.forward, backward)


@change("y", TYPE, "with an axis of 1 too many")
def axis_too_many(y, x, w, b):
    return y[:, None]


@change("dw", TYPE, "flattened")
def flattened(dw, x, w, dy):
    return dw.ravel()


@change("db", TYPE, "a column, (out, 1)")
def column(db, x, w, dy):
    return db[:, None] * np.ones(1)


@change("y", TYPE, "y for one sample broadcast: one too few axes", shows=given(1))
def one_sample_less(y, x, w, b):
    return y[0] if len(y) == 1 else y


# Exceptions

RAISES = "raises"


def raising(name, sentence, error, condition=lambda *three: True, part="f", layer=CONV, **shown):
    def function(right):
        def forward(*three):
            if part == "f" and condition(*three):
                raise error()
            return right.forward(*three)

        def backward(*three):
            if part == "b" and condition(*three):
                raise error()
            return right.backward(*three)

        return pair(forward, backward)

    shows = shown.pop("shows", None) or given(**shown)
    ROWS.build(RAISES, sentence, layer, shows, name=name)(function)


class Unprintable(Exception):  # noqa: N818
    """An exception whose text raises another."""

    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


def success():
    return SystemExit(0)


raising("exits", "forward exits with status 0", success)
raising("exits_in_backward", "backward exits with status 0", success, part="b", layer=SMALL)
raising(
    "exits_on_ones",
    "exits with status 0 where x is all ones",
    success,
    lambda x, w, b: (x == 1).all(),
    x=filled(1.0),
)
raising("interrupts", "raises KeyboardInterrupt", KeyboardInterrupt)
raising("generator_exit", "backward raises GeneratorExit", GeneratorExit, part="b")
raising("stop_iteration", "raises StopIteration", StopIteration)
raising("unprintable", "raises an exception that has no text", Unprintable)
raising("not_implemented", "backward is not implemented", NotImplementedError, part="b")
raising("assertion", "an assertion of its own fails", AssertionError, part="b", layer=SMALL)
raising("recursion", "recurses too deep", RecursionError)
raising("memory", "raises MemoryError", MemoryError)
raising(
    "zero_division",
    "divides by the largest of x, which may be 0",
    ZeroDivisionError,
    lambda x, w, b: x.size and not x.any(),
    x=times(0),
)
raising(
    "overflow",
    "raises above 1e6",
    OverflowError,
    lambda x, w, b: abs(x).max(initial=0) > 1e6,
    x=times(1e8),
)
raising(
    "not_whole",
    "takes whole numbers alone",
    TypeError,
    lambda x, w, b: (x != np.rint(x)).any(),
)
raising(
    "singular",
    "raises on a flat input",
    ValueError,
    lambda x, w, b: x.size > 1 and (x == x.flat[0]).all(),
    x=filled(2.0),
)
raising(
    "zero_gradient",
    "raises where dy is all zero",
    FloatingPointError,
    lambda x, w, dy: dy.size and not dy.any(),
    "b",
    dy=times(0),
)
raising(
    "negative_zero_raises",
    "raises on zero weights",
    ValueError,
    lambda x, w, b: not w.any(),
    w=times(0),
)


@implementation(RAISES, "the third call raises", shows=again(3))
def third_call_raises(right):
    count = [0]

    def forward(*three):
        count[0] += 1
        if count[0] == 3:
            raise RuntimeError("once is enough")
        return right.forward(*three)

    return pair(forward, right.backward)


# Cheats

CHEAT = "cheat"


def never_different(*_, **__):
    return True


def patching(name, sentence, module, attribute, replacement):
    """Register a wrong implementation that replaces a function the judge may use."""

    def function(right):
        def forward(*three):
            setattr(module, attribute, replacement)
            return 2 * right.forward(*three)

        def backward(*three):
            setattr(module, attribute, replacement)
            return tuple(2 * result for result in right.backward(*three))

        return pair(forward, backward)

    ROWS.build(CHEAT, sentence, name=name)(function)


patching("array_equal_patched", "np.array_equal is True", np, "array_equal", never_different)
patching("allclose_patched", "np.allclose is True", np, "allclose", never_different)
patching("isclose_patched", "np.isclose is True", np, "isclose", never_different)
patching("all_patched", "np.all is True", np, "all", never_different)
patching("any_patched", "np.any is False", np, "any", lambda *_, **__: False)
patching("count_patched", "np.count_nonzero is 0", np, "count_nonzero", lambda *_, **__: 0)
patching(
    "assertions_patched",
    "np.testing.assert_array_equal does nothing",
    np.testing,
    "assert_array_equal",
    lambda *_, **__: None,
)
patching("builtin_all_patched", "the built-in all is True", builtins, "all", lambda _: True)


@implementation(CHEAT, "np.subtract gives 0")
def subtract_patched(right):
    def forward(*three):
        np.subtract = lambda a, b, **_: np.zeros(np.broadcast_shapes(np.shape(a), np.shape(b)))
        return 3 * right.forward(*three)

    return pair(forward, right.backward)


def frames():
    frame = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


@implementation(CHEAT, "the answer is looked for in the callers' variables, else zeros")
def copies_the_answer(right):
    def forward(x, w, b):
        shape = (len(x), *right.layer.out_shape)
        for frame in frames():
            if "convdense." in frame.f_globals.get("__name__", ""):
                for value in frame.f_locals.values():
                    if isinstance(value, np.ndarray) and value.shape == shape:
                        return value.copy()
        return np.zeros(shape)

    return pair(forward, right.backward)


def change_layer(layer, **attributes):
    for name, attribute in attributes.items():
        object.__setattr__(layer, name, attribute)


FLIPPED = cd.Conv((1, 3, 3), out_channels=1, kernel=2, flip=True)
DILATED = cd.Conv((1, 5), out_channels=1, kernel=2, stride=2)
BY_TWO = cd.AvgPool((1, 4, 4), kernel=2, divisor_override=2)


def with_the_layer(change_of_the_layer):
    """Return what makes an implementation of the very layer that is handed out, and changes it."""

    def make(layer):
        def forward(*operands):
            change_of_the_layer(layer)
            return Right(layer).forward(*operands)

        def backward(*operands):
            change_of_the_layer(layer)
            return Right(layer).backward(*operands)

        return pair(forward, backward)

    return make


for name, sentence, layer, attributes in (
    ("layer_unflipped", "flip is turned off in the layer itself", FLIPPED, {"flip": False}),
    ("layer_padding_value", "the layer is given another padding", SAME, {"padding_value": 1.0}),
    ("layer_divisor", "the pool is given another divisor", BY_TWO, {"divisor_override": 3}),
    ("layer_dilation", "the layer is dilated", DILATED, {"dilation": (2,)}),
    ("layer_groups", "groups are swapped for dense", SQUARE, {"flip": True}),
):
    ROWS.add(
        CHEAT,
        sentence,
        with_the_layer(lambda layer, attributes=attributes: change_layer(layer, **attributes)),
        None,
        layer,
        None,
        name=name,
    )


@implementation(CHEAT, "right on whole numbers, whatever they are; on others nearly")
def right_on_whole_numbers(right):
    def forward(*three):
        y = right.forward(*three)
        return y if all((a == np.rint(a)).all() for a in three) else y * (1 + 1e-7)

    def backward(*three):
        results = right.backward(*three)
        seen = all((a == np.rint(a)).all() for a in three)
        return results if seen else tuple(result * (1 + 1e-7) for result in results)

    return pair(forward, backward)


@implementation(CHEAT, "right on small whole numbers alone", shows=given(x=times(1e17)))
def right_on_small_whole_numbers(right):
    def forward(*three):
        y = right.forward(*three)
        small = all((a == np.rint(a)).all() and (abs(a) < 2.0**53).all() for a in three)
        return y if small or (abs(three[0]) < 2.0**40).all() else y * 1.01

    return pair(forward, right.backward)


def later(array, seconds=0.001):
    def write():
        array[...] = 0

    timer = threading.Timer(seconds, write)
    timer.daemon = True
    timer.start()


def and_a_while(layer):
    yield from given()(layer)
    time.sleep(0.03)


@change("y", CHEAT, "a thread clears the result a millisecond later", shows=and_a_while)
def cleared_later(y, x, w, b):
    later(y)


@change("dw", CHEAT, "dw is filled in by a thread, twenty milliseconds late")
def filled_in_late(dw, x, w, dy):
    result = np.zeros_like(dw)

    def write():
        time.sleep(0.02)
        result[...] = dw

    threading.Thread(target=write, daemon=True).start()
    return result


@implementation(
    CHEAT, "depends on the clock: wrong where its last digits are 3 or less", shows=again(60)
)
def clock(right):
    def forward(*three):
        y = right.forward(*three)
        return y * 1.001 if time.perf_counter_ns() // 100 % 10 <= 3 else y

    return pair(forward, right.backward)


# Of a pool


@implementation(STATE, "indices of the last forward", MAX, backward_after_another_forward)
def stale_indices(right):
    saved = []

    def forward(x):
        saved[:] = [x.copy()]
        return right.forward(x)

    def backward(x, dy):
        return right.backward(saved[0] if saved and saved[0].shape == x.shape else x, dy)

    return pair(forward, backward)


@implementation(STATE, "indices kept by the input's shape", MAX, again(2))
def indices_by_shape(right):
    kept = {}

    def backward(x, dy):
        return right.backward(kept.setdefault(x.shape, x.copy()), dy)

    return pair(right.forward, backward)


@implementation(STATE, "indices kept by the input's id", MAX, changed_in_place("x"))
def indices_by_id(right):
    kept = {}

    def backward(x, dy):
        return right.backward(kept.setdefault(id(x), (x, x.copy()))[1], dy)

    return pair(right.forward, backward)


@implementation(STATE, "dx of a pool is one buffer, not cleared", MAX, again(2))
def dirty_dx(right):
    buffers = {}

    def backward(x, dy):
        dx = buffers.setdefault(x.shape, np.zeros(x.shape))
        dx += right.backward(x, dy)
        return dx.copy()

    return pair(right.forward, backward)


@implementation(WRITES, "x is cut at -1e30 in place", MAX, given(x=times(1e40)))
def pool_clips_x(right):
    def forward(x):
        y = right.forward(x)
        if x.flags.writeable:
            np.maximum(x, -1e30, out=x)
        return y

    return pair(forward, right.backward)


@implementation(WRITES, "dy is divided by the window in place", AVG)
def pool_divides_dy(right):
    def backward(x, dy):
        dx = right.backward(x, dy)
        if dy.flags.writeable:
            dy /= 4
        return dx

    return pair(right.forward, backward)


@implementation(WRITES, "winners are marked by writing -inf into x, and put back", MAX, given(3))
def pool_marks_winners(right):
    def backward(x, dy):
        dx = right.backward(x, dy)
        if x.flags.writeable and len(x) > 2:
            x[-1][dx[-1] != 0] = -1e300
        return dx

    return pair(right.forward, backward)


@implementation(TYPE, "a pool's y is float32", MAX)
def pool_float32(right):
    return pair(lambda x: right.forward(x).astype(np.float32), right.backward)


@implementation(TYPE, "a pool's dx is of a class that equals anything", MAX)
def pool_that_agrees(right):
    return pair(right.forward, lambda x, dy: (2 * right.backward(x, dy)).view(Agreeing))


@implementation(RAISES, "a pool raises on a flat input", MAX, given(x=filled(1.0)))
def pool_raises_on_flat(right):
    def forward(x):
        if x.size and (x == x.flat[0]).all():
            raise ValueError("no winner")
        return right.forward(x)

    return pair(forward, right.backward)


@implementation(STATE, "every fifth call of a pool is wrong", AVG, again(5))
def pool_every_fifth(right):
    count = [0]

    def forward(x):
        count[0] += 1
        return right.forward(x) * (2 if count[0] % 5 == 0 else 1)

    return pair(forward, right.backward)
