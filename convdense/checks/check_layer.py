"""check: this data, in floats, every entry judged by its own derived bound.

Of a sum of N products that is ``gamma_N = N u / (1 - N u)`` times the sum of their magnitudes, u
the unit roundoff: Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 3.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, complain, finite, numeric
from convdense._util.foreign_names import explained
from convdense._util.foreign_objects import said
from convdense.checks.check_network import dy_or_zeros, judge_network
from convdense.geometry import (
    Geometry,
    HasShapes,
    Implementation,
    Pool,
    forward_operands,
    paired_operands,
    paired_samples,
)
from convdense.implementations.compare_calls import compare_evaluators, in_double
from convdense.implementations.evaluators import (
    DENSE_NETWORK,
    DIRECT_COUNTERPART,
    Evaluator,
    Operands,
    needs_implementation,
    pool_functions,
    two_evaluators,
)
from convdense.implementations.pool_calls import DIRECT_POOL, POWERS, compare_pools
from convdense.layers.base import floating
from convdense.layers.plain_form import layer_to_plain, plain_to_layer
from convdense.networks.network import Network
from convdense.rounding.pool_bounds import pool_bound
from convdense.rounding.sum_bounds import rounding_bounds
from convdense.structure._tie import tie
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import (
    QUANTITIES,
    Finding,
    Judgement,
    array_from_dict,
    array_to_dict,
)
from convdense.verdicts.schema import upgraded, with_schema


@dataclass(frozen=True, repr=False)
class Report(Judgement):
    """What `check` found on given data; true if every entry is equal or within its bound.

    Attributes
    ----------
    layer, findings
        What was judged; one `Finding` for each of y, dx, dw, db.
    operands : dict
        The arrays, so that the report can be run again.

    Examples
    --------
    >>> import numpy as np
    >>> from convdense import Conv, check
    >>> x, w = np.arange(9.0).reshape(1, 3, 3), np.array([[[[1.0, 2], [3, 4]]]])
    >>> print(check(Conv((1, 3, 3), out_channels=1, kernel=2), x, w, None, np.ones((1, 2, 2))))
    holds: y, dx, dw equal; on this data
    Conv((1, 3, 3), out_channels=1, kernel=2): tied dense layer against direct convolution
      y   equal
      dx  equal
      dw  equal
    this data, in float64: at most gamma_N (|W| |x| + |b|), for any order of summation
    """

    operands: dict[str, Array | None] = field(compare=False, repr=False)

    @property
    def _sure(self) -> str:
        return "on this data"

    @property
    def how(self) -> str:
        """How it was judged, in a sentence."""
        is_network = self.evaluator == DENSE_NETWORK
        arrays = [a for a in self.operands.values() if a is not None]
        if is_network:
            arrays += getattr(self.layer, "parameters", {}).values()  # a pool has none
        dtype = np.result_type(*arrays)

        if is_network:
            rule = "the whole by bounds carried through, and every layer on the same input"
        elif dtype.kind in "iu":
            rule = "equality"
        else:
            rule = "at most gamma_N (|W| |x| + |b|), for any order of summation"
        return f"this data, in {dtype}: {rule}"

    def rerun(self, implementation: Implementation | None = None) -> "Report":
        """Judge the same data again; a verdict on an implementation needs the implementation."""
        needs_implementation(self.evaluator, implementation)  # or it is refused
        operands: dict[str, Any] = dict(self.operands)  # x, dy; of a layer with weights w and b too
        return check(self.layer, **operands, implementation=implementation)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data (JSON), its arrays byte for byte."""
        operands = {
            name: None if array is None else array_to_dict(array)
            for name, array in self.operands.items()
        }
        return with_schema(
            {
                "kind": "report",
                "layer": layer_to_plain(self.layer),
                "evaluator": self.evaluator,
                "reference": self.reference,
                "findings": [finding.to_dict() for finding in self.findings],
                "operands": operands,
            }
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Report":
        """Read back what `to_dict` wrote, in any schema."""
        data = upgraded(data)
        operands = {
            name: None if plain is None else array_from_dict(plain)
            for name, plain in data["operands"].items()
        }
        return cls(
            layer=plain_to_layer(data["layer"]),
            findings=tuple(Finding.from_dict(finding) for finding in data["findings"]),
            evaluator=data["evaluator"],
            reference=data["reference"],
            operands=operands,
        )


@explained
def check(
    layer: HasShapes,
    x: npt.ArrayLike,
    w: npt.ArrayLike | None = None,
    b: npt.ArrayLike | None = None,
    dy: npt.ArrayLike | None = None,
    *,
    implementation: Implementation | None = None,
) -> Report:
    """Compare the tied dense layer (or an implementation) with direct convolution on this data.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, any pool, or a Network
        Of an implementation also a Linear or a TieMap, but no Network.
    x : (batch, *in_shape) array, or one sample
    w : array of ``layer.weight_shape``; None for a pool, or a network, which has its own
    b : array of ``layer.bias_shape``, or None: then db is not judged
    dy : (batch, *out_shape) array, or one sample
        Upstream gradient; None judges y alone.
    implementation : object with forward(x, w, b) and backward(x, w, dy), or None
        None judges the tied dense layer. Of a pool it has forward(x) and backward(x, dy); a network
        is judged itself. A function, or an object without a backward, is forward alone: y is
        judged.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        For NaN or infinity, and for shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from convdense import Conv
    >>> rng = np.random.default_rng(0)
    >>> conv = Conv((3, 8, 7), out_channels=4, kernel=3, stride=2)
    >>> report = check(conv, rng.normal(size=(2, 3, 8, 7)), rng.normal(size=(4, 3, 3, 3)))
    >>> bool(report), report["y"].share <= 1
    (True, True)
    """
    if isinstance(layer, (Pool, Network)):
        for name, value in (("w", w), ("b", b)):
            if value is not None:
                needs = "None for a pool, or a network, which has parameters of its own"
                raise TypeError(complain(name, type(value).__name__, needs))
        return _check_pool_or_network(layer, x, dy, implementation)

    evaluator, reference = two_evaluators(layer, implementation)
    # A layer that a user registers need not tell the shape of its weights: its tie map does.
    shapes = layer if isinstance(layer, Geometry) else tie(layer)
    arrays = _given(x=x, w=w, b=b, dy=dy)
    samples_x, weights, bias, had_batch = forward_operands(shapes, x, w, b)
    given_x = samples_x if had_batch else samples_x[0]
    _, upstream, _ = paired_operands(shapes, given_x, dy_or_zeros(shapes, given_x, arrays["dy"]))
    operands = samples_x, weights, bias, upstream
    findings = _judge(layer, evaluator, reference, operands)
    # without a dy, one of zeros stood in for it: what came of that was not asked
    asked = [finding for finding in findings if finding.name == "y" or dy is not None]
    return Report(layer, tuple(asked), evaluator.name, reference.name, arrays)


def _given(**operands: npt.ArrayLike | None) -> dict[str, Array | None]:
    """Return copies of the arrays that came, for the report; each finite numbers, or refused."""
    return {
        name: None if value is None else finite(numeric(value, name).copy(), name)
        for name, value in operands.items()
    }


def _check_pool_or_network(
    layer: Pool | Network,
    x: npt.ArrayLike,
    dy: npt.ArrayLike | None,
    implementation: Implementation | None,
) -> Report:
    """Do what `check` does for a pool or a network: rounding bounds carried through the layers."""
    arrays = _given(x=x, dy=dy)
    given_x, given_dy = arrays["x"], arrays["dy"]
    if given_x is None:
        raise TypeError(complain("x", "None", "an array of samples"))
    if implementation is None:
        findings = tuple(judge_network(layer, given_x, given_dy))
        return Report(layer, findings, DENSE_NETWORK, DIRECT_COUNTERPART, arrays)
    if not isinstance(layer, Pool):
        needs = "none for a network"
        raise TypeError(complain("implementation", said(implementation), needs, "check its layers"))
    findings = _judge_pool(layer, implementation, given_x, given_dy)
    name = pool_functions(implementation).name
    return Report(layer, findings, name, DIRECT_POOL, arrays)


def _judge_pool(
    pool: Pool, implementation: Implementation, given_x: Array, given_dy: Array | None
) -> tuple[Finding, ...]:
    """Return the findings on the user's pool: y and dx, or y alone without a dy."""
    x, dy, _ = paired_samples(pool, given_x, dy_or_zeros(pool, given_x, given_dy))
    x, dy = floating(x), floating(dy)
    dtype = np.result_type(x, dy)

    def judge(name: str, got: Any, expected: Array) -> Finding:
        operands = x, x, None, dy  # x stands in for w, which no pool has or reads
        bound = pool_bound(pool, operands, name, dtype)
        return compare(name, got, expected, bound, why=POWERS)  # why a bound is infinite, if it is

    findings = compare_pools(pool, implementation, x, dy, judge)
    return tuple(findings[:1] if given_dy is None else findings)


def _judge(
    layer: HasShapes, evaluator: Evaluator, reference: Evaluator, operands: Operands
) -> list[Finding]:
    """Run both evaluators and compare entry by entry; the reference in float64 at least."""
    bounds = rounding_bounds(layer, operands, _rounded_in(operands))
    _, _, b, _ = operands
    judged = [name for name in QUANTITIES if name != "db" or b is not None]
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is a verdict, not a warning
        found = compare_evaluators(
            (evaluator, operands), (reference, in_double(operands)), judged, bounds
        )
    return list(found.values())


def _rounded_in(operands: Operands) -> dict[str, tuple[np.dtype[Any], ...]]:
    """Return the float dtypes that a sum of each quantity may be rounded in, if there are any.

    Weights that meet in one cell of the matrix are summed in the dtype of w, before x comes.
    """
    x, w, b, dy = operands
    products = np.result_type(x, w)
    with_bias = products if b is None else np.result_type(x, w, b)
    summed_in = {
        "y": (w.dtype, products, with_bias),
        "dx": (w.dtype, np.result_type(w, dy)),
        "dw": (np.result_type(x, dy),),
        "db": (dy.dtype,),
    }
    floats = {
        name: tuple(d for d in dtypes if d.kind in "fc") for name, dtypes in summed_in.items()
    }
    return {name: dtypes for name, dtypes in floats.items() if dtypes}
