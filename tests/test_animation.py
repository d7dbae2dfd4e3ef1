"""The moving picture by its data: letters, lines, and the numbers against direct loops."""

import re
import sys
from functools import cache
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

import convdense as cd
from convdense import Conv, ConvTranspose, LocallyConnected, TiedDense, TieMap, tie
from convdense.display.example_sample import one_sample, sample_of
from convdense.display.labels import letter
from convdense.display.palette import COLOURS, MASKED, colour, mixed
from convdense.display.plane_layout import sheet
from convdense.explorer import explore
from convdense.plots import animate, frame
from convdense.plots.animation import LAST, SHOWN, Animation, _few_colours, _pixels
from tests.test_defects import rewritten

module = sys.modules[frame.__module__]  # its name in the package is the function
FIVE = Conv((1, 5, 5), 1, kernel=3)
LAYERS = [
    Conv((2, 3, 3), 2, kernel=2, stride=(1, 2), padding=((0, 0), (1, 0)), groups=2),
    Conv((1, 4), 2, kernel=3, padding=1, padding_mode="reflect"),
    Conv((1, 2, 2, 3), 1, kernel=2, flip=True),
    ConvTranspose((1, 2, 2), 1, kernel=(1, 2), stride=(1, 2)),
    LocallyConnected((1, 2, 3), 1, kernel=2),
]
TABLE = TieMap.from_index(
    [[2, -1, 0], [-1, -1, -1], [0, 2, 2]], [[1, 1, -1], [1, 1, 1], [0.5, 2, 1]]
)
on_layers = pytest.mark.parametrize("layer", [*LAYERS, TABLE], ids=repr)


def numbers(layer, seed=1):
    rng = np.random.default_rng(seed)
    return rng.integers(-9, 10, layer.in_shape), rng.integers(-9, 10, layer.out_shape)


@cache
def seen(layer, r):
    """Return the Axes of one frame: input, weights, dC/do, dC/dw, matrix."""
    return frame(layer, r, *numbers(layer)).axes[:5]


def by_loops(layer, x, dy, r):
    """Return the weights' gradient by direct convolution, all outputs after r set to zero."""
    until = np.where(np.arange(dy.size) <= r, dy.ravel(), 0).reshape(dy.shape)
    if isinstance(layer, TieMap):  # no convolution: the matrix of one weight after the other
        return np.array([until @ one.toarray() @ x for one in matrices(layer)])
    return cd.convolve_backward(layer, x, np.ones(layer.weight_shape, int), until).dw.ravel()


def matrices(layer):
    ties = tie(layer)
    ones = np.eye(ties.n_weights, dtype=int).reshape(-1, *ties.weight_shape)
    return [ties.matrix(one) for one in ones]


def texts(ax, shape):
    """Return the text of every square of a sheet, in the order of the array."""
    written = {(t.get_position()[0], t.get_position()[1]): t.get_text() for t in ax.texts}
    laid = sheet(shape)
    assert written.keys() <= set(zip(laid.x.tolist(), laid.y.tolist(), strict=True))
    return [written.get(at, "") for at in zip(laid.x.tolist(), laid.y.tolist(), strict=True)]


def looks(ax, shape):
    """Return the colour of every square of a sheet."""
    laid, colours = sheet(shape), np.asarray(ax.images[0].get_array())
    return [
        to_hex(colours[y, x]).upper() for x, y in zip(laid.x.tolist(), laid.y.tolist(), strict=True)
    ]


def said(text):
    """Return letter, sum and addend of a weight's square.

    The addend is None where the output does not meet the weight.
    """
    found = re.fullmatch(r"([a-z]+)\n(-?[\d.]+)\n(?:\(([+-][\d.]+)\))?", text)
    return found[1], float(found[2]), None if found[3] is None else float(found[3])


def gradients_are_right(layer, r):
    """Tell whether a frame's sums are those of direct convolution up to r.

    Its addends must be what r adds to them.
    """
    x, dy = numbers(layer)
    shown = [said(text) for text in texts(seen(layer, r)[3], tie(layer).weight_shape)]
    now, before = by_loops(layer, x, dy, r), by_loops(layer, x, dy, r - 1)
    met = set(tie(layer).row(r).index.tolist())
    expected = [
        (letter(k), now[k], now[k] - before[k] if k in met else None) for k in range(len(now))
    ]
    return shown == expected and all(now[k] == before[k] for k in range(len(now)) if k not in met)


