"""Words that a right name of a mistake has, whoever says it: the field's, with their synonyms."""

from itertools import product

REVERSED = ("revers", "flip", "mirror", "rotat", "backwards", "180")
SHIFTED = ("shift", "offset", "off by", "displac", "moved", "one too early", "one too late")
LEFT_OUT = (
    "left out",
    "leaves out",
    "missing",
    "omit",
    "skip",
    "ignor",
    "dropped",
    "drops",
    "lost",
    "discard",
    "never",
    "not counted",
    "not read",
    "not used",
    "not reached",
    "not added",
    "not summed",
    "not computed",
    "are absent",
)
PERMUTED = (
    "reshape",
    "transpos",
    "permut",
    "reorder",
    "wrong order",
    "order of",
    "in the order",
    "layout",
    "laid out",
    "scrambl",
    "mixed",
    "mixes",
    "interleav",
    "swap",
    "exchang",
)
SCALED = ("factor", "scale", "divid", "divis", "multipl", "times")
AVERAGED = (*SCALED, "mean", "average")
OVERWRITTEN = (
    "overwrit",
    "overwrote",
    "+=",
    "add.at",
    "accumul",
    "repeated ind",
    "duplicate",
    "last write",
    "last window",
    "assign",
)
FORGOTTEN = (
    "ignor",
    "missing",
    "forgot",
    "without",
    "left out",
    "not applied",
    "not used",
    "not multiplied",
    "is 1",
    "of 1",
    "as 1",
    "1 for",
    "1 instead",
    "1 in place",
    "1 is taken",
    "(1, 1)",
)


def phrases(*groups):
    """Return every alternative that takes one word of each group."""
    return tuple(product(*groups))


def words(*said):
    """Return alternatives of one word each."""
    return phrases(said)
