"""Training."""

from convdense.training import losses
from convdense.training.loop import train
from convdense.training.optimizers import sgd

__all__ = ["losses", "sgd", "train"]
