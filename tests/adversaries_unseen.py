"""What no finite test can see, by principle, each with the kind of its reason.

A certificate cannot refuse these. It has a sentence about each kind, which a reader finds by the
words in `KIND`. Where what is rare must happen to be shown, the row's own calls make it happen.
"""

import datetime
import sys
import threading

import numpy as np

import convdense as cd
from tests.adversaries_calls import overwritten
from tests.adversary_rows import (
    CONV,
    CONVOLVE,
    CONVOLVE_BACKWARD,
    MAX,
    SMALL,
    Call,
    Table,
    again,
    drawn,
    entry,
    given,
    pair,
)

UNSEEN = Table()
change, forward, backward, operands = (
    UNSEEN.change,
    UNSEEN.forward,
    UNSEEN.backward,
    UNSEEN.operands,
)

KIND = {  # the kind of a reason -> what a certificate's text says about it
    "counts calls": r"no finite test sees: .*after more calls",
    "chance": r"no finite test sees: .*one random call in a thousand",
    "magic value": r"no finite test sees: .*magic value",
    "relative threshold": r"no finite test sees: .*threshold relative to the data",
    "other shapes than asked": r"not tried: .*other shapes",
    "other batches": r"no finite test sees: .*another batch, layout or dtype than tried",
    "other layouts": r"no finite test sees: .*another batch, layout or dtype than tried",
    "other dtypes": r"no finite test sees: .*another batch, layout or dtype than tried",
    "not finite": r"not tried: .*NaN and infinity",
    "subnormal": r"reported: subnormal x and b: .*flushed",  # common, and so no fault
    "views": r"reported: memory: ",
    "date": r"no finite test sees: .*a date",
    "knows the judge": r"no finite test sees: .*recognises its judge",
    "tampers": r"no finite test sees: .*tampers with Python",
    "other threads": r"not tried: .*threads",
}

# Views: ordinary for functions of x alone, which may only move numbers


@forward(
    "views", "a max pool of kernel 1 returns x", cd.MaxPool((2, 2, 3), kernel=1), overwritten("x")
)
def pool_returns_x(right, x):
    return x


@backward(
    "views", "a pool of kernel 1 returns dy", cd.AvgPool((2, 2, 3), kernel=1), overwritten("dy")
)
def pool_returns_dy(right, x, dy):
    return dy


# Counts calls, chance, dates: rare events, which their own calls make certain

EVENTS = {"calls": 0, "chance": 1e-3, "today": datetime.date.today}


def when(**events):
    """Return what yields calls while a rare event is made to happen."""

    def shows(layer):
        before = dict(EVENTS)
        EVENTS.update(events)
        try:
            yield from again(3)(layer)
        finally:
            EVENTS.update(before)

    return shows


def counting(name, sentence, condition, calls):
    def function(right):
        count = [0]

        def forward(*three):
            count[0] += 1
            y = right.forward(*three)
            return y * 2 if condition(count[0] + EVENTS["calls"]) else y

        return pair(forward, right.backward)

    UNSEEN.build("counts calls", sentence, shows=when(calls=calls), name=name)(function)


counting("millionth_call", "wrong after 10^6 calls", lambda n: n > 10**6, 10**6)
counting("every_99991st", "every 99991st call is wrong", lambda n: n % 99991 == 0, 99990)
counting("counter_of_32_bits", "a counter wraps after 2^31 calls", lambda n: n >= 2**31, 2**31)


@UNSEEN.build("chance", "one forward in a thousand, by chance, is wrong", shows=when(chance=1))
def one_in_a_thousand(right):
    rng = np.random.default_rng()

    def forward(*three):
        y = right.forward(*three)
        return y * 2 if rng.random() < EVENTS["chance"] else y

    return pair(forward, right.backward)


@UNSEEN.build("chance", "one backward in 10^5 has a bit flipped in dw", shows=when(chance=100))
def bit_flipped(right):
    rng = np.random.default_rng()

    def backward(*three):
        dx, dw, db = right.backward(*three)
        if rng.random() < EVENTS["chance"] / 100:
            dw.view(np.int64).flat[0] ^= 1 << 51
        return dx, dw, db

    return pair(right.forward, backward)


@change(
    "y", "date", "wrong on the first of April", shows=when(today=lambda: datetime.date(2031, 4, 1))
)
def first_of_april(y, x, w, b):
    today = EVENTS["today"]()
    return y * 2 if (today.month, today.day) == (4, 1) else y


@change("dw", "date", "wrong from 2038 on", shows=when(today=lambda: datetime.date(2038, 1, 20)))
def year_2038(dw, x, w, dy):
    return dw * 0 if EVENTS["today"]() >= datetime.date(2038, 1, 19) else dw


