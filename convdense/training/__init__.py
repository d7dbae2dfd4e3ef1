"""Training, to show that both ways take the same steps.

* `loop`: train
* `losses`: losses, value and gradient
* `optimizers`: sgd
"""

from convdense.training import losses
from convdense.training.loop import Epoch, train
from convdense.training.optimizers import sgd

__all__ = ["Epoch", "losses", "sgd", "train"]


def __dir__() -> list[str]:  # what is public: the files of the folder are not
    return __all__
