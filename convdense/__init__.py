"""Convolution layers as dense layers: built, run, seen and proven."""

import typing as _typing
from importlib import import_module as _import_module

from convdense._util.version import __version__ as __version__
from convdense.certificates import Certificate, certify
from convdense.checks import Report, check
from convdense.direct.conv import convolve, convolve_backward
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
from convdense.layers._batch_norm import batch_norm
from convdense.layers.activations import LeakyReLU, ReLU
from convdense.layers.dense import Dense, TiedDense
from convdense.layers.flatten import Flatten
from convdense.layers.pooling import dense_pool
from convdense.networks.builder import Residual, network
from convdense.networks.network import Network
from convdense.structure._conv_matrix import conv_matrix
from convdense.structure._equations import equations
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap

if _typing.TYPE_CHECKING:
    from convdense.diagnosis._diagnose import diagnose
    from convdense.recovery._recover import recover

_LATER = {
    "diagnose": "convdense.diagnosis._diagnose",
    "recover": "convdense.recovery._recover",
}  # 15 ms that few ask for


def __getattr__(name: str) -> _typing.Any:
    """Import what few ask for when it is asked for (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    """Return the names, those not yet imported too: for completion."""
    return sorted({*globals(), *_LATER})


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
