"""The page: drawings, their numbers, style and script, in one file that needs no other."""

import json
import re
import webbrowser
from base64 import b64encode
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy.typing as npt

from convdense._util.arguments import complain
from convdense._util.files import save_bytes
from convdense.display.example_sample import one_sample, sample_of
from convdense.display.labels import LETTERS
from convdense.explorer.svg import READABLE, drawings, rules
from convdense.geometry import HasShapes, require_cells
from convdense.layers.tied_dense import TiedDense
from convdense.structure._tie import tie
from convdense.structure.kronecker import Entries
from convdense.structure.letter_grid import cells, require_linear
from convdense.structure.tie_map import TieMap

ENTRIES_LIMIT = 20_000  # what a browser answers within a blink
HEIGHT = 860  # pixels of the frame in a notebook


@dataclass(frozen=True)
class Page:
    """One self-contained HTML page; a notebook shows it in a frame that can reach nothing else.

    Parameters
    ----------
    title : str
    html : str
        The whole document.

    Examples
    --------
    >>> page = Page("Nothing", "<!doctype html><title>Nothing</title>")
    >>> page, page._repr_html_()[:32]
    (Page('Nothing', 37 bytes), '<iframe sandbox="allow-scripts" ')
    """

    title: str
    html: str

    def save(self, path: Path | str) -> Path:
        """Write the page to an .html file, whole or not at all, and return its path.

        Raises
        ------
        ValueError
            For another ending, or a folder that does not exist.
        """
        return save_bytes(path, self.html.encode(), (".html",))

    def open(self, path: Path | str) -> Path:
        """Write the page to an .html file and open it in the browser."""
        saved = self.save(path)
        webbrowser.open(saved.resolve().as_uri())
        return saved

    def _repr_html_(self) -> str:
        """Return a frame whose script runs, but reaches neither the notebook nor the network."""
        inside, title = escape(self.html), escape(self.title)
        size = f'width="100%" height="{HEIGHT}" frameborder="0"'
        return f'<iframe sandbox="allow-scripts" title="{title}" {size} srcdoc="{inside}"></iframe>'

    def __repr__(self) -> str:
        return f"Page({self.title!r}, {len(self.html.encode()):,} bytes)"


def explore(
    layer: HasShapes,
    x: npt.ArrayLike | None = None,
    dy: npt.ArrayLike | None = None,
    *,
    title: str | None = None,
) -> Page:
    """Return a page where every entry, pixel and weight says what it is and where its copies are.

    Parameters
    ----------
    layer : anything `tie` knows
        A TiedDense shows the values of its weights too.
    x, dy : arrays of one sample, or None
        Input and upstream gradient of the gradients shown; None: integers from -3 to 3, always the
        same.
    title : str or None
        Heading of the page; None: the layer. It is text, whatever it contains.

    Returns
    -------
    Page
        ``.save(path)``, ``.open(path)``, ``.html``; shown as it is in a notebook.

    Raises
    ------
    ValueError
        If the layer has more than 20,000 entries, weights, outputs or inputs, or x or dy has
        another shape.
    TypeError
        For x or dy that are not real numbers, and for what `tie` does not know.

    Examples
    --------
    >>> from convdense import Conv
    >>> explore(Conv((1, 5, 5), out_channels=1, kernel=3)).html.count("<svg")
    4
    """
    ties = tie(layer)
    require_linear(ties)
    _require_few(ties)
    if title is not None and not isinstance(title, str):
        raise TypeError(complain("title", repr(title), "text, or None for the layer's own"))
    # half a pair, as the command line makes of bytes that are no text, is left out here
    if title is not None and title.encode(errors="ignore").decode() != title:
        raise ValueError(complain("title", ascii(title), "text that UTF-8 can write"))
    x, dy = sample_of(x, dy, ties.in_shape, ties.out_shape, "explore")
    w = None
    own = repr(layer)
    if isinstance(layer, TiedDense):
        w = one_sample(layer.w, "w", ties.weight_shape, "explore").ravel().tolist()
        own = repr(layer.layer)
    numbers = {"x": x.ravel().tolist(), "dy": dy.ravel().tolist(), "w": w}

    if title is None:
        return Page(own, _document(own, "it", ties, numbers))
    return Page(title, _document(title, own, ties, numbers))


def _require_few(ties: TieMap) -> None:
    """Refuse a layer of more than a page can answer for at once, or of nothing."""
    require_cells(ties)
    counts = {
        "entries": ties.n_entries,
        "weights": ties.n_weights,
        "outputs": ties.shape[0],
        "inputs": ties.shape[1],
    }
    for name, n in counts.items():
        if n > ENTRIES_LIMIT:
            needs = f"at most {ENTRIES_LIMIT:,} to be pointed at one by one"
            smaller = "explore a smaller layer of the same kind"
            do = f"look at convdense.plots.density(layer), or {smaller}"
            raise ValueError(complain("layer", f"{n:,} {name}", needs, do))


def _document(title: str, layer: str, ties: TieMap, numbers: dict[str, Any]) -> str:
    """Return the whole page: `layer` is what its first sentence calls the layer."""
    entries = ties.entries()
    held = cells(entries)
    script, template = _read("explorer.js"), _read("explorer.html")
    style = _read("explorer.css") + rules(held)

    # The page may run its own script and style, and load nothing from anywhere.
    policy = (
        f"default-src 'none'; img-src data:; script-src '{_hash(script)}'; "
        f"style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'"
    )
    rows, cols = ties.shape
    edges = rows * cols
    return Template(template).substitute(
        title=escape(title),
        layer=escape(layer),
        policy=policy,
        style=style,
        script=script,
        data=json.dumps(_data(ties, entries) | numbers, separators=(",", ":")),
        edges=f"{rows:,} x {cols:,} = {edges:,}",
        zeros=f"{edges - len(held):,}",
        places=f"{ties.n_entries:,}",
        weights=f"{ties.n_weights:,}",
        **drawings(ties, held),
    )


def _data(ties: TieMap, entries: Entries) -> dict[str, Any]:
    """Return what the script reads: the entries of the tie map as they are, and the shapes."""
    factors = None
    if entries.coefficient is not None:
        factors = [str(Fraction(c)) for c in entries.coefficient.tolist()]
    return {
        "shape": ties.shape,
        "inShape": ties.in_shape,
        "outShape": ties.out_shape,
        "weightShape": ties.weight_shape,
        "row": entries.row.tolist(),
        "col": entries.col.tolist(),
        "weight": entries.index.tolist(),
        "coefficient": factors,
        "letters": LETTERS,
        "readable": READABLE,
    }


def _read(name: str) -> str:
    """Return a file of this folder without its indentation and comments, which no page needs."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return re.sub(r"(?m)^\s*(//.*\n\s*)*| // .*$", "", text)


def _hash(text: str) -> str:
    """Return how a content security policy names a text that it allows: by its SHA-256."""
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