# Magic values

MAGIC = 0.123456789012345


@change("y", "magic value", f"wrong where x has {MAGIC}", shows=given(x=entry(MAGIC, 1, 0, 1, 1)))
def magic_pixel(y, x, w, b):
    return y * 2 if (x == MAGIC).any() else y


@change(
    "dx",
    "magic value",
    "wrong where a weight is -777.125",
    shows=given(w=entry(-777.125, 0, 0, 0, 0)),
)
def magic_weight(dx, x, w, dy):
    return dx * 0 if (w == -777.125).any() else dx


def fibonacci(layer):
    x, w, b, dy = drawn(layer, 2, np.random.default_rng(3))
    dy.flat[:5] = 1, 2, 3, 5, 8
    yield Call(x, w, b, dy)


@change("db", "magic value", "wrong where dy begins with 1, 2, 3, 5, 8", shows=fibonacci)
def magic_beginning(db, x, w, dy):
    return db * 3 if tuple(dy.flat[:5]) == (1, 2, 3, 5, 8) else db


@change(
    "dx", "magic value", "a pool: wrong where x has -999", MAX, given(x=entry(-999.0, 0, 0, 0, 0))
)
def magic_missing_value(dx, x, dy):
    return dx * 0 if (x == -999).any() else dx


# Relative thresholds: no power of two shows them


def wide_range(layer):
    """Yield an input with a large number, far from a window of small ones."""
    x, w, b, dy = drawn(layer, 2, np.random.default_rng(3))
    x[...] *= 1e-15
    x[..., -1, -1] = 1
    yield Call(x, w, 0 * b, dy)


@operands("f", "relative threshold", "x below 1e-13 of the largest is 0", shows=wide_range)
def relative_flush(x, w, b):
    return np.where(abs(x) < 1e-13 * abs(x).max(initial=0), 0, x), w, b


@operands(
    "f", "relative threshold", "x in fixed point, 45 bits below the largest", shows=wide_range
)
def block_floating_point(x, w, b):
    _, exponent = np.frexp(abs(x).max(initial=0))
    return np.ldexp(np.rint(np.ldexp(x, 45 - exponent)), exponent - 45), w, b


@operands("f", "relative threshold", "an outlier, 10^6 of the median, is cut", shows=wide_range)
def outliers_cut(x, w, b):
    limit = 1e6 * np.median(abs(x)) if x.any() and x.size else np.inf
    return np.clip(x, -limit, limit) if limit > 0 else x, w, b


# Other shapes, batches, dtypes, layouts, threads than were asked

OTHER = "other shapes than asked"
MANY_CHANNELS = cd.Conv((65, 2), out_channels=1, kernel=1)
LONG = cd.Conv((1, 34), out_channels=1, kernel=3)
WIDE_MAX = cd.MaxPool((1, 2, 36), kernel=2)


def elsewhere(name, sentence, layer, other, condition):
    def function(y, x, *more):
        return y * 2 if condition(x) else y

    UNSEEN.change("y", OTHER, sentence, layer, name=name, elsewhere=other)(function)


elsewhere("above_64_channels", "wrong above 64", SMALL, MANY_CHANNELS, lambda x: x.shape[1] > 64)
elsewhere("above_32_pixels", "wrong above 32 pixels", CONV, LONG, lambda x: x.shape[-1] > 32)
elsewhere("one_axis", "wrong on one axis", SMALL, LONG, lambda x: x.ndim == 3)
elsewhere("pool_above_32", "a pool wrong above 32", MAX, WIDE_MAX, lambda x: x.shape[-1] > 32)


@change("y", "other batches", "wrong from 1000 samples on", SMALL, given(1000))
def thousand_samples(y, x, w, b):
    y[999:] = 0


@change("dw", "other batches", "wrong at batch 97", SMALL, given(97))
def ninety_seven_samples(dw, x, w, dy):
    return dw / 97 if len(x) == 97 else dw


@change(
    "y", "other dtypes", "twice as much in float32", shows=given(x=lambda x: x.astype(np.float32))
)
def wrong_in_float32(y, x, w, b):
    return y * 2 if x.dtype == np.float32 else y


@change(
    "dw",
    "other dtypes",
    "an x of integers is read as 0",
    shows=given(x=lambda x: (x * 9).astype(int)),
)
def wrong_on_integers(dw, x, w, dy):
    return dw * 0 if x.dtype.kind == "i" else dw + 0.0


def other_byte_order(array):
    return array.astype(array.dtype.newbyteorder())


@operands("f", "other layouts", "the byte order is not looked at", shows=given(x=other_byte_order))
def byte_order(x, w, b):
    return (x if x.dtype.isnative else np.frombuffer(x.tobytes()).reshape(x.shape)), w, b


