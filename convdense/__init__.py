"""Convolution layers as dense layers: built, run, seen and proven."""

import typing as _typing
from importlib import import_module as _import_module

from convdense.activations import LeakyReLU, ReLU
from convdense.batch_norm import batch_norm
from convdense.build import Residual, network
from convdense.checks import Certificate, Report, certify, check
from convdense.direct_fast import convolve, convolve_backward
from convdense.equations import equations
from convdense.flatten import Flatten
from convdense.geometry import (
    AvgPool,
    Conv,
    ConvTranspose,
    Linear,
    LocallyConnected,
    LpPool,
    MaxPool,
    MinPool,
    SumPool,
)
from convdense.layers import Dense, TiedDense
from convdense.matrices import conv_matrix
from convdense.networks import Network
from convdense.pooling import dense_pool
from convdense.tiemap import TieMap
from convdense.ties import tie

if _typing.TYPE_CHECKING:
    from convdense.checks.diagnose import diagnose
    from convdense.checks.recover import recover

_LATER = {"diagnose": "convdense.checks.diagnose", "recover": "convdense.checks.recover"}  # 15 ms that few ask for


def __getattr__(name: str) -> _typing.Any:
    """Import what few ask for when it is asked for (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    """Return the names, those not yet imported too: for completion."""
    return sorted({*globals(), *_LATER})


__version__ = "0.1.0"
__all__ = [
    "AvgPool",
    "Certificate",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Flatten",
    "LeakyReLU",
    "Linear",
    "LocallyConnected",
    "LpPool",
    "MaxPool",
    "MinPool",
    "Network",
    "ReLU",
    "Report",
    "Residual",
    "SumPool",
    "TieMap",
    "TiedDense",
    "batch_norm",
    "certify",
    "check",
    "conv_matrix",
    "convolve",
    "convolve_backward",
    "dense_pool",
    "diagnose",
    "equations",
    "network",
    "recover",
    "tie",
]
