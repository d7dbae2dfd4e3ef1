"""The one table of claims: what is said, what is compared with what, on which layers, and who
judges.

It feeds the demo, the command line, the tables of README and guide, and the tests.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, log2, prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.certificates._certify import certify
from convdense.certificates.layer_certificate import Certificate
from convdense.checks.check_layer import Report, check
from convdense.claims import student_question
from convdense.claims.evidence import (
    Evidence,
    of_activation,
    of_network,
    of_pool,
    of_second_derivative,
    on_floats,
)
from convdense.claims.example_layers import (
    AVERAGES,
    CIRCULANT,
    CONVOLUTIONS,
    LARGEST,
    LOCAL,
    NETWORKS,
    SECOND,
    TOEPLITZ,
    TRANSPOSED,
)
from convdense.claims.toeplitz import block_circulant, block_toeplitz
from convdense.geometry import Conv
from convdense.layers.activations import LeakyReLU, ReLU
from convdense.layers.dense import Dense
from convdense.layers.tied_dense import TiedDense
from convdense.structure._tie import tie
from convdense.verdicts.findings import EQUAL, QUANTITIES


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
        return max(
            self.evidence,
            key=lambda e: e.difference / e.bound if e.bound else float(e.difference > 0),
        )

    @property
    def sure(self) -> str:
        """How sure it is: on how many layers a proof, on how many an error probability."""
        errors = [e.error for e in self.evidence if e.held and not e.trials]
        proofs, drawn = errors.count(0.0), [e for e in errors if e > 0]
        tried = [e.trials for e in self.evidence if e.held and e.trials]
        parts = [f"proof on {_layers(proofs)}"] if proofs else []
        parts += (
            [f"error at most 2^{ceil(log2(max(drawn)))} on {_layers(len(drawn))}"] if drawn else []
        )
        parts += [f"{sum(tried)} exact trials on {_layers(len(tried))}"] if tried else []
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


def _matrices(other: Callable[[Any, Array], Array]) -> Callable[[Any], Evidence]:
    """Judge the matrix, linear in w, by its value for every basis vector."""

    def equal(layer: Any) -> bool:
        basis = np.eye(prod(layer.weight_shape), dtype=np.int64).reshape(-1, *layer.weight_shape)
        return all(np.array_equal(tie(layer).matrix(w).toarray(), other(layer, w)) for w in basis)

    return lambda layer: Evidence(layer, equal(layer))


def _steps(layer: Any) -> Evidence:
    """Judge the textbook way: an ordinary dense layer's gradient, masked and summed over the ties; for basis pairs."""
    rows, cols = tie(layer).shape
    tied = TiedDense(layer, np.ones(layer.weight_shape))
    dense, edges = Dense(tied.matrix.toarray()), tied.ties.entries()
    exact = True
    for r, c in np.ndindex(rows, cols):
        dy, x = np.eye(1, rows, r), np.eye(1, cols, c)
        G = dense.backward(x, dy).dw  # (outputs, inputs): every edge its own weight
        summed = np.bincount(edges.index, G[edges.row, edges.col], tied.w.size).reshape(
            tied.w.shape
        )
        dw = tied.backward(x.reshape(1, *layer.in_shape), dy.reshape(1, *layer.out_shape)).dw
        exact &= np.array_equal(summed, dw)
    return Evidence(layer, bool(exact))


def _untied(layer: Any) -> Evidence:
    """Judge a locally connected layer: mask and size of its convolution, every weight in one place at most."""
    values = {
        name: getattr(layer, name)
        for name in ("kernel", "stride", "padding", "dilation", "groups", "flip")
    }
    conv = Conv(layer.in_shape, layer.out_channels, **values, padding_mode=layer.padding_mode)
    alike = np.array_equal(tie(layer).mask().toarray(), tie(conv).mask().toarray())
    alone = int(tie(layer).counts().weights.max()) == 1
    evidence = _quantities(*QUANTITIES)(layer)
    return replace(evidence, exact=evidence.exact and alike and alone)


def _question(layer: Any) -> Evidence:
    right, error = student_question.judge()
    return Evidence(layer, right, error)


_COMPARED = "stored matrix with direct convolution"
CLAIMS = (
    Claim(
        "forward",
        "A convolution is a sparse dense layer: y = W x + b.",
        _COMPARED,
        CONVOLUTIONS,
        _quantities("y"),
    ),
    Claim(
        "dx",
        "Its input gradient is the transposed matrix: dx = W^T dy.",
        _COMPARED,
        CONVOLUTIONS,
        _quantities("dx"),
    ),
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
        (student_question.FIRST, CONVOLUTIONS[1], CONVOLUTIONS[2], TRANSPOSED[0], LOCAL[0]),
        _steps,
    ),
    Claim(
        "second",
        "The second derivative d2y/dw dx is the tie map itself.",
        "tie map with mixed differences of direct convolution",
        SECOND,
        of_second_derivative,
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
        _COMPARED,
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
        (student_question.FIRST,),
        _question,
    ),
)
