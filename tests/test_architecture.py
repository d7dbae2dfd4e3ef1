"""Imports only go down, those inside functions too; and modules stay short."""

import ast
import re
import sys
import tomllib
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

import convdense

FOLDER = Path(convdense.__file__).parent

# Folder -> floor. An import goes to a folder on a lower floor, or to a file of its own folder if no
# chain of such imports leads back.
FLOORS = {
    "_util": 1,
    "display": 2,
    "geometry": 3,
    "verdicts": 3,
    "structure": 4,
    "direct": 4,
    "layers": 5,
    "networks": 6,
    "implementations": 6,
    "training": 7,
    "rounding": 7,
    "checks": 8,
    "certificates": 8,
    "recovery": 8,
    "norms": 8,
    "sweeps": 8,
    "diagnosis": 9,
    "diagnosis.mistakes": 8,
    "claims": 9,
    "adapters": 9,
    "plots": 9,
    "explorer": 9,
    "testing": 10,
    "cli": 11,
    "": 12,  # convdense/__init__.py gathers the public names
}
FRAMEWORKS = (  # in adapters only
    "torch", "jax", "ml_dtypes", "numba", "triton", "cupy",
    "onnx", "sklearn", "dask", "distributed",
)  # fmt: skip
SLOW = (
    "matplotlib",
    "tqdm",
    "scipy.sparse.linalg",
)  # inside functions, for type checkers, or in plots
NEVER = ("matplotlib.pyplot", "IPython")  # what shows figures twice; what only a notebook has
LONGEST_MODULE, LONGEST_FUNCTION = 400, 60
LARGEST_FOLDER = 0.15  # of all lines
INSTALLED = packages_distributions()  # {name to import: the packages that have it}
LATER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Import(NamedTuple):
    """One imported name, absolute, as in ``from a.b import c`` -> a.b.c."""

    name: str
    line: int
    at_once: bool  # when the module is imported: not inside a function, not for type checkers only


def module_name(path):
    """Return the name below convdense: geometry.conv of geometry/conv.py, checks of its init."""
    parts = path.relative_to(FOLDER).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_name(path): path.read_text(encoding="utf-8") for path in sorted(FOLDER.rglob("*.py"))
}
del SOURCES[""]  # convdense/__init__.py may import anything
PACKAGES = {module_name(path) for path in FOLDER.rglob("__init__.py")}
on_all_modules = pytest.mark.parametrize("module", SOURCES)


def imports(module, source, package=False):
    """Return every import of a module."""
    own = ["convdense", *module.split(".")]

    def visit(node, at_once):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = own[: len(own) - node.level + package] if node.level else []
            origin = ".".join([*up, *filter(None, [node.module])])
            yield from (
                Import(f"{origin}.{alias.name}", node.lineno, at_once) for alias in node.names
            )
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) in (
            "TYPE_CHECKING",
            "typing.TYPE_CHECKING",
        )
        for field, children in ast.iter_fields(node):
            later = isinstance(node, LATER) or (typing_only and field == "body")
            for child in children if isinstance(children, list) else [children]:
                if isinstance(child, ast.AST):
                    yield from visit(child, at_once and not later)

    return list(visit(ast.parse(source), True))


def targets(module, source, modules, package=False):
    """Return {imported module of convdense: line}; "" is convdense itself."""
    found = {}
    for name, line, _ in imports(module, source, package):
        head, _, rest = name.partition(".")
        if head == "convdense":
            while rest and rest not in modules:  # a name in a module, not a module
                rest = rest.rpartition(".")[0]
            found.setdefault(rest, line)
    return found


def room(module):
    """Return the folder a module lies in: that of a package is itself."""
    return module if module in PACKAGES else module.rpartition(".")[0]


def floor(module):
    return FLOORS.get(room(module))


def homeless(modules):
    """Return a complaint for each module whose folder has no floor."""
    return [
        f"convdense/{m.replace('.', '/')}: give its folder a floor in FLOORS"
        for m in modules
        if floor(m) is None
    ]


