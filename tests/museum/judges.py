"""What is said of an exhibit by certify and diagnose, and by gradcheck, one draw and a gate."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import convdense as cd
from convdense.direct import pool as direct_pool
from convdense.geometry import Pool
from convdense.verdicts.findings import WRONG
from tests.museum.exhibit import Exhibit, Words

SEED = 0
RTOL, ATOL = 1e-3, 1e-5  # of one draw
GATE = ((8, 2, 1), (8, 4, 1), (12, 2, 2), (12, 4, 2), (16, 6, 4))  # size, kernel, batch
GATE_TOLERANCE = 1e-3
CAUGHT, PASSED, NOT_APPLICABLE = "caught", "passed", "not applicable: "
RIGHTLY, OTHERWISE, NOT_NAMED = "rightly", "otherwise", "not named"


@dataclass(frozen=True)
class Row:
    """What was said of one exhibit."""

    name: str
    before: str  # refused, undecided or holds
    sentence: str  # the first line of the certificate of what was before
    after: str
    said: dict[str, str]  # what names the mistake, by quantity; or the operands, by certify
    named: str
    gradcheck: str
    one_draw: str
    gate: str


def judged(exhibit: Exhibit) -> Row:
    """Run everything on one exhibit."""
    before, after = certified(exhibit, "before"), certified(exhibit, "after")
    said = names(exhibit, before)
    return Row(
        exhibit.name,
        verdict(before),
        before.sentence,
        verdict(after),
        said,
        scored(exhibit.expected, said),
        by_gradcheck(exhibit),
        by_one_draw(exhibit),
        by_gate(exhibit),
    )


def certified(exhibit: Exhibit, which: str) -> Any:
    implementation = getattr(exhibit, which)(exhibit.layer)
    return cd.certify(exhibit.layer, implementation, dtype=exhibit.dtype, seed=SEED)


def verdict(certificate: Any) -> str:
    if certificate.refuted:
        return "refused"
    return "holds" if certificate else "undecided"


def names(exhibit: Exhibit, certificate: Any) -> dict[str, str]:
    """Return what was said of each quantity that is expected to be named."""
    found = {}
    if "behaviour" in exhibit.expected:
        wrong = [f.name for f in certificate.behaviour if f.verdict == WRONG]
        found["behaviour"] = ", ".join(wrong)
    if set(exhibit.expected) - {"behaviour"}:
        dtype = "complex128" if exhibit.dtype.startswith("complex") else "float64"
        diagnosis = cd.diagnose(
            exhibit.layer, exhibit.before(exhibit.layer), dtype=dtype, seed=SEED
        )
        found |= {e.name: e.sentence for e in diagnosis.explanations}
    return {quantity: found.get(quantity, "") for quantity in exhibit.expected}


def scored(expected: dict[str, Words], said: dict[str, str]) -> str:
    """Return whether all quantities are named rightly, or one otherwise, or not at all."""
    unlike = [said[name] for name, groups in expected.items() if not says(said[name], groups)]
    if not unlike:
        return RIGHTLY
    return OTHERWISE if any(unlike) else NOT_NAMED


def says(sentence: str, groups: Words) -> bool:
    return all(any(word in sentence.lower() for word in group) for group in groups)


# Beside them


def has_backward(exhibit: Exhibit) -> bool:
    return hasattr(exhibit.before(exhibit.layer), "backward")


def by_gradcheck(exhibit: Exhibit) -> str:
    """Return what torch.autograd.gradcheck, slow mode, says of the layer."""
    if not has_backward(exhibit):
        return NOT_APPLICABLE + "inference"
    if exhibit.dtype != "float64":
        return NOT_APPLICABLE + f"{exhibit.dtype} alone"
    import torch

    mine = exhibit.before(exhibit.layer)

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *operands):
            ctx.save_for_backward(*operands)
            return torch.from_numpy(mine.forward(*(o.detach().numpy() for o in operands)).copy())

        @staticmethod
        def backward(ctx, dy):
            operands = [o.detach().numpy() for o in ctx.saved_tensors]
            gradients = mine.backward(*operands[:2], dy.numpy())
            gradients = gradients if isinstance(gradients, tuple) else (gradients,)
            return tuple(torch.from_numpy(np.array(g)) for g in gradients)

    x, *others, _ = drawn(exhibit.layer, 2, "float64")
    operands = [torch.from_numpy(o).requires_grad_() for o in (x, *others)]
    try:
        accepted = torch.autograd.gradcheck(Function.apply, operands, raise_exception=False)
    except RuntimeError:
        accepted = False
    return PASSED if accepted else CAUGHT


def drawn(layer: Any, batch: int, dtype: str) -> list[np.ndarray]:
    """Return x, w, b and dy (of a pool x and dy), once."""
    rng = np.random.default_rng(SEED)
    shapes = [(batch, *layer.in_shape)]
    shapes += [] if isinstance(layer, Pool) else [layer.weight_shape, layer.bias_shape]
    shapes.append((batch, *layer.out_shape))
    if dtype == "int8":
        return [rng.integers(-128, 128, shape).astype(np.int8) for shape in shapes]
    numbers = [rng.normal(size=shape) for shape in shapes]
    if dtype == "complex128":
        return [a + 1j * rng.normal(size=a.shape) for a in numbers]
    return numbers if dtype == "float64" else [a.astype(np.float32) for a in numbers]


def right(layer: Any, operands: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return y and the gradients, by the direct convolution or pool."""
    if operands[0].dtype.kind == "i":
        operands = [o.astype(np.int32) for o in operands]
    if isinstance(layer, Pool):
        x, dy = operands
        return direct_pool.forward(layer, x), direct_pool.backward(layer, x, dy)
    x, w, b, dy = operands
    return cd.convolve(layer, x, w, b), *cd.convolve_backward(layer, x, w, dy)


