"""The one table of claims: what is said, what is compared with what, on which layers, and who judges.

It feeds the demo, the command line, the README's table and the tests.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, log2
from typing import Any

import numpy as np

from convdense.activations import LeakyReLU, ReLU
from convdense.arguments import Array
from convdense.batch_norm import batch_norm
from convdense.build import Residual, network
from convdense.checks import question
from convdense.checks.evidence import Evidence, of_activation, of_network, of_pool, on_floats
from convdense.checks.exact import Certificate, certify
from convdense.checks.floats import Report, check
from convdense.checks.report import EQUAL, QUANTITIES
from convdense.checks.toeplitz import block_circulant, block_toeplitz
from convdense.flatten import Flatten
from convdense.geometry import AvgPool, Conv, ConvTranspose, Linear, LocallyConnected, MaxPool, MinPool
from convdense.layers import Dense, TiedDense
from convdense.ties import tie


@dataclass(frozen=True)
class Claim:
    """A sentence, what it compares with what, the layers it is judged on, and the judge of one layer."""

    id: str
    sentence: str
    compared: str
    layers: tuple[Any, ...]
    judge: Callable[[Any], Evidence]


@dataclass(frozen=True)
class Verdict:
    """A claim and the evidence of all its layers."""

    claim: Claim
    evidence: tuple[Evidence, ...]

    @property
    def held(self) -> bool:
        """Whether the claim held on every layer."""
        return all(e.held for e in self.evidence)

    @property
    def exact(self) -> bool:
        """Whether it was exact on integers on every layer."""
        return all(e.exact for e in self.evidence)

    @property
    def worst(self) -> Evidence:
        """The evidence whose difference is the largest share of its bound."""
        return max(self.evidence, key=lambda e: e.difference / e.bound if e.bound else float(e.difference > 0))

    @property
    def sure(self) -> str:
        """How sure it is: on how many layers a proof, on how many an error probability."""
        errors = [e.error for e in self.evidence if e.held and not e.trials]
        proofs, drawn = errors.count(0.0), [e for e in errors if e > 0]
        tried = [e.trials for e in self.evidence if e.held and e.trials]
        parts = [f"proof on {_layers(proofs)}"] if proofs else []
        parts += [f"error at most 2^{ceil(log2(max(drawn)))} on {_layers(len(drawn))}"] if drawn else []
        parts += [f"{min(tried)} exact trials each on {_layers(len(tried))}"] if tried else []
        wrong = len(self.evidence) - len(errors) - len(tried)
        return "; ".join(parts + ([f"WRONG on {_layers(wrong)}"] if wrong else []))


def _layers(n: int) -> str:
    return f"{n} layer" if n == 1 else f"{n} layers"


def judge_claims(claims: Iterable[Claim] | None = None) -> Iterable[Verdict]:
    """Yield the verdict on every claim of the table, on evidence taken now."""
    _judged.cache_clear()
    for claim in CLAIMS if claims is None else claims:
        yield Verdict(claim, tuple(claim.judge(layer) for layer in claim.layers))


def of_quantities(names: Iterable[str], certificate: Certificate, report: Report) -> Evidence:
    """Return the evidence that a certificate and a report on real data give on some of y, dx, dw and db."""
    names = list(names)
    exact = all(certificate[name].verdict == EQUAL for name in names)
    return Evidence(certificate.layer, exact, certificate.error, *on_floats(report, names))


@lru_cache(maxsize=64)
def _judged(layer: Any) -> tuple[Certificate, Report]:
    """Certify a layer and check it on random reals, once for all claims that ask."""
    rng = np.random.default_rng(0)
    shapes = ((2, *layer.in_shape), layer.weight_shape, layer.bias_shape, (2, *layer.out_shape))
    x, w, b, dy = (rng.normal(size=shape) for shape in shapes)
    return certify(layer), check(layer, x, w, b, dy)


def _quantities(*names: str) -> Callable[[Any], Evidence]:
    return lambda layer: of_quantities(names, *_judged(layer))


def _basis(layer: Any) -> Iterable[Array]:
    for k in range(int(np.prod(layer.weight_shape))):
        yield np.eye(1, int(np.prod(layer.weight_shape)), k, dtype=np.int64).reshape(layer.weight_shape)


def _matrices(other: Callable[[Any, Array], Array]) -> Callable[[Any], Evidence]:
    """Judge the matrix, linear in w, by its value for every basis vector."""
    return lambda layer: Evidence(
        layer, all(np.array_equal(tie(layer).matrix(w).toarray(), other(layer, w)) for w in _basis(layer))
    )


def _steps(layer: Any) -> Evidence:
    """Judge the textbook way: an ordinary dense layer's gradient, masked and summed over the ties; for basis pairs."""
    rows, cols = tie(layer).shape
    tied = TiedDense(layer, np.ones(layer.weight_shape))
    dense, edges = Dense(tied.matrix.toarray()), tied.ties.entries()
    exact = True
    for r, c in np.ndindex(rows, cols):
        dy, x = np.eye(1, rows, r), np.eye(1, cols, c)
        G = dense.backward(x, dy).dw  # (outputs, inputs): every edge its own weight
        summed = np.bincount(edges.index, G[edges.row, edges.col], tied.w.size).reshape(tied.w.shape)
        dw = tied.backward(x.reshape(1, *layer.in_shape), dy.reshape(1, *layer.out_shape)).dw
        exact &= np.array_equal(summed, dw)
    return Evidence(layer, bool(exact))


