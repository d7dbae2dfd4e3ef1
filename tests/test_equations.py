"""Equations: the printed text is read back, evaluated, and compared with its layer."""

import copy
import json
import pickle
import re
from fractions import Fraction
from math import prod

import numpy as np
import pytest

from convdense import (
    Conv,
    ConvTranspose,
    LocallyConnected,
    TiedDense,
    TieMap,
    convolve,
    convolve_backward,
    equations,
    tie,
)
from convdense.display.labels import distinct, letter, numbered, term, total
from convdense.display.tables import aligned, markdown
from convdense.structure._equations import EQUATIONS_LIMIT, TERMS_A_LINE

FIRST = Conv((1, 3, 3), out_channels=1, kernel=2)
LAYERS = [
    FIRST,
    Conv((2, 7), 3, kernel=3, stride=2, padding=((2, 1),), dilation=2),
    Conv((2, 3, 4), 3, kernel=(2, 3), stride=(1, 2), padding=(1, 0), flip=True),
    Conv((4, 3, 2), 6, kernel=(2, 1), groups=2),
    Conv((1, 2), 1, kernel=3, padding=((3, 2),), padding_mode="replicate"),
    Conv((2, 2, 3), 1, kernel=(3, 2), padding=(2, 1), padding_mode="circular"),
    Conv((1, 5), 1, kernel=1, stride=3, padding=((0, 2),)),
    ConvTranspose((2, 2, 3), 4, kernel=(2, 3), stride=(3, 1), groups=2, output_padding=(1, 0)),
    LocallyConnected((2, 3, 3), 2, kernel=(2, 1), stride=(1, 2)),
    TieMap.from_index([[0, 1, 2], [2, 0, -1]], coefficient=[[1, -1, 0.5], [-1, -0.5, 1]]),
    TieMap.from_index([[3, -1], [-1, -1], [1, 3]], coefficient=[[-1, 1], [1, 1], [0.25, -3]]),
]
HEADINGS = ["forward", "gradient of the weights", "gradient of the inputs", "gradient of the bias"]
SYMBOLS = [("i", "w", "o", "b"), ("x", "K", "y", "bias"), ("input_", "_w", "ä", "b2_")]
on_layers = pytest.mark.parametrize("layer", LAYERS, ids=repr)
on_symbols = pytest.mark.parametrize("symbols", SYMBOLS, ids=" ".join)


def read(text):
    """Return {heading: {left side: right side}}; a name may be defined once."""
    parts = {}
    for line in text.splitlines():
        if not line.startswith("  "):
            parts[line] = {}
        else:
            left, right = line.removeprefix("  ").split(" = ")
            part = parts[list(parts)[-1]]
            assert left not in part
            part[left] = right
    return parts


def evaluate(expression, numbers):
    """Return the value of a sum of products such as ``- 1/2 w1 i1 + w2 dC/do1``.

    Every word must have a value.
    """
    value, words = Fraction(0), f"+ {expression}".replace("+ - ", "- ").split(" ")
    signs = [n for n, word in enumerate(words) if word in ("+", "-")]
    for start, stop in zip(signs, [*signs[1:], len(words)], strict=True):
        factors = words[start + 1 : stop]
        assert factors
        value += prod(
            (numbers[f] if f in numbers else Fraction(f) for f in factors),
            start=Fraction(f"{words[start]}1"),
        )
    return value


def drawn(layer, seed=0):
    """Return x, w, b and dy of one sample: integers of both signs, none of them 0."""
    rng = np.random.default_rng(seed)
    shapes = layer.in_shape, layer.weight_shape, layer.bias_shape, layer.out_shape
    return [rng.integers(1, 50, s) * rng.choice([-1, 1], s) for s in shapes]


def values(symbol, array):
    return dict(
        zip(numbered(symbol, array.size), map(Fraction, array.ravel().tolist()), strict=True)
    )


