"""What is painted on the page and where: letters, colours that can be read, lines, numbers."""

import re

import numpy as np
import pytest

from convdense import (
    Conv,
    ConvTranspose,
    LocallyConnected,
    TiedDense,
    TieMap,
    convolve_backward,
    equations,
    tie,
)
from convdense.display.labels import letter, numbered
from convdense.display.palette import contrast
from convdense.explorer import explore
from convdense.structure.letter_grid import cells, mark

COEFFICIENTS = TieMap.from_index([[0, 0, 1], [1, -1, 0]], [[1, -1, 0.5], [-0.5, 1, 0]])
COPIED = Conv((1, 2, 4), 1, kernel=3, padding=2, padding_mode="replicate")  # nine weights in a cell
REFLECTED = Conv((1, 4, 4), 2, kernel=3, padding=((2, 1), (0, 2)), padding_mode="reflect")
VOLUME = Conv((2, 2, 3, 3), 1, kernel=2)
MANY = Conv((1, 620), 1, kernel=620)  # letters up to aav
UP = ConvTranspose((1, 2, 3), 2, kernel=(2, 3), stride=2, padding=1, output_padding=(1, 0))
LOCAL = LocallyConnected((1, 3, 4), 2, kernel=2)
LAYERS = [
    COEFFICIENTS,
    COPIED,
    REFLECTED,
    VOLUME,
    MANY,
    UP,
    LOCAL,
    Conv((2, 7), 3, kernel=3, flip=True, groups=1),
]
on_layers = pytest.mark.parametrize("layer", LAYERS, ids=repr)
FEW = [COEFFICIENTS, COPIED, REFLECTED, VOLUME]
on_few = pytest.mark.parametrize("layer", FEW, ids=repr)


def drawn(layer, seed=0, size=9):
    """Return the page with integers of both signs, and these."""
    rng, ties = np.random.default_rng(seed), tie(layer)
    x, dy = (rng.integers(-size, size + 1, shape) for shape in (ties.in_shape, ties.out_shape))
    return explore(layer, x, dy), x, dy


def terms(equation):
    """Return both sides of an equation.

    A sum comes as its first twelve terms, each with its sign, and how many are left out.
    """
    left, right = equation.split(" = ")
    right = re.sub(r"^(?=[^-])", "+ ", right)
    parts = re.split(r" (?=[+-] )", right)
    more = [int(re.search(r"\((\d+) more\)", part)[1]) for part in parts if "more" in part]
    shown = [part for part in parts if "more" not in part][:12]
    return left, shown, sum(more) + len(parts) - len(more)


@on_layers
@pytest.mark.thinned(3)
def test_every_equation_of_the_page_is_that_of_python(open_page, layer):
    page = open_page(drawn(layer)[0]).page
    ties = tie(layer)
    said = page.evaluate(
        """() => [
          Array.from({ length: rows }, (_, n) => forward(n)),
          ofWeight.map((_, k) => toWeight(k)),
          Array.from({ length: cols }, (_, n) => toInput(n)),
        ]"""
    )
    lines = [
        line.strip()
        for line in equations(layer, bias=None, weight="w").splitlines()
        if line.startswith(" ")
    ]
    named = [
        re.sub(r"(\b|dC/d)w(\d+)", lambda m: m[1] + letter(int(m[2]) - 1), line) for line in lines
    ]
    rows, weights = ties.shape[0], ties.n_weights
    expected = [named[:rows], named[rows : rows + weights], named[rows + weights :]]
    assert [list(map(terms, part)) for part in said] == [
        list(map(terms, part)) for part in expected
    ]


@on_layers
@pytest.mark.thinned(3)
def test_what_a_cell_holds_is_written_as_python_does(open_page, layer):
    held = cells(tie(layer).entries())
    assert open_page(drawn(layer)[0]).page.evaluate("inCells.map(marked)") == [
        mark(each) for each in held.values()
    ]


@on_layers
@pytest.mark.thinned(3)
def test_the_sums_of_the_page_are_the_gradients(open_page, layer):
    page, x, dy = drawn(layer)
    ties = tie(layer)
    sums = open_page(page).page.evaluate("ofWeight.map((all) => sum(all.map(share)))")
    expected = TiedDense(layer, np.ones(ties.weight_shape)).gradient_steps(x, dy).tied.ravel()
    assert sums == expected.tolist()
    if not isinstance(layer, TieMap):
        assert (
            sums
            == convolve_backward(layer, x, np.zeros(layer.weight_shape, int), dy)
            .dw.ravel()
            .tolist()
        )


