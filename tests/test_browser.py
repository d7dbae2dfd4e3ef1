"""The page to explore in a real browser: what lights up, what is said, by pointer and by keyboard;
and no request.

Expected is what the loops of direct convolution say of every weight, input pixel and output pixel.
"""

import functools
import http.server
import re
import threading
from typing import ClassVar

import numpy as np
import pytest

from convdense import Conv, TiedDense, convolve_backward, equations, tie
from convdense.display.labels import letter
from convdense.explorer import explore
from convdense.explorer import page as page_module
from tests.benchmark import page_times
from tests.pages import LIT, Explored
from tests.test_explorer import by_direct

CONV = Conv(
    (2, 4, 6), 2, kernel=(2, 3), padding=1, dilation=2
)  # nothing alike: sides, kernel, directions, channels
ROWS, COLS = tie(CONV).shape
ENTRIES = sorted(by_direct(CONV))
HELD = {}
for r, c, k in ENTRIES:
    HELD.setdefault((r, c), []).append(k)
CELLS = list(HELD)  # sorted
GROUPED = Conv((4, 3, 3), 2, kernel=2, groups=2)
MEETING = Conv(
    (1, 1, 4), 1, kernel=(1, 3), padding=((0, 0), (1, 1)), padding_mode="reflect"
)  # cells of two weights
RNG = np.random.default_rng(5)
X, DY, W = (
    RNG.integers(-9, 10, shape) for shape in (CONV.in_shape, CONV.out_shape, CONV.weight_shape)
)

PAGES = {
    "unequal": explore(CONV, X, DY),
    "values": explore(TiedDense(CONV, W), X, DY),
    "grouped": explore(GROUPED),
    "meeting": explore(MEETING),
    "large": explore(Conv((1, 28, 28), 1, kernel=3)),
    "empty": explore(Conv((1, 1), 1, kernel=1, stride=2, padding=1)),
}


@pytest.fixture
def visit(open_page):
    """Return a way to open one of the pages by name."""
    return lambda name="unequal", **options: open_page(PAGES[name], **options)


def copies_of(ks):
    return {(row, col) for row, col, k in ENTRIES if k in ks}


def expect_cell(lit, row, col):
    """What must be lit where cell (row, col) of the matrix is pointed at."""
    ks = HELD.get((row, col), [])
    assert {tuple(cell) for cell in lit["matrix"]} == copies_of(ks)
    assert {letter(k) for k in ks} == set(lit["letters"])
    assert lit["input"] == sorted({c for r, c, _ in ENTRIES if r == row})  # the window
    assert (lit["output"], lit["kernel"]) == ([row], sorted(ks))
    assert lit["here"] == {"input": [col], "kernel": [], "output": [row]}
    assert lit["across"] == [0, row, COLS, 1]
    assert lit["down"] == [col, 0, 1, ROWS]
    assert lit["cursor"] == [col, row, 1, 1]


def expect_cells(page, cells):
    for row, col in cells:
        page.point("matrix", col, row)
        expect_cell(page.lit(), row, col)


# Pointer


def test_the_tie_map_agrees_with_direct_convolution():
    entries = tie(CONV).entries()
    assert (
        list(zip(entries.row.tolist(), entries.col.tolist(), entries.index.tolist(), strict=True))
        == ENTRIES
    )


def test_every_entry_that_is_pointed_at_lights_its_row_column_window_and_copies(visit):
    expect_cells(visit(), CELLS)