@on_layers
def test_every_frame_shows_the_gradients_so_far_and_what_its_output_adds(layer):
    assert all(gradients_are_right(layer, r) for r in range(tie(layer).shape[0]))


@on_layers
def test_the_last_frame_is_the_gradient_of_plain_backpropagation(layer):
    x, dy = numbers(layer)
    ax = seen(layer, dy.size - 1)[3]
    dw = TiedDense(layer, np.ones(layer.weight_shape)).backward(x, dy).dw
    assert [said(text)[1] for text in texts(ax, layer.weight_shape)] == dw.ravel().tolist()
    assert ax.get_title() == "dC/dw, the whole"
    assert seen(layer, 0)[3].get_title() == "dC/dw so far"


def test_numbers_with_digits_after_the_point_end_in_the_same_bits():
    x, dy = np.random.default_rng(2).normal(size=(2, 5, 5))
    sample = module.sampled(FIVE, x[None], dy[None, :3, :3])
    dw = TiedDense(FIVE, np.ones((1, 1, 3, 3))).backward(x[None], dy[None, :3, :3]).dw
    assert np.array_equal(module.sums(sample, 8)[0], dw.ravel())


DEFECTS = [
    (module.sums, "outputs <= r)", "outputs < r)", "r >= outputs)"),
    (module.sums, "outputs <= r)", "outputs >= r)", "outputs < r + 1)"),
    (module.sums, "outputs == r)", "outputs <= r)", "outputs - r == 0)"),
    (module._gradient_over, "(met, sample.dy, 0)", "(met, 1, 0)", "(~met, 0, sample.dy)"),
    (module._gradient_over, "sample.x[None]", "abs(sample.x)[None]", "+sample.x[None]"),
]


@pytest.mark.parametrize(("function", "source", "wrong", "right"), DEFECTS)
def test_a_planted_defect_of_the_sums_is_seen_and_its_right_neighbour_accepted(
    function, source, wrong, right, monkeypatch
):
    monkeypatch.setattr(function, "__code__", rewritten(function, source, wrong))
    seen.cache_clear()
    assert not gradients_are_right(LAYERS[1], 5)
    monkeypatch.undo()
    monkeypatch.setattr(function, "__code__", rewritten(function, source, right))
    seen.cache_clear()
    assert gradients_are_right(LAYERS[1], 5)


def reads(layer, r):
    """Return {input: weights} of one output, from the matrix of one weight after the other."""
    found = {}
    for k, one in enumerate(matrices(layer)):
        for col, count in enumerate(one.toarray()[r].tolist()):
            found.setdefault(col, []).extend([k] * count)
    return {col: weights for col, weights in found.items() if weights}


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_the_kernel_lies_on_the_pixels_that_the_output_reads(layer):
    x, dy = numbers(layer)
    for r in (0, dy.size // 2, dy.size - 1):
        ax, read = seen(layer, r)[0], reads(layer, r)
        letters = {col: "+".join(map(letter, weights)) for col, weights in read.items()}
        values = [str(v) for v in x.ravel().tolist()]
        assert texts(ax, layer.in_shape) == [
            f"{letters[k]}\n{v}" if k in read else v for k, v in enumerate(values)
        ]
        for k, look in enumerate(looks(ax, layer.in_shape)):
            assert look == (mixed([colour(w) for w in read[k]]) if k in read else "#F7F7F7")
        assert framed(ax, layer.in_shape) == set(read)


def frames(ax):
    """Return the lines of the black frame, each as its two ends; the last that is drawn."""
    last = [c for c in ax.collections if c.get_zorder() == 5]
    assert {to_hex(look) for c in last for look in c.get_colors()} <= {"#000000"}
    return [line for c in last for line in c.get_segments()]


def framed(ax, shape):
    """Return the squares with a line on some side and no other square of theirs beyond it.

    They are found by walking inside.
    """
    laid = sheet(shape)
    at = {(int(x), int(y)): k for k, (x, y) in enumerate(zip(laid.x, laid.y, strict=True))}
    walls = {frozenset(map(tuple, np.round(line, 1).tolist())) for line in frames(ax)}

    def wall(x, y, dx, dy):
        ends = {(x + (dx + dy) / 2, y + (dx + dy) / 2), (x + (dx - dy) / 2, y + (dy - dx) / 2)}
        return frozenset((round(a, 1), round(b, 1)) for a, b in ends) in walls

    outside, todo = set(), [(-1, -1)]
    while todo:  # from outside, through everything but walls
        x, y = todo.pop()
        if (x, y) in outside or not (-1 <= x <= laid.width and -1 <= y <= laid.height):
            continue
        outside.add((x, y))
        todo += [
            (x + dx, y + dy)
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))
            if not wall(x, y, dx, dy)
        ]
    return {k for place, k in at.items() if place not in outside}


