"""Sweep."""

from convdense.sweeps._sweep import sweep

__all__ = ["sweep"]