@pytest.mark.claim("forward", "dx", "dw", "db")
@on_symbols
@on_layers
def test_the_text_evaluates_to_what_the_layer_computes(layer, symbols):
    i, w, o, b = symbols
    x, weights, bias, dy = drawn(layer)
    tied = TiedDense(layer, weights, bias)
    y, (dx, dw, db) = tied.forward(x), tied.backward(x, dy)
    numbers = values(i, x) | values(w, weights) | values(b, bias) | values(f"dC/d{o}", dy)
    parts = read(equations(layer, input=i, weight=w, output=o, bias=b))
    assert list(parts) == HEADINGS
    expected = [
        values(o, y),
        values(f"dC/d{w}", dw),
        values(f"dC/d{i}", dx),
        values(f"dC/d{b}", db),
    ]
    for part, named in zip(parts.values(), expected, strict=True):
        assert {left: evaluate(right, numbers) for left, right in part.items()} == named
        assert list(part) == list(named)


@on_layers
def test_every_entry_is_one_term_of_each_part(layer):
    ties = tie(layer)
    parts = read(equations(layer))
    words = [[w for right in part.values() for w in right.split(" ")] for part in parts.values()]
    assert [sum(w.startswith("i") for w in part) for part in words] == [ties.n_entries] * 2 + [0, 0]
    assert [sum(w.startswith("w") for w in part) for part in words] == [
        ties.n_entries,
        0,
        ties.n_entries,
        0,
    ]
    assert [sum(w.startswith("dC") for w in part) for part in words] == [
        0,
        *[ties.n_entries] * 2,
        prod(ties.out_shape),
    ]


@on_layers
def test_without_a_bias_nothing_is_said_of_it(layer):
    x, weights, _, dy = drawn(layer, seed=1)
    parts = read(equations(layer, bias=None))
    assert list(parts) == HEADINGS[:3]
    numbers = values("i", x) | values("w", weights) | values("dC/do", dy)
    y = TiedDense(layer, weights).forward(x)
    assert {left: evaluate(right, numbers) for left, right in parts["forward"].items()} == values(
        "o", y
    )


def test_a_changed_letter_changes_the_value():
    """The reader is seen to fail: on a term too few, a sign turned, a name confused."""
    numbers = {"w1": Fraction(3), "i1": Fraction(-5), "w2": Fraction(2), "i2": Fraction(7)}
    assert evaluate("w1 i1 + w2 i2", numbers) == -1
    assert evaluate("- 1/2 w1 i1 - w2 i2", numbers) == Fraction(15, 2) - 14
    assert evaluate("0", numbers) == 0
    others = ["w1 i1", "w1 i1 - w2 i2", "w2 i1 + w1 i2", "2 w1 i1 + w2 i2", "- w1 i1 + w2 i2"]
    assert all(evaluate(other, numbers) != -1 for other in others)
    with pytest.raises(ValueError, match="w3"):
        evaluate("w3 i1", numbers)


THE_QUESTION = """\
forward
  o1 = w1 i1 + w2 i2 + w3 i4 + w4 i5
  o2 = w1 i2 + w2 i3 + w3 i5 + w4 i6
  o3 = w1 i4 + w2 i5 + w3 i7 + w4 i8
  o4 = w1 i5 + w2 i6 + w3 i8 + w4 i9
gradient of the weights
  dC/dw1 = i1 dC/do1 + i2 dC/do2 + i4 dC/do3 + i5 dC/do4
  dC/dw2 = i2 dC/do1 + i3 dC/do2 + i5 dC/do3 + i6 dC/do4
  dC/dw3 = i4 dC/do1 + i5 dC/do2 + i7 dC/do3 + i8 dC/do4
  dC/dw4 = i5 dC/do1 + i6 dC/do2 + i8 dC/do3 + i9 dC/do4
gradient of the inputs
  dC/di1 = w1 dC/do1
  dC/di2 = w2 dC/do1 + w1 dC/do2
  dC/di3 = w2 dC/do2
  dC/di4 = w3 dC/do1 + w1 dC/do3
  dC/di5 = w4 dC/do1 + w3 dC/do2 + w2 dC/do3 + w1 dC/do4
  dC/di6 = w4 dC/do2 + w2 dC/do4
  dC/di7 = w3 dC/do3
  dC/di8 = w4 dC/do3 + w3 dC/do4
  dC/di9 = w4 dC/do4"""


