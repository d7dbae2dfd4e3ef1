"""The public names are a list: adding one is a decision and changes this test.

Each is documented with an example.
"""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import convdense
from convdense.adapters.model_report import ModelReport
from convdense.sweeps import _sweep, sweep
from tests.test_sweep import FEW

ROOT = Path(convdense.__file__).parents[1]
FOLDERS = ["explorer", "plots", "testing", "training"]  # loaded when first touched

EXPECTED = [
    "AvgPool",
    "Certificate",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Flatten",
    "LeakyReLU",
    "Linear",
    "LocallyConnected",
    "LpPool",
    "MaxPool",
    "MinPool",
    "Network",
    "ReLU",
    "Report",
    "Residual",
    "SumPool",
    "TieMap",
    "TiedDense",
    "batch_norm",
    "certify",
    "check",
    "conv_matrix",
    "convolve",
    "convolve_backward",
    "dense_pool",
    "diagnose",
    "equations",
    "network",
    "norm_bounds",
    "recover",
    "tie",
]
SECTION = re.compile(r"^Examples\n-+$(.*)", re.MULTILINE | re.DOTALL)


def difference(names, expected):
    """Return which names are missing and which are extra."""
    return {
        "missing": sorted(set(expected) - set(names)),
        "extra": sorted(set(names) - set(expected)),
    }


def undocumented(docstring):
    """Return what a docstring lacks, or ""."""
    text = inspect.cleandoc(docstring or "")
    if not text:
        return "a docstring"
    section = SECTION.search(text)
    if section is None:
        return "an Examples section"
    return "" if doctest.DocTestParser().get_examples(section[1]) else "an example that runs"


def test_public_names():
    assert difference(convdense.__all__, EXPECTED) == {"missing": [], "extra": []}
    assert sorted(convdense.__all__) == sorted(EXPECTED)  # nothing twice


def test_nothing_public_is_unlisted():
    """What `import convdense` shows without an underscore is in the list; submodules aside."""
    names = {*vars(convdense), *convdense.__all__}  # some are imported when asked for
    shown = [
        n
        for n in names
        if not n.startswith("_") and not isinstance(getattr(convdense, n), ModuleType)
    ]
    assert difference(shown, EXPECTED) == {"missing": [], "extra": []}


