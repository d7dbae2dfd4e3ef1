"""Training."""

from convdense.training.loop import train

__all__ = ["train"]
