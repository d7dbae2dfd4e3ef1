"""Training, to show that both ways take the same steps.

* `loop`: train
* `losses`: losses, value and gradient
* `optimizers`: sgd
"""

from convdense.training import losses
from convdense.training.loop import train
from convdense.training.optimizers import sgd

__all__ = ["losses", "sgd", "train"]
