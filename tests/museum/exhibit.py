"""An exhibit: a public bug of convolution or pooling code, as it was and as its fix left it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

Words = tuple[tuple[str, ...], ...]
GONE = "missing|left out|lost|dropped|forgotten|ignored|skipped"  # words for one thing


@dataclass(frozen=True)
class Exhibit:
    """A bug of record, rebuilt.

    `expected` has, for each quantity that is wrong, what a right name of the mistake must say: of
    each tuple at least one of the alternatives. Under "behaviour" it is what `certify` must call
    the operands on which alone the code is wrong. It was written from the report, not from what
    `diagnose` says.
    """

    project: str
    number: int
    title: str
    layer: Any
    before: Callable[[Any], Any]  # of a layer: an implementation
    after: Callable[[Any], Any]
    saw: str  # what users saw
    geometry: str  # as reported, or what is other here
    expected: dict[str, Words]
    dtype: str
    kind: str  # the file it stands in

    @property
    def name(self) -> str:
        return f"{self.project}#{self.number}"


def exhibit(
    project: str,
    number: int,
    layer: Any,
    saw: str,
    geometry: str = "as reported",
    dtype: str = "float64",
    inference: bool = False,
    **expected: str,
) -> Callable[[type], type]:
    """Register a class of (layer, fixed), the bug without `fixed`; its docstring is the title.

    Of each quantity expected: groups of alternatives, "padding|crop & begin|end". Of code for
    inference the forward pass alone is shown.
    """

    def register(kind: type) -> type:
        module = sys.modules[kind.__module__]
        make = partial(forward_alone, kind) if inference else kind
        module.EXHIBITS.append(
            Exhibit(
                project,
                number,
                " ".join((kind.__doc__ or "").split()),
                layer,
                partial(make, fixed=False),
                partial(make, fixed=True),
                saw,
                geometry,
                {quantity: words(text) for quantity, text in expected.items()},
                dtype,
                kind.__module__.rpartition(".")[2],
            )
        )
        return kind

    return register


def forward_alone(kind: type, layer: Any, fixed: bool) -> Any:
    return SimpleNamespace(forward=kind(layer, fixed).forward)


def words(text: str) -> Words:
    """Return ((a, b), (c,)) of "a|b & c"."""
    return tuple(tuple(word.strip() for word in group.split("|")) for group in text.split("&"))