@on_layers
def test_the_output_is_framed_among_those_that_have_been_met(layer):
    _, dy = numbers(layer)
    r = dy.size // 2
    ax = seen(layer, r)[2]
    assert texts(ax, layer.out_shape) == [str(v) for v in dy.ravel().tolist()]
    assert looks(ax, layer.out_shape) == [MASKED] * (r + 1) + ["#F7F7F7"] * (dy.size - r - 1)
    assert framed(ax, layer.out_shape) == {r}


@on_layers
def test_the_weights_have_their_letters_and_colours(layer):
    _, weights, _, sums, _ = seen(layer, 0)
    n = tie(layer).n_weights
    assert texts(weights, layer.weight_shape) == [letter(k) for k in range(n)]
    assert (
        looks(weights, layer.weight_shape)
        == looks(sums, layer.weight_shape)
        == [colour(k) for k in range(n)]
    )
    assert [weights.get_title(), framed(weights, layer.weight_shape)] == ["weights", set()]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_rows_of_the_matrix_appear_one_after_the_other_and_the_newest_is_framed(layer):
    rows, cols = tie(layer).shape
    for r in (0, rows // 2, rows - 1):
        ax = seen(layer, r)[4]
        written = {
            (int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in ax.texts
        }
        held = {
            (row, col): weights
            for row in range(r + 1)
            for col, weights in reads(layer, row).items()
        }
        assert written == {cell: "+".join(map(letter, weights)) for cell, weights in held.items()}
        colours = np.asarray(ax.images[0].get_array())
        for cell in np.ndindex(rows, cols):
            empty = MASKED if cell[0] <= r else "#F7F7F7"
            expected = mixed([colour(k) for k in held[cell]]) if cell in held else empty
            assert to_hex(colours[cell]).upper() == expected
        x, y = np.concatenate(frames(ax)).T
        assert (x.min(), x.max(), y.min(), y.max()) == (-0.5, cols - 0.5, r - 0.5, r + 0.5)


UP = ConvTranspose((1, 2, 2), 1, kernel=(1, 2), stride=(1, 2))
KERNEL = test_the_kernel_lies_on_the_pixels_that_the_output_reads
MET = test_the_output_is_framed_among_those_that_have_been_met
ROWS = test_rows_of_the_matrix_appear_one_after_the_other_and_the_newest_is_framed
PLANTED = [
    (
        module._draw_input,
        "sample.ties.row(r)",
        "sample.ties.row(0)",
        "sample.ties.row(r + 0)",
        KERNEL,
    ),
    (module._draw_input, "else text for", "else '0' for", "else str(text) for", KERNEL),
    (
        module._frame_squares,
        "(int(laid.y[k]), int(laid.x[k]))",
        "(int(laid.x[k]), int(laid.y[k]))",
        "(laid.y[k], laid.x[k])",
        KERNEL,
    ),
    (module._frame_squares, "in inside", "in inside[1:]", "in reversed(inside)", KERNEL),
    (module._draw_upstream, "k <= r", "k < r", "r >= k", MET),
    (module._draw_upstream, "[r])", "[0])", "[r + 0])", MET),
    (module._draw_matrix, "cell[0] <= r", "cell[0] < r", "r >= cell[0]", ROWS),
    (module._draw_matrix, "colours[r + 1 :]", "colours[r + 2 :]", "colours[1 + r :]", ROWS),
    (module._draw_matrix, "[(r, col)", "[(r - 1, col)", "[(np.intp(r), col)", ROWS),
]


@pytest.mark.parametrize(("function", "source", "wrong", "right", "test"), PLANTED)
@pytest.mark.thinned(3)
def test_a_planted_defect_of_a_frame_is_seen_and_its_right_neighbour_accepted(
    function, source, wrong, right, test, monkeypatch
):
    monkeypatch.setattr(function, "__code__", rewritten(function, source, wrong))
    seen.cache_clear()
    with pytest.raises(AssertionError):
        test(UP)
    monkeypatch.undo()
    monkeypatch.setattr(function, "__code__", rewritten(function, source, right))
    seen.cache_clear()
    test(UP)


def test_a_frame_says_what_it_shows():
    (text,) = frame(FIVE, 4, dy=np.arange(9).reshape(1, 3, 3) - 6).texts
    assert text.get_text() == (
        "Output o5 of 9: the window under the kernel is row o5 of the matrix.\n"
        "Backward, each weight of the row gains dC/do5 = -2 times its pixel."
    )


def test_an_output_may_be_named_by_its_position():
    flat, position = (frame(LAYERS[0], r).texts[0].get_text() for r in (7, (1, 1, 1)))
    assert flat == position
    with pytest.raises(
        ValueError, match=re.escape("r: got 9; needs 0 to 8, a flattened position in (1, 3, 3)")
    ):
        frame(FIVE, 9)


def test_a_tied_layer_is_drawn_as_its_layer():
    tied = TiedDense(LAYERS[0], np.ones(LAYERS[0].weight_shape))
    one, other = (texts(frame(layer, 3).axes[3], tied.weight_shape) for layer in (tied, LAYERS[0]))
    assert one == other


@pytest.mark.parametrize("layer", [FIVE, *LAYERS, TABLE, Conv((1, 26), 1, kernel=3)], ids=repr)
@pytest.mark.thinned(3)
def test_everything_has_room(layer):
    figure = frame(layer, 0)
    canvas = _pixels(figure)
    assert canvas.shape[1] == 840
    boxes = [ax.get_tightbbox() for ax in figure.axes[:5]]
    assert all(
        b.x0 >= 0 and b.y0 >= 0 and b.x1 <= figure.bbox.width and b.y1 <= figure.bbox.height
        for b in boxes
    )
    over = [(i, j) for i in range(5) for j in range(i) if boxes[i].overlaps(boxes[j])]
    assert over == []
    sizes = {t.get_fontsize() for ax in figure.axes for t in ax.texts}
    assert min(sizes) >= 5


REFUSED = [
    (Conv((1, 60), 1, kernel=3), "3 weights in a matrix of 58 x 60"),
    (Conv((2, 12, 12), 1, kernel=3), "18 weights in a matrix of 100 x 288"),
    (Conv((4, 4, 4), 4, kernel=3, padding=1), "144 weights in a matrix of 64 x 64"),
    (TieMap.from_index([[0, 840]]), "841 weights in a matrix of 1 x 2"),
    (Conv((512, 224, 224), 1, kernel=1), "512 weights in a matrix of 50,176 x 25,690,112"),
    (Conv((64, 56, 56), 64, kernel=3), "36,864 weights in a matrix of 186,624 x 200,704"),
]


@pytest.mark.parametrize(("layer", "got"), REFUSED, ids=repr)
def test_a_layer_too_large_to_be_read_is_refused(layer, got):
    for draw in (animate, lambda layer: frame(layer, 0)):
        with pytest.raises(ValueError) as error:  # noqa: PT011  (the text is compared as a whole)
            draw(layer)
        assert str(error.value) == (
            f"layer: got {got}; needs fewer, to be told apart in a picture 840 dots wide; "
            "draw a smaller layer of the same kind, convdense.plots.anatomy(layer, r) "
            "or .density(layer)"
        )


NOT_SHOWN = [
    ({"x": np.ones((5, 5))}, ValueError, "x: got shape (5, 5); needs (1, 5, 5), one sample"),
    (
        {"dy": np.ones((2, 1, 3, 3))},
        ValueError,
        "dy: got shape (2, 1, 3, 3); needs (1, 3, 3), one sample",
    ),
    (
        {"dy": np.full((1, 3, 3), 1j)},
        TypeError,
        "dy: got dtype complex128; needs real numbers; draw .real or .imag",
    ),
    (
        {"x": np.full((1, 5, 5), np.nan)},
        ValueError,
        "x: got nan at (0, 0, 0); needs finite numbers; ",
    ),
]


@pytest.mark.parametrize(("given", "error", "text"), NOT_SHOWN, ids=lambda v: str(v)[:20])
def test_what_is_no_sample_is_refused(given, error, text):
    with pytest.raises(error) as refusal:
        animate(FIVE, **given)
    assert str(refusal.value).startswith(text)


def test_a_sample_with_a_batch_axis_of_one_is_a_sample():
    assert one_sample(np.ones((1, 2, 3)), "x", (2, 3), "draw").shape == (2, 3)


def test_the_page_and_the_pictures_show_the_same_numbers():
    x, dy = sample_of(None, None, FIVE.in_shape, FIVE.out_shape, "draw")
    html = explore(FIVE).html
    for name, values in (("x", x), ("dy", dy)):
        assert values.min() >= -3
        assert values.max() <= 3
        assert f'"{name}":{values.ravel().tolist()}'.replace(" ", "") in html
    assert texts(frame(FIVE, 0).axes[2], (1, 3, 3)) == [str(v) for v in dy.ravel().tolist()]


@pytest.fixture(scope="module")
def moving():
    picture = animate(FIVE)
    return SimpleNamespace(picture=picture, image=Image.open(BytesIO(picture.gif)))


def test_the_picture_of_the_5x5_layer_is_small_and_wide_enough_to_be_read(moving):
    assert len(moving.picture.gif) < 140_000
    assert moving.image.size[0] >= 700
    assert repr(moving.picture) == f"Animation('{FIVE!r}', {len(moving.picture.gif):,} bytes)"


def test_there_is_a_frame_for_each_output_and_the_last_stays_longer(moving):
    times = []
    for k in range(moving.image.n_frames):
        moving.image.seek(k)
        times.append(moving.image.info["duration"])
    assert times == [SHOWN] * 8 + [LAST]
    assert LAST > 2 * SHOWN
    assert moving.image.info["loop"] == 0  # for ever


def test_every_frame_is_its_figure_in_few_colours(moving):
    for k in (0, 8):
        moving.image.seek(k)
        got, drawn = (
            np.asarray(moving.image.convert("RGB")).astype(int),
            _pixels(frame(FIVE, k)).astype(int),
        )
        off = np.abs(got - drawn).max(axis=2)
        assert (off > 0).mean() < 0.1  # the edges of letters
        flat = {tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in (*COLOURS, MASKED)}
        assert all(off[(drawn == look).all(axis=2)].max() == 0 for look in flat)
        assert off.mean() < 1


def test_an_image_of_few_colours_keeps_them_all():
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    assert np.array_equal(
        np.asarray(_few_colours(Image.fromarray(colours)).convert("RGB")), colours
    )


def test_the_picture_is_shown_in_a_notebook():
    assert (
        Animation("a<b", b"GIF")._repr_html_()
        == '<img alt="a&lt;b" src="data:image/gif;base64,R0lG">'
    )


def test_the_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    picture, path = Animation("title", b"new"), tmp_path / "layer.gif"
    path.write_bytes(b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        picture.save(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("layer.gif", b"old")]
    monkeypatch.undo()
    assert picture.save(str(path)) == path
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "needs"), [("layer.png", "a name that ends in .gif"), ("no/a.gif", "a folder")]
)
def test_a_name_of_another_format_or_in_no_folder_is_refused(name, needs, tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"path: got {tmp_path / name}; needs {needs}")):
        Animation("title", b"new").save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