@pytest.mark.claim("question")
def test_the_question_is_answered_in_these_words():
    assert equations(FIRST, bias=None) == THE_QUESTION
    with_bias = equations(FIRST).splitlines()
    assert with_bias[:5] == [
        line + " + b1" * line.startswith("  o") for line in THE_QUESTION.splitlines()[:5]
    ]
    assert with_bias[5:-2] == THE_QUESTION.splitlines()[5:]
    assert with_bias[-2:] == [
        "gradient of the bias",
        "  dC/db1 = dC/do1 + dC/do2 + dC/do3 + dC/do4",
    ]


def test_the_second_layer_has_symbols_of_its_own():
    second = Conv((1, 2, 2), out_channels=1, kernel=2)
    lines = equations(second, input="o", weight="v", output="z", bias=None).splitlines()
    assert lines[1] == "  z1 = v1 o1 + v2 o2 + v3 o3 + v4 o4"
    assert lines[3:7] == [f"  dC/dv{k} = o{k} dC/dz1" for k in range(1, 5)]
    assert lines[8:] == [f"  dC/do{k} = v{k} dC/dz1" for k in range(1, 5)]


def test_several_taps_on_one_pixel_are_several_terms():
    parts = read(
        equations(Conv((1, 1), 1, kernel=3, padding=1, padding_mode="replicate"), bias=None)
    )
    assert parts["forward"] == {"o1": "w1 i1 + w2 i1 + w3 i1"}
    assert parts["gradient of the inputs"] == {"dC/di1": "w1 dC/do1 + w2 dC/do1 + w3 dC/do1"}


def test_coefficients_and_what_nothing_reaches_are_written_exactly():
    parts = read(equations(LAYERS[-1], bias=None))
    assert parts["forward"] == {"o1": "- w4 i1", "o2": "0", "o3": "1/4 w2 i1 - 3 w4 i2"}
    assert parts["gradient of the weights"] == {
        "dC/dw1": "0",
        "dC/dw2": "1/4 i1 dC/do3",
        "dC/dw3": "0",
        "dC/dw4": "- i1 dC/do1 - 3 i2 dC/do3",
    }


def test_a_layer_too_large_to_be_read_is_refused():
    layer = Conv((3, 8, 8), 4, kernel=3)
    n = 4 * 36 * 27
    assert tie(layer).n_entries == n > EQUATIONS_LIMIT
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the text is compared as a whole)
        equations(layer)
    assert str(error.value) == (
        f"layer: got {n:,} terms; needs at most 2,000 to be written out; "
        "write out a smaller layer of the same kind, or look at tie(layer).row(r) and .copies(k)"
    )
    at_the_limit = Conv((1, 1001), 1, kernel=2)
    assert tie(at_the_limit).n_entries == EQUATIONS_LIMIT
    assert len(equations(at_the_limit, bias=None).splitlines()) == 3 + 1000 + 2 + 1001


@pytest.mark.parametrize("other", ["weight", "output", "bias"])
def test_one_symbol_for_two_things_is_refused(other):
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the text is compared as a whole)
        equations(FIRST, **{"input": "s", other: "s"})
    assert (
        str(error.value)
        == "input: got 's'; needs a name of its own; give every symbol a different one"
    )


@pytest.mark.parametrize("symbol", ["", "1", "a b", "w-", "dC/d", "+", 3, None], ids=repr)
@pytest.mark.parametrize("name", ["input", "weight", "output"])
def test_a_symbol_that_is_no_name_is_refused(name, symbol):
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the text is compared as a whole)
        equations(FIRST, **{name: symbol})
    assert str(error.value) == f"{name}: got {symbol!r}; needs a name made of letters, such as 'i'"


