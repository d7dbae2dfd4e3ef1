"""The layers the claims are judged on, one tuple for each claim or several.

They are small; asymmetric, so that exchanged axes show; every option is met by one of them.
"""

from convdense.claims import student_question
from convdense.geometry import (
    AvgPool,
    Conv,
    ConvTranspose,
    Linear,
    LocallyConnected,
    MaxPool,
    MinPool,
)
from convdense.layers._batch_norm import batch_norm
from convdense.layers.activations import LeakyReLU, ReLU
from convdense.layers.flatten import Flatten
from convdense.networks.builder import Residual, network

CONVOLUTIONS = (
    student_question.FIRST,  # 1 x 3 x 3 by one 2 x 2 kernel, the layer of the README
    Conv((2, 4), out_channels=3, kernel=3, stride=2, padding=((1, 0),)),
    Conv((1, 3, 4), out_channels=2, kernel=(3, 2), padding=(2, 3), padding_mode="replicate"),
    Conv(
        (2, 5, 7),
        out_channels=3,
        kernel=(3, 2),
        stride=(2, 1),
        padding=((1, 0), (0, 2)),
        dilation=(1, 2),
    ),
    Conv((4, 6, 5), out_channels=6, kernel=(2, 3), stride=2, padding="same", groups=2),
    Conv((3, 7, 4), out_channels=3, kernel=3, padding=1, groups=3, padding_mode="circular"),
    Conv((2, 5, 6), out_channels=2, kernel=3, padding=2, padding_mode="reflect", flip=True),
    Conv((2, 4, 3, 5), out_channels=3, kernel=(2, 3, 2), stride=(1, 2, 1), padding=(1, 1, 0)),
    Conv((3, 32, 32), out_channels=8, kernel=3, stride=2, padding=1),
)
TRANSPOSED = (
    ConvTranspose((1, 2, 3), out_channels=1, kernel=2, stride=2),
    ConvTranspose((2, 4), out_channels=3, kernel=3, stride=2, padding=1, output_padding=1),
    ConvTranspose(
        (4, 3, 5),
        out_channels=6,
        kernel=(3, 2),
        stride=(1, 3),
        dilation=(2, 1),
        groups=2,
        flip=True,
    ),
    ConvTranspose(
        (2, 3, 2, 4),
        out_channels=1,
        kernel=(2, 3, 2),
        stride=(2, 1, 2),
        padding=((1, 0), (0, 2), (1, 1)),
    ),
)
LOCAL = (
    LocallyConnected((1, 3, 3), out_channels=1, kernel=2),
    LocallyConnected((2, 5, 4), out_channels=3, kernel=(3, 2), stride=(2, 1), padding=1),
    LocallyConnected(
        (4, 6), out_channels=2, kernel=3, dilation=2, padding=1, padding_mode="circular", groups=2
    ),
)
# The claim on second derivatives costs a convolution for every pair of input and weight, so few.
FOR_SECOND_DERIVATIVE = (*CONVOLUTIONS[:5], TRANSPOSED[1], TRANSPOSED[2], LOCAL[0])
# Stride 1 and zero padding: matrices with constant diagonals.
TOEPLITZ = (
    student_question.FIRST,
    Conv((2, 4, 5), out_channels=3, kernel=(3, 2), padding=((1, 2), (0, 1)), dilation=(1, 2)),
    Conv((1, 5, 4), out_channels=1, kernel=(2, 3), padding="full", flip=True),
    Conv((2, 3, 4, 2), out_channels=2, kernel=2, padding="same", groups=2),
)
# Stride 1 and circular padding to the same size: diagonals that go on at the other side.
CIRCULANT = (
    Conv((1, 5), out_channels=1, kernel=3, padding=1, padding_mode="circular"),
    Conv((2, 4, 5), out_channels=3, kernel=(3, 2), padding="same", padding_mode="circular"),
    Conv(
        (1, 3, 4),
        out_channels=2,
        kernel=3,
        dilation=(1, 2),
        padding="same",
        padding_mode="circular",
        flip=True,
    ),
)

AVERAGES = (
    AvgPool((2, 6), kernel=3),
    AvgPool((1, 4, 5), kernel=(3, 2), stride=(2, 1), padding=1, ceil_mode=True),
    AvgPool((2, 5, 5), kernel=5, stride=1, padding=2, count_include_pad=False),
    AvgPool((1, 7, 5), output=(3, 2)),
)
EXTREMA = (
    MaxPool((1, 4), kernel=4),
    MaxPool((1, 5), kernel=3, stride=2, padding=1),
    MinPool((1, 2, 2), kernel=2),
    MaxPool((2, 5, 4), kernel=(3, 2), stride=(2, 1), padding=1, ceil_mode=True),
    MaxPool((1, 7, 5), output=(3, 2)),
)
_KEEPS_SHAPE = Conv((2, 5, 4), out_channels=2, kernel=3, padding="same")
NETWORKS = (
    network(
        Conv((1, 6, 7), out_channels=3, kernel=(3, 2)),
        ReLU(),
        MaxPool((3, 4, 6), kernel=2),
        Conv((3, 2, 3), out_channels=4, kernel=2),
        ReLU(),
        AvgPool((4, 1, 2), kernel=(1, 2)),
        Flatten(),
        Linear(4, out_features=3),
        seed=0,
    ),
    network(
        Residual(_KEEPS_SHAPE, LeakyReLU(0.25), _KEEPS_SHAPE),
        batch_norm((2, 5, 4), mean=[1.0, -2.0], var=[1.0, 4.0]),
        MinPool((2, 5, 4), kernel=(2, 3), stride=1),
        ConvTranspose((2, 4, 2), out_channels=1, kernel=2, stride=2),
        seed=0,
    ),
)