def test_dir_is_what_is_public():
    assert difference(dir(convdense), [*EXPECTED, *FOLDERS, "__version__"]) == {
        "missing": [],
        "extra": [],
    }
    assert [name for name in dir(convdense) if not hasattr(convdense, name)] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_loads_when_it_is_first_touched(folder):
    code = (
        f"import sys, convdense as cd; a = 'convdense.{folder}' in sys.modules; cd.{folder}; "
        f"print(a, cd.{folder})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    assert ran.stdout.startswith(f"False <module 'convdense.{folder}' from")


def test_what_is_no_folder_is_no_attribute():
    with pytest.raises(AttributeError, match=r"^module 'convdense' has no attribute 'plotting'$"):
        convdense.plotting  # noqa: B018  (the attribute is what is asked for)


# The paths that README, guide and examples import, today and before the folders: each works, the
# old ones with a warning

PATHS = {
    "convdense.adapters.arrays": "implementation",
    "convdense.adapters.dask": "matrix operator",
    "convdense.adapters.torch": "certify_model implementation",
    "convdense.claims.student_question": "FIRST",
    "convdense.claims.toeplitz": "block_circulant block_toeplitz",
    "convdense.explorer": "explore",
    "convdense.layers.dense_form": "Absolute Affine dense_steps",
    "convdense.plots": "animate density difference gradient_steps matrix network",
    "convdense.sweeps": "sweep",
    "convdense.testing": (
        "assert_backward_matches_dense cases channels_last conv_checks from_cache gate "
        "only_options parametrize_with_conv_checks without_bias"
    ),
    "convdense.training": "losses sgd train",
}
SHOWN = "\n".join(
    (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/guide.md")
)
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
PROSE = re.compile(r"\b(convdense(?:\.[a-z_]\w*)*)\.([a-z_]\w*)", re.IGNORECASE)


def imported(code):
    """Return (module, name) of every import from convdense in a program."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("convdense"):
            found |= {(node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {
                tuple(a.name.rsplit(".", 1)) for a in node.names if a.name.startswith("convdense.")
            }
    return found


def listed():
    """Return (module, name) of all that README, guide and examples may name."""
    names = {(module, name) for module, names in PATHS.items() for name in names.split()}
    return (
        names
        | {tuple(module.rsplit(".", 1)) for module in PATHS}
        | {("convdense", name) for name in dir(convdense)}
    )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem
)
def test_what_an_example_imports_is_listed(path):
    assert imported(path.read_text(encoding="utf-8")) <= listed()


def test_what_readme_and_guide_import_and_name_is_listed():
    programs = CODE.findall(SHOWN)
    assert set().union(*map(imported, programs)) <= listed()
    prose = re.sub(r"```.*?```", "", SHOWN, flags=re.DOTALL)
    folders = {("convdense", folder) for folder in ("adapters", "claims", "layers", "sweeps")}
    named = set(PROSE.findall(prose))
    assert len(named) >= 6
    assert named <= listed() | folders


def test_an_import_that_is_not_listed_is_seen():
    code = "import convdense.a.b, numpy\nfrom convdense.c import (\n    d,\n    e,\n)\n"
    code += "def f():\n    from convdense import g\n"
    expected = {
        ("convdense.a", "b"),
        ("convdense.c", "d"),
        ("convdense.c", "e"),
        ("convdense", "g"),
    }
    assert imported(code) == expected
    assert not expected & listed()
    assert PROSE.findall("see `convdense.a.b(x)` and convdense.Conv") == [
        ("convdense.a", "b"),
        ("convdense", "Conv"),
    ]


# What each public folder exports, exactly

EXPORTS = {
    "adapters.arrays": "implementation",
    "adapters.torch": "ModelReport certify_model certify_module implementation layer_of",
    "checks": "Report check",
    "certificates": "Certificate NetworkCertificate READERS certify",
    "explorer": "ENTRIES_LIMIT Page explore",
    "plots": (
        "anatomy animate density difference frame gradient gradient_steps mask matrix network "
        "pooling tied"
    ),
    "sweeps": "sweep",
    "testing": (
        "Case Check assert_backward_matches_dense cases channels_last conv_checks from_cache gate "
        "only_options parametrize_with_conv_checks without_bias"
    ),
    "training": "Epoch losses sgd train",
    "verdicts": "Finding",
}


@pytest.mark.parametrize("folder", EXPORTS)
def test_a_folder_exports_what_is_listed(folder):
    if folder.startswith("adapters.") and folder != "adapters.arrays":
        pytest.importorskip(folder.partition(".")[2])
    there = importlib.import_module(f"convdense.{folder}")
    assert difference(there.__all__, EXPORTS[folder].split()) == {"missing": [], "extra": []}
    assert [name for name in there.__all__ if not hasattr(there, name)] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_dir_of_a_public_folder_is_what_it_exports(folder):
    assert difference(dir(getattr(convdense, folder)), EXPORTS[folder].split()) == {
        "missing": [],
        "extra": [],
    }


@pytest.mark.parametrize("module", PATHS)
def test_a_path_imports_without_a_warning(module, recwarn):
    if module.startswith("convdense.adapters.") and module != "convdense.adapters.arrays":
        pytest.importorskip(module.rpartition(".")[2])
    there = importlib.import_module(module)
    assert [name for name in PATHS[module].split() if not hasattr(there, name)] == []
    assert [str(w.message) for w in recwarn if w.category is DeprecationWarning] == []


def test_a_module_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"convdense\.never_was"):
        importlib.import_module("convdense.never_was")


# Modules and their names


def called_like_its_function(module, names):
    """Tell whether a module has a public function of its own name.

    An import of the module would hide it.
    """
    return module.rpartition(".")[2] in names


def modules():
    return [
        m.name
        for m in pkgutil.walk_packages(convdense.__path__, "convdense.")
        if m.name != "convdense.__main__"
    ]


def test_no_folder_exports_a_name_that_one_of_its_files_has():
    hidden = []
    for name in (
        m.name for m in pkgutil.walk_packages(convdense.__path__, "convdense.") if m.ispkg
    ):
        package = importlib.import_module(name)
        files = {m.name for m in pkgutil.iter_modules(package.__path__)}
        exported = {
            n
            for n in getattr(package, "__all__", ())
            if not isinstance(getattr(package, n), ModuleType)
        }
        hidden += [f"{name}.{n}" for n in sorted(files & exported)]
    assert hidden == []


def test_no_module_is_called_like_its_function_or_like_one_of_python():
    hidden, standard = [], []
    for name in modules():
        tree = ast.parse(Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        hidden += [name] if called_like_its_function(name, functions) else []
        standard += [name] if name.rpartition(".")[2] in sys.stdlib_module_names else []
    assert (hidden, standard) == ([], [])
    assert called_like_its_function("convdense.plots.anatomy", {"anatomy"})
    assert not called_like_its_function("convdense.plots._anatomy", {"anatomy"})


def test_one_line_says_what_a_verdict_is(monkeypatch):
    conv = convdense.Conv((1, 3, 3), out_channels=1, kernel=2)
    proof = convdense.certify(conv)
    assert repr(proof) == f"Certificate({conv!r}, {proof.sentence})"
    assert proof.sentence.startswith("holds: y, dx, dw, db equal; every pair of basis vectors")

    def negative(x, w, dy):
        dx, dw, db = convdense.convolve_backward(conv, x, w, dy)
        return -dx, dw, db

    mine = (lambda x, w, b: convdense.convolve(conv, x, w, b)), negative
    wrong = convdense.certify(conv, mine, seed=0)
    assert repr(wrong) == f"Certificate({conv!r}, does not hold: dx wrong at {wrong['dx'].at})"
    assert (
        repr(convdense.diagnose(conv, mine, seed=0))
        == f"Diagnosis({conv!r}, dx: the sign is turned)"
    )
    monkeypatch.setattr(_sweep, "FAMILIES", (FEW,))
    assert repr(sweep(every=100, workers=1)) == "Sweep(7 geometries, 0 failed)"
    judged = ModelReport({"stem": convdense.certify(conv)}, {}, {}, ())
    assert repr(judged) == "ModelReport(1 of 1 judged hold, 0 not judged, 0 never called)"
    w = np.arange(4.0).reshape(1, 1, 2, 2)
    recovered = convdense.recover(
        lambda x: convdense.convolve(conv, x, 2 * w), conv.in_shape, seed=0
    )
    difference_found = recovered.compare(convdense.TiedDense(conv, w))
    assert repr(difference_found) == "Difference(0 missing, 0 extra, 12 with another weight)"
    assert "\n" not in repr(recovered)
    chain = convdense.network(*[convdense.Linear(2, 2)] * 4, seed=0)
    said = "y, dx, 0.w, 0.b, 1.w, 5 more equal; 12 trials, no probability is known"
    assert repr(convdense.certify(chain, seed=0)) == f"NetworkCertificate({chain!r}, holds: {said})"


@pytest.mark.parametrize("name", EXPECTED)
def test_public_name_is_documented_with_an_example(name):
    public = getattr(convdense, name)
    assert callable(public)
    assert undocumented(public.__doc__) == ""


def test_missing_and_extra_names_are_seen():
    assert difference(["a", "x"], ["a", "b"]) == {"missing": ["b"], "extra": ["x"]}


EXAMPLE = "Examples\n    --------\n    >>> 1\n    1\n"


@pytest.mark.parametrize(
    ("docstring", "lacks"),
    [
        (None, "a docstring"),
        ("  \n", "a docstring"),
        ("Point(x: int, y: int)", "an Examples section"),  # what a dataclass writes by itself
        ("Do.\n\n    >>> 1\n    1\n", "an Examples section"),
        ("Do.\n\n    Examples\n    --------\n    Run it.\n", "an example that runs"),
        (f"Do.\n\n    {EXAMPLE}", ""),
    ],
    ids=repr,
)
def test_an_undocumented_name_is_seen(docstring, lacks):
    assert undocumented(docstring) == lacks


class Direct:
    """Right on one sample; what subclasses change is what is wrong."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b):
        return convdense.convolve(self.layer, x, w, b)

    def backward(self, x, w, dy):
        return convdense.convolve_backward(self.layer, x, w, dy)


class NoBatchOfThree(Direct):
    def forward(self, x, w, b):
        if len(x) == 3:
            raise RuntimeError("no three")
        return super().forward(x, w, b)


class InFloat32(Direct):
    def forward(self, x, w, b):
        return super().forward(x, w, b).astype(np.float32).astype(float)


@pytest.mark.parametrize(
    ("implementation", "said"),
    [
        (Direct, "holds: y, dx, dw, db equal; a wrong one passes with probability below 2^-73"),
        (
            NoBatchOfThree,
            "holds, with restrictions: y, dx, dw, db equal; "
            "a wrong one passes with probability below 2^-73",
        ),
        (InFloat32, "does not hold: precision of y wrong"),
    ],
)
def test_one_line_says_why_what_is_equal_does_not_hold(implementation, said):
    conv = convdense.Conv((2, 6, 7), out_channels=3, kernel=(3, 2), stride=2)
    certificate = convdense.certify(conv, implementation(conv), seed=3)
    assert repr(certificate) == f"Certificate({conv!r}, {said})"
    assert bool(certificate) == said.startswith("holds")
