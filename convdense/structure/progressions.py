"""The entries of one axis, held as progressions: a long axis costs no more than a short one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import lcm, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, require_memory
from convdense._util.frozen import Frozen, freeze

ROW, COL, TAP, PLACE = range(4)  # what an entry has, and its place in the list of all entries
SIZES = ("n_rows", "n_cols", "tap_shape", "coefficients")
LISTED = ("rows", "cols", "taps", *SIZES)  # an axis written entry by entry
HELD = ("firsts", "steps", "lengths", *SIZES)  # and as it is held
LISTING = 32  # bytes of each entry that is written out
PART = "ask for a part: ties.row(r), ties.column(c)"
SHORT = 1 << 10  # entries that are written out as quickly as they are looked for
KEPT = 1 << 12  # rows, columns and taps of short axes that were asked for
FAR = 1 << 62  # farther than any two positions


@dataclass(frozen=True, eq=False)
class Axis(Frozen):
    """The entries of one axis: which output position meets which input position through which tap.

    They are held as progressions: entry k of one is ``firsts + k * steps``, k below its length.
    Listed entries, of length 1, may have coefficients, small exact numbers their weights are
    multiplied with.
    """

    firsts: Array  # (4, progressions) int: row, column, tap and place of the first entry of each
    steps: Array  # (4, progressions) int: what each further entry adds
    lengths: Array  # (progressions,) int: entries of each
    n_rows: int  # output positions
    n_cols: int  # input positions
    tap_shape: tuple[int, ...]  # of this axis' part of the weight array
    coefficients: Array | None = None  # (entries,) of listed ones; None stands for 1 everywhere

    @classmethod
    def of(cls, rows: Array, cols: Array, taps: Array, *sizes: Any, **more: Any) -> "Axis":
        """Return the axis of listed entries, (entries,) each, and of the other fields."""
        firsts = np.array([rows, cols, taps, np.arange(len(rows))])
        if len(rows) <= SHORT:  # quicker than what takes no memory
            none, once = np.zeros(firsts.shape, np.intp), np.ones(len(rows), np.intp)
        else:
            none = np.broadcast_to(np.intp(0), firsts.shape)
            once = np.broadcast_to(np.intp(1), len(rows))
        return cls(firsts, none, once, *sizes, **more)

    def __post_init__(self) -> None:
        for array in (self.firsts, self.steps, self.lengths, self.coefficients):
            if array is not None:
                array.setflags(write=False)

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        return int(self.lengths.sum(dtype=np.int64))

    @property
    def n_taps(self) -> int:
        """Number of taps."""
        return prod(self.tap_shape)

    @property
    def is_listed(self) -> bool:
        """Whether entries are held one by one."""
        return len(self.lengths) == len(self)

    @property
    def period(self) -> int:
        """After how many rows the progressions that go on from row to row have the same pattern."""
        steps = set(self.steps[ROW, self.lengths > 1].tolist())
        return lcm(*(steps - {0}))

    @cached_property
    def _entries(self) -> Array:
        """Row, column, tap and place of every entry, (4, entries), in the order of the places."""
        entries = self.firsts
        if not self.is_listed:
            if len(self) > SHORT:
                require_memory("entries of an axis", LISTING * len(self), PART)
            _, number = counted(self.lengths)
            steps = np.repeat(self.steps, self.lengths, axis=1)
            entries = np.repeat(entries, self.lengths, axis=1) + number * steps
        place = entries[PLACE]
        if not (place[1:] > place[:-1]).all():
            entries = entries[:, np.argsort(place)]
        freeze(entries)
        return entries

    @property
    def rows(self) -> Array:
        """Output position of every entry, (entries,) int."""
        return np.asarray(self._entries[ROW])

    @property
    def cols(self) -> Array:
        """Input position of every entry, (entries,) int."""
        return np.asarray(self._entries[COL])

    @property
    def taps(self) -> Array:
        """Flattened tap of every entry, (entries,) int."""
        return np.asarray(self._entries[TAP])

    @cached_property
    def T(self) -> "Axis":  # noqa: N802  (NumPy's name)
        """The same entries with outputs and inputs exchanged."""
        turned = {"n_rows": self.n_cols, "n_cols": self.n_rows}
        return self.mapped(lambda row, col, tap: (col, row, tap), **turned)

    @property
    def is_identity(self) -> bool:
        """Whether an axis is left as it is."""
        each = np.arange(self.n_rows)
        plain = self.coefficients is None and self.n_rows == self.n_cols == len(self)
        return plain and np.array_equal(self.rows, each) and np.array_equal(self.cols, each)

    @property
    def absolute(self) -> "Axis":
        """The same entries with the absolute values of their coefficients."""
        if self.coefficients is None:
            return self
        return replace(self, coefficients=np.abs(self.coefficients))

    def mapped(self, of: Callable[[Array, Array, Array], Sequence[Array]], **sizes: Any) -> "Axis":
        """Return the axis whose rows, columns and taps are these linear functions of its own.

        A fourth function is that of the places.
        """
        firsts, steps = (
            np.array([*of(*part[:PLACE]), part[PLACE]][:4]) for part in (self.firsts, self.steps)
        )
        return replace(self, firsts=firsts, steps=steps, **sizes)

    def by_rows(self) -> "Axis":
        """Return the axis whose entries are listed by row and column: of progressions alone."""
        n = self.n_cols
        return self.mapped(lambda *at: (*at, at[ROW] * n + at[COL]))

    def moved(self, rows: int, cols: int = 0, taps: int = 0, **sizes: Any) -> "Axis":
        """Return the axis with a number added to all rows, to all columns and to all taps."""
        by = np.array([rows, cols, taps, 0])
        return replace(self, firsts=self.firsts + by[:, None], **sizes)

    def with_entries(self, **changed: Any) -> "Axis":
        """Return the axis of listed entries, some of what is `LISTED` replaced by others."""
        return Axis.of(**({name: getattr(self, name) for name in LISTED} | changed))

    def take(self, keep: Array | slice) -> "Axis":
        """Return the entries selected by a mask, an index array or a slice; n_rows, n_cols stay."""
        coefficients = None if self.coefficients is None else self.coefficients[keep]
        rows, cols, taps = self.rows[keep], self.cols[keep], self.taps[keep]
        return self.with_entries(rows=rows, cols=cols, taps=taps, coefficients=coefficients)

    def within(self, i: int, first: npt.ArrayLike, stop: npt.ArrayLike) -> "Axis":
        """Return the entries whose ROW, COL or TAP lies from `first` up to `stop`.

        Both are one number, or one for each progression.
        """
        at, step = self.firsts[i], self.steps[i]
        falls = step < 0  # from entry to entry; with the other sign it rises
        low = np.where(falls, 1 - np.asarray(stop), first)
        high = np.where(falls, 1 - np.asarray(first), stop)
        at = np.where(falls, -at, at)
        # Of a progression that stays where it is all entries lie there, or none.
        together = np.where(step == 0, self.lengths, 1)
        apart = np.where(step == 0, FAR, np.abs(step))
        begin, end = (
            np.clip(ceil_div(bound - at, apart), 0, self.lengths // together) * together
            for bound in (low, high)
        )
        keep = np.flatnonzero(begin < end)
        firsts = self.firsts[:, keep] + begin[keep] * self.steps[:, keep]
        return self._chosen(keep, firsts=firsts, lengths=(end - begin)[keep])

    def at(self, i: int, place: int) -> "Axis":
        """Return the entries whose ROW, COL or TAP is this one."""
        if len(self) > SHORT:
            return self.within(i, place, place + 1)
        return _listed_at(self, i, int(place))

    def _chosen(self, which: Array, **changed: Any) -> "Axis":
        """Return the progressions of these numbers."""
        coefficients = None if self.coefficients is None else self.coefficients[which]
        changed = {"firsts": self.firsts[:, which], "lengths": self.lengths[which]} | changed
        return replace(self, steps=self.steps[:, which], coefficients=coefficients, **changed)

    def between(self, first: int, stop: int) -> "Axis":
        """Return the outputs from `first` up to `stop` as an axis of their own."""
        return self.within(ROW, first, stop).moved(-first, n_rows=stop - first)

    def cell(self, row: int, col: int) -> "Axis":
        """Return the entries of one cell as an axis of one output and one input."""
        part = self.within(ROW, row, row + 1).within(COL, col, col + 1)
        return part.moved(-row, -col, n_rows=1, n_cols=1)

    def cut(self, i: int, size: int) -> "Axis":
        """Return the same entries, each progression within one bin of `size` rows, cols or taps."""
        first = self.firsts[i] // size  # (progressions,) its first bin
        last = (self.firsts[i] + (self.lengths - 1) * self.steps[i]) // size
        which, number = counted(np.abs(last - first) + 1)
        bins = first[which] + np.sign(last - first)[which] * number
        return self._chosen(which).within(i, bins * size, (bins + 1) * size)

    def tally(self, i: int) -> Array:
        """Return how many entries each row, column or tap has, (n,) int."""
        n = (self.n_rows, self.n_cols, self.n_taps)[i]
        if self.is_listed:
            return np.bincount(self.firsts[i], minlength=n)
        require_memory("counts of an axis", 32 * n, PART)
        at, step = self.firsts[i], self.steps[i]
        last = at + (self.lengths - 1) * step
        low, high = np.minimum(at, last), np.maximum(at, last)
        stays, side_by_side = step == 0, np.abs(step) == 1
        total = np.bincount(at[stays], self.lengths[stays], n).astype(np.intp)  # exact below 2^53
        begin = np.bincount(low[side_by_side], minlength=n + 1)
        end = np.bincount(high[side_by_side] + 1, minlength=n + 1)
        total += np.cumsum(begin - end)[:n]
        for each in np.flatnonzero(~(stays | side_by_side)):
            total[low[each] : high[each] + 1 : abs(step[each])] += 1
        return total

    def most(self, i: int) -> int:
        """Return the most entries that a row, column or tap has."""
        return int(self.tally(i).max(initial=0))

    def turned(self) -> "Axis":
        """Return the same entries in progressions across these: channels by input, not by output.

        Neighbours of equal lengths and steps that are equally far apart become one progression for
        each of their entries.
        """
        apart = np.diff(self.firsts)  # (4, links)
        alike = (np.diff(self.steps) == 0).all(axis=0) & (np.diff(self.lengths) == 0)
        alike[1:] &= (np.diff(apart) == 0).all(axis=0)
        heads = np.flatnonzero(np.append(True, ~alike)[: len(self.lengths)])  # of each chain
        sizes = np.diff(np.append(heads, len(self.lengths)))
        steps = np.pad(apart, ((0, 0), (0, 1)))[:, heads] * (sizes > 1)
        which, number = counted(self.lengths[heads])
        firsts = self.firsts[:, heads][:, which] + number * self.steps[:, heads][:, which]
        return replace(self, firsts=firsts, steps=steps[:, which], lengths=sizes[which])


@lru_cache(KEPT)
def _listed_at(axis: Axis, i: int, place: int) -> Axis:
    return axis.take(np.flatnonzero((axis.rows, axis.cols, axis.taps)[i] == place))


def joined(axes: Sequence[Axis]) -> Axis:
    """Return the entries of all these axes as one, with the sizes of the first."""
    firsts, steps = (
        np.concatenate([getattr(a, name) for a in axes], axis=1) for name in ("firsts", "steps")
    )
    lengths = np.concatenate([a.lengths for a in axes])
    each = [a.coefficients for a in axes if a.coefficients is not None]
    numbers = np.concatenate(each) if each else None
    return replace(axes[0], firsts=firsts, steps=steps, lengths=lengths, coefficients=numbers)


def ceil_div(a: Array, b: npt.ArrayLike) -> Array:
    """Return a / b, rounded up."""
    return np.asarray(-(-a // b))


def counted(sizes: Array) -> tuple[Array, Array]:
    """Return 0 ``sizes[0]`` times, 1 ``sizes[1]`` times, ..., and 0, 1, ... among the equal ones.

    Examples
    --------
    >>> counted(np.array([2, 0, 3]))
    (array([0, 0, 2, 2, 2]), array([0, 1, 0, 1, 2]))
    """
    which = np.repeat(np.arange(len(sizes)), sizes)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