def _untied(layer: Any) -> Evidence:
    """Judge a locally connected layer: mask and size of its convolution, every weight in one place at most."""
    values = {name: getattr(layer, name) for name in ("kernel", "stride", "padding", "dilation", "groups", "flip")}
    conv = Conv(layer.in_shape, layer.out_channels, **values, padding_mode=layer.padding_mode)
    alike = np.array_equal(tie(layer).mask().toarray(), tie(conv).mask().toarray())
    alone = int(tie(layer).counts().weights.max()) == 1
    evidence = _quantities(*QUANTITIES)(layer)
    return replace(evidence, exact=evidence.exact and alike and alone)


def _question(layer: Any) -> Evidence:
    right, error = question.judge()
    return Evidence(layer, right, error)


CONVOLUTIONS = (
    question.FIRST,
    Conv((2, 4), out_channels=3, kernel=3, stride=2, padding=((1, 0),)),
    Conv((1, 3, 4), out_channels=2, kernel=(3, 2), padding=(2, 3), padding_mode="replicate"),
    Conv((2, 5, 7), out_channels=3, kernel=(3, 2), stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2)),
    Conv((4, 6, 5), out_channels=6, kernel=(2, 3), stride=2, padding="same", groups=2),
    Conv((3, 7, 4), out_channels=3, kernel=3, padding=1, groups=3, padding_mode="circular"),
    Conv((2, 5, 6), out_channels=2, kernel=3, padding=2, padding_mode="reflect", flip=True),
    Conv((2, 4, 3, 5), out_channels=3, kernel=(2, 3, 2), stride=(1, 2, 1), padding=(1, 1, 0)),
    Conv((3, 32, 32), out_channels=8, kernel=3, stride=2, padding=1),
)
TRANSPOSED = (
    ConvTranspose((1, 2, 3), out_channels=1, kernel=2, stride=2),
    ConvTranspose((2, 4), out_channels=3, kernel=3, stride=2, padding=1, output_padding=1),
    ConvTranspose((4, 3, 5), out_channels=6, kernel=(3, 2), stride=(1, 3), dilation=(2, 1), groups=2, flip=True),
    ConvTranspose((2, 3, 2, 4), out_channels=1, kernel=(2, 3, 2), stride=(2, 1, 2), padding=((1, 0), (0, 2), (1, 1))),
)
LOCAL = (
    LocallyConnected((1, 3, 3), out_channels=1, kernel=2),
    LocallyConnected((2, 5, 4), out_channels=3, kernel=(3, 2), stride=(2, 1), padding=1),
    LocallyConnected((4, 6), out_channels=2, kernel=3, dilation=2, padding=1, padding_mode="circular", groups=2),
)
TOEPLITZ = (
    question.FIRST,
    Conv((2, 4, 5), out_channels=3, kernel=(3, 2), padding=((1, 2), (0, 1)), dilation=(1, 2)),
    Conv((1, 5, 4), out_channels=1, kernel=(2, 3), padding="full", flip=True),
    Conv((2, 3, 4, 2), out_channels=2, kernel=2, padding="same", groups=2),
)
CIRCULANT = (
    Conv((1, 5), out_channels=1, kernel=3, padding=1, padding_mode="circular"),
    Conv((2, 4, 5), out_channels=3, kernel=(3, 2), padding="same", padding_mode="circular"),
    Conv((1, 3, 4), out_channels=2, kernel=3, dilation=(1, 2), padding="same", padding_mode="circular", flip=True),
)

