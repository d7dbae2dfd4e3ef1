"""`import convdense` is light: pictures, progress bars, frameworks are not imported with it."""

import subprocess
import sys
from pathlib import Path

import pytest

import convdense

HEAVY = ("matplotlib", "tqdm", "scipy.sparse.linalg", "torch", "jax", "onnx", "sklearn", "pytest")


def require_light(statement):
    """Run one statement in a fresh Python and refuse it if it imports something heavy."""
    code = f"import sys; {statement}; print(*(name for name in {HEAVY} if name in sys.modules))"
    where = Path(convdense.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=where, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    heavy = run.stdout.split()
    assert not heavy, f"{statement!r} imports {', '.join(heavy)}"


def test_importing_convdense_is_light():
    require_light("import convdense")


def test_importing_what_others_test_with_is_light():
    require_light("import convdense.testing")


@pytest.mark.parametrize("name", ["matplotlib", "tqdm", "scipy.sparse.linalg"])
def test_a_heavy_import_is_seen(name):
    with pytest.raises(AssertionError, match=rf"^'import convdense, {name}' imports .*{name}"):
        require_light(f"import convdense, {name}")


def test_a_failing_import_is_seen():
    with pytest.raises(AssertionError, match="no_such_module"):
        require_light("import no_such_module")
