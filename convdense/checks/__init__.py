"""Checks."""

from convdense.checks.check_layer import Report, check

__all__ = ["Report", "check"]
