"""Convolution layers as dense layers: built, run, seen and proven."""

from convdense.checks import Certificate, Report, certify, check
from convdense.direct_fast import convolve, convolve_backward
from convdense.equations import equations
from convdense.geometry import AvgPool, Conv, ConvTranspose, LocallyConnected, LpPool, MaxPool, MinPool, SumPool
from convdense.layers import Dense, TiedDense
from convdense.matrices import conv_matrix
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
    "LocallyConnected",
    "LpPool",
    "MaxPool",
    "MinPool",
    "Report",
    "SumPool",
    "TieMap",
    "TiedDense",
    "certify",
    "check",
    "conv_matrix",
    "convolve",
    "convolve_backward",
    "dense_pool",
    "equations",
    "tie",
]