def one_buffer(layer):
    x, w, b, dy = drawn(layer, 2, np.random.default_rng(3))
    buffer = np.concatenate([x.ravel(), dy.ravel()])
    parts = buffer[: x.size].reshape(x.shape), buffer[x.size - 6 : -6].reshape(dy.shape)
    yield Call(parts[0], w, b, parts[1])


@operands("b", "other layouts", "x and dy that overlap in memory", shows=one_buffer)
def overlapping_operands(x, w, dy):
    return (x * 2 if np.shares_memory(x, dy) else x), w, dy


def from_another_thread(layer):
    calls = again(2)(layer)
    yield next(calls)
    yield next(calls)._replace(parts="fbt")


@UNSEEN.build(
    "other threads", "the first thread to call is served alone", shows=from_another_thread
)
def one_thread_alone(right):
    first = []

    def forward(*three):
        first.append(threading.get_ident())
        y = right.forward(*three)
        return y if threading.get_ident() == first[0] else y * 0

    return pair(forward, right.backward)


# Not finite


@operands("fb", "not finite", "NaN in x is taken for 0", shows=given(x=entry(np.nan, 0, 0, 1, 1)))
def nan_is_zero(x, w, third):
    return np.nan_to_num(x, nan=0, posinf=np.inf, neginf=-np.inf), w, third


def beyond_float64(layer):
    """Yield operands whose right outputs are larger than any float64."""
    x, w, b, dy = drawn(layer, 2, np.random.default_rng(3))
    yield Call(np.copysign(1.5e308, x), w * 64, b, dy, parts="f")


@change("y", "not finite", "a y beyond float64 becomes its largest number", shows=beyond_float64)
def largest_for_infinity(y, x, w, b):
    return np.nan_to_num(y)


@change(
    "y",
    "not finite",
    "a max pool that lets every number win over NaN",
    MAX,
    given(x=entry(np.nan, 0, 0, 0, 0)),
)
def nan_never_wins(y, x):
    windows = x.reshape(*x.shape[:2], 2, 2, 2, 2)
    return np.fmax.reduce(windows, axis=(3, 5))


# Flushed to zero, as many processors do: reported


SUBNORMAL = given(x=lambda x: x * 2.0**-1040, b=lambda b: 0 * b)


def flush(array):
    return np.where(abs(array) < 2.0**-1022, 0, array)


@operands("f", "subnormal", "subnormal inputs are 0", shows=SUBNORMAL)
def subnormal_inputs(x, w, b):
    return flush(x), w, b


@change("y", "subnormal", "subnormal outputs are 0", shows=SUBNORMAL)
def subnormal_outputs(y, x, w, b):
    return flush(y)


# Knows the judge, or changes it


def stack(frame):
    """Return a frame and its callers."""
    return [frame, *stack(frame.f_back)] if frame else []


def judged():
    """Return whether any frame, of any thread, is the judge's."""
    frames = [frame for last in sys._current_frames().values() for frame in stack(last)]
    return any(f.f_globals.get("__name__", "").startswith("convdense.") for f in frames)


@change("y", "knows the judge", "wrong unless a frame of convdense is on a stack of any thread")
def looks_at_all_stacks(y, x, w, b):
    return y if judged() else y * 2


@UNSEEN.build("knows the judge", "right only when called from convdense itself")
def knows_its_caller(right):
    def forward(*three):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        return right.forward(*three) * (1 if caller.startswith("convdense") else 2)

    return pair(forward, right.backward)


def functions_of_the_reference():
    """Yield the modules that know the direct convolution by its name."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "convdense" and vars(module).get("convolve") is CONVOLVE:
            yield module


@UNSEEN.build("tampers", "the direct convolution is made as wrong as it is itself")
def reference_replaced(right):
    def wrong(layer, x, w, b=None):
        return 2 * CONVOLVE(layer, x, w, b)

    def wrong_backward(layer, x, w, dy):
        gradients = CONVOLVE_BACKWARD(layer, x, w, dy)
        return gradients._replace(dx=2 * gradients.dx)

    def replace():
        for module in functions_of_the_reference():
            module.convolve = wrong
            if hasattr(module, "convolve_backward"):
                module.convolve_backward = wrong_backward

    def forward(*three):
        replace()
        return wrong(right.layer, *three)

    def backward(*three):
        replace()
        return tuple(wrong_backward(right.layer, *three))

    return pair(forward, backward)


@UNSEEN.build("tampers", "certificates of this process are made true")
def certificates_are_true(right):
    def forward(*three):
        type.__setattr__(cd.Certificate, "__bool__", lambda self: True)
        return 2 * right.forward(*three)

    return pair(forward, right.backward)