AVERAGES = (
    AvgPool((2, 6), kernel=3),
    AvgPool((1, 4, 5), kernel=(3, 2), stride=(2, 1), padding=1, ceil_mode=True),
    AvgPool((2, 5, 5), kernel=5, stride=1, padding=2, count_include_pad=False),
    AvgPool((1, 7, 5), output=(3, 2)),
)
LARGEST = (
    MaxPool((1, 4), kernel=4),
    MaxPool((1, 5), kernel=3, stride=2, padding=1),
    MinPool((1, 2, 2), kernel=2),
    MaxPool((2, 5, 4), kernel=(3, 2), stride=(2, 1), padding=1, ceil_mode=True),
    MaxPool((1, 7, 5), output=(3, 2)),
)
_SAME = Conv((2, 5, 4), out_channels=2, kernel=3, padding="same")
NETWORKS = (
    network(
        *(Conv((1, 6, 7), out_channels=3, kernel=(3, 2)), ReLU(), MaxPool((3, 4, 6), kernel=2)),
        *(Conv((3, 2, 3), out_channels=4, kernel=2), ReLU(), AvgPool((4, 1, 2), kernel=(1, 2)), Flatten()),
        Linear(4, out_features=3),
        seed=0,
    ),
    network(
        Residual(_SAME, LeakyReLU(0.25), _SAME),
        batch_norm((2, 5, 4), mean=[1.0, -2.0], var=[1.0, 4.0]),
        MinPool((2, 5, 4), kernel=(2, 3), stride=1),
        ConvTranspose((2, 4, 2), out_channels=1, kernel=2, stride=2),
        seed=0,
    ),
)

_ROADS = "stored matrix with direct convolution"
CLAIMS = (
    Claim("forward", "A convolution is a sparse dense layer: y = W x + b.", _ROADS, CONVOLUTIONS, _quantities("y")),
    Claim("dx", "Its input gradient is the transposed matrix: dx = W^T dy.", _ROADS, CONVOLUTIONS, _quantities("dx")),
    Claim(
        "dw",
        "The gradient of a shared weight is the sum of the gradients of its copies.",
        "sums over edges with direct convolution",
        CONVOLUTIONS,
        _quantities("dw"),
    ),
    Claim(
        "db",
        "The bias is a tied layer whose one input is 1.",
        "sums over edges with direct convolution",
        CONVOLUTIONS,
        _quantities("db"),
    ),
    Claim(
        "steps",
        "The gradient of an ordinary dense layer, masked and summed over ties, is the convolution's.",
        "Dense, masked and summed, with TiedDense",
        (question.FIRST, CONVOLUTIONS[1], CONVOLUTIONS[2], TRANSPOSED[0], LOCAL[0]),
        _steps,
    ),
    Claim(
        "transposed",
        "A transposed convolution is the same layer, transposed.",
        "transposed tie map with direct stamping",
        TRANSPOSED,
        _quantities("y", "dx", "dw", "db"),
    ),
    Claim(
        "local",
        "A locally connected layer has the same mask and no ties.",
        _ROADS,
        LOCAL,
        _untied,
    ),
    Claim(
        "toeplitz",
        "With stride 1 and zero padding every channel block of the matrix is (doubly) block Toeplitz.",
        "tie map with scipy.linalg.toeplitz",
        TOEPLITZ,
        _matrices(block_toeplitz),
    ),
    Claim(
        "circulant",
        "With stride 1 and circular padding to the same size it is block circulant.",
        "tie map with scipy.linalg.circulant",
        CIRCULANT,
        _matrices(block_circulant),
    ),
    Claim(
        "average",
        "Average pooling is a fixed dense layer and one division per output.",
        "fixed dense layer with direct pooling",
        AVERAGES,
        of_pool,
    ),
    Claim(
        "max",
        "Max pooling is dense layers and |x|: max(x, y) = (x + y + |x - y|) / 2, ties included.",
        "tournament with argmax pooling",
        LARGEST,
        of_pool,
    ),
    Claim(
        "relu",
        "ReLU is (x + |x|) / 2, with slope 0 at 0.",
        "dense layers and |x| with max(x, 0)",
        (ReLU((2, 3)), LeakyReLU(0.25, (4,))),
        of_activation,
    ),
    Claim(
        "network",
        "A whole network is dense layers and |x|: output, input gradient and every parameter's gradient.",
        "dense layers and |x| with direct convolution and argmax pooling",
        NETWORKS,
        of_network,
    ),
    Claim(
        "question",
        "In the question's two layers dC/dw1 is a sum of 4 products, not of 16.",
        "backpropagation with central differences",
        (question.FIRST,),
        _question,
    ),
)
