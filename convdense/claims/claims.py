"""The one table of claims: what is said, what is compared, on which layers, and who judges.

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
    AnyLayer,
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
    EXTREMA,
    FOR_SECOND_DERIVATIVE,
    LOCAL,
    NETWORKS,
    TOEPLITZ,
    TRANSPOSED,
)
from convdense.claims.toeplitz import block_circulant, block_toeplitz
from convdense.geometry import Conv, Geometry, LocallyConnected
from convdense.layers.activations import LeakyReLU, ReLU
from convdense.layers.dense import Dense
from convdense.layers.tied_dense import TiedDense
from convdense.structure._tie import tie
from convdense.verdicts.findings import EQUAL, QUANTITIES


@dataclass(frozen=True)
class Claim:
    """A sentence, what it compares, the layers it is judged on, and the judge of one layer."""

    id: str
    sentence: str
    compared: str
    layers: tuple[AnyLayer, ...]
    judge: Callable[[Any], Evidence]  # of one of these layers, whatever kind they are


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

        def share(evidence: Evidence) -> float:
            if evidence.bound:
                return evidence.difference / evidence.bound
            return 1.0 if evidence.difference > 0 else 0.0

        return max(self.evidence, key=share)

    @property
    def sure(self) -> str:
        """How sure it is: on how many layers a proof, on how many an error probability."""
        held = [e for e in self.evidence if e.held]
        tried = [e.trials for e in held if e.trials]
        drawn = [e.error for e in held if not e.trials and e.error > 0]
        proofs = len(held) - len(tried) - len(drawn)
        wrong = len(self.evidence) - len(held)

        parts = []
        if proofs:
            parts.append(f"proof on {_layers(proofs)}")
        if drawn:
            exponent = ceil(log2(max(drawn)))
            parts.append(f"error at most 2^{exponent} on {_layers(len(drawn))}")
        if tried:
            parts.append(f"{sum(tried)} exact trials on {_layers(len(tried))}")
        if wrong:
            parts.append(f"WRONG on {_layers(wrong)}")
        return "; ".join(parts)


def _layers(n: int) -> str:
    return f"{n} layer" if n == 1 else f"{n} layers"


def judge_claims(claims: Iterable[Claim] | None = None) -> Iterable[Verdict]:
    """Yield the verdict on every claim of the table, on evidence taken now."""
    _judged.cache_clear()
    for claim in CLAIMS if claims is None else claims:
        yield Verdict(claim, tuple(claim.judge(layer) for layer in claim.layers))


def of_quantities(names: Iterable[str], certificate: Certificate, report: Report) -> Evidence:
    """Return what a certificate and a report on real data say on some of y, dx, dw and db."""
    names = list(names)
    exact = all(certificate[name].verdict == EQUAL for name in names)
    difference, bound = on_floats(report, names)
    return Evidence(certificate.layer, exact, certificate.error, difference, bound)


@lru_cache(maxsize=64)
def _judged(layer: Geometry) -> tuple[Certificate, Report]:
    """Certify a layer and check it on random reals, once for all claims that ask."""
    rng = np.random.default_rng(0)
    shapes = ((2, *layer.in_shape), layer.weight_shape, layer.bias_shape, (2, *layer.out_shape))
    x, w, b, dy = (rng.normal(size=shape) for shape in shapes)
    return certify(layer), check(layer, x, w, b, dy)


def _quantities(*names: str) -> Callable[[Geometry], Evidence]:
    """Return a judge of these quantities, by the certificate and the report of a layer."""
    return lambda layer: of_quantities(names, *_judged(layer))


def _matrices(other: Callable[[Conv, Array], Array]) -> Callable[[Conv], Evidence]:
    """Return a judge of the matrix, which is linear in w, by its value for every basis vector."""

    def judge(conv: Conv) -> Evidence:
        n_weights = prod(conv.weight_shape)
        basis = np.eye(n_weights, dtype=np.int64).reshape(-1, *conv.weight_shape)
        equal = all(np.array_equal(tie(conv).matrix(w).toarray(), other(conv, w)) for w in basis)
        return Evidence(conv, equal)

    return judge


def _textbook_steps(layer: Geometry) -> Evidence:
    """Judge the textbook way: a dense layer's gradient, masked and summed over the ties.

    dw is bilinear in x and dy: equal on every pair of basis vectors is equal on all.
    """
    rows, cols = tie(layer).shape
    tied = TiedDense(layer, np.ones(layer.weight_shape))
    dense = Dense(tied.matrix.toarray())
    edges = tied.ties.entries()
    exact = True
    for r, c in np.ndindex(rows, cols):
        dy, x = np.eye(1, rows, r), np.eye(1, cols, c)
        # the outer product dy x^T, (outputs, inputs): here every edge has a weight of its own
        G = dense.backward(x, dy).dw
        summed = np.bincount(edges.index, G[edges.row, edges.col], tied.w.size)
        dw = tied.backward(x.reshape(1, *layer.in_shape), dy.reshape(1, *layer.out_shape)).dw
        exact &= np.array_equal(summed.reshape(tied.w.shape), dw)
    return Evidence(layer, bool(exact))


def _untied(layer: LocallyConnected) -> Evidence:
    """Judge a locally connected layer: the mask of its convolution, each weight in one place."""
    names = ("kernel", "stride", "padding", "dilation", "groups", "flip", "padding_mode")
    options = {name: getattr(layer, name) for name in names}
    conv = Conv(layer.in_shape, layer.out_channels, **options)
    same_mask = np.array_equal(tie(layer).mask().toarray(), tie(conv).mask().toarray())
    no_ties = int(tie(layer).counts().weights.max()) == 1
    evidence = _quantities(*QUANTITIES)(layer)
    return replace(evidence, exact=evidence.exact and same_mask and no_ties)


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
        "The gradient of an ordinary dense layer, masked and summed over ties, "
        "is the convolution's.",
        "Dense, masked and summed, with TiedDense",
        (student_question.FIRST, CONVOLUTIONS[1], CONVOLUTIONS[2], TRANSPOSED[0], LOCAL[0]),
        _textbook_steps,
    ),
    Claim(
        "second",
        "The second derivative d2y/dw dx is the tie map itself.",
        "tie map with mixed differences of direct convolution",
        FOR_SECOND_DERIVATIVE,
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
        "With stride 1 and zero padding every channel block of the matrix "
        "is (doubly) block Toeplitz.",
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
        EXTREMA,
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
        "A whole network is dense layers and |x|: "
        "output, input gradient and every parameter's gradient.",
        "dense layers and |x| with direct convolution and argmax pooling",
        NETWORKS,
        of_network,
    ),
    Claim(
        "question",
        "In the question's two layers dC/dw1 is a sum of 4 products, not of 16.",
        "backpropagation with central differences",
        (student_question.FIRST,),
        lambda layer: Evidence(layer, *student_question.judge()),
    ),
)
