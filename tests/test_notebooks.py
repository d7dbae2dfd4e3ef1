"""A real notebook in a fresh kernel: every cell shows its result, richly, and only once."""

import os
import pickle
from base64 import b64decode
from importlib import import_module
from io import BytesIO
from pathlib import Path

import matplotlib.axes
import matplotlib.figure
import pytest
from PIL import Image

import convdense
from convdense import Conv, equations, plots

# A cell each, without any magic, and without an import of matplotlib or IPython.
START = """
import numpy as np
import convdense as cd
from convdense import plots
from convdense.adapters.model_report import ModelReport
from convdense.explorer import explore
from convdense.sweeps._sweep import Sweep, Swept

conv, w = cd.Conv((1, 3, 3), out_channels=1, kernel=2), np.array([[[[1, 2], [3, 4]]]])
pool = cd.MaxPool((1, 2, 2), kernel=2)
x, dy = np.arange(9).reshape(1, 3, 3), np.array([[[1, -1], [2, 0]]])
layer = cd.TiedDense(conv, w)
steps = layer.gradient_steps(x, dy)
net = cd.network(cd.Conv((1, 4), out_channels=1, kernel=2), cd.ReLU(), seed=0)
forward = lambda x, w, b: cd.convolve(conv, x, w, b)
backward = lambda x, w, dy: cd.convolve_backward(conv, x, w, dy)
halved = forward, lambda x, w, dy: backward(x, w / 2, dy)
found = cd.recover(lambda x: forward(x, 2 * w, None), (1, 3, 3))
refused = cd.certify(conv, halved)
"""
PNG, HTML, LATEX = "image/png", "text/html", "text/latex"
FIGURES = {
    "anatomy": "plots.anatomy(layer, 1, x)",
    "density": "plots.density(conv)",
    "difference": "plots.difference(layer, found)",
    "frame": "plots.frame(conv, 1)",
    "gradient": "plots.gradient(conv, steps.masked, masked=True)",
    "gradient_steps": "plots.gradient_steps(layer, x, dy)",
    "mask": "plots.mask(conv)",
    "matrix": "plots.matrix(conv)",
    "network": "plots.network(net)",
    "pooling": "plots.pooling(pool)",
    "tied": "plots.tied(conv, steps.tied)",
}
RESULTS = {
    "animate": "plots.animate(cd.Conv((1, 3), out_channels=1, kernel=2))",
    "page": "explore(conv)",
    "layer": "layer",
    "dense network": "net",
    "gradient steps": "steps",
    "dense layers": "net.dense_layers()",
    "certificate": "refused",
    "network certificate": "cd.certify(net)",
    "report": "cd.check(conv, x, w, None, dy)",
    "diagnosis": "cd.diagnose(conv, halved)",
    "unknown mistake": "cd.diagnose(conv, (forward, lambda x, w, dy: backward(x, w**2 + 1, dy)))",
    "recovered": "found",
    "differing weights": "found.compare(layer)",
    "model report": 'ModelReport({"stem": refused}, {}, {"act": "ReLU: no window"}, ())',
    "sweep": 'Sweep(1, (Swept("2-D", "input 4", 1, 2, 0),), (), 1, 0.5)',
}
EQUATIONS = {
    "equations": "cd.equations(conv)",
    "equations in LaTeX": 'cd.equations(conv, format="latex")',
}
OWN_AXES = "plots.matrix(conv).set_title('a title of mine').axes"
STATEMENT = "drawn = plots.matrix(conv)"
UNTOUCHED = """
import sys
import matplotlib
changed = [
    name
    for name, value in matplotlib.rcParams.items()
    if name != "backend" and value != matplotlib.rcParamsOrig[name]
]
changed, "matplotlib.pyplot" in sys.modules
"""
# With pyplot at work, which shows at the end of a cell whatever figure is registered with it.
INLINE = """
%matplotlib inline
from matplotlib import pyplot as plt
"""
UNDER_INLINE = ("anatomy", "matrix")  # a Figure and Axes
GIVEN_AXES = """
_, given = plt.subplots()
plots.matrix(conv, ax=given)
"""
CELLS = {
    "start": START,
    **FIGURES,
    **RESULTS,
    **EQUATIONS,
    "own axes": OWN_AXES,
    "statement": STATEMENT,
    "untouched": UNTOUCHED,
    "inline": INLINE,
    **{f"inline {name}": FIGURES[name] for name in UNDER_INLINE},
    "inline statement": STATEMENT,
    "given axes": GIVEN_AXES,
}


def required(package):
    """Return a package; where it is not installed its tests are skipped, if they may be."""
    if os.environ.get("CONVDENSE_NOTEBOOKS") == "required":
        return import_module(package)
    return pytest.importorskip(package, reason=f"{package}, of the extra [test], is not installed")


