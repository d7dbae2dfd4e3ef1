"""The grid of letters: read back as a matrix, compared with direct convolution, or refused."""

import re
from fractions import Fraction

import numpy as np
import pytest

from convdense import (
    Conv,
    ConvTranspose,
    Linear,
    LocallyConnected,
    SumPool,
    TiedDense,
    TieMap,
    convolve,
    tie,
)
from convdense.display.palette import COLOURS, colour, mixed
from convdense.structure.letter_grid import EMPTY, HEIGHT, WIDTH, Grid, small

FIRST = Conv((1, 3, 3), 1, kernel=2)
CONVOLUTIONS = [
    FIRST,
    Conv((2, 2, 3), 2, kernel=(1, 2), stride=(1, 2), padding=((0, 0), (1, 0))),
    Conv((2, 4), 2, kernel=3, groups=2, flip=True),
    Conv((1, 2, 2, 3), 2, kernel=(1, 2, 2)),
    Conv((3, 2, 2), 4, kernel=2, padding=((1, 0), (0, 0))),  # more weights than letters
    ConvTranspose((1, 2, 2), 2, kernel=(1, 2), stride=(2, 1)),
    LocallyConnected((1, 2, 4), 1, kernel=2),
    Conv((1, 4), 1, kernel=3, padding=1, padding_mode="replicate"),
    Conv((1, 2), 1, kernel=3, padding=1, padding_mode="reflect"),
    Conv((1, 2), 1, kernel=5, padding=((4, 4),), padding_mode="replicate"),
    Conv((1, 3, 2), 2, kernel=(3, 1), padding=((1, 1), (0, 0)), padding_mode="circular"),
]
LISTED = TieMap.from_index(
    [[0, 1, 2, -1], [2, 0, -1, -1], [-1] * 4, [27, 0, 1, 1]],
    coefficient=[[1, -1, 0.5, 1], [-1, -0.5, 1, 1], [1] * 4, [3, -0.25, 1, 0]],
)
on_convolutions = pytest.mark.parametrize("layer", CONVOLUTIONS, ids=repr)
on_layers = pytest.mark.parametrize(
    "layer", [*CONVOLUTIONS, LISTED, Linear(3, 2), SumPool((2, 2, 4), 2)], ids=repr
)


def weight(letters):
    """Return the number of a letter: base 24 without a zero, without i and o, which are pixels."""
    alphabet = "abcdefghjklmnpqrstuvwxyz"
    number = 0
    for letter in letters:
        number = number * 24 + alphabet.index(letter) + 1
    return number - 1


def entry(text):
    """Return (weight, coefficient) of ``b``, ``-b``, ``1/2 b``."""
    sign, number, letters = re.fullmatch(r"(-?)(?:(\d+(?:/\d+)?) )?([a-z]+)", text).groups()
    return weight(letters), Fraction(f"{sign}{number or 1}")


def read(text):
    """Return what the cells hold, and the names on both sides.

    The cells are {(row, column): [(weight, coefficient)]}; empty ones are left out.
    """
    head, *lines = (line for line in text.splitlines() if not re.fullmatch(r" +[-=+]+", line))
    starts = [match.start() for match in re.finditer(r"\w+", head)]
    cells = {}
    for r, line in enumerate(lines):
        for c, (start, stop) in enumerate(zip(starts, [*starts[1:], None], strict=True)):
            held = line[start:stop].strip(" |")
            assert held
            if held != EMPTY:
                cells[r, c] = [
                    entry(part)
                    for part in re.split(r"(?<=[a-z])\+", held.replace("-", "+-").lstrip("+"))
                ]
    return cells, re.findall(r"\w+", head), [line.split()[0] for line in lines]


def as_matrix(text, weights):
    """Return the matrix that the letters spell.

    It is a tie map of the first weights of all cells, of the second, ...
    """
    cells, inputs, outputs = read(text)
    total = np.zeros((len(outputs), len(inputs)))
    for nth in range(max(map(len, cells.values()))):
        index, numbers = np.full(total.shape, -1), np.ones(total.shape)
        for cell, held in cells.items():
            if nth < len(held):
                index[cell], numbers[cell] = held[nth]
        ties = TieMap.from_index(index, numbers)
        total += ties.matrix(weights.ravel()[: ties.n_weights]).toarray()
    return total


