"""The order in which explanations are tried: single mistakes before pairs, the whole before a part of it."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from convdense._util.arguments import Array
from convdense.diagnosis.first_difference import first_moved
from convdense.diagnosis.localise import later_samples, local_error, parts
from convdense.diagnosis.mistake_pairs import two_mistakes
from convdense.diagnosis.mistakes.catalogue import mistakes
from convdense.diagnosis.mistakes.fitted_constants import fitted
from convdense.diagnosis.mistakes.missing_outputs import outputs_missing
from convdense.diagnosis.mistakes.mistake import Call, Mistake, ResultMistake, bias_gradient
from convdense.diagnosis.mistakes.observations import Observations
from convdense.diagnosis.mistakes.single_kernel import one_kernel
from convdense.diagnosis.mistakes.sums import Overwritten, lone_result_mistakes, result_mistakes
from convdense.geometry import Geometry
from convdense.structure._tie import tie

NamedMistake = tuple[str, str]  # a sentence, and the first edge that is moved; both may be empty


def explain(layer: Geometry, observed: Observations) -> NamedMistake:
    """Return the first explanation that gives exactly what came in every draw."""
    known = [Mistake("", tie(layer))] if observed.name == "db" else list(mistakes(layer))
    for words, view in (("", observed), *parts(observed)):
        sentence, place = _single(layer, view, known)
        if sentence:
            return prefixed(words, sentence), place
    some = list(result_mistakes(layer, observed.name))[1:]
    for mistake in known[1:]:
        for wrong in _fitting(layer, observed, mistake, some):
            return f"{mistake.sentence}, and {wrong[0]}", first_moved(layer, mistake, observed)
    sentence, kernel = one_kernel(layer, observed)
    if sentence:
        return sentence, first_moved(layer, kernel, observed) if kernel else ""
    if later := later_samples(layer, observed, known[1:]):
        return prefixed("from the second sample on", later.sentence), first_moved(
            layer, later, observed
        )
    if sentence := outputs_missing(layer, observed):
        return sentence, ""
    both = None if observed.name == "db" else two_mistakes(layer, observed)
    return (both.sentence, first_moved(layer, both, observed)) if both else ("", "")


def prefixed(words: str, sentence: str) -> str:
    """Return a sentence with what it is about in front."""
    return f"{words}: {sentence}" if words else sentence


def _single(layer: Geometry, observed: Observations, known: list[Mistake]) -> NamedMistake:
    """Return one mistake that explains what came: of the sums, of the structure, of the layout, one with a constant."""
    for wrong in _fitting(
        layer, observed, known[0], list(result_mistakes(layer, observed.name))[1:]
    ):
        return wrong[0], ""
    for mistake in known[1:]:
        if observed.fits(partial(_value, layer, mistake, observed.name)):
            return mistake.sentence, first_moved(layer, mistake, observed)
    for wrong in _fitting(layer, observed, known[0], lone_result_mistakes(layer, observed.name)):
        return wrong[0], ""
    return fitted(layer, observed) or local_error(layer, observed), ""


def _fitting(
    layer: Geometry, observed: Observations, mistake: Mistake, some: Iterable[ResultMistake]
) -> Iterator[ResultMistake]:
    """Yield the mistakes that, in a layer with one mistake or none, give what came."""
    name, first = observed.name, _value(layer, mistake, observed.name, observed.calls[0])

    def value(change: Callable[[Array, Mistake, Call], Array], call: Call) -> Array:
        return change(
            first if call is observed.calls[0] else _value(layer, mistake, name, call),
            mistake,
            call,
        )

    for wrong in some:
        change = wrong[
            1
        ]  # where the whole takes far longer than a few cells, these are looked at first
        if isinstance(change, Overwritten) and not observed.may_be(
            change.probe(mistake, observed.calls[0])
        ):
            continue
        if observed.fits(partial(value, change)):
            yield wrong


def _value(layer: Geometry, mistake: Mistake, name: str, call: Call) -> Array:
    return bias_gradient(layer, call.dy) if name == "db" else mistake.run(call, name)