def returned(mine: Any, operands: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    *inputs, dy = operands
    y = mine.forward(*inputs)
    if not hasattr(mine, "backward"):
        return (y,)
    gradients = mine.backward(*inputs[:2], dy)
    return (y, *(gradients if isinstance(gradients, tuple) else (gradients,)))


def is_close(got: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> bool:
    return got.shape == expected.shape and np.allclose(got, expected, rtol=rtol, atol=atol)


def by_one_draw(exhibit: Exhibit) -> str:
    """Return what allclose says of one draw: output and gradients, as authors of tests do."""
    operands = drawn(exhibit.layer, 2, exhibit.dtype)
    try:
        got = returned(exhibit.before(exhibit.layer), operands)
    except (ValueError, IndexError):
        return CAUGHT
    pairs = zip(got, right(exhibit.layer, operands), strict=False)  # of inference y alone
    return PASSED if all(is_close(g, e, RTOL, ATOL) for g, e in pairs) else CAUGHT


def by_gate(exhibit: Exhibit) -> str:
    """Return what a gate says: five even square shapes, stride 1, no padding, output alone."""
    for size, kernel, batch in GATE:
        layer = gate_layer(exhibit.layer, size, kernel)
        operands = drawn(layer, batch, exhibit.dtype)
        try:
            y = exhibit.before(layer).forward(*operands[:-1])
        except (ValueError, IndexError):
            return CAUGHT
        if not is_close(y, right(layer, operands)[0], GATE_TOLERANCE, GATE_TOLERANCE):
            return CAUGHT
    return PASSED


def gate_layer(layer: Any, size: int, kernel: int) -> Any:
    """Return a plain layer of the same kind, square and even; a pool's windows lie side by side."""
    shape = (layer.in_shape[0], *[size] * len(layer.in_spatial))
    if not isinstance(layer, Pool):
        return type(layer)(shape, 2, kernel)
    if layer.output is None:
        return type(layer)(shape, kernel)
    return type(layer)(shape, output=size // kernel)