def blocks(line, bars=("||", "|")):
    """Return the names of a header as nested lists, by the lines between them."""
    if not bars:
        return line.split()
    return [blocks(part, bars[1:]) for part in line.split(bars[0])]


@pytest.mark.claim("forward")
@on_convolutions
def test_the_letters_read_back_are_the_convolution(layer):
    weights = np.random.default_rng(0).integers(1, 1000, layer.weight_shape)
    pixels = np.eye(np.prod(layer.in_shape), dtype=int)
    columns = convolve(layer, pixels.reshape(-1, *layer.in_shape), weights).reshape(len(pixels), -1)
    assert np.array_equal(as_matrix(Grid.of(tie(layer)).text(), weights), columns.T)


def test_coefficients_are_read_back_too():
    weights = np.random.default_rng(0).integers(1, 1000, LISTED.weight_shape)
    assert np.array_equal(
        as_matrix(Grid.of(LISTED).text(), weights), LISTED.matrix(weights).toarray()
    )


def test_a_letter_changed_is_seen():
    """The reader of this file is seen to fail: on a letter, a sign, a cell moved, ...

    On a fraction and on a cell of two weights as well.
    """
    text = Grid.of(LISTED).text()
    weights = np.random.default_rng(0).integers(1, 1000, LISTED.weight_shape)
    right = as_matrix(text, weights)
    for old, new in [
        ("-b", "-c"),
        ("-b", "b "),
        ("1/2 c", "1/4 c"),
        ("1/2 c", "c    "),
        ("-c ", "a-c"),
        ("-c  ", ".   "),
    ]:
        assert old in text
        assert not np.array_equal(as_matrix(text.replace(old, new, 1), weights), right), (old, new)


@on_layers
def test_pixels_are_named_on_both_sides(layer):
    rows, cols = tie(layer).shape
    _, inputs, outputs = read(Grid.of(tie(layer)).text())
    assert inputs == [f"i{k}" for k in range(1, cols + 1)]
    assert outputs == [f"o{k}" for k in range(1, rows + 1)]


def test_lines_stand_where_a_row_of_pixels_or_a_channel_ends():
    text = Grid.of(tie(Conv((2, 3, 2), 2, kernel=(2, 1)))).text()
    head, *lines = text.splitlines()
    assert blocks(head) == [
        [["i1", "i2"], ["i3", "i4"], ["i5", "i6"]],
        [["i7", "i8"], ["i9", "i10"], ["i11", "i12"]],
    ]
    assert [line.split()[0][:2] for line in lines] == [
        "o1",
        "o2",
        "--",
        "o3",
        "o4",
        "==",
        "o5",
        "o6",
        "--",
        "o7",
        "o8",
    ]
    bars = [[at for at, sign in enumerate(line) if sign in "|+"] for line in (head, *lines)]
    assert bars == [bars[0]] * len(bars)  # all below each other


@pytest.mark.parametrize(
    ("layer", "head"),
    [
        (Conv((2, 3), 1, kernel=2), "   i1 i2 i3 || i4 i5 i6"),
        (Conv((3, 1, 1), 1, kernel=1), "   i1 i2 i3"),  # no line round every single pixel
        (Conv((2, 2, 1), 1, kernel=(2, 1)), "   i1 i2 || i3 i4"),
        (Linear(3, 1), "   i1 i2 i3"),
        (Conv((1, 1, 2, 2), 1, kernel=(1, 1, 1)), "   i1 i2 | i3 i4"),
    ],
    ids=repr,
)
def test_a_block_has_more_than_one_pixel(layer, head):
    assert Grid.of(tie(layer)).text().splitlines()[0] == head


def test_the_question_in_letters():
    assert str(tie(FIRST)) == (
        "TieMap(in=(1, 3, 3), out=(1, 2, 2), weights=(1, 1, 2, 2), entries=16)\n"
        "   i1 i2 i3 | i4 i5 i6 | i7 i8 i9\n"
        "o1 a  b  .  | c  d  .  | .  .  .\n"
        "o2 .  a  b  | .  c  d  | .  .  .\n"
        "   ---------+----------+---------\n"
        "o3 .  .  .  | a  b  .  | c  d  .\n"
        "o4 .  .  .  | .  a  b  | .  c  d"
    )