def test_symbols_whose_numbers_run_into_each_other_are_refused():
    """Pixel 11 and weight 1 would both be called i11."""
    with pytest.raises(ValueError, match="a name of its own"):
        equations(Conv((1, 12), 1, kernel=2), input="i", weight="i1")


def test_distinct_lets_good_symbols_pass_and_ignores_what_is_left_out():
    distinct(input="i", weight="w", output="o", bias=None)
    with pytest.raises(ValueError, match="output: got 'w'; needs a name of its own"):
        distinct(output="w", weight="w", bias=None)


def test_letters_count_like_columns_of_a_spreadsheet_without_those_of_pixels():
    alphabet = [chr(ord("a") + k) for k in range(26) if k not in (8, 14)]  # i and o
    expected = [*alphabet, *(a + b for a in alphabet for b in alphabet), "aaa", "aab"]
    assert [letter(k) for k in range(len(expected))] == expected


def test_numbers_count_from_1():
    assert numbered("px", 12)[::11] == ["px1", "px12"]
    assert numbered("i", 0) == []


TERMS = [
    ((1, "w1", "i2"), "+ w1 i2"),
    ((-1, "w1"), "- w1"),
    ((0.5, "a", "b", "c"), "+ 1/2 a b c"),
    ((-0.75, "a"), "- 3/4 a"),
    ((3, "a"), "+ 3 a"),
    ((np.float32(-0.25), "a"), "- 1/4 a"),
    ((np.int8(-128), "a"), "- 128 a"),
    ((Fraction(-2, 3), "a"), "- 2/3 a"),
]


@pytest.mark.parametrize(("arguments", "text"), TERMS, ids=[text for _, text in TERMS])
def test_a_term_shows_its_sign_and_its_exact_coefficient(arguments, text):
    assert term(*arguments) == text


def test_a_sum_begins_with_a_sign_only_where_it_is_negative():
    assert total(["+ a", "- b", "+ 2 c"]) == "a - b + 2 c"
    assert total(["- a", "+ b"]) == "- a + b"
    assert total(["+ a"]) == "a"
    assert total([]) == "0"


def test_a_table_is_as_wide_as_its_widest_cells():
    assert aligned(
        ["a", "long", "c"], [["wide cell", "1", ""], ["x", "22", "ccc"]]
    ).splitlines() == [
        "a          long  c",
        "---------  ----  ---",
        "wide cell  1",
        "x          22    ccc",
    ]
    assert aligned(["head", "h"], []).splitlines() == ["head  h", "----  -"]


def test_a_row_of_the_wrong_length_is_refused():
    for rows in ([["1"]], [["1", "2", "3"]]):
        with pytest.raises((ValueError, IndexError)):
            aligned(["a", "b"], rows)


def test_a_markdown_table_has_one_bar_between_cells():
    assert markdown(["a", "b"], [["1", "two words"], ["", "x"]]).splitlines() == [
        "| a | b |",
        "|---|---|",
        "| 1 | two words |",
        "|  | x |",
    ]


def test_a_bar_in_a_cell_does_not_break_a_markdown_table():
    head, _, row = markdown(["|W| |x|", "b"], [["a | b", "c"]]).splitlines()
    for line in (head, row):
        assert line.replace(r"\|", "").count("|") == 3


def test_many_weights_are_refused_as_many_entries_are():
    with pytest.raises(ValueError, match=r"layer: got 2,001 terms; needs at most 2,000"):
        equations(TieMap.from_index([[2000]]))
    assert equations(TieMap.from_index([[1999]])).count("\n") > 1999


# LaTeX

BLOCK = re.compile(r"^(.+)\n\\begin\{align\*\}\n((?:.+\n)+?)\\end\{align\*\}$", re.MULTILINE)


def lines_of(latex):
    """Return {heading: lines} of LaTeX.

    It may hold nothing but headings and align* blocks, lines between breaks.
    """
    blocks = BLOCK.findall(latex)
    whole = "\n".join(
        f"{heading}\n\\begin{{align*}}\n{inside}\\end{{align*}}" for heading, inside in blocks
    )
    assert whole == latex
    parts = {}
    for heading, inside in blocks:
        *lines, last = inside.splitlines()
        assert all(line.endswith(r" \\") for line in lines)
        parts[heading] = [*(line.removesuffix(r" \\") for line in lines), last]
    return parts