def test_the_script_counts_letters_as_python_does(open_page):
    numbers = [*range(60), 575, 599, 600, 601, 14_423, 14_424]
    page = open_page(drawn(COEFFICIENTS)[0]).page
    assert page.evaluate("(ks) => ks.map(letter)", numbers) == [letter(k) for k in numbers]


NUMBERS = {
    0: "0",
    -7: "-7",
    65025: "65025",
    1.5: "1.5",
    0.12345: "0.123",
    -1234.5: "-1230",
    1e6: "1.00e+6",
    -1.5e20: "-1.50e+20",
}
SHORT = {0: "0", 12: "12", 0.12345: "0.12", -0.0345: "-0.035", 1.2345: "1.23", 2.5e8: "2.50e+8"}


def test_numbers_are_short(open_page):
    page = open_page(drawn(COEFFICIENTS)[0]).page
    assert page.evaluate("(all) => all.map((n) => written(n))", list(NUMBERS)) == list(
        NUMBERS.values()
    )
    assert page.evaluate("(all) => all.map(short)", list(SHORT)) == list(SHORT.values())


def test_why_a_gradient_is_a_sum_or_none_is_said(open_page):
    conv = Conv((1, 2), 1, kernel=3, padding=1, stride=2)  # its first weight meets padding alone
    page = open_page(drawn(conv)[0])
    said = []
    for k in range(3):
        page.point_at("kernel", k)
        said.append(page.lit()["said"][0])
    assert said == [
        "Weight a has 0 copies: it meets padding alone, moves no output, and its gradient is 0.",
        "Weight b has 1 copy: its gradient comes from that edge alone.",
        "Weight c has 1 copy: its gradient comes from that edge alone.",
    ]


def test_places_are_named_by_channel_slice_row_and_column(open_page):
    page = open_page(drawn(VOLUME)[0]).page
    names = page.evaluate("[where('input', 0), where('input', 35), where('output', 3)]")
    assert names == [
        " (channel 1, slice 1, row 1, column 1)",
        " (channel 2, slice 2, row 3, column 3)",
        " (slice 1, row 2, column 2)",
    ]


# Where things are, and in which colours

TEXTS = """(parts) => {
  const rgb = (look) => look.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const box = (element) => {
    const { x, y, width, height } = element.getBBox();
    return [x, y, width, height];
  };
  return [...document.querySelectorAll(`${parts} text`)].map((text) => ({
    text: text.textContent,
    box: box(text),
    fill: rgb(getComputedStyle(text).fill),
    kind: text.classList[0],
  }));
}"""
PATHS = """(parts) => [...document.querySelectorAll(`${parts} path`)].map((path) => ({
  at: path.getAttribute("d").match(/M(-?\\d+) (-?\\d+)/).slice(1).map(Number),
  fill: getComputedStyle(path).fill.match(/[\\d.]+/g).slice(0, 3).map(Number),
  stroke: getComputedStyle(path).stroke, strength: getComputedStyle(path).fillOpacity,
  on: path.classList.contains("on"),
}))"""


def colour_of(channels):
    return "#" + "".join(f"{int(c):02X}" for c in channels)


def within(text, at):
    """Tell whether a text lies in the unit square at `at`, in its middle from side to side."""
    x, y, width, height = text["box"]
    return (
        x >= at[0] - 0.5
        and x + width <= at[0] + 20.5
        and abs(x + width / 2 - at[0] - 10) < 1.5
        and at[1] <= y + height / 2 <= at[1] + 20
    )