def executed(folder):
    """Run all cells in one fresh kernel and return the notebook."""
    nbclient, nbformat = required("nbclient"), required("nbformat")
    required("ipykernel")
    cells = [nbformat.v4.new_code_cell(code.strip()) for code in CELLS.values()]
    notebook = nbformat.v4.new_notebook(cells=cells)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(Path(convdense.__file__).parents[1]))
        patched.setenv("IPYTHONDIR", str(folder))  # nobody's own settings
        client = nbclient.NotebookClient(
            notebook, timeout=120, kernel_name="python3", shutdown_kernel="immediate"
        )
        client.execute(cwd=folder)
    return notebook


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Return {name of the cell: its outputs}."""
    notebook = executed(tmp_path_factory.mktemp("kernel"))
    return {name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)}


def rich(outputs):
    """Return all that is shown beside plain text, [(mime type, data, its metadata)]."""
    return [
        (mime, data, output.metadata.get(mime, {}))
        for output in outputs
        for mime, data in output.data.items()  # a printed or raised output has no data, and fails
        if mime != "text/plain"
    ]


def png_size(data):
    with Image.open(BytesIO(b64decode(data))) as picture:
        return picture.size


def test_there_is_a_cell_for_every_figure():
    assert {*FIGURES, "animate"} == set(plots.__all__)
    assert not FIGURES.keys() & RESULTS.keys()


@pytest.mark.parametrize("name", [*FIGURES, "own axes"])
@pytest.mark.thinned(4)
def test_a_figure_shows_itself_once_and_sharp(name, outputs):
    ((mime, data, size),) = rich(outputs[name])
    assert mime == PNG
    width, height = png_size(data)
    assert (width // 2, height // 2) == (size["width"], size["height"])


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_shows_itself_as_html(name, outputs):
    ((mime, data, _),) = rich(outputs[name])
    assert mime == HTML
    tag = {"animate": "<img", "page": "<iframe"}.get(name, "<table")
    assert data.count(tag) >= 1


@pytest.mark.parametrize("name", EQUATIONS)
def test_equations_are_typeset_in_both_formats(name, outputs):
    ((mime, data, _),) = rich(outputs[name])
    assert mime == LATEX
    assert data == equations(Conv((1, 3, 3), 1, kernel=2))._repr_latex_()


def test_nothing_else_is_shown_and_nothing_is_set(outputs):
    silent = {name for name, shown in outputs.items() if not shown}
    assert silent == {"start", "statement", "inline", "inline statement"}
    (output,) = outputs["untouched"]
    assert output.data == {"text/plain": "([], False)"}


@pytest.mark.parametrize("name", UNDER_INLINE)
def test_where_pyplot_shows_figures_too_it_is_once(name, outputs):
    assert [mime for mime, *_ in rich(outputs[f"inline {name}"])] == [PNG]


def test_axes_of_the_user_come_back_and_pyplot_shows_them_once(outputs):
    shown = outputs["given axes"]
    assert [mime for mime, *_ in rich(shown)] == [PNG]
    assert [output.output_type for output in shown] == ["execute_result", "display_data"]


# The same without a kernel


def test_what_comes_back_is_what_matplotlib_knows():
    ax = plots.matrix(Conv((1, 3), 1, kernel=2))
    assert isinstance(ax, matplotlib.axes.Axes)
    assert isinstance(ax.figure, matplotlib.figure.Figure)
    assert repr(ax) == "<Axes: title={'center': 'matrix: one letter, one weight'}>"
    assert repr(ax.figure).startswith("<Figure size ")
    assert ax.figure.axes == [ax]
    again = pickle.loads(pickle.dumps(ax.figure))
    assert again._repr_png_() == ax.figure._repr_png_() == ax._repr_png_()


@pytest.mark.parametrize("draw", [plots.matrix, plots.mask])
def test_the_axes_that_are_given_come_back_as_they_are(draw):
    given = matplotlib.figure.Figure().add_subplot()
    assert draw(Conv((1, 3), 1, kernel=2), ax=given) is given
    assert not hasattr(given, "_repr_png_")
    own = plots.mask(Conv((1, 3), 1, kernel=2))
    assert draw(Conv((1, 3), 1, kernel=2), ax=own) is own


@pytest.mark.parametrize(
    ("draw", "ending"), [(plots.matrix, "pdf"), (plots.anatomy, "svg"), (plots.mask, "png")]
)
def test_a_figure_is_saved_like_the_animation_and_the_page(draw, ending, tmp_path):
    drawn = draw(Conv((1, 3), 1, kernel=2))
    path = tmp_path / f"layer.{ending}"
    assert drawn.save(str(path)) == path
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert path.read_bytes().startswith(start)


def test_saved_as_savefig_does(tmp_path):
    ax = plots.matrix(Conv((1, 3), 1, kernel=2))
    ax.figure.savefig(tmp_path / "right.png")
    assert ax.save(tmp_path / "own.png").read_bytes() == (tmp_path / "right.png").read_bytes()


def test_other_names_of_files_are_refused_and_nothing_is_written(tmp_path):
    drawn = plots.matrix(Conv((1, 3), 1, kernel=2)).figure
    for name, needs in (
        ("a.bmp", "a name that ends in .png or .svg or .pdf"),
        ("a", "a name that ends in .png or .svg or .pdf"),
        ("no/a.png", f"a folder that exists, which {tmp_path / 'no'} does not"),
    ):
        with pytest.raises(ValueError, match=r"\Apath: ") as refusal:
            drawn.save(tmp_path / name)
        assert str(refusal.value) == f"path: got {tmp_path / name}; needs {needs}"
    with pytest.raises(TypeError, match="needs the name of a file"):
        drawn.save(3)
    assert list(tmp_path.iterdir()) == []


def test_axes_that_were_removed_show_nothing_and_say_so(tmp_path):
    ax = plots.matrix(Conv((1, 3), 1, kernel=2))
    ax.remove()
    assert ax._repr_png_() is None
    with pytest.raises(ValueError, match="axes: got") as refusal:
        ax.save(tmp_path / "a.png")
    got = "Axes that were removed from their figure"
    assert str(refusal.value) == f"axes: got {got}; needs Axes of a figure; draw them again"
