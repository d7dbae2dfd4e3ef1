"""The page to explore as a file: what it holds, how large it is, what it refuses."""

import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import convdense
from convdense import Conv, ConvTranspose, LocallyConnected, MaxPool, TiedDense, TieMap, tie
from convdense.cli._main import main
from convdense.direct.conv_loops import forward
from convdense.explorer import ENTRIES_LIMIT, Page, explore
from convdense.structure.letter_grid import cells, mark

SMALL = Conv((1, 5, 5), 1, kernel=3)
UNEQUAL = Conv((2, 4, 6), 2, kernel=(2, 3), padding=1, dilation=2)
LAYERS = [
    SMALL,
    UNEQUAL,
    Conv((4, 3, 3), 2, kernel=2, groups=2),
    Conv((2, 7), 1, kernel=3, stride=2),
    Conv((1, 2, 3, 3), 2, kernel=2),
    Conv(
        (1, 1, 2), 1, kernel=(1, 3), padding=((0, 0), (2, 1)), padding_mode="replicate"
    ),  # cells of two weights
    ConvTranspose((1, 2, 3), 1, kernel=2, stride=2),
    LocallyConnected((1, 3, 3), 1, kernel=2),
]
MAPS = [
    TieMap.from_index([[0, 0, 1], [1, -1, 0]], [[1, -1, 0.5], [-0.5, 1, 0]]),
    Conv((1, 1), 1, kernel=1, stride=2, padding=1),  # reads padding alone: no entry
    TieMap.from_index([[0]]),
    TieMap.from_index(np.arange(60).reshape(1, 60)),  # letters up to bh
]
on_all = pytest.mark.parametrize("layer", [*LAYERS, *MAPS], ids=repr)


