"""check: this data, in floats, every entry judged by its own derived bound."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convdense._util.arguments import Array, complain, finite, numeric
from convdense._util.deprecation import renamed_attribute
from convdense.checks.check_network import judge_network
from convdense.geometry import (
    Geometry,
    Pool,
    backward_operands,
    forward_operands,
    paired_samples,
    samples,
)
from convdense.implementations.compare_calls import compare_evaluators
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
    """What `check` found on one set of data; true if every entry is equal or within its rounding
    bound.

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
    Conv((1, 3, 3), out_channels=1, kernel=2): tied dense layer against direct convolution
      y   equal
      dx  equal
      dw  equal
    this data, in float64: at most gamma_N (|W| |x| + |b|), for any order of summation
    """

    evaluator: str
    reference: str
    by = renamed_attribute("by", "reference")
    operands: dict[str, Array | None] = field(compare=False, repr=False)

    @property
    def compared(self) -> str:
        """What was compared with what."""
        return f"{self.evaluator} against {self.reference}"

    @property
    def how(self) -> str:
        """How it was judged, in a sentence."""
        arrays = [a for a in self.operands.values() if a is not None]
        if self.evaluator == DENSE_NETWORK:
            arrays += getattr(self.layer, "parameters", {}).values()
        dtype = np.result_type(*arrays)
        if self.evaluator == DENSE_NETWORK:
            return f"this data, in {dtype}: the whole by bounds carried through, and every layer on the same input"
        floats = "at most gamma_N (|W| |x| + |b|), for any order of summation"
        rule = "equality" if dtype.kind in "iu" else floats
        return f"this data, in {dtype}: {rule}"

    def rerun(self, implementation: Any = None) -> "Report":
        """Judge the same data again; a verdict on an implementation needs the implementation."""
        needs_implementation(self.evaluator, implementation)
        return check(self.layer, **self.operands, implementation=implementation)  # x, w, b, dy

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data (JSON), its arrays byte for byte."""
        arrays = {
            name: None if a is None else array_to_dict(a) for name, a in self.operands.items()
        }
        return with_schema(
            {
                "kind": "report",
                "layer": layer_to_plain(self.layer),
                "evaluator": self.evaluator,
                "reference": self.reference,
                "findings": [f.to_dict() for f in self.findings],
                "operands": arrays,
            }
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Report":
        """Read back what `to_dict` wrote, in any schema."""
        data = upgraded(data)
        arrays = {
            name: None if a is None else array_from_dict(a) for name, a in data["operands"].items()
        }
        findings = tuple(Finding.from_dict(f) for f in data["findings"])
        return cls(
            plain_to_layer(data["layer"]), findings, data["evaluator"], data["reference"], arrays
        )


def check(
    layer: Any, x: Any, w: Any = None, b: Any = None, dy: Any = None, *, implementation: Any = None
) -> Report:
    """Compare the tied dense layer (or an implementation) with direct convolution on this data.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, any pool, or a Network
    x : (batch, *in_shape) array, or one sample
    w : array of ``layer.weight_shape``; None for a pool, or a network, which has its own
    b : array of ``layer.bias_shape``, or None: then db is not judged
    dy : (batch, *out_shape) array, or one sample
        Upstream gradient; None judges y alone.
    implementation : object with forward(x, w, b) and backward(x, w, dy), or None for the tied dense
    layer
        For a pool with forward(x) and backward(x, dy); a network is judged itself.

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
        return _check_network(layer, x, dy, implementation, w=w, b=b)
    mine, by = two_evaluators(layer, implementation)
    shapes = layer if isinstance(layer, Geometry) else tie(layer)
    operands = {"x": x, "w": w, "b": b, "dy": dy}
    arrays = {
        name: None if a is None else finite(numeric(a, name).copy(), name)
        for name, a in operands.items()
    }
    x, w, b, had_batch = forward_operands(shapes, x, w, b)
    if dy is None:
        dy = np.zeros((len(x), *shapes.out_shape), x.dtype)
    else:
        _, _, dy, _ = backward_operands(shapes, x if had_batch else x[0], w, dy)
    findings = _judge(layer, mine, by, (x, w, b, dy))
    asked = [f for f in findings if f.name == "y" or arrays["dy"] is not None]
    return Report(layer, tuple(asked), mine.name, by.name, arrays)


def _check_network(
    layer: Pool | Network, x: Any, dy: Any, implementation: Any, **others: Any
) -> Report:
    """Do what `check` does for a pool or a network: rounding bounds carried through the layers."""
    for name, value in others.items():
        if value is not None:
            needs = "None for a pool, or a network, which has parameters of its own"
            raise TypeError(complain(name, type(value).__name__, needs))
    operands = {"x": x, "dy": dy}
    arrays = {
        name: None if a is None else finite(numeric(a, name).copy(), name)
        for name, a in operands.items()
    }
    if arrays["x"] is None:
        raise TypeError(complain("x", "None", "an array of samples"))
    if implementation is not None:
        return _check_pool(layer, arrays, implementation)
    findings = judge_network(layer, arrays["x"], arrays["dy"])
    return Report(layer, tuple(findings), DENSE_NETWORK, DIRECT_COUNTERPART, arrays)


def _check_pool(pool: Pool | Network, arrays: dict[str, Any], implementation: Any) -> Report:
    """Do what `check` does for the user's pool."""
    if not isinstance(pool, Pool):
        raise TypeError(
            complain(
                "implementation", repr(implementation), "none for a network", "check its layers"
            )
        )
    given = [name for name, array in arrays.items() if array is not None]
    x, had_batch = samples(pool, floating(arrays["x"]))
    dy = np.zeros((len(x), *pool.out_shape), x.dtype)
    if arrays["dy"] is not None:
        x, dy, _ = paired_samples(pool, x if had_batch else x[0], floating(arrays["dy"]))
    dtype = np.result_type(x, dy)

    def judge(name: str, got: Any, expected: Array) -> Finding:
        return compare(
            name, got, expected, pool_bound(pool, (x, x, None, dy), name, dtype), why=POWERS
        )

    found = compare_pools(pool, implementation, x, dy, judge)
    return Report(
        pool, tuple(found[: len(given)]), pool_functions(implementation)[2], DIRECT_POOL, arrays
    )


def _judge(layer: Any, mine: Evaluator, by: Evaluator, operands: Operands) -> list[Finding]:
    """Run both evaluators, the one to judge by in float64 where the data is narrower, and compare entry by entry."""
    x, w, b, dy = operands
    rounded = {  # every dtype a sum may be rounded in: weights that meet in one cell are summed in that of w
        "y": (
            w.dtype,
            np.result_type(x, w),
            np.result_type(x, w) if b is None else np.result_type(x, w, b),
        ),
        "dx": (w.dtype, np.result_type(w, dy)),
        "dw": (np.result_type(x, dy),),
        "db": (dy.dtype,),
    }
    floats = {name: tuple(d for d in dtypes if d.kind in "fc") for name, dtypes in rounded.items()}
    bounds = rounding_bounds(
        layer, operands, {name: dtypes for name, dtypes in floats.items() if dtypes}
    )
    judged = [name for name in QUANTITIES if name != "db" or b is not None]
    wide = tuple(map(_widened, operands))
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is a verdict, not a warning
        found = compare_evaluators(
            (mine, operands), (by, (wide[0], wide[1], wide[2], wide[3])), judged, bounds
        )
    return list(found.values())


def _widened(array: Array | None) -> Any:
    if array is None or array.dtype.kind in "iu":
        return array
    return array.astype(np.result_type(array, np.float64))