def as_read(line):
    """Return a line of LaTeX in the words of the text, by what each command means."""
    line = re.sub(r"\\mathrm\{([^{}]+)\}", lambda m: m[1], line).replace(r"\_", "_")
    line = re.sub(r"_\{(\d+)\}", r"\1", line)
    line = re.sub(r"\\frac\{\\partial C\}\{\\partial (\w+)\}", r"dC/d\1", line)
    line = re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"\1/\2", line)
    assert not set(line) & set("\\{}")
    return line


def read_latex(latex):
    """Return what `read` does; a line without a left side goes on with the sum before it."""
    parts = {}
    for heading, lines in lines_of(latex).items():
        part = parts[heading] = {}
        for line in lines:
            if line.startswith(r"&\quad "):
                part[list(part)[-1]] += " " + as_read(line.removeprefix(r"&\quad "))
            else:
                left, right = map(as_read, line.split(" &= "))
                assert left not in part
                part[left] = right
    return parts


@pytest.mark.claim("forward", "dx", "dw", "db")
@on_symbols
@on_layers
def test_latex_evaluates_to_what_direct_convolution_computes(layer, symbols):
    i, w, o, b = symbols
    x, weights, bias, dy = drawn(layer)
    if isinstance(layer, TieMap):
        tied = TiedDense(layer, weights, bias)
        y, (dx, dw, db) = tied.forward(x), tied.backward(x, dy)
    else:
        y, (dx, dw, db) = (
            convolve(layer, x, weights, bias),
            convolve_backward(layer, x, weights, dy),
        )
    numbers = values(i, x) | values(w, weights) | values(b, bias) | values(f"dC/d{o}", dy)
    parts = read_latex(equations(layer, input=i, weight=w, output=o, bias=b, format="latex"))
    assert list(parts) == HEADINGS
    expected = [
        values(o, y),
        values(f"dC/d{w}", dw),
        values(f"dC/d{i}", dx),
        values(f"dC/d{b}", db),
    ]
    for part, named in zip(parts.values(), expected, strict=True):
        assert {left: evaluate(right, numbers) for left, right in part.items()} == named


@on_symbols
@on_layers
def test_latex_says_what_the_text_says(layer, symbols):
    i, w, o, b = symbols
    options = {"input": i, "weight": w, "output": o, "bias": b}
    assert read_latex(equations(layer, **options, format="latex")) == read(
        equations(layer, **options)
    )
    assert equations(layer, **options, format="text") == equations(layer, **options)


def test_latex_word_for_word():
    ties = TieMap.from_index([[0, 1] + [-1] * 9 + [2]], coefficient=[[1, -0.5] + [1] * 9 + [3]])
    assert equations(
        ties, input="my_x", weight="w", output="o", bias=None, format="latex"
    ).splitlines()[:8] == [
        "forward",
        r"\begin{align*}",
        r"o_{1} &= w_{1} \mathrm{my\_x}_{1} - \frac{1}{2} w_{2} \mathrm{my\_x}_{2} "
        r"+ 3 w_{3} \mathrm{my\_x}_{12}",
        r"\end{align*}",
        "gradient of the weights",
        r"\begin{align*}",
        r"\frac{\partial C}{\partial w_{1}} &= "
        r"\mathrm{my\_x}_{1} \frac{\partial C}{\partial o_{1}} \\",
        r"\frac{\partial C}{\partial w_{2}} &= "
        r"- \frac{1}{2} \mathrm{my\_x}_{2} \frac{\partial C}{\partial o_{1}} \\",
    ]