def test_cells_of_several_words_stand_further_apart():
    assert Grid.of(LISTED).text().splitlines()[1:3] == [
        "o1 a     -b      1/2 c  .",
        "o2 -c    -1/2 a  .      .",
    ]


# what is painted


@on_layers
def test_every_cell_is_painted_in_the_colour_of_its_weights(layer):
    painted = []
    grid = Grid.of(tie(layer))
    text = grid.text(lambda part, behind: painted.append((part, behind)) or part)
    assert text == grid.text()
    held = [read(text)[0][cell] for cell in sorted(read(text)[0])]
    assert [part.strip() for part, _ in painted] == [
        cell for cell in re.findall(_CELL, _inside(text)) if cell != EMPTY
    ]
    assert [behind for _, behind in painted] == [
        mixed([COLOURS[k % len(COLOURS)] for k, _ in each]) for each in held
    ]
    assert colour(9) == colour(0)  # so letters tell them apart


_CELL = r"(?:-?\d+(?:/\d+)? )?[-+a-z0-9/]+|\."


def _inside(text):
    """Return the cells of the grid: no names, no lines."""
    lines = [line for line in text.splitlines()[1:] if not re.fullmatch(r" +[-=+]+", line)]
    return "\n".join(line.partition(" ")[2].replace("|", " ") for line in lines)


# what is too large


def shown(layer):
    return str(tie(layer)) != repr(tie(layer))


def test_as_many_inputs_as_a_terminal_is_wide():
    widths = {n: len(Grid.of(tie(Linear(n, 1))).text().splitlines()[0]) for n in range(25, 40)}
    assert min(widths.values()) < WIDTH < max(widths.values())
    assert {n: shown(Linear(n, 1)) for n in widths} == {
        n: width <= WIDTH for n, width in widths.items()
    }


def test_long_cells_count():
    layer = Conv((1, 2), 1, kernel=25, padding=24, padding_mode="replicate")
    longest = max(map(len, Grid.of(tie(layer)).text().splitlines()))
    assert tie(layer).shape[1] == 2 < WIDTH < longest + 70
    assert shown(layer) is (longest <= WIDTH)
    assert not shown(Conv((1, 2), 1, kernel=80, padding=((0, 79),), padding_mode="replicate"))


def test_as_many_outputs_as_a_terminal_has_lines():
    assert shown(Linear(1, HEIGHT - 1))
    assert not shown(Linear(1, HEIGHT))
    blocks = Conv((1, 19, 2), 1, kernel=1)  # 38 outputs, a line after every second
    assert tie(blocks).shape[0] < HEIGHT
    assert not shown(blocks)


def test_a_large_map_is_never_written_out(monkeypatch):
    monkeypatch.setattr(TieMap, "entries", lambda ties: pytest.fail("written out"))
    for layer in (Conv((64, 56, 56), 64, kernel=3, padding=1), Linear(10**6, 1), Linear(1, 10**6)):
        assert small(tie(layer)) is None
        assert str(tie(layer)) == repr(tie(layer))
    n = WIDTH * HEIGHT
    many = Conv((1, 1), 1, kernel=n + 1, padding=((0, n),), padding_mode="replicate")  # one cell
    assert tie(many).shape == (1, 1)
    assert str(tie(many)) == repr(tie(many))


def test_what_holds_nothing_is_a_dot():
    ties = tie(Conv((1, 2), 1, kernel=1)).block((0, 0), (0, 1))
    assert ties.n_entries == 0
    assert str(ties).splitlines()[1:] == ["   i1", "o1 ."]


def test_repr_stays_a_line():
    assert (
        repr(tie(FIRST)) == "TieMap(in=(1, 3, 3), out=(1, 2, 2), weights=(1, 1, 2, 2), entries=16)"
    )
    assert "\n" not in repr(TiedDense(tie(FIRST), np.ones((1, 1, 2, 2))))
