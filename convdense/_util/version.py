"""The version, in one place: pyproject.toml, ``convdense.__version__`` and the command read it."""

__version__ = "0.1.0"