DEFECTS = {
    "copies forgotten": ("own.flatMap((entry) => ofWeight[entry.weight])", "own"),
    "the whole column": (
        "input: ofRow[row].map((entry) => entry.col)",
        "input: ofCol[col].map((entry) => entry.row)",
    ),
    "rows for columns": (
        "Math.floor(n / cols), col = n % cols, own",
        "Math.floor(n / rows), col = n % rows, own",
    ),
    "old light left on": (
        'for (const element of lit) element.classList.remove("on", "here");\nlit = ',
        "lit = ",
    ),
    "letters unlit": ('find("letters").children[k],', ""),
    "bands exchanged": (
        'place(find("across"), 0, found.row ?? 0,',
        'place(find("across"), 0, found.col ?? 0,',
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_in_the_script_is_seen(open_page, monkeypatch, defect):
    old, new = DEFECTS[defect]
    read = page_module._read
    assert read("explorer.js").count(old) >= 1
    monkeypatch.setattr(page_module, "_read", lambda name: read(name).replace(old, new, 1))
    page = open_page(explore(CONV, X, DY))
    with pytest.raises(AssertionError):
        expect_cells(page, CELLS[::9])


def test_an_edge_that_does_not_exist_says_so(visit):
    page = visit()
    masked = [cell for cell in np.ndindex(ROWS, COLS) if cell not in HELD]
    for row, col in masked[:: len(masked) // 15]:
        page.point("matrix", col, row)
        lit = page.lit()
        expect_cell(lit, row, col)
        assert lit["said"][0].startswith(f"No edge from i{col + 1} ")
        assert lit["said"][0].endswith("it is held at zero.")
        assert f"i{col + 1} dC/do{row + 1}; the mask drops it." in lit["said"][1]
    page.mode("dense")
    for row, col in masked[:: len(masked) // 5]:
        page.point("matrix", col, row)
        product = X.ravel()[col] * DY.ravel()[row]
        assert f"i{col + 1} dC/do{row + 1} = {product}; the mask drops it." in page.lit()["said"][1]


def test_every_pixel_and_weight_lights_what_it_takes_part_in(visit):
    page = visit()
    for part, name, n in [
        (0, "output", ROWS),
        (1, "input", COLS),
        (2, "kernel", CONV.weight_shape),
    ]:
        for number in range(int(np.prod(n))):
            page.point_at(name, number)
            lit, mine = page.lit(), [entry for entry in ENTRIES if entry[part] == number]
            assert {tuple(cell) for cell in lit["matrix"]} == {(row, col) for row, col, _ in mine}
            for other, sheet in enumerate(("output", "input", "kernel")):
                expected = {number} if sheet == name else {entry[other] for entry in mine}
                assert lit[sheet] == sorted(expected)
            assert lit["here"] == {"input": [], "kernel": [], "output": []} | {name: [number]}
            assert lit["across"] == ([0, number, COLS, 1] if name == "output" else [0, 0, 0, 0])
            assert lit["down"] == ([number, 0, 1, ROWS] if name == "input" else [0, 0, 0, 0])


def test_leaving_a_pinned_cell_keeps_it_and_escape_lets_go(visit):
    page = visit()
    (row, col), (other_row, other_col) = CELLS[3], CELLS[-5]
    page.point("matrix", col, row)
    page.page.mouse.down()
    page.page.mouse.up()
    page.point("matrix", other_col, other_row)
    lit = page.lit()
    expect_cell(lit, row, col)
    assert lit["said"][-1] == "Pinned: Esc, or a click on it, lets go."
    page.key("matrix", "Escape")
    lit = page.lit()
    assert (lit["matrix"], lit["input"], lit["output"], lit["kernel"]) == ([], [], [], [])
    assert lit["said"] == ["Point at an entry of the matrix, a pixel or a weight."]
    page.point("matrix", col, row)
    page.point("matrix", other_col, other_row)
    expect_cell(page.lit(), other_row, other_col)


# Keyboard


@pytest.mark.parametrize(
    ("forth", "back", "cells"),
    [
        ("ArrowRight", "ArrowLeft", CELLS),
        ("ArrowDown", "ArrowUp", sorted(CELLS, key=lambda cell: cell[::-1])),
    ],
    ids=["along the rows", "down the columns"],
)
def test_arrows_lead_over_every_entry_and_back(visit, forth, back, cells):
    page = visit()
    (row, col), *_ = cells
    page.point("matrix", col, row)
    page.key("matrix")
    for n, cell in enumerate(cells):
        expect_cell(page.lit(), *cell)
        page.page.keyboard.press(forth if n + 1 < len(cells) else back)
    for cell in cells[-2:-9:-1]:
        expect_cell(page.lit(), *cell)
        page.page.keyboard.press(back)


def test_home_and_end_lead_along_the_row_and_with_control_to_the_ends(visit):
    page = visit()
    in_row = [cell for cell in HELD if cell[0] == 5]
    page.point("matrix", in_row[1][1], 5)
    for key, cell in [
        ("End", in_row[-1]),
        ("Home", in_row[0]),
        ("Control+End", CELLS[-1]),
        ("Control+Home", CELLS[0]),
        ("ArrowLeft", CELLS[0]),  # there is none before the first
    ]:
        page.key("matrix", key)
        expect_cell(page.lit(), *cell)


def test_with_shift_every_cell_can_be_reached_to_the_borders(visit):
    page = visit()
    page.key("matrix", "Control+Home", "Shift+ArrowUp", "Shift+ArrowLeft")
    row, col = CELLS[0]
    row, col = max(row - 1, 0), max(col - 1, 0)
    expect_cell(page.lit(), row, col)
    for key, step in [
        ("Shift+ArrowRight", (0, 1)),
        ("Shift+ArrowDown", (1, 0)),
        ("Shift+ArrowLeft", (0, -1)),
    ]:
        page.key("matrix", key)
        row, col = row + step[0], col + step[1]
        expect_cell(page.lit(), row, col)


@pytest.mark.parametrize(
    ("name", "shape"), [("input", CONV.in_shape), ("kernel", CONV.weight_shape)]
)
def test_arrows_lead_over_pixels_and_weights(visit, name, shape):
    page = visit()
    width = shape[-1]
    size = int(np.prod(shape))
    page.key(name, "Control+Home")
    for n in range(size):
        assert page.lit()["here"][name] == [n]
        page.page.keyboard.press("ArrowRight" if n + 1 < size else "ArrowUp")
    assert page.lit()["here"][name] == [size - 1 - width]
    ends = [
        ("Home", size - 2 * width),
        ("End", size - width - 1),
        ("ArrowDown", size - 1),
        ("ArrowDown", size - 1),
    ]
    for key, n in ends:
        page.key(name, key)
        assert page.lit()["here"][name] == [n]


def test_enter_pins_and_tab_leads_from_drawing_to_drawing(visit):
    page = visit()
    page.key("matrix", "Control+Home", "Enter")
    page.point("output", 0, 0)
    expect_cell(page.lit(), *CELLS[0])
    page.key("matrix", "Enter")
    page.point("output", 0, 0)
    assert page.lit()["here"]["output"] == [0]
    page.page.locator("#input").focus()
    order = []
    for _ in range(3):
        page.page.keyboard.press("Tab")
        order.append(page.page.evaluate("document.activeElement.id"))
    assert order == ["kernel", "output", "matrix"]


# Words and numbers


def in_letters(text):
    """Write w1, w2, ... of `equations` as the page does: a, b, ..."""
    return re.sub(r"\bw(\d+)", lambda match: letter(int(match[1]) - 1), text)


TEXTS = [
    in_letters(line.strip())
    for line in equations(CONV, bias=None).replace("dC/dw", "dC/d w").splitlines()
]
EQUATIONS = {
    line.replace("dC/d ", "dC/d").split(" = ")[0]: line.replace("dC/d ", "dC/d") for line in TEXTS
}


WHY = (
    ", and an output moves at every copy; the cost feels them all, "
    "so its gradient is the sum over the copies."
)


def shortened(equation):
    """Leave out what the page does: all beyond twelve terms."""
    terms = equation.split(" + ")
    return (
        equation if len(terms) <= 12 else " + ".join([*terms[:12], f"... ({len(terms) - 12} more)"])
    )


def test_the_equations_said_are_those_of_the_layer(visit):
    page = visit()
    for row, col in CELLS[::7]:
        page.point("matrix", col, row)
        weight = letter(HELD[row, col][0])
        assert page.lit()["equations"] == [
            shortened(EQUATIONS[f"o{row + 1}"]),
            shortened(EQUATIONS[f"dC/d{weight}"]),
        ]
    for k in range(int(np.prod(CONV.weight_shape))):
        page.point_at("kernel", k)
        lit = page.lit()
        n = sum(entry[2] == k for entry in ENTRIES)
        assert lit["said"][0] == f"Weight {letter(k)} has {n} copies: nudge it{WHY}"
        assert lit["equations"] == [shortened(EQUATIONS[f"dC/d{letter(k)}"])]
    for n in range(COLS):
        page.point_at("input", n)
        assert page.lit()["equations"] == [shortened(EQUATIONS[f"dC/di{n + 1}"])]
    for n in range(ROWS):
        page.point_at("output", n)
        assert page.lit()["equations"] == [shortened(EQUATIONS[f"o{n + 1}"])]


def test_the_sentence_names_the_edge_and_its_copies(visit):
    page = visit()
    row, col = CELLS[70]
    (k,) = HELD[row, col]
    channel, i, j = np.unravel_index(col, CONV.in_shape)
    out, p, q = np.unravel_index(row, CONV.out_shape)
    page.point("matrix", col, row)
    said = page.lit()["said"]
    assert said[0] == (
        f"The edge from i{col + 1} (channel {channel + 1}, row {i + 1}, column {j + 1}) "
        f"to o{row + 1} (channel {out + 1}, row {p + 1}, column {q + 1}) holds {letter(k)}."
    )
    copies = sum(entry[2] == k for entry in ENTRIES)
    assert said[1] == f"{letter(k)} has {copies} copies: nudge it{WHY}"


def test_a_cell_of_several_weights_lights_and_names_them_all(visit):
    page = visit("meeting")
    page.point("matrix", 1, 0)
    lit = page.lit()
    entries = by_direct(MEETING)
    ks = sorted(k for r, c, k in entries if (r, c) == (0, 1))
    assert len(ks) == 2
    assert lit["kernel"] == ks
    assert {tuple(cell) for cell in lit["matrix"]} == {(r, c) for r, c, k in entries if k in ks}
    assert "holds a + c (taps meet here)." in lit["said"][0]
    assert lit["said"][1] == f"a has 4 copies, c has 4 copies: nudge one of them{WHY}"
    entries = by_direct(MEETING)
    assert lit["here"] == {"input": [1], "kernel": [], "output": [0]}
    for n in range(4):  # taps that meet are one edge
        page.point_at("output", n)
        edges = len({c for r, c, _ in entries if r == n})
        assert (
            page.lit()["said"][0]
            == f"o{n + 1} (row 1, column {n + 1}) reads {edges} edges: its window."
        )


def test_groups_stay_apart(visit):
    page, entries = visit("grouped"), by_direct(GROUPED)
    for k in range(int(np.prod(GROUPED.weight_shape))):
        page.point_at("kernel", k)
        lit = page.lit()
        assert {tuple(cell) for cell in lit["matrix"]} == {(r, c) for r, c, n in entries if n == k}
        assert lit["input"] == sorted({c for _, c, n in entries if n == k})


def test_the_dense_gradient_is_written_on_every_cell(visit):
    page = visit()
    page.mode("dense")
    written = page.page.locator("#numbers text").all_text_contents()
    assert np.array_equal(np.array(written, int).reshape(ROWS, COLS), np.outer(DY, X))
    assert page.page.locator("#field").is_visible()
    assert (
        page.page.evaluate("getComputedStyle(document.getElementById('letters')).display") == "none"
    )


def test_the_tied_gradient_is_on_the_edges_that_exist_and_its_sums_on_the_weights(visit):
    page = visit()
    page.mode("tied")
    written = page.page.locator("#numbers text").all_text_contents()
    dense = np.outer(DY, X)
    assert [int(n) for n in written] == [dense[cell] for cell in HELD]
    sums = page.page.locator("#kernel .sum").all_text_contents()
    assert [int(n) for n in sums] == convolve_backward(CONV, X, W, DY).dw.ravel().tolist()
    for k in (0, 7, 23):
        page.point_at("kernel", k)
        _, products, numbers = page.lit()["equations"]
        mine = [(row, col) for row, col, n in ENTRIES if n == k]
        factors = [int(n) for n in re.findall(r"-?\d+", products.split(" = ")[1])]
        assert products.startswith(f"dC/d{letter(k)} = ")
        assert factors == [n for row, col in mine for n in (X.ravel()[col], DY.ravel()[row])]
        assert numbers.endswith(f" = {sums[k]}")
        shown = re.findall(r"(?:^|[+-] ?)?\d+", numbers.split("= ")[1])
        assert [int(n.replace(" ", "")) for n in shown] == [dense[cell] for cell in mine]


def test_the_mask_is_one_colour_and_the_weights_have_theirs(visit):
    page = visit()
    looks = (
        "[...document.querySelectorAll('#cells path')].map((path) => getComputedStyle(path).fill)"
    )
    in_colour = page.page.evaluate(looks)
    assert len(set(in_colour)) == 9
    by_weight = {}
    for look, ks in zip(in_colour, HELD.values(), strict=True):
        by_weight.setdefault(ks[0], set()).add(look)
    assert {len(seen) for seen in by_weight.values()} == {1}
    page.mode("mask")
    ground = page.page.evaluate("getComputedStyle(document.getElementById('ground')).fill")
    assert len(set(page.page.evaluate(looks)) - {ground}) == 1
    assert (
        page.page.evaluate("getComputedStyle(document.getElementById('letters')).display") == "none"
    )


def test_the_values_of_a_tied_dense_layer_stand_under_their_letters(visit):
    page = visit("values")
    below = page.page.locator("#kernel .sum").all_text_contents()
    assert [int(n) for n in below] == W.ravel().tolist()
    page.mode("dense")
    assert page.page.locator("#kernel .sum").count() == 0


def test_pixels_show_the_weights_that_meet_them_and_in_gradients_their_numbers(visit):
    page = visit()
    page.point_at("output", 9)
    texts = page.page.locator("#input > g").nth(1).locator("text").all_text_contents()
    meets = {c: letter(k) for r, c, k in ENTRIES if r == 9}
    assert texts == [f"{meets[c]} i{c + 1}" if c in meets else f"i{c + 1}" for c in range(COLS)]
    page.mode("tied")
    for name, numbers in (("input", X), ("output", DY)):
        shown = page.page.locator(f"#{name} > g").nth(1).locator("text").all_text_contents()
        assert [int(n) for n in shown] == numbers.ravel().tolist()


# Playing, appearance, without scripts


def test_the_window_slides_one_output_at_a_time(visit):
    page = visit()
    for button, outputs in (("next", [0, 1, 2]), ("back", [1, 0, ROWS - 1])):
        for n in outputs:
            page.page.locator(f"#{button}").click()
            assert page.lit()["here"]["output"] == [n]
    assert page.page.locator("#play").is_hidden()  # motion is not wanted here
    row, col = CELLS[40]
    page.point("matrix", col, row)
    page.page.mouse.down()
    page.page.mouse.up()
    page.page.locator("#next").click()  # from where one was, and no longer pinned
    assert page.lit()["here"]["output"] == [row + 1]
    page.point_at("input", 0)
    assert page.lit()["here"]["input"] == [0]


def test_it_plays_where_motion_is_wanted_and_stops(visit):
    page = visit(reduced_motion="no-preference")
    page.page.clock.install()
    play = page.page.locator("#play")
    play.click()
    assert play.text_content() == "pause"
    seen = [page.lit()["here"]["output"]]
    for _ in range(3):
        page.page.clock.run_for(700)
        seen.append(page.lit()["here"]["output"])
    assert seen == [[0], [1], [2], [3]]
    play.click()
    page.page.clock.run_for(3000)
    assert (page.lit()["here"]["output"], play.text_content()) == ([3], "play")
    pin = lambda: page.key("output", "Enter")  # noqa: E731  (one line)
    for stop in (page.page.locator("#back").click, lambda: page.key("input", "Escape"), pin):
        play.click()
        stop()
        before = page.lit()["here"]["output"]
        page.page.clock.run_for(3000)
        assert (page.lit()["here"]["output"], play.text_content()) == (before, "play")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_and_the_button(visit, scheme):
    page = visit(color_scheme=scheme)
    paper = "getComputedStyle(document.body).backgroundColor"
    colours = {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}
    assert page.page.evaluate(paper) == colours[scheme]
    page.page.locator("#theme").click()
    other = "dark" if scheme == "light" else "light"
    assert page.page.evaluate(paper) == colours[other]
    page.page.locator("#theme").click()
    assert page.page.evaluate(paper) == colours[scheme]


def test_without_scripts_the_drawings_are_all_there(visit):
    page = visit(java_script_enabled=False)
    assert page.page.locator("#cells path").count() == len(HELD)
    assert page.page.locator("#cells path").last.is_visible()
    assert page.page.locator("#letters text").all_text_contents() == [
        letter(ks[0]) for ks in HELD.values()
    ]
    assert page.page.locator("noscript p").is_visible()
    for id in ("bar", "said", "keys"):
        assert page.page.locator(f"#{id}").is_hidden()


def test_a_layer_without_entries_can_be_looked_at(visit):
    page = visit("empty")
    page.point("matrix", 0, 0)
    assert page.lit()["said"][0].startswith("No edge from i1 (position 1) to o1 (position 1)")
    page.key("matrix", "ArrowRight", "Home", "Control+End", "Escape")


def test_zooming_keeps_the_pointer_right(visit):
    page = visit()
    page.page.locator("#zoom").fill("2")
    row, col = CELLS[0]
    page.point("matrix", col, row)
    expect_cell(page.lit(), row, col)


def test_words_are_announced_and_drawings_named(visit):
    page = visit()
    said = page.page.locator("#said")
    assert (said.get_attribute("role"), said.get_attribute("aria-live")) == ("status", "polite")
    matrix = "the dense layer's matrix: a row per output pixel, a column per input pixel"
    for id, name in (
        ("input", "input"),
        ("kernel", "weights"),
        ("output", "output"),
        ("matrix", matrix),
    ):
        assert page.page.get_by_role("application", name=name, exact=True).get_attribute("id") == id
    page.mode("tied")
    assert (
        page.page.get_by_role("application", name="sum per weight").get_attribute("id") == "kernel"
    )


# Over http, in a frame, and whether it is accessible and quick


@pytest.fixture
def server(tmp_path):
    PAGES["unequal"].save(tmp_path / "unequal.html")
    PAGES["grouped"].save(tmp_path / "grouped.html")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        asked: ClassVar = []

        def log_message(self, *_):
            self.asked.append(self.path)

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))
    ) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", Quiet.asked
        running.shutdown()


def test_over_http_it_asks_for_itself_alone_and_may_ask_for_nothing_else(browser, server):
    address, asked = server
    with browser.new_context() as context:
        page = Explored(context.new_page(), f"{address}/unequal.html")
        page.point_at("output", 3)
        assert page.lit()["here"]["output"] == [3]
        assert (asked, page.complaints) == (["/unequal.html"], [])
        refused = "(url) => fetch(url).then(() => 'answered', () => 'refused')"
        assert page.page.evaluate(refused, f"{address}/grouped.html") == "refused"
        more = "document.head.appendChild(document.createElement('script')).text = 'a = 1'"
        page.page.evaluate(more)
        assert page.page.evaluate("typeof a") == "undefined"
        refusals = {
            text.split()[0] for text in page.complaints if "Content Security Policy" in text
        }
        assert refusals >= {"Connecting", "Executing"}  # so complaints are heard
        assert asked == ["/unequal.html"]


def test_in_the_frame_of_a_notebook_it_answers_and_reaches_nothing(browser, tmp_path):
    frame = PAGES["unequal"]._repr_html_()
    (tmp_path / "notebook.html").write_text(
        f"<!doctype html><title>notebook</title>{frame}", encoding="utf-8"
    )
    with browser.new_context(viewport={"width": 1300, "height": 1000}) as context:
        page = Explored(context.new_page(), (tmp_path / "notebook.html").as_uri())
        inside = page.page.frames[1]
        inside.locator("#kernel path").nth(4).hover()
        lit = inside.evaluate(LIT)
        assert {tuple(cell) for cell in lit["matrix"]} == copies_of([4])
        assert inside.evaluate("window.origin") == "null"
        above = "() => { try { return parent.document.title } catch (error) { return error.name } }"
        assert inside.evaluate(above) == "SecurityError"
        assert page.complaints == []


def serious(page):
    """Return what axe-core finds that is serious."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="pip install '.[browser]'"
    )
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:200]}"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("mode", ["weights", "mask", "dense", "tied"])
@pytest.mark.thinned(3)
def test_axe_finds_nothing_serious(visit, scheme, mode):
    page = visit(color_scheme=scheme)
    page.mode(mode)
    assert serious(page.page) == []
    page.point("matrix", CELLS[9][1], CELLS[9][0])
    assert serious(page.page) == []


def test_axe_would_find_pale_words_and_a_button_without_a_name(visit):
    page = visit()
    page.page.evaluate("document.documentElement.style.setProperty('--quiet', '#bbb')")
    page.page.evaluate("document.getElementById('theme').textContent = ''")
    found = serious(page.page)
    assert [line.split(":")[0] for line in found] == ["button-name", "color-contrast"]


def test_a_page_of_28x28_answers_and_its_times_are_measured(visit):
    """How fast it is, `tests/benchmark.py drawing` says: here other tests run beside."""
    page = visit("large")
    times = page_times(page.page, page.url)
    del page.requests[1:]  # it was loaded again
    assert page.lit()["matrix"]  # something was answered
    assert min(times) > 0