def test_long_sums_go_on_in_the_next_line():
    assert TERMS_A_LINE == 6  # of a page
    n = 2 * TERMS_A_LINE
    for taps, whole in ((n - 1, 2), (n, 2), (n + 1, 3)):
        lines = lines_of(equations(Conv((1, taps), 1, kernel=taps), bias=None, format="latex"))[
            "forward"
        ]
        rest = taps - (whole - 1) * TERMS_A_LINE
        assert [line.count("w_") for line in lines] == [TERMS_A_LINE] * (whole - 1) + [rest]
        assert [line[:8] for line in lines] == ["o_{1} &="] + [r"&\quad +"] * (whole - 1)


@pytest.mark.parametrize("symbols", SYMBOLS, ids=" ".join)
def test_every_line_of_latex_can_be_set(symbols):
    from matplotlib.mathtext import MathTextParser

    parser = MathTextParser("agg")
    named = dict(zip(("input", "weight", "output", "bias"), symbols, strict=True))
    lines = lines_of(equations(LAYERS[-1], **named, format="latex"))
    for part in "&".join("&".join(part) for part in lines.values()).split("&"):
        parser.parse(f"${part}$" if part else "")
    for wrong in (r"$w_{1}_{2}$", r"$\frac{1}$", r"$\unknown$"):
        with pytest.raises(ValueError):  # noqa: PT011  (whatever it says)
            parser.parse(wrong)


def is_seen(latex):
    """Tell whether the reader of this file finds LaTeX to be other than the equations."""
    try:
        return read_latex(latex) != read(equations(FIRST))
    except (AssertionError, ValueError):
        return True


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r" \\", ""),
        (r"\end{align*}", ""),
        ("w_{1}", "w_1"),
        ("w_{1}", "w_{2}"),
        ("w_{1}", r"\mathbf{w}_{1}"),
        (r"\partial C", "C"),
        ("&=", "="),
        (" + ", " - "),
    ],
)
def test_the_reader_of_latex_sees_what_is_wrong(old, new):
    right = equations(FIRST, format="latex")
    assert old in right
    assert is_seen(right.replace(old, new, 1))
    assert not is_seen(right)


# What a notebook shows

FORMULA = re.compile(r"\A\$\$\\begin\{array\}\{l\}\n(.+)\n\\end\{array\}\$\$\Z", re.DOTALL)
PART = re.compile(
    r"^\\text\{(.+)\} \\\\\n\\begin\{aligned\}\n((?:.+\n)+?)\\end\{aligned\}(?: \\\\\[1ex\])?$",
    re.MULTILINE,
)
# Primitives of MathJax 2 too: an expanded macro may have 5 KB after it there, and no more.
PRIMITIVES = {"begin", "end", "text", "frac", "partial", "mathrm", "quad"}


@pytest.mark.parametrize("bias", ["b", None])
@pytest.mark.parametrize("format", ["text", "latex"])
@on_layers
def test_a_notebook_typesets_the_same_equations(layer, format, bias):
    shown = equations(layer, bias=bias, format=format)._repr_latex_()
    (inside,) = FORMULA.findall(shown)
    blocks = PART.findall(inside)
    as_blocks = "\n".join(
        f"{heading}\n\\begin{{align*}}\n{lines}\\end{{align*}}" for heading, lines in blocks
    )
    assert as_blocks == equations(layer, bias=bias, format="latex")
    assert PART.sub("", inside).strip() == ""
    assert inside.count("[1ex]") == len(blocks) - 1
    assert shown.count("$") == 4
    assert set(re.findall(r"\\([a-zA-Z]+)", shown)) <= PRIMITIVES


@pytest.mark.parametrize("format", ["text", "latex"])
def test_equations_are_a_text_like_any_other(format):
    written = equations(FIRST, format=format)
    plain = "".join(written)
    assert type(plain) is str
    assert isinstance(written, str)
    assert (written, str(written), f"{written}", repr(written), hash(written)) == (
        *[plain] * 3,
        repr(plain),
        hash(plain),
    )
    assert json.loads(json.dumps(written)) == plain
    for again in (pickle.loads(pickle.dumps(written)), copy.deepcopy(written)):
        assert again == plain
        assert again._repr_latex_() == written._repr_latex_()
