"""The options of `certify`: what is typed, its defaults, and the check of each."""

from dataclasses import dataclass, field
from typing import Any, TypedDict

from convdense._util.arguments import Seed, choice, complain, seed_or_none
from convdense._util.float_formats import EXACT, FORMATS, HALF, INTEGERS, spelled
from convdense.certificates.clock import Clock
from convdense.certificates.integer_ranges import limited

ERROR = 2**-64  # the probability of error that is asked for by default
BATCH = 2  # samples per random trial, by default


class Options(TypedDict, total=False):
    """The options of `certify`, as both of its signatures have them."""

    dtype: object
    batch: int
    error: float
    method: str
    seed: Seed
    shapes: str | None
    nonfinite: bool
    threads: bool
    accumulator: object
    gradgrad: bool
    time_limit: float | None


@dataclass(frozen=True)
class Chosen:
    """The options of one call; `checked` returns them as plain data."""

    dtype: Any  # a str once it is checked, as seed is an int then
    batch: int
    error: Any
    method: str
    seed: Any
    extra: tuple[str, ...] = ()
    accumulator: Any = None
    clock: Clock = field(default_factory=Clock, compare=False)

    @property
    def gradgrad(self) -> bool:
        """Whether the double backward is judged as well."""
        return "gradgrad" in self.extra

    def checked(self, formats: tuple[str, ...], refused: str = "") -> "Chosen":
        """Return the options as plain Python numbers and words, or refuse what they cannot be."""
        seed = seed_or_none(self.seed)
        choice(self.method, "method", ("auto", "random", "exhaustive"))
        needs = "a probability between 0 and 1, such as 2**-64"
        if not isinstance(self.error, (int, float)):
            raise TypeError(complain("error", repr(self.error), needs))
        if not 0 < self.error < 1:
            raise ValueError(complain("error", self.error, needs))
        batch = limited(self.batch)
        dtype = choice(spelled(self.dtype), "dtype", formats, dict.fromkeys(INTEGERS, refused))
        if self.method == "exhaustive" and dtype not in (*EXACT, *HALF):
            needs = f"random for {dtype}: basis vectors tell of real numbers alone"
            raise ValueError(complain("method", repr(self.method), needs))
        if self.gradgrad and dtype not in EXACT:
            raise ValueError(complain("gradgrad", f"True in {dtype}", "float32 or float64"))
        if "nonfinite" in self.extra and dtype in INTEGERS:
            raise ValueError(complain("nonfinite", f"True in {dtype}", "a dtype of floats"))
        accumulator = _accumulator_of(self.accumulator, dtype)
        error = float(self.error)
        return Chosen(dtype, batch, error, self.method, seed, self.extra, accumulator, self.clock)


def _accumulator_of(accumulator: object, dtype: str) -> str:
    """Return the dtype that sums of integers are in, as given or the usual one; "" for floats."""
    bits = FORMATS[dtype].bits
    if accumulator is None:
        return ("int32" if bits < 32 else "int64") if dtype in INTEGERS else ""
    if dtype not in INTEGERS:
        needs = f"None for {dtype}: only sums of integers have one"
        raise ValueError(complain("accumulator", repr(accumulator), needs))
    wider = [name for name in INTEGERS if FORMATS[name].bits > bits]
    return choice(spelled(accumulator), "accumulator", (dtype, *wider))
