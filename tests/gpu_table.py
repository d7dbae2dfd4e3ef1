"""What a GPU computes: torch's convolutions and the Triton kernel, compiled, certified in a table.

``python -m tests.gpu_table`` where a CUDA device is at hand; without one it says so and ends.
``--device cpu`` judges the same rows on the CPU, where TF32 and cuDNN play no part, and Triton's
kernels are interpreted, if ``TRITON_INTERPRET=1`` is set, or left out.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import ceil, log2
from time import perf_counter
from typing import Any, NamedTuple

import convdense as cd
from convdense.adapters.arrays import implementation
from convdense.certificates import Certificate
from convdense.display.tables import markdown
from convdense.verdicts.findings import REFUSED, REPORTED

LAYERS = {
    "3 x 3, padded": cd.Conv((16, 14, 15), 16, 3, padding=1),
    "strides, groups": cd.Conv((16, 15, 14), 24, (3, 5), stride=2, padding=(1, 2), groups=4),
    "dilated, transposed": cd.ConvTranspose((8, 9, 7), 12, 3, stride=2, dilation=2, padding=1),
}
CAUSAL = cd.Conv((24, 50), 24, kernel=4, padding=((3, 0),), groups=24)
HEADER = (
    "code", "setting", "dtype", "y", "dx", "dw", "db", "error probability", "effective roundoff",
    "refused", "reported", "wrong", "seconds",
)  # fmt: skip


class Setting(NamedTuple):
    """How PyTorch's convolutions are run."""

    dtype: str
    tf32: bool = False
    layout: str = "NCHW"
    deterministic: bool = False

    def __str__(self) -> str:
        words = (
            f"TF32 {'on' if self.tf32 else 'off'}" * (self.dtype == "float32"),
            self.layout * (self.layout != "NCHW"),
            "cuDNN deterministic" * self.deterministic,
        )
        return ", ".join(filter(None, words))

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Set it for a time."""
        import torch

        flags = {"deterministic": self.deterministic, "allow_tf32": self.tf32}
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, **flags):  # type: ignore[no-untyped-call]
            yield


SETTINGS = [
    Setting("float32"),
    Setting("float32", tf32=True),
    *(
        Setting(dtype, layout=layout, deterministic=deterministic)
        for dtype in ("float32", "float16", "bfloat16")
        for layout in ("NCHW", "channels_last")
        for deterministic in (False, True)
        if (dtype, layout, deterministic) != ("float32", "NCHW", False)
    ),
    Setting("float64"),
]


def of_torch(layer: Any) -> Any:
    """Return PyTorch's function for a layer."""
    from torch.nn import functional

    padding, groups = [begin for begin, _ in layer.padding], layer.groups
    if isinstance(layer, cd.ConvTranspose):
        extra = layer.output_padding
        return partial(transposed, layer.stride, padding, extra, groups, layer.dilation)
    how = {"stride": layer.stride, "padding": padding, "groups": groups}
    return partial(functional.conv2d, **how, dilation=layer.dilation)


def transposed(stride: Any, padding: Any, extra: Any, groups: int, dilation: Any, *xwb: Any) -> Any:
    from torch.nn import functional

    return functional.conv_transpose2d(*xwb, stride, padding, extra, groups, dilation)


def rows(device: str, few: int | None) -> Iterator[tuple[str, ...]]:
    """Yield a row of the table for each layer in each setting, then those of the Triton kernel."""
    for name, layer in list(LAYERS.items())[:few]:
        for setting in SETTINGS[:few]:
            kept = setting.dtype if setting.dtype in ("float16", "bfloat16") else None
            how = {"layout": setting.layout, "device": device, "dtype": kept}
            mine = implementation(of_torch(layer), to="torch", **how)
            with setting.in_force():
                yield row(f"torch: {name}", str(setting), layer, mine, setting.dtype)
    yield from of_triton(device)


def of_triton(device: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the kernel that is right, and of the backward that ignores dy's strides."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if device == "cpu" and not interpreted:
        return
    from tests import kernels_triton as kernels

    layer = cd.Conv((3, 5), 3, 3, padding=((2, 0),), groups=3) if interpreted else CAUSAL
    how: dict[str, Any] = {"to": "torch", "device": device, "layout": "NHWC"}
    for backward in (kernels.backward, kernels.backward_of_contiguous):
        for dtype in ("float32",) if interpreted else ("float32", "float16", "bfloat16", "float64"):
            kept = dtype if dtype in ("float16", "bfloat16") else None
            options = {"dtype": kept, "interpreted": interpreted}
            mine = implementation(kernels.forward, backward, **how, **options)
            setting = "interpreted" if interpreted else "compiled"
            yield row(f"Triton: {backward.__name__}", setting, layer, mine, dtype)


def row(code: str, setting: str, layer: Any, mine: Any, dtype: str) -> tuple[str, ...]:
    """Certify one implementation, and return what there is to say in the cells of a row."""
    start = perf_counter()
    found = cd.certify(layer, mine, dtype=dtype, seed=0)
    seconds = perf_counter() - start
    verdicts = {finding.name: finding.verdict for finding in found.findings}
    each = (verdicts.get(name, "-") for name in ("y", "dx", "dw", "db"))
    units = ", ".join(map(str, found.precision))
    remarks = [[f.name for f in found.behaviour if f.verdict == v] for v in (REFUSED, REPORTED)]
    wrong = [f.name for f in found.behaviour if f.refuted]
    lists = (", ".join(names) for names in (*remarks, wrong))
    return (code, setting, dtype, *each, probability(found), units, *lists, f"{seconds:.1f}")


def probability(found: Certificate) -> str:
    """Return the probability that a wrong one passes, if what was judged holds."""
    if found.refuted or found.error >= 1:
        return "-"
    return f"2^{ceil(log2(found.error))}" if found.error else "0"


def versions(device: str) -> str:
    import torch

    name = torch.cuda.get_device_name() if device != "cpu" else "CPU"
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return f"{name}; PyTorch {torch.__version__}, cuDNN {cudnn}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--few", type=int, help="so many layers and settings alone")
    asked = parser.parse_args()
    try:
        import torch
    except ModuleNotFoundError:
        print("PyTorch is not installed: nothing was judged")
        return
    if asked.device != "cpu" and not torch.cuda.is_available():
        print("no CUDA device here: nothing was judged")
        return
    print(versions(asked.device), end="\n\n")
    print(markdown(HEADER, [*rows(asked.device, asked.few)]))


if __name__ == "__main__":
    main()
