"""The order in which explanations are tried: one mistake before two, the whole before a part."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from convdense._util.arguments import Array
from convdense.diagnosis.first_difference import first_moved
from convdense.diagnosis.localise import later_samples, local_error, views
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

Change = Callable[[Array, Mistake, Call], Array]  # the second of a ResultMistake
NamedMistake = tuple[str, str]  # a sentence, and the first edge that is moved; both may be empty


def explain(layer: Geometry, observed: Observations) -> NamedMistake:
    """Return the first explanation that gives exactly what came in every draw."""
    # no weight enters db, so no mistake in the layer's structure shows there
    known = [Mistake("", tie(layer))] if observed.name == "db" else list(mistakes(layer))
    right, wrong_layers = known[0], known[1:]
    for words, view in views(observed):
        sentence, place = _single(layer, view, right, wrong_layers)
        if sentence:
            return prefixed(words, sentence), place

    in_the_sums = list(result_mistakes(layer, observed.name))
    for mistake in wrong_layers:
        for sentence, _ in _fitting(layer, observed, mistake, in_the_sums):
            return f"{mistake.sentence}, and {sentence}", first_moved(layer, mistake, observed)
    return _in_a_part_or_two(layer, observed, wrong_layers)


def _in_a_part_or_two(
    layer: Geometry, observed: Observations, wrong_layers: Sequence[Mistake]
) -> NamedMistake:
    """Return one kernel, later samples or some outputs got wrong, or else two mistakes at once."""
    sentence, kernel = one_kernel(layer, observed)
    if sentence:
        return sentence, first_moved(layer, kernel, observed) if kernel else ""
    later = later_samples(layer, observed, wrong_layers)
    if later:
        sentence = prefixed("from the second sample on", later.sentence)
        return sentence, first_moved(layer, later, observed)
    sentence = outputs_missing(layer, observed)
    if sentence:
        return sentence, ""
    both = None if observed.name == "db" else two_mistakes(layer, observed)
    return (both.sentence, first_moved(layer, both, observed)) if both else ("", "")


def prefixed(words: str, sentence: str) -> str:
    """Return a sentence with what it is about in front."""
    return f"{words}: {sentence}" if words else sentence


def _single(
    layer: Geometry, observed: Observations, right: Mistake, wrong_layers: Sequence[Mistake]
) -> NamedMistake:
    """Return one mistake that explains what came."""
    for sentence, _ in _fitting(layer, observed, right, result_mistakes(layer, observed.name)):
        return sentence, ""
    for mistake in wrong_layers:
        if observed.fits(partial(_value, layer, mistake, observed.name)):
            return mistake.sentence, first_moved(layer, mistake, observed)
    for sentence, _ in _fitting(layer, observed, right, lone_result_mistakes(layer, observed.name)):
        return sentence, ""
    return fitted(layer, observed) or local_error(layer, observed), ""


def _fitting(
    layer: Geometry, observed: Observations, mistake: Mistake, changes: Iterable[ResultMistake]
) -> Iterator[ResultMistake]:
    """Yield the mistakes in the sums that, in a layer with one mistake or none, give what came."""
    name, first_call = observed.name, observed.calls[0]
    first_value = _value(layer, mistake, name, first_call)  # wanted by all, so computed once

    def value(change: Change, call: Call) -> Array:
        before = first_value if call is first_call else _value(layer, mistake, name, call)
        return change(before, mistake, call)

    for sentence, change in changes:
        # where the whole takes far longer than a few cells, these are looked at first
        if isinstance(change, Overwritten):
            probe = change.probe(mistake, first_call)
            if not observed.may_be(probe):
                continue
        if observed.fits(partial(value, change)):
            yield sentence, change


def _value(layer: Geometry, mistake: Mistake, name: str, call: Call) -> Array:
    return bias_gradient(layer, call.dy) if name == "db" else mistake.run(call, name)