@on_few
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.thinned(3)
def test_every_letter_stands_in_its_cell_and_can_be_read_on_it(open_page, layer, scheme):
    page = open_page(drawn(layer)[0], color_scheme=scheme).page
    held = cells(tie(layer).entries())
    letters, places = page.evaluate(TEXTS, "#letters"), page.evaluate(PATHS, "#cells")
    assert [text["text"] for text in letters] == [mark(entries) for entries in held.values()]
    assert [[at // 20 for at in path["at"][::-1]] for path in places] == [
        list(cell) for cell in held
    ]
    for text, path in zip(letters, places, strict=True):
        assert within(text, path["at"]), text
        assert contrast(colour_of(text["fill"]), colour_of(path["fill"])) >= 4.5


@on_few
@pytest.mark.thinned(3)
def test_letters_and_numbers_of_the_sheets_stand_in_their_squares(open_page, layer):
    page = open_page(drawn(layer, size=300)[0]).page  # products of five digits
    for mode in ("weights", "tied"):
        page.locator(f"#modes input[value={mode}]").check()
        page.evaluate("pick('output', 0)")
        for name in ("input", "kernel", "output"):
            places = page.evaluate(PATHS, f"#{name}")
            texts = page.evaluate(TEXTS, f"#{name} > g:nth-of-type(2)")
            assert len(texts) == len(places)
            assert all(within(text, path["at"]) for text, path in zip(texts, places, strict=True))


@on_few
@pytest.mark.parametrize("mode", ["dense", "tied"])
@pytest.mark.thinned(3)
def test_numbers_stand_in_their_cells_and_can_be_read(open_page, layer, mode):
    page = open_page(drawn(layer, size=300)[0]).page
    page.locator(f"#modes input[value={mode}]").check()
    rows, cols = tie(layer).shape
    at = [(col * 20, row * 20) for row in range(rows) for col in range(cols)]
    if mode == "tied":
        places = page.evaluate(PATHS, "#cells")
        at, looks = [path["at"] for path in places], [path["fill"] for path in places]
    else:
        looks = page.evaluate("""() => {
          const field = document.getElementById("field").getContext("2d");
          const all = field.getImageData(0, 0, cols, rows).data;
          return Array.from({ length: rows * cols }, (_, n) => [...all.slice(4 * n, 4 * n + 3)]);
        }""")
    numbers = page.evaluate(TEXTS, "#numbers")
    assert len(numbers) == len(at)
    for text, place, look in zip(numbers, at, looks, strict=True):
        assert within(text, place), text
        assert contrast(colour_of(text["fill"]), colour_of(look)) >= 4.5


def test_a_number_stands_below_its_letter_and_not_on_it(open_page):
    page = open_page(drawn(Conv((1, 4, 4), 1, kernel=2))[0]).page
    page.locator("#modes input[value=tied]").check()
    lines = """([above, below]) => {
      const boxes = (parts) =>
        [...document.querySelectorAll(parts)].map((text) => text.getBoundingClientRect());
      const middle = (box) => box.y + box.height / 2;
      const under = boxes(below);
      return boxes(above).map((box, n) => [middle(box), middle(under[n]), under[n].height]);
    }"""
    for above, below in (("#letters text", "#numbers text"), ("#kernel text.two", "#kernel .sum")):
        places = page.evaluate(lines, [above, below])
        assert places
        assert all(number - letter > 0.6 * height for letter, number, height in places)


def test_pixels_rows_slices_and_channels_are_named_where_they_are(open_page):
    page = open_page(drawn(VOLUME)[0]).page
    rows, cols = tie(VOLUME).shape
    texts = page.evaluate(TEXTS, ".names")
    outputs = [(name, -20, 20 * k + 10) for k, name in enumerate(numbered("o", rows))]
    inputs = [(name, 20 * k + 10, -10) for k, name in enumerate(numbered("i", cols))]
    in_rows = [(f"row {k % 3 + 1}", 60 * k + 30, -30) for k in range(cols // 3)]
    slices = [(f"slice {k % 2 + 1}", 180 * k + 90, -50) for k in range(cols // 9)]
    channels = [(f"channel {k + 1}", 360 * k + 180, -70) for k in range(2)]
    expected = [*outputs, *inputs, *in_rows, *slices, *channels]
    assert [text["text"] for text in texts] == [name for name, *_ in expected]
    middles = [
        (x + width / 2, y + height / 2) for x, y, width, height in (text["box"] for text in texts)
    ]
    assert np.abs(np.subtract(middles, [at for _, *at in expected])).max() <= 1
    view = [float(n) for n in page.locator("#matrix").get_attribute("viewBox").split()]
    assert view == [-40, -80, 20 * cols + 42, 20 * rows + 82]


@pytest.mark.parametrize(
    ("layer", "thin", "thick"),
    [
        (
            Conv((2, 2, 3), 2, kernel=(1, 2)),
            (range(0, 9, 2), range(0, 13, 3)),
            (range(0, 9, 4), range(0, 13, 6)),
        ),
        (VOLUME, (range(0, 5, 2), range(0, 37, 3)), (range(0, 5, 4), range(0, 37, 9))),
    ],
    ids=repr,
)
def test_lines_part_rows_and_thick_ones_channels_or_slices(open_page, layer, thin, thick):
    page = open_page(drawn(layer)[0]).page
    rows, cols = tie(layer).shape
    widths = {}
    for name, (across, along) in (("thin", thin), ("thick", thick)):
        line = page.locator(f"#matrix .{name}")
        expected = [f"M0 {20 * k}h{20 * cols}" for k in across] + [
            f"M{20 * k} 0v{20 * rows}" for k in along
        ]
        assert line.get_attribute("d") == "".join(expected)
        widths[name] = float(
            line.evaluate("(path) => getComputedStyle(path).strokeWidth").removesuffix("px")
        )
    assert widths["thick"] > widths["thin"] > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_lit_stands_out(open_page, scheme):
    page = open_page(drawn(Conv((1, 4, 4), 1, kernel=2))[0], color_scheme=scheme)
    page.point("matrix", 1, 0)
    places = page.page.evaluate(PATHS, "#cells")
    lit, others = ([path for path in places if path["on"] is on] for on in (True, False))
    assert len({path["stroke"] for path in lit}) == 1
    assert {path["stroke"] for path in lit}.isdisjoint({path["stroke"] for path in others})
    assert ({p["strength"] for p in lit}, {p["strength"] for p in others}) == ({"1"}, {"0.3"})
    for id in ("across", "down", "cursor"):
        box = page.page.locator(f"#{id}").bounding_box()
        assert box["width"] > 5
        assert box["height"] > 5
        assert (
            page.page.locator(f"#{id}").evaluate("(r) => getComputedStyle(r).stroke")
            == lit[0]["stroke"]
        )
    window = page.page.evaluate(PATHS, "#input")
    assert {path["on"] for path in window} == {True, False}
    widths = "(path) => parseFloat(getComputedStyle(path).strokeWidth)"
    here, lit = (
        page.page.locator(f"#input path.on{kind}").first for kind in (".here", ":not(.here)")
    )
    assert here.evaluate(widths) > lit.evaluate(widths)
    assert {str(p["fill"]) for p in window if p["on"]}.isdisjoint(
        {str(p["fill"]) for p in window if not p["on"]}
    )
    page.key("matrix", "ArrowRight")
    focus = page.page.locator("#matrix").evaluate("(svg) => getComputedStyle(svg).outlineStyle")
    assert focus == "solid"


def test_the_dense_gradient_is_painted_purple_and_orange_below_its_cells(open_page):
    conv = Conv((1, 2, 3), 1, kernel=(1, 2))
    x, dy = np.array([[[5, -5, 0], [1, 2, -3]]]), np.array([[[3, -1], [0, 2]]])
    page = open_page(explore(conv, x, dy)).page
    page.locator("#modes input[value=dense]").check()
    pixels = page.evaluate("""() => {
      const canvas = document.getElementById("field"), { width, height } = canvas;
      return [width, height, [...canvas.getContext("2d").getImageData(0, 0, width, height).data]];
    }""")
    assert pixels[:2] == [6, 4]
    looks = np.array(pixels[2]).reshape(4, 6, 4)
    dense = np.outer(dy, x)
    assert looks[0, 0].tolist() == [84, 39, 136, 255]  # the largest
    assert looks[0, 1].tolist() == [179, 88, 6, 255]  # the smallest
    assert looks[0, 2].tolist() == [247, 247, 247, 255]  # nothing
    assert np.array_equal(np.sign(looks[..., 2] - looks[..., 0]), np.sign(dense))
    strength = np.abs(looks[..., :3] - 247).sum(axis=2)
    for sign in (1, -1):
        order = np.argsort(sign * dense[sign * dense > 0])
        assert np.all(np.diff(strength[sign * dense > 0][order]) >= 0)
    for zoom in ("1", "3"):
        page.locator("#zoom").fill(zoom)
        boxes = [page.locator(f"#{id}").bounding_box() for id in ("field", "ground")]
        assert all(
            abs(boxes[0][side] - boxes[1][side]) < 1 for side in ("x", "y", "width", "height")
        )


def test_of_a_large_field_the_largest_of_those_that_meet_in_a_pixel_is_painted(open_page):
    conv = Conv((1, 5000), 1, kernel=1, stride=2500)
    x = np.zeros((1, 5000), int)
    x[0, 1234], x[0, 4000] = 7, -7
    page = open_page(explore(conv, x, np.ones((1, 2), int))).page
    page.locator("#modes input[value=dense]").check()
    width, data = page.evaluate("""() => {
      const canvas = document.getElementById("field");
      return [canvas.width, [...canvas.getContext("2d").getImageData(0, 0, canvas.width, 1).data]];
    }""")
    looks = np.array(data).reshape(width, 4)[:, :3]
    assert np.flatnonzero((looks == [84, 39, 136]).all(axis=1)).tolist() == [1234 * width // 5000]
    assert np.flatnonzero((looks == [179, 88, 6]).all(axis=1)).tolist() == [4000 * width // 5000]
    assert len({tuple(look) for look in looks.tolist()}) == 3


# Sizes: zoom, scrolling, narrow windows


def test_a_fine_matrix_gets_its_letters_where_one_zooms_in(open_page):
    layer = Conv((1, 20, 20), 1, kernel=3)
    page = open_page(drawn(layer)[0])
    matrix, held = page.page.locator("#matrix"), cells(tie(layer).entries())
    assert "fine" in matrix.get_attribute("class")
    assert page.page.locator("#letters text").count() == 0
    assert page.page.locator(".names").is_hidden()
    page.page.locator("#zoom").fill("16")
    assert "fine" not in matrix.get_attribute("class")
    letters = page.page.evaluate(TEXTS, "#letters")
    assert [text["text"] for text in letters] == [mark(entries) for entries in held.values()]
    assert all(
        within(text, (20 * col, 20 * row)) for text, (row, col) in zip(letters, held, strict=True)
    )
    assert [text["kind"] for text in letters] == [f"c{entries[0][0]}" for entries in held.values()]
    assert page.page.locator(".names").is_visible()
    page.page.locator("#modes input[value=tied]").check()
    assert page.page.locator("#numbers text").count() == len(held)
    page.page.locator("#zoom").fill("1")
    assert "fine" in matrix.get_attribute("class")
    assert page.page.locator("#letters").is_hidden()
    assert page.page.locator("#numbers text").count() == 0


def test_a_layer_of_64_columns_has_its_letters_at_once(open_page):
    page = open_page(drawn(Conv((4, 4, 4), 4, kernel=2, groups=2))[0]).page
    assert page.locator("#letters text").count() == 288
    assert page.locator("#letters").is_visible()


def test_what_the_keyboard_reaches_is_not_hidden_below_the_upper_part(open_page):
    page = open_page(
        drawn(Conv((1, 6, 6), 3, kernel=3, padding=1))[0], viewport={"width": 1300, "height": 900}
    )
    page.key("matrix", "Control+End")
    for _ in range(70):
        page.page.keyboard.press("Shift+ArrowUp")
        above, cursor = (page.page.locator(f"#{id}").bounding_box() for id in ("above", "cursor"))
        assert cursor["y"] >= above["y"] + above["height"] - 3
        assert cursor["y"] + cursor["height"] <= 901


def test_in_a_narrow_window_the_answer_is_in_sight_and_nothing_wider_than_it(open_page):
    page = open_page(drawn(Conv((2, 4, 4), 2, kernel=2))[0], viewport={"width": 400, "height": 800})
    page.page.evaluate("document.getElementById('kernel').scrollIntoView()")
    page.point_at("kernel", 3)
    said = page.page.locator("#said").bounding_box()
    assert said["y"] + said["height"] <= 800
    assert said["y"] > 400
    assert page.page.evaluate("document.documentElement.scrollWidth") == 400


def test_escape_lets_go_from_anywhere_and_a_second_click_too(open_page):
    page = open_page(drawn(Conv((1, 4, 4), 1, kernel=2))[0])
    page.point_at("kernel", 1)
    page.page.mouse.down()
    page.page.mouse.up()
    page.mode("tied")
    assert page.lit()["said"][-1].startswith("Pinned")
    page.page.keyboard.press("Escape")  # the focus is on the modes
    assert page.lit()["kernel"] == []
    page.point_at("kernel", 2)
    for pinned in (True, False):
        page.page.mouse.down()
        page.page.mouse.up()
        assert page.lit()["said"][-1].startswith("Pinned") is pinned
    page.point_at("kernel", 3)
    assert page.lit()["kernel"] == [3]


def test_keys_of_the_browser_stay_the_browsers(open_page):
    page = open_page(drawn(Conv((1, 4, 4), 1, kernel=2))[0]).page
    prevented = """(keys) => keys.map(([key, more]) => {
      const event = new KeyboardEvent("keydown", { key, ...more, bubbles: true, cancelable: true });
      document.getElementById("matrix").dispatchEvent(event);
      return event.defaultPrevented;
    })"""
    keys = [
        ["ArrowRight", {}],
        ["ArrowLeft", {"altKey": True}],
        ["Tab", {}],
        ["f", {"ctrlKey": True}],
        ["End", {}],
    ]
    assert page.evaluate(prevented, keys) == [True, False, False, False, True]
    assert page.locator("#matrix").get_attribute("aria-describedby") == "keys"
