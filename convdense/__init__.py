"""Convolution layers as dense layers: built, run, seen and proven."""

from convdense.activations import LeakyReLU, ReLU
from convdense.batch_norm import batch_norm
from convdense.build import Residual, network
from convdense.checks import Certificate, Report, certify, check
from convdense.checks.diagnose import diagnose
from convdense.checks.recover import recover
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
