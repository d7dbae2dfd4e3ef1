"""Convolution layers as dense layers: built, run, seen and proven."""

from convdense.direct_fast import convolve, convolve_backward
from convdense.geometry import Conv, ConvTranspose, LocallyConnected
from convdense.layers import Dense, TiedDense
from convdense.tiemap import TieMap
from convdense.ties import tie

__version__ = "0.1.0"
