"""The command line."""

from convdense.cli._main import main

__all__ = ["main"]