class Reader(HTMLParser):
    """What a browser would make of the page: its elements, and what stands in them."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.inside, self.text = [], [], {}
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = [*self.inside, len(self.elements) - 1]
        if tag in ("meta", "link", "input", "br"):
            self.inside.pop()

    def handle_endtag(self, tag):
        self.inside = self.inside[:-1]

    def handle_data(self, data):
        for n in self.inside[-1:]:
            self.text[n] = self.text.get(n, "") + data

    def all(self, tag):
        return [
            (attributes, self.text.get(n, ""))
            for n, (name, attributes) in enumerate(self.elements)
            if name == tag
        ]

    def data(self):
        (text,) = (
            text for attributes, text in self.all("script") if attributes.get("id") == "data"
        )
        return json.loads(text)


def by_direct(conv):
    """Return {(row, col, weight)} by direct loops, for every pair of a weight and a pixel."""
    n_in, n_w = int(np.prod(conv.in_shape)), int(np.prod(conv.weight_shape))
    pixels = np.eye(n_in, dtype=int).reshape(n_in, *conv.in_shape)
    found = set()
    for k in range(n_w):
        w = np.eye(1, n_w, k, dtype=int).reshape(conv.weight_shape)
        for col, row in np.argwhere(forward(conv, pixels, w).reshape(n_in, -1)).tolist():
            found.add((row, col, k))
    return found


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_the_entries_of_the_page_are_those_of_direct_convolution(layer):
    data = Reader(explore(layer).html).data()
    assert set(zip(data["row"], data["col"], data["weight"], strict=True)) == by_direct(layer)
    assert (data["shape"], data["weightShape"]) == (
        list(tie(layer).shape),
        list(layer.weight_shape),
    )


@on_all
def test_every_cell_that_holds_something_is_drawn_once_in_order_and_lettered(layer):
    html = explore(layer).html
    inside = html[html.index('<g id="cells">') : html.index('<g id="bands">')]
    drawn = [
        (int(y) // 20, int(x) // 20) for x, y in re.findall(r'd="M(\d+) (\d+)h20v20h-20z"', inside)
    ]
    held = cells(tie(layer).entries())
    assert drawn == sorted(held) == list(held)
    shown = html[html.index('<g id="letters">') : html.index('<g id="numbers">')]
    letters = re.findall(r">([^<]+)</text>", shown)
    assert letters == ([mark(entries) for entries in held.values()] if letters else [])
    assert bool(letters) == (tie(layer).shape[1] <= 60 and bool(held))


@on_all
def test_the_page_says_what_the_layer_is(layer):
    ties = tie(layer)
    rows, cols = ties.shape
    (_, text), *_ = Reader(explore(layer).html).all("p")
    numbers = [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", text)]
    assert numbers == [
        rows,
        cols,
        rows * cols,
        rows * cols - ties.mask().nnz,
        ties.n_weights,
        ties.n_entries,
    ]


def test_coefficients_travel_exactly():
    data = Reader(explore(MAPS[0]).html).data()
    assert data["coefficient"] == ["1", "-1", "1/2", "-1/2", "0"]
    assert Reader(explore(SMALL).html).data()["coefficient"] is None


def test_the_numbers_are_those_given_or_small_integers_always_the_same():
    x, dy = np.arange(25).reshape(1, 5, 5), np.linspace(0, 1, 9).reshape(1, 3, 3)
    data = Reader(explore(TiedDense(SMALL, np.arange(9).reshape(1, 1, 3, 3)), x, dy).html).data()
    assert (data["x"], data["dy"]) == (x.ravel().tolist(), dy.ravel().tolist())
    assert data["w"] == list(range(9))
    data = Reader(explore(SMALL).html).data()
    assert data["w"] is None
    assert {type(n) for n in data["x"] + data["dy"]} == {int}
    assert min(data["x"]) < 0 < max(data["x"]) <= 3
    assert explore(SMALL).html == explore(SMALL).html
    assert (
        explore(SMALL, x[None], dy[None]).html == explore(SMALL, x, dy).html
    )  # one sample with its batch axis


# Size, safety


def test_the_page_of_a_small_layer_is_small():
    assert len(explore(SMALL).html.encode()) <= 40_000


EVIL = (
    "</title></script><script>alert(1)</script>"
    """<img src=x onerror="alert('2')"> & "quoted" $data ${x}"""
)


def test_a_title_is_text_whatever_it_contains():
    page = explore(SMALL, title=EVIL)
    reader, plain = Reader(page.html), Reader(explore(SMALL).html)
    assert [tag for tag, _ in reader.elements] == [tag for tag, _ in plain.elements]
    assert (
        [text for _, text in reader.all("h1")]
        == [text for _, text in reader.all("title")]
        == [EVIL]
    )
    frame = Reader(page._repr_html_())
    ((attributes, _),) = frame.all("iframe")
    assert len(frame.elements) == 1
    assert (attributes["title"], attributes["srcdoc"]) == (EVIL, page.html)


def test_the_name_of_a_users_layer_is_text_too():
    class Mine(TieMap):
        def __repr__(self):
            return EVIL

    ties = TieMap.from_index([[0, 1]])
    page = explore(Mine(ties.axes))
    assert (page.title, Reader(page.html).all("h1")[0][1]) == (EVIL, EVIL)


def test_an_unescaped_title_would_be_seen(monkeypatch):
    monkeypatch.setattr("convdense.explorer.page.escape", lambda text: text)
    reader, plain = Reader(explore(SMALL, title=EVIL).html), Reader(explore(SMALL).html)
    assert [tag for tag, _ in reader.elements] != [tag for tag, _ in plain.elements]


def test_nothing_is_fetched_and_only_this_style_and_script_may_run():
    reader = Reader(explore(UNEQUAL).html)
    (policy,) = (
        a["content"]
        for a, _ in reader.all("meta")
        if a.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (style,) = (text for _, text in reader.all("style"))
    script = next(text for attributes, text in reader.all("script") if "id" not in attributes)
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "script-src": f"'{source(script)}'",
        "style-src": f"'{source(style)}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert re.findall('//[^"]*', script) == ["//www.w3.org/2000/svg"]  # comments stay behind
    outside = [
        v
        for _, a in reader.elements
        for n, v in a.items()
        if n in ("src", "href", "action", "style")
    ]
    assert outside == ["data:,"]
    elsewhere = r"https?://(?!www\.w3\.org/2000/svg\b)"  # the name of SVG, which is never visited
    assert (
        re.findall(
            elsewhere + r"|url\(|@import|fetch\(|XMLHttp|eval\(|innerHTML", reader_text(reader)
        )
        == []
    )


def source(text):
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def reader_text(reader):
    return "".join(
        text for n, text in reader.text.items() if reader.elements[n][0] in ("script", "style")
    )


def test_in_a_notebook_it_is_a_frame_that_can_reach_nothing():
    page = explore(SMALL)
    ((attributes, _),) = Reader(page._repr_html_()).all("iframe")
    assert attributes["sandbox"] == "allow-scripts"
    assert unescape(escape(page.html)) == attributes["srcdoc"] == page.html
    assert repr(page) == f"Page({page.title!r}, {len(page.html.encode()):,} bytes)"


# Refusals, word for word

WORDS = [
    (
        lambda: explore(Conv((3, 32, 32), 1, kernel=3, padding=1)),
        ValueError,
        "layer: got 26,508 entries; needs at most 20,000 to be pointed at one by one; "
        "look at convdense.plots.density(layer), or explore a smaller layer of the same kind",
    ),
    (
        lambda: explore(SMALL, x=np.zeros((5, 5))),
        ValueError,
        "x: got shape (5, 5); needs (1, 5, 5), one sample",
    ),
    (
        lambda: explore(SMALL, dy=np.zeros((2, 1, 3, 3))),
        ValueError,
        "dy: got shape (2, 1, 3, 3); needs (1, 3, 3), one sample",
    ),
    (
        lambda: explore(SMALL, x=np.full((1, 5, 5), 1j)),
        TypeError,
        "x: got dtype complex128; needs real numbers; explore .real or .imag",
    ),
    (
        lambda: explore(SMALL, title=3),
        TypeError,
        "title: got 3; needs text, or None for the layer's own",
    ),
    (lambda: explore(SMALL).save(3), TypeError, "path: got 3; needs the name of a file"),
]


@pytest.mark.parametrize(("call", "error", "words"), WORDS, ids=[words[:30] for *_, words in WORDS])
def test_what_cannot_be_explored_is_refused_in_words(call, error, words):
    with pytest.raises(error) as refusal:
        call()
    assert str(refusal.value) == words


def test_numbers_that_are_not_finite_and_unknown_layers_are_refused():
    with pytest.raises(ValueError, match=r"^x: .*finite"):
        explore(SMALL, x=np.full((1, 5, 5), np.nan))
    with pytest.raises(
        TypeError, match=r"^layer: .*several layers, not one; look at cd.dense_pool"
    ):
        explore(MaxPool((1, 4, 4), kernel=2))
    with pytest.raises(TypeError, match=r"^layer: got 'conv'"):
        explore("conv")


def test_the_largest_layer_that_can_be_explored():
    rows = ENTRIES_LIMIT // 100
    assert isinstance(explore(TieMap.from_index(np.zeros((rows, 100), int))), Page)
    with pytest.raises(ValueError, match="got 20,100 entries"):
        explore(TieMap.from_index(np.zeros((rows + 1, 100), int)))


def test_it_is_written_whole_or_not_at_all(tmp_path):
    page = explore(SMALL)
    saved = page.save(tmp_path / "page.html")
    assert saved.read_text(encoding="utf-8") == page.html
    with pytest.raises(ValueError, match=r"page\.htm.*\.html"):
        page.save(tmp_path / "page.htm")
    with pytest.raises(ValueError, match="folder"):
        page.save(tmp_path / "no" / "page.html")
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_open_saves_it_and_asks_for_the_browser(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    path = explore(SMALL).open(tmp_path / "page with blank.html")
    assert opened == [path.resolve().as_uri()]
    assert path.exists()


# The command


def test_the_command_writes_the_page_and_says_how_large(tmp_path, capsys):
    path = tmp_path / "page.html"
    line = "explore --input 2x4x6 --kernel 2x3 --padding 1 --dilation 2 --out-channels 2 -o"
    assert main([*line.split(), str(path)]) == 0
    assert path.read_text(encoding="utf-8") == explore(UNEQUAL).html
    assert capsys.readouterr() == (
        f"{path}: {path.stat().st_size:,} bytes; open it in a browser\n",
        "",
    )


def test_the_command_opens_the_page_where_asked_and_gives_it_its_title(
    tmp_path, capsys, monkeypatch
):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    path = tmp_path / "page.html"
    assert (
        main(["explore", "--input", "1x5x5", "--kernel", "3", "--title", EVIL, "-o", str(path)])
        == 0
    )
    assert opened == []
    assert path.read_text(encoding="utf-8") == explore(SMALL, title=EVIL).html
    assert main(["explore", "--input", "1x5x5", "--kernel", "3", "-o", str(path), "--open"]) == 0
    assert opened == [path.resolve().as_uri()]


@pytest.mark.parametrize(
    ("options", "name", "words"),
    [
        (
            "--input 3x32x32 --kernel 3 --padding 1",
            "page.html",
            "layer: got 26,508 entries; needs at most 20,000",
        ),
        ("--input 1x5x5 --kernel 3", "page.txt", "needs a name that ends in .html"),
        ("--input 1x5x5 --kernel 7", "page.html", "kernel"),
        ("--input 1x5x5 --kernel 3", "no/page.html", "a folder that exists"),
    ],
)
def test_the_command_refuses_in_one_line_and_writes_nothing(tmp_path, capsys, options, name, words):
    assert main(["explore", *options.split(), "-o", str(tmp_path / name)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("convdense: ")
    assert words in err
    assert list(tmp_path.iterdir()) == []


LARGE = {
    "inputs": (Conv((1, 10**6), 1, kernel=1, stride=1000), "1,000,000 inputs"),
    "outputs": (Conv((1, 1), 1, kernel=1, padding=((0, 30_000),)), "30,001 outputs"),
    "weights": (Conv((1, 1), 1, kernel=10**5 + 1, padding=5 * 10**4), "100,001 weights"),
}


@pytest.mark.parametrize("name", LARGE)
def test_pixels_and_weights_are_limited_too(name, monkeypatch):
    layer, got = LARGE[name]
    monkeypatch.setattr(TieMap, "entries", lambda self: pytest.fail("written out"))
    with pytest.raises(
        ValueError, match=f"^layer: got {got}; needs at most 20,000 to be pointed at"
    ):
        explore(layer)


def test_half_a_character_is_refused_as_a_title():
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the text is compared as a whole)
        explore(SMALL, title="\udcff")
    assert str(error.value) == r"title: got '\udcff'; needs text that UTF-8 can write"


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble, np.int8, np.uint64])
def test_numbers_of_every_precision_are_shown(dtype):
    x = np.array([[1, 2, 100]], dtype)
    data = Reader(explore(Conv((1, 3), 1, kernel=2), x, np.array([[3, 4]], dtype)).html).data()
    assert (data["x"], data["dy"]) == ([1, 2, 100], [3, 4])


def test_products_beyond_all_bounds_are_refused():
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the text is compared as a whole)
        explore(SMALL, np.full((1, 5, 5), 1e200), np.full((1, 3, 3), 1e200))
    assert str(error.value) == (
        "x, dy: got products beyond the largest number; needs smaller numbers; scale them down"
    )


def test_the_command_reads_weights_and_a_sample(tmp_path, capsys):
    rng = np.random.default_rng(0)
    arrays = {"weights": (1, 1, 3, 3), "x": (1, 5, 5), "dy": (1, 3, 3)}
    arrays = {name: rng.integers(-9, 9, shape) for name, shape in arrays.items()}
    options = []
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        options += [f"--{name}", str(tmp_path / f"{name}.npy")]
    line = ["explore", "--input", "1x5x5", "--kernel", "3", "-o", str(tmp_path / "page.html")]
    assert main([*line, *options]) == 0
    expected = explore(TiedDense(SMALL, arrays["weights"]), arrays["x"], arrays["dy"]).html
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == expected
    assert main([*line, "--x", str(tmp_path / "none.npy")]) == 2
    assert capsys.readouterr().err.startswith(
        f"convdense: x: got {tmp_path / 'none.npy'} (No such file"
    )


def test_a_name_that_the_terminal_cannot_write_is_escaped(tmp_path):
    command = [
        sys.executable,
        "-m",
        "convdense",
        "explore",
        "--input",
        "1x5x5",
        "--kernel",
        "3",
        "-o",
        "\u00e9.html",
    ]
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "ascii",
        "PYTHONPATH": str(Path(convdense.__file__).parents[1]),
    }
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(r"\xe9.html: ")
    assert [path.name for path in tmp_path.iterdir()] == ["\u00e9.html"]
