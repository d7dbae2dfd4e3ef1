"""diagnose: which mistake an implementation makes.

A mistake is found by exact equality with what it would give, on integers: first on a small copy of
the layer on which the code is wrong as well, and then on the layer itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from convdense._util.arguments import Array, Seed, choice, complain_of, drawn, seed_or_none
from convdense._util.float_formats import COMPLEX, HALF, INTEGERS, spelled
from convdense._util.foreign_names import explained
from convdense.certificates.clock import Clock, limited_time
from convdense.diagnosis.behaviour import misbehaviour
from convdense.diagnosis.between_calls import (
    accumulated,
    exchanged,
    reads_the_last_forward,
    unrepeatable,
)
from convdense.diagnosis.complex_numbers import conjugation_mistake
from convdense.diagnosis.draws import first_wrong, observe, observe_again, observe_once
from convdense.diagnosis.first_difference import recovered_difference
from convdense.diagnosis.localise import local_error, views
from convdense.diagnosis.mistakes.fitted_constants import clipped, multiplied
from convdense.diagnosis.mistakes.mistake import Call
from convdense.diagnosis.mistakes.observations import Observations, same
from convdense.diagnosis.mistakes.pools import pool_mistakes
from convdense.diagnosis.mistakes.sums import plain_result_mistakes
from convdense.diagnosis.narrow_numbers import narrow_explanations
from convdense.diagnosis.report import Diagnosis, Explanation
from convdense.diagnosis.rounded_results import rounded_as, rounded_to_multiples
from convdense.diagnosis.search import Named, cheap_explanations, confirmed, explanations
from convdense.diagnosis.smaller import (
    NAMED_ON,
    Corner,
    copies,
    corners,
    entries_of,
    in_words,
    smallest,
    takes_corners,
)
from convdense.diagnosis.wrong_entries import pattern
from convdense.geometry import (
    Conv,
    ConvTranspose,
    Geometry,
    Linear,
    LocallyConnected,
    Pool,
    require_cells,
)
from convdense.geometry.protocols import Implementation
from convdense.implementations.evaluators import direct_evaluator, is_forward_alone
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import DTYPE, QUANTITIES, RAISED, SHAPE, WRONG, Finding


@explained
def diagnose(
    layer: Geometry | Pool | Linear | TieMap,
    implementation: Implementation,
    *,
    seed: Seed = None,
    dtype: Any = "f8",
    accumulator: object = None,
    time_limit: float | None = 10.0,
) -> Diagnosis:
    """Name the mistake that an implementation makes, in y, dx, dw and db.

    A mistake is named only if what it would give equals what came, exactly, on several draws of
    integers; a constant that is solved for is the same in all of them. Single mistakes are tried
    first, in the whole and then in the samples and channels that are wrong, then pairs: two in the
    layer's structure, or one and a mistake in the sums. Of a large layer that is done on a small
    copy that the code takes and on which it is wrong as well, and confirmed on the layer.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, Linear, a TieMap, or any pool but LpPool
    implementation : object with forward(x, w, b) and backward(x, w, dy), or two such functions
        For a pool, with forward(x) and backward(x, dy). Forward alone: then y alone is judged.
    seed : int, numpy.random.SeedSequence or None
        Of the integers; None draws fresh entropy, which the diagnosis records.
    dtype : {"float64", "complex128"}, "float16", "bfloat16", "int8" to "int64" or "uint8"
        Of all operands. In complex numbers what is conjugated wrongly is named, all else on reals.
        In half precision and integers what `certify` refuses is named: sums that saturate, wrap
        around, or are rounded another way.
    accumulator : dtype of integers, or None
        What sums of integers are in, as in `certify`.
    time_limit : float or None
        Seconds after which no further mistake is tried; calls of the code are not interrupted. What
        was found by then is returned.

    Returns
    -------
    Diagnosis

    Raises
    ------
    TypeError
        For anything that is not such a layer or implementation.
    ValueError
        If one sample with its gradients is too large to be diagnosed in 1 GB.

    Examples
    --------
    >>> from convdense import Conv, convolve, convolve_backward
    >>> conv = Conv((1, 5, 6), out_channels=2, kernel=(2, 3))
    >>> def backward(x, w, dy):
    ...     dx, dw, db = convolve_backward(conv, x, w, dy)
    ...     return dx, dw[:, :, ::-1, ::-1], db / len(x)
    >>> print(diagnose(conv, (lambda x, w, b: convolve(conv, x, w, b), backward)))
    dw: the kernel is reversed on all axes
      first at output (0, 0, 0), input (0, 0, 0): weight (0, 0, 1, 2) for weight (0, 0, 0, 0)
      already wrong for 1 channel of 2 x 3
    db: the mean over the batch is taken for the sum
      already wrong for 1 channel of 2 x 3, 2 samples
    """
    number = drawn(seed_or_none(seed))
    word = choice(spelled(dtype), "dtype", ("float64", "complex128", *HALF, *INTEGERS))
    clock = Clock(limited_time(time_limit))
    if 0 in getattr(layer, "out_shape", ()):  # anything may come, and is refused below
        require_cells(layer)
    is_real_pool = isinstance(layer, Pool) and not layer.takes_roots and word not in COMPLEX
    if not is_real_pool and not isinstance(layer, DIAGNOSED):
        needs = "a Conv, ConvTranspose, LocallyConnected, Linear, a TieMap or a pool but LpPool"
        raise TypeError(complain_of("layer", layer, needs))

    alone = is_forward_alone(implementation)
    if word in (*HALF, *INTEGERS):
        formats = {"dtype": word, "accumulator": accumulator}
        narrow = narrow_explanations(layer, implementation, number, clock, **formats)
        return Diagnosis(layer, tuple(narrow), number, alone, time_limit=clock.stopped)
    case = _Case(layer, implementation, number, word, clock)
    found: list[Explanation] = []
    everything = observe(layer, implementation, number, word)
    wrong = {o.name: finding for o in everything if (finding := first_wrong(o)) is not None}
    again = observe_again(layer, implementation, everything) if wrong else {}
    for observed in (one for one in everything if one.name in wrong):
        name = observed.name
        between = accumulated(observed) or unrepeatable(observed, again.get(name))
        sentence = between or exchanged(observed, everything)
        known = Explanation(name, sentence, wrong[name])
        # in no time left it is at least said to be wrong
        is_done = sentence or clock.is_up
        found.append(known if is_done else _explained(case, observed, wrong[name]))
    if not found or not all(explanation.sentence for explanation in found):
        found = _with_rounding(case, found, everything)
    return Diagnosis(layer, tuple(found), number, alone, time_limit=clock.stopped)


def _with_rounding(
    case: "_Case", found: list[Explanation], everything: Sequence[Observations]
) -> list[Explanation]:
    """Return explanations, those without a name by how they are rounded, and what else is wrong.

    Where all numbers are right on the integers drawn, that is what a certificate refuses.
    """
    how = case.layer, case.implementation, case.seed
    is_real = case.dtype not in COMPLEX
    rounded = rounded_to_multiples(*how) if is_real else {}
    rounded |= {} if found else reads_the_last_forward(*how[:2], everything)
    rounded |= {k: v for k, v in (rounded_as(*how) if is_real else {}).items() if k not in rounded}
    named = [replace(e, sentence=e.sentence or rounded.get(e.name, "")) for e in found]
    if found and all(e.sentence for e in named):
        return named
    beside = misbehaviour(*how, case.dtype, case.clock)
    names = {explanation.name for explanation in found}
    if not found and rounded and beside:
        finding = {e.name: e.finding for e in beside}
        is_of = [name for name in QUANTITIES if name in rounded and name in finding]
        named = [Explanation(name, rounded[name], finding[name]) for name in is_of]
        return named or beside
    # wrong again in other calls, as what is wrong is; or wrong in another way
    more = [e for e in beside if e.name not in names and (e.finding.verdict != WRONG or not found)]
    return [*named, *more]


DIAGNOSED = Conv, ConvTranspose, LocallyConnected, Linear, TieMap


@dataclass
class _Case:
    """Code and its layer, and what the code gave on smaller ones, each asked once."""

    layer: Any
    implementation: Implementation
    seed: int
    dtype: str
    clock: Clock
    tried: dict[Any, dict[str, Observations]] = field(default_factory=dict)
    codes: list[Any] = field(default_factory=list)  # kept, so that no other has the id of one

    def on(self, layer: Any, code: Implementation) -> dict[str, Observations]:
        """Return what came of each quantity on a layer."""
        key = layer, id(code), 0
        if key not in self.tried:
            self.codes.append(code)
            self.tried[key] = {o.name: o for o in observe(layer, code, self.seed, self.dtype)}
        return self.tried[key]

    def is_wrong(self, name: str, kind: str, code: Any, layer: Any, batch: int) -> bool:
        """Tell whether a quantity is wrong in this way on one draw; not when the time is up."""
        if self.clock.is_up:
            return False
        key = layer, id(code), batch
        if key not in self.tried:
            self.codes.append(code)
            once = observe_once(layer, _cut(code, layer), self.seed, self.dtype, batch)
            self.tried[key] = {o.name: o for o in once}
        found = first_wrong(self.tried[key][name]) if name in self.tried[key] else None
        return found is not None and found.verdict == kind

    def copies(self, name: str, kind: str) -> Iterator[tuple[Any, Implementation]]:
        """Yield smaller layers, with code for each, on which a quantity is wrong in this way."""
        any_shape = False
        for small in copies(self.layer):
            theirs = self.on(small, self.implementation).get(name)
            found = first_wrong(theirs) if theirs is not None else None
            if found is not None and found.verdict == kind:
                any_shape = True
                yield small, self.implementation
            if self.clock.is_up:
                return
        for small, corner in () if any_shape else corners(self.layer, self.implementation):
            found = first_wrong(self.on(small, corner)[name])
            if found is not None and found.verdict == kind:
                yield small, corner
            if self.clock.is_up:
                return


def _explained(case: _Case, observed: Observations, finding: Finding) -> Explanation:
    """Return what explains a quantity, or, where nothing does, what can be found out about it."""
    name, layer = observed.name, case.layer
    if finding.verdict in (RAISED, DTYPE):
        return Explanation(name, f"{finding.verdict}: {finding.note}", finding)
    if observed.expected[0].dtype.kind == "c":
        sentence = conjugation_mistake(observed, direct_evaluator(layer))
        on_reals = () if sentence else diagnose(layer, case.implementation, seed=0).explanations
        same_name = [explanation for explanation in on_reals if explanation.name == name]
        return same_name[0] if same_name else Explanation(name, sentence, finding)

    is_small = entries_of(layer) <= NAMED_ON
    named, small, code = None, layer, case.implementation
    if isinstance(layer, Pool):
        named, small, code = _of_pool(case, observed, finding)
    elif is_small:
        named = next(explanations(layer, observed, case.clock), None)
    else:
        named, small, code = _by_copies(case, observed, finding)

    if named is None and finding.verdict == SHAPE:
        return Explanation(name, f"its shape is wrong: {finding.note}", finding)
    least, where = _smallest(case, name, finding, small, code)
    if named:
        return Explanation(name, str(named), finding, named.place, smallest=where)
    return Explanation(
        name,
        "",
        finding,
        recovered=_recovered(case, name, least, code),
        smallest=where,
        pattern=pattern(observed),
    )


def _by_copies(
    case: _Case, observed: Observations, finding: Finding
) -> tuple[Named | None, Any, Implementation]:
    """Return what explains a quantity of a large layer, and the copy that it was named on."""
    layer, name = case.layer, observed.name
    first: tuple[Any, Implementation] | None = None
    for small, code in case.copies(name, finding.verdict):
        first = first or (small, code)
        names = 0
        for theirs in explanations(small, case.on(small, code)[name], case.clock):
            names += 1
            named = confirmed(layer, observed, theirs.sentence)
            if named:
                return named, *first
            if case.clock.is_up:
                break
        if not names:  # another copy would tell no more
            break
    named = next(cheap_explanations(layer, observed), None)
    return named, *(first or (layer, case.implementation))


def _smallest(
    case: _Case, name: str, finding: Finding, small: Any, code: Implementation
) -> tuple[Any, str]:
    """Return the smallest layer at which a quantity is wrong, and words for it."""
    batch = len(case.on(small, code)[name].calls[0].x)
    for one in (code, *([Corner(code, small, small)] if takes_corners(small) else [])):
        if isinstance(code, Corner) and one is not code:
            break
        is_wrong = partial(case.is_wrong, name, finding.verdict, one)
        least, fewer = smallest(small, batch, is_wrong, is_fixed=isinstance(one, Corner))
        if least != case.layer:
            return least, in_words(least, fewer, case.layer)
    return small, ""


def _cut(code: Any, layer: Any) -> Any:
    """Return code for a smaller layer: the code itself, or another corner of its layer."""
    return replace(code, small=layer) if isinstance(code, Corner) else code


def _recovered(case: _Case, name: str, least: Any, code: Implementation) -> str:
    """Return how a matrix differs from the layer's, on the smallest layer that is wrong."""
    if isinstance(least, Pool) or entries_of(least) > NAMED_ON:
        return ""
    if entries_of(case.layer) <= NAMED_ON:  # small as it is
        least, code = case.layer, case.implementation
    mine = _cut(code, least)
    observed = {o.name: o for o in observe(least, mine, case.seed, case.dtype)}.get(name)
    return recovered_difference(least, mine, observed) if observed else ""


