"""Verdicts."""

from convdense.verdicts.findings import Finding

__all__ = ["Finding"]
