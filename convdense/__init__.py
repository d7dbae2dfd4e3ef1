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
from convdense.layers.dense import Dense
from convdense.layers.flatten import Flatten
from convdense.layers.pooling import dense_pool
from convdense.layers.tied_dense import TiedDense
from convdense.networks.builder import Residual, network
from convdense.networks.network import Network
from convdense.structure._conv_matrix import conv_matrix
from convdense.structure._equations import equations
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap

if _typing.TYPE_CHECKING:
    from convdense import explorer as explorer
    from convdense import plots as plots
    from convdense import testing as testing
    from convdense import training as training
    from convdense.diagnosis._diagnose import diagnose
    from convdense.norms._norm_bounds import norm_bounds
    from convdense.recovery._recover import recover

# What few ask for is imported when it is first touched (PEP 562): names by their module, then whole
# folders.
_LATER = {
    "diagnose": "convdense.diagnosis._diagnose",
    "norm_bounds": "convdense.norms._norm_bounds",
    "recover": "convdense.recovery._recover",
}
_FOLDERS = ("explorer", "plots", "testing", "training")


if not _typing.TYPE_CHECKING:  # so that a type checker sees a name that does not exist

    def __getattr__(name: str) -> _typing.Any:
        """Import what few ask for when it is asked for."""
        if name in _FOLDERS:
            return _import_module(f"{__name__}.{name}")
        if name in _LATER:
            return getattr(_import_module(_LATER[name]), name)
        from convdense._util.foreign_names import named_here  # noqa: PLC0415  (seldom needed)

        do = named_here(name, __all__)
        raise AttributeError(f"module 'convdense' has no attribute {name!r}{do}")


def __dir__() -> list[str]:
    """Return what is public, imported or not yet."""
    return sorted({*__all__, *_FOLDERS, "__version__"})


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
    "norm_bounds",
    "recover",
    "tie",
]