def _of_pool(
    case: _Case, observed: Observations, finding: Finding
) -> tuple[Named | None, Any, Implementation]:
    """Return what explains a quantity of a pool, and the copy that it was named on."""
    pool, code, name = case.layer, case.implementation, observed.name
    if entries_of(pool) <= NAMED_ON:
        return next(_pool_explanations(pool, observed, case.clock), None), pool, code
    first = None
    for small, _ in case.copies(name, finding.verdict):
        first = first or small
        theirs = case.on(small, code)[name]
        for named in _pool_explanations(small, theirs, case.clock):
            found = next(_pool_explanations(pool, observed, case.clock, only=named.sentence), None)
            if found or case.clock.is_up:
                return found, first, code
    return next(_pool_explanations(pool, observed, case.clock), None), first or pool, code


def _pool_explanations(
    pool: Pool, observed: Observations, clock: Clock, only: str = ""
) -> Iterator[Named]:
    """Yield the mistakes of a pool that give exactly what came, in the whole or in a part."""
    for words, view in views(observed):
        for sentence, mistake in clock.during(pool_mistakes(pool, observed.name)):
            if only in ("", sentence) and view.fits(partial(_on_call, mistake)):
                yield Named(sentence, words)
        sentence = _from_result_alone(view) or local_error(pool, view)
        if sentence:
            yield Named(sentence, words)


def _on_call(mistake: Callable[[Array, Array], Array], call: Call) -> Array:
    return mistake(call.x, call.dy)


def _from_result_alone(observed: Observations) -> str:
    """Return the mistake that is told by what is right alone: a sign, a factor, a limit."""
    for sentence, change in plain_result_mistakes(observed.name):
        pairs = zip(observed.returned, observed.expected, strict=True)
        if all(same(got, change(right), observed.part) for got, right in pairs):
            return sentence
    if not observed.comparable:
        return ""
    got, right = observed.stacked(observed.returned), observed.stacked(observed.expected)
    return multiplied(got, right) or clipped(got, right)
