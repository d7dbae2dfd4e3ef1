"""The order in which explanations are tried: single mistakes before pairs, the whole before a part of it."""

from collections.abc import Callable, Iterator
from functools import partial

from convdense._util.arguments import Array
from convdense.diagnosis.first_difference import first_moved
from convdense.diagnosis.localise import later_samples, local, parts
from convdense.diagnosis.mistakes.candidate import Call, Mistake, Slip, bias_gradient
from convdense.diagnosis.mistakes.catalogue import mistakes
from convdense.diagnosis.mistakes.fitted_constants import fitted
from convdense.diagnosis.mistakes.missing_outputs import left_out
from convdense.diagnosis.mistakes.observations import Seen
from convdense.diagnosis.mistakes.one_kernel import one_kernel
from convdense.diagnosis.mistakes.sums import Overwritten, lone_slips, slips
from convdense.diagnosis.two_mistakes import two_mistakes
from convdense.geometry import Geometry
from convdense.structure._tie import tie

Told = tuple[str, str]  # a sentence, and the first edge that is moved; both may be empty


def explain(layer: Geometry, seen: Seen) -> Told:
    """Return the first explanation that gives exactly what came in every draw."""
    known = [Mistake("", tie(layer))] if seen.name == "db" else list(mistakes(layer))
    for words, view in (("", seen), *parts(seen)):
        sentence, place = _single(layer, view, known)
        if sentence:
            return led(words, sentence), place
    some = list(slips(layer, seen.name))[1:]
    for mistake in known[1:]:
        for slip in _fitting(layer, seen, mistake, some):
            return f"{mistake.sentence}, and {slip[0]}", first_moved(layer, mistake, seen)
    sentence, kernel = one_kernel(layer, seen)
    if sentence:
        return sentence, first_moved(layer, kernel, seen) if kernel else ""
    if later := later_samples(layer, seen, known[1:]):
        return led("from the second sample on", later.sentence), first_moved(layer, later, seen)
    if sentence := left_out(layer, seen):
        return sentence, ""
    both = None if seen.name == "db" else two_mistakes(layer, seen)
    return (both.sentence, first_moved(layer, both, seen)) if both else ("", "")


def led(words: str, sentence: str) -> str:
    """Return a sentence with what it is about in front."""
    return f"{words}: {sentence}" if words else sentence


def _single(layer: Geometry, seen: Seen, known: list[Mistake]) -> Told:
    """Return one mistake that explains what came: of the sums, of the structure, of the layout, one with a constant."""
    for slip in _fitting(layer, seen, known[0], list(slips(layer, seen.name))[1:]):
        return slip[0], ""
    for mistake in known[1:]:
        if seen.fits(partial(_value, layer, mistake, seen.name)):
            return mistake.sentence, first_moved(layer, mistake, seen)
    for slip in _fitting(layer, seen, known[0], lone_slips(layer, seen.name)):
        return slip[0], ""
    return fitted(layer, seen) or local(layer, seen), ""


def _fitting(layer: Geometry, seen: Seen, mistake: Mistake, some: Iterator[Slip] | list[Slip]) -> Iterator[Slip]:
    """Yield the slips that, in a layer with one mistake or none, give what came."""
    name, first = seen.name, _value(layer, mistake, seen.name, seen.calls[0])

    def value(change: Callable[[Array, Mistake, Call], Array], call: Call) -> Array:
        return change(first if call is seen.calls[0] else _value(layer, mistake, name, call), mistake, call)

    for slip in some:
        change = slip[1]  # where the whole takes far longer than a few cells, these are looked at first
        if isinstance(change, Overwritten) and not seen.may_be(change.probe(mistake, seen.calls[0])):
            continue
        if seen.fits(partial(value, change)):
            yield slip


def _value(layer: Geometry, mistake: Mistake, name: str, call: Call) -> Array:
    return bias_gradient(layer, call.dy) if name == "db" else mistake.run(call, name)