def upward(module, source, modules, package=False):
    """Return a complaint for each import from a folder that is not on a lower floor."""
    found = targets(module, source, modules, package)
    return homeless([module, *found]) or [
        f"{module} on floor {floor(module)}, line {line}: "
        f"imports {target or 'convdense'} on floor {floor(target)}"
        for target, line in found.items()
        if room(target) != room(module) and floor(target) >= floor(module)
    ]


def cycle(sources, packages=()):
    """Return modules that import each other in a circle, its ends equal; empty without one."""
    graph = {
        m: set(targets(m, source, sources, m in packages)) - {m} for m, source in sources.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def misplaced(module, source, package=False):
    """Return a complaint for each framework outside adapters, and each slow import at once."""

    def among(name, roots):
        return any(name == root or name.startswith(root + ".") for root in roots)

    home, complaints = module.partition(".")[0], []
    for name, line, at_once in imports(module, source, package):
        if among(name, FRAMEWORKS) and home != "adapters":
            complaints.append(f"{module}, line {line}: imports {name}; only adapters may")
        if among(name, NEVER):
            complaints.append(f"{module}, line {line}: imports {name}; nothing may")
        if among(name, SLOW) and home != "plots" and at_once:
            complaints.append(
                f"{module}, line {line}: imports {name}; do so inside the function that needs it"
            )
    return complaints


@cache
def declared():
    """Return the packages that pyproject.toml declares, those of its extras too, in lower case."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    requirements = chain(project["dependencies"], *project["optional-dependencies"].values())
    return {re.match(r"[\w-]+", requirement)[0].lower() for requirement in requirements}


def undeclared(module, source, package=False):
    """Return a complaint for each import of a package that pyproject.toml does not declare."""
    complaints = []
    for name, line, _ in imports(module, source, package):
        top = name.partition(".")[0]
        if top == "convdense" or top in sys.stdlib_module_names:
            continue
        packages = {package.lower() for package in INSTALLED.get(top, [top])}
        if not packages & declared():
            complaints.append(
                f"{module}, line {line}: imports {top}; declare {' or '.join(sorted(packages))}"
            )
    return complaints


def described(docstring):
    """Return (sentence, {file: caption}) of a docstring, or of any text with such a list."""
    sentence = " ".join(docstring.split("\n\n")[0].split())
    return sentence, dict(re.findall(r"^\* `(\w+)`: (.+)$", docstring, re.MULTILINE))


def undescribed(docstring, files):
    """Return a complaint for each file that is not listed, and each that is listed in vain."""
    sentence, listed = described(docstring or "")
    missing = [f"{name}: not listed" for name in sorted(set(files) - set(listed))]
    gone = [f"{name}: listed, and not there" for name in sorted(set(listed) - set(files))]
    return (
        (missing + gone)
        if re.fullmatch(r"\S.+\.", sentence)
        else ["no sentence that ends in a period"]
    )


def shares():
    """Return {folder: its share of all lines of the package}."""
    lines = Counter()
    for module, source in SOURCES.items():
        lines[room(module)] += len(source.splitlines())
    return {folder: n / lines.total() for folder, n in lines.items()}


def too_long(module, source):
    """Return a complaint for a module or function over the limit; docstrings do not count."""
    n = len(source.splitlines())
    complaints = [f"{module}: {n} lines, at most {LONGEST_MODULE}"] if n > LONGEST_MODULE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            doc = node.body[0] if ast.get_docstring(node) is not None else None
            lines = (
                node.end_lineno - node.lineno + 1 - (doc.end_lineno - doc.lineno + 1 if doc else 0)
            )
            if lines > LONGEST_FUNCTION:
                complaints.append(
                    f"{module}.{node.name}: {lines} lines, at most {LONGEST_FUNCTION}"
                )
    return complaints


def test_every_module_has_a_floor():
    assert homeless(SOURCES) == []


@on_all_modules
def test_imports_go_down(module):
    assert upward(module, SOURCES[module], SOURCES, module in PACKAGES) == []


def test_no_module_imports_itself_by_way_of_others():
    assert cycle(SOURCES, PACKAGES) == []


@pytest.mark.parametrize(
    "module", [m for m in SOURCES if room(m) == "direct" and m not in PACKAGES]
)
def test_direct_convolution_shares_only_the_geometry(module):
    """The loops import no fast form, and fast convolution no loops: each judges the other."""
    found = set(targets(module, SOURCES[module], SOURCES))
    allowed = {
        "direct.pool": {"direct.pool_loops"},  # for windows of several sizes
        "direct.conv": {"_util.foreign_names", "_util.threads"},  # messages, threads: no index
    }.get(module, set())
    assert {target for target in found if room(target) != "geometry"} == allowed
    assert "geometry" in {room(target) for target in found}


@on_all_modules
def test_frameworks_and_slow_imports_stay_where_they_are_needed(module):
    assert misplaced(module, SOURCES[module], module in PACKAGES) == []


@on_all_modules
def test_what_is_imported_is_declared(module):
    assert undeclared(module, SOURCES[module], module in PACKAGES) == []


@on_all_modules
def test_modules_and_functions_stay_short(module):
    assert too_long(module, SOURCES[module]) == []


# The house: folders that say what they are, none too large, and a map of them

CONTRIBUTING = (FOLDER.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| `([\w/]+)` \| (.+) \|$", re.MULTILINE)


@pytest.mark.parametrize("folder", sorted(PACKAGES - {""}))
def test_a_folder_says_what_it_is_and_lists_its_files(folder):
    files = [m.rpartition(".")[2] for m in SOURCES if room(m) == folder and m not in PACKAGES]
    assert undescribed(ast.get_docstring(ast.parse(SOURCES[folder])), files) == []


def test_the_map_is_the_floors_and_the_sentences():
    rows = [
        (int(n), folder.replace("/", "."), sentence)
        for n, folder, sentence in ROW.findall(CONTRIBUTING)
    ]
    sentences = {f: described(ast.get_docstring(ast.parse(SOURCES[f])))[0] for f in PACKAGES - {""}}
    assert rows == [(FLOORS[folder], folder, sentences[folder]) for _, folder, _ in rows]
    assert {folder for _, folder, _ in rows} == set(FLOORS) - {""} == PACKAGES - {""}
    assert [n for n, _, _ in rows] == sorted(n for n, _, _ in rows)


def test_no_folder_is_too_large_and_none_too_high():
    assert max(shares().values()) <= LARGEST_FOLDER, shares()
    assert set(FLOORS.values()) == set(range(1, 13))


def test_the_root_holds_three_files():
    assert sorted(p.name for p in FOLDER.iterdir() if p.is_file()) == [
        "__init__.py",
        "__main__.py",
        "py.typed",
    ]


# The checks themselves can fail

HIDDEN = "class C:\n    def method(self):\n        if True:\n            {}\n"
NAMES = [
    "_util.arguments",
    "geometry",
    "geometry.base",
    "geometry.conv",
    "structure",
    "structure.axis",
    "direct.conv",
]
NAMES += [
    "structure.tie_map",
    "layers",
    "layers.dense",
    "checks",
    "checks.check_layer",
    "cli",
    "cli.show",
]


@pytest.mark.parametrize(
    ("module", "statement", "above"),
    [
        ("structure.axis", "from convdense.layers.dense import Dense", "layers.dense"),
        ("structure.axis", "import convdense.layers.dense", "layers.dense"),
        ("structure.axis", "import numpy, convdense.layers as stack", "layers"),
        ("structure.axis", "from convdense import layers", "layers"),
        ("structure.axis", "from .. import layers", "layers"),
        ("structure.axis", "from ..layers.dense import Dense", "layers.dense"),
        ("structure.axis", "from convdense.layers import dense", "layers.dense"),
        # another room, the same floor
        ("structure.axis", "from convdense.direct.conv import convolve", "direct.conv"),
        ("geometry.conv", "from ..structure.tie_map import TieMap", "structure.tie_map"),
        ("checks.check_layer", "from convdense.cli.show import in_letters", "cli.show"),
    ],
)  # fmt: skip
def test_an_upward_import_inside_a_function_is_seen(module, statement, above):
    expected = f"{module} on floor {floor(module)}, line 4: imports {above} on floor {floor(above)}"
    assert upward(module, HIDDEN.format(statement), NAMES) == [expected]
    assert upward("cli.show", HIDDEN.format(f"from convdense.{above} import name"), NAMES) == []


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("layers.tied_dense", "from convdense.structure.axis import Axis"),
        ("structure.tie_map", "from convdense.structure import axis"),
        ("structure.tie_map", "from .axis import expand"),
        ("geometry.conv", "from .base import Geometry"),
        ("geometry.conv", "from .._util.arguments import integer"),
        ("structure.axis", "import numpy"),
        ("structure.axis", "from layers import Dense"),  # another package's
        ("structure.axis", "import convdensely.layers"),
    ],
)
def test_a_downward_import_passes(module, statement):
    assert upward(module, HIDDEN.format(statement), NAMES) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("from .check_layer import check", {"checks.check_layer": 1}),
        ("from . import check_layer", {"checks.check_layer": 1}),
        ("from ..layers import Dense", {"layers": 1}),
    ],
)
def test_a_package_is_where_its_own_relative_imports_start(statement, found):
    assert targets("checks", statement, NAMES, package=True) == found


@pytest.mark.parametrize(
    "statement", ["import convdense", "from convdense import Conv", "from .. import Conv"]
)
def test_an_import_from_convdense_itself_is_seen_in_every_folder(statement):
    expected = f"geometry.conv on floor 3, line 4: imports convdense on floor {FLOORS['']}"
    assert upward("geometry.conv", HIDDEN.format(statement), NAMES) == [expected]
    assert len(upward("plots.matrices", HIDDEN.format("from convdense import Conv"), NAMES)) == 1
    assert len(upward("cli.show", HIDDEN.format("from convdense import Conv"), NAMES)) == 1
    assert upward("__main__", "from convdense.cli.show import in_letters", NAMES) == []


def test_a_folder_without_a_floor_is_seen():
    assert homeless(
        ["structure.axis", "checks.check_layer", "newcomer.file", "attic.box.file"]
    ) == [
        "convdense/newcomer/file: give its folder a floor in FLOORS",
        "convdense/attic/box/file: give its folder a floor in FLOORS",
    ]
    homeless_one = ["convdense/newcomer/file: give its folder a floor in FLOORS"]
    assert upward("newcomer.file", "import numpy", NAMES) == homeless_one
    assert (
        upward("structure.axis", "from convdense.newcomer import file", [*NAMES, "newcomer.file"])
        == homeless_one
    )


def test_a_circle_on_one_floor_is_seen():
    sources = {
        "_util.arguments": "",
        "display.a": "from convdense.display import b",
        "display.b": HIDDEN.format("from convdense.display.c import aligned"),
        "display.c": HIDDEN.format("import convdense.display.a"),
    }
    assert sorted(set(cycle(sources))) == ["display.a", "display.b", "display.c"]
    assert cycle({**sources, "display.c": HIDDEN.format("import convdense._util.arguments")}) == []


def test_a_circle_within_a_package_is_seen():
    sources = {
        "geometry": "from convdense.geometry.conv import Conv",
        "geometry.conv": "from .base import Geometry",
        "geometry.base": HIDDEN.format("from .conv import Conv"),
        "geometry.padding": "",
    }
    assert sorted(set(cycle(sources, {"geometry"}))) == ["geometry.base", "geometry.conv"]
    assert (
        cycle({**sources, "geometry.base": HIDDEN.format("from . import padding")}, {"geometry"})
        == []
    )


@pytest.mark.parametrize(
    "statement",
    ["from convdense._util.arguments import Array", "from convdense.structure import axis"],
)
def test_sharing_more_than_the_geometry_is_seen(statement):
    found = targets("direct.conv", f"from convdense.geometry import Conv\n{statement}", NAMES)
    assert {room(target) for target in found} - {"direct"} != {"geometry"}


@pytest.mark.parametrize(
    "statement",
    ["import torch", "from jax.numpy import dot", "import onnx.helper", "import sklearn"],
)
def test_a_framework_outside_adapters_is_seen(statement):
    assert len(misplaced("layers", HIDDEN.format(statement))) == 1
    assert misplaced("adapters.torch", statement) == []
    assert misplaced("layers", "import torchlight\nfrom . import torch") == []


@pytest.mark.parametrize(
    "statement",
    ["import matplotlib.pyplot as plt", "from matplotlib import pyplot", "import IPython.display"],
)
def test_what_shows_figures_for_others_is_seen(statement):
    assert len(misplaced("plots.matrix", HIDDEN.format(statement))) == 1
    assert misplaced("plots.matrix", "from matplotlib import figure, pyplot_like") == []


@pytest.mark.parametrize(
    "statement",
    [
        "import matplotlib.axes as axes",
        "from tqdm import tqdm",
        "import scipy.sparse.linalg",
        "from scipy.sparse import linalg",
        "from scipy.sparse.linalg import svds",
        "try:\n    import tqdm\nexcept ImportError:\n    pass",
        "class C:\n    import matplotlib",
    ],
)
def test_a_slow_import_that_everybody_pays_for_is_seen(statement):
    assert len(misplaced("layers", statement)) == 1
    assert misplaced("plots.matrix", statement) == []
    indented = statement.replace("\n", "\n    ")
    assert misplaced("layers", f"def f():\n    {indented}") == []
    assert misplaced("layers", f"if TYPE_CHECKING:\n    {indented}") == []
    assert len(misplaced("layers", f"if TYPE_CHECKING:\n    pass\nelse:\n    {indented}")) == 1
    assert misplaced("layers", "import scipy.sparse as sp") == []


def test_an_undeclared_import_is_seen():
    assert undeclared("m", "import math\nfrom PIL import Image\nfrom . import axis") == []
    assert undeclared("m", HIDDEN.format("from a_package_of_no_index import load")) == [
        "m, line 4: imports a_package_of_no_index; declare a_package_of_no_index"
    ]


@pytest.mark.parametrize(
    ("docstring", "complaints"),
    [
        ("Sums.\n\n* `a`: one\n* `_b`: two\n", []),
        ("Sums\nof all.\n\n* `a`: one\n* `_b`: two\n", []),
        ("Sums.\n\n* `a`: one\n", ["_b: not listed"]),
        ("Sums.\n\n* `a`: one\n* `_b`: two\n* `c`: three\n", ["c: listed, and not there"]),
        ("Sums.\n\n* `a`: one\n* `_b`:\n", ["_b: not listed"]),
        ("Sums\n\n* `a`: one\n* `_b`: two\n", ["no sentence that ends in a period"]),
        (None, ["no sentence that ends in a period"]),
    ],
)
def test_a_folder_that_does_not_say_what_it_holds_is_seen(docstring, complaints):
    assert undescribed(docstring, ["a", "_b"]) == complaints


def test_a_long_module_or_function_is_seen():
    assert too_long("m", "x = 1\n" * LONGEST_MODULE) == []
    assert too_long("m", "x = 1\n" * (LONGEST_MODULE + 1)) == ["m: 401 lines, at most 400"]
    body = "    x = 1\n" * (LONGEST_FUNCTION - 1)
    assert too_long("m", f'def f():\n    """Say.\n\n    More.\n    """\n{body}') == []
    assert too_long("m", f"class C:\n  async def f():\n{body}    x = 1\n") == [
        "m.f: 61 lines, at most 60"
    ]
