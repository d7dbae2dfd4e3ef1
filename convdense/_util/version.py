"""The version, in one place: pyproject.toml, ``convdense.__version__`` and ``convdense --version`` read it here."""

__version__ = "0.1.0"
