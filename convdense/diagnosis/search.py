"""The order in which explanations are tried: one mistake before two, the whole before a part."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from convdense._util.arguments import Array
from convdense.certificates.clock import Clock
from convdense.diagnosis.first_difference import first_moved
from convdense.diagnosis.localise import later_samples, local_error, views
from convdense.diagnosis.mistake_pairs import two_mistakes
from convdense.diagnosis.mistakes.catalogue import mistakes
from convdense.diagnosis.mistakes.fitted_constants import fitted
from convdense.diagnosis.mistakes.missing_outputs import outputs_missing
from convdense.diagnosis.mistakes.mistake import Call, Mistake, ResultMistake, bias_gradient
from convdense.diagnosis.mistakes.observations import Observations
from convdense.diagnosis.mistakes.overwriting import Overwritten, overwritten_in_loops
from convdense.diagnosis.mistakes.single_kernel import one_kernel
from convdense.diagnosis.mistakes.sums import (
    common_result_mistakes,
    lone_result_mistakes,
    result_mistakes,
)
from convdense.structure._tie import tie

Change = Callable[[Array, Mistake, Call], Array]  # the second of a ResultMistake
LISTED = 2_000_000  # entries that are held at a time, at most
MANY_CELLS = 500  # of a quantity whose entries are too many, what is compared
LATER = "from the second sample on"
ENDLESS = Clock()


class Named(NamedTuple):
    """A mistake that gives exactly what came in every draw.

    `part` says in which samples and channels, empty for all; `place` is the first edge that is
    moved, empty where none is.
    """

    sentence: str
    part: str = ""
    place: str = ""

    def __str__(self) -> str:
        """Return the sentence with what it is about in front."""
        return prefixed(self.part, self.sentence)


def prefixed(words: str, sentence: str) -> str:
    """Return a sentence with what it is about in front."""
    return f"{words}: {sentence}" if words else sentence


def explanations(layer: Any, observed: Observations, clock: Clock = ENDLESS) -> Iterator[Named]:
    """Yield every explanation that gives exactly what came in every draw, the likeliest first.

    When the time is up, no further mistake is tried.
    """
    right, wrong_layers = known_mistakes(layer, observed)
    for words, view in views(observed):
        for sentence in _of_the_result(layer, view, right):
            yield Named(sentence, words)
        in_loops = overwritten_in_loops(layer, observed.name)
        for sentence in _fitting(layer, view, right, clock.during(in_loops)):
            yield Named(sentence, words)
        wrong = clock.during(wrong_layers, f"diagnosis of {observed.name}", len(wrong_layers))
        for mistake in _fitting_layers(view, wrong):
            yield Named(mistake.sentence, words, first_moved(layer, mistake, view))
        for sentence in _of_the_right_layer(layer, view, right):
            yield Named(sentence, words)

    in_the_sums = list(common_result_mistakes(layer, observed.name))
    for mistake in clock.during(wrong_layers):
        for sentence in _fitting(layer, observed, mistake, in_the_sums):
            both = f"{mistake.sentence}, and {sentence}"
            yield Named(both, place=first_moved(layer, mistake, observed))
    yield from _of_a_part(layer, observed)
    later = later_samples(layer, observed, wrong_layers)
    if later:
        yield Named(later.sentence, LATER, first_moved(layer, later, observed))
    pair = None if observed.name == "db" else two_mistakes(layer, observed, clock)
    if pair:
        yield Named(pair.sentence, place=first_moved(layer, pair, observed))


def confirmed(layer: Any, observed: Observations, sentence: str) -> Named | None:
    """Return a mistake that was named on a smaller layer, if it gives what came on this one too.

    None as well where it would take more entries than are held at a time.
    """
    right, wrong_layers = known_mistakes(layer, observed)
    named = [m for m in wrong_layers if m.sentence == sentence]
    changes = [c for c in result_mistakes(layer, observed.name) if c[0] == sentence]
    lone = [
        c
        for c in (
            *overwritten_in_loops(layer, observed.name),
            *lone_result_mistakes(layer, observed.name),
        )
        if c[0] == sentence
    ]
    for words, view in views(observed):
        for _ in _fitting(layer, view, right, [*changes, *lone]):
            return Named(sentence, words)
        for mistake in _fitting_layers(view, named):
            return Named(sentence, words, first_moved(layer, mistake, view))

    for mistake in wrong_layers:
        first = f"{mistake.sentence}, and "
        if not sentence.startswith(first):
            continue
        in_the_sums = common_result_mistakes(layer, observed.name)
        rest = [c for c in in_the_sums if c[0] == sentence.removeprefix(first)]
        for _ in _fitting(layer, observed, mistake, rest):
            return Named(sentence, place=first_moved(layer, mistake, observed))
    later = later_samples(layer, observed, named)
    if later:
        return Named(sentence, LATER, first_moved(layer, later, observed))
    is_pair = ", and " in sentence and observed.name != "db"
    both = two_mistakes(layer, observed, only=sentence) if is_pair else None
    return Named(sentence, place=first_moved(layer, both, observed)) if both else None


def cheap_explanations(layer: Any, observed: Observations) -> Iterator[Named]:
    """Yield explanations that need no more than what came and what is right."""
    right = Mistake("", tie(layer))
    for words, view in views(observed):
        for sentence in _of_the_result(layer, view, right):
            yield Named(sentence, words)
        for sentence in _constants(layer, view):
            yield Named(sentence, words)
    yield from _of_a_part(layer, observed)


def known_mistakes(layer: Any, observed: Observations) -> tuple[Mistake, list[Mistake]]:
    """Return the right layer, and those with a mistake in the structure, where it can show."""
    right, *wrong = mistakes(layer)
    # no weight enters db, so no mistake in the layer's structure shows there
    return right, [] if observed.name == "db" else wrong


def _of_the_result(layer: Any, observed: Observations, right: Mistake) -> Iterator[str]:
    yield from _fitting(layer, observed, right, result_mistakes(layer, observed.name))


def _of_the_right_layer(layer: Any, observed: Observations, right: Mistake) -> Iterator[str]:
    yield from _fitting(layer, observed, right, lone_result_mistakes(layer, observed.name))
    yield from _constants(layer, observed)


def _constants(layer: Any, observed: Observations) -> Iterator[str]:
    found = fitted(layer, observed) or local_error(layer, observed)
    if found:
        yield found


def _of_a_part(layer: Any, observed: Observations) -> Iterator[Named]:
    """Yield one kernel, or some outputs, got wrong."""
    sentence, kernel = one_kernel(layer, observed)
    if sentence:
        yield Named(sentence, place=first_moved(layer, kernel, observed) if kernel else "")
    sentence = outputs_missing(layer, observed)
    if sentence:
        yield Named(sentence)


def _fitting_layers(observed: Observations, wrong: Iterable[Mistake]) -> Iterator[Mistake]:
    for mistake in wrong:
        if observed.fits(partial(mistake.run, name=observed.name)):
            yield mistake


def _fitting(
    layer: Any, observed: Observations, mistake: Mistake, changes: Iterable[ResultMistake]
) -> Iterator[str]:
    """Yield the mistakes in the sums that, in a layer with one mistake or none, give what came."""
    values: dict[int, Array] = {}  # wanted by all, so computed once

    def value(change: Change, call: Call) -> Array:
        key = id(call)
        if key not in values:
            values[key] = _value(layer, mistake, observed, call)
        return change(values[key], mistake, call)

    first_call = observed.calls[0]
    for sentence, change in changes:
        # where the whole takes far longer than a few cells, these are looked at first
        if isinstance(change, Overwritten):
            if not observed.may_be(change.probe(mistake, first_call)):
                continue
            if mistake.ties.n_entries > LISTED:  # more than can be held: many cells of every draw
                probes = (change.probe(mistake, call, MANY_CELLS) for call in observed.calls)
                if all(observed.may_be(probe, i) for i, probe in enumerate(probes)):
                    yield sentence
                continue
        if observed.fits(partial(value, change)):
            yield sentence


def _value(layer: Any, mistake: Mistake, observed: Observations, call: Call) -> Array:
    if observed.name == "db":
        return bias_gradient(layer, call.dy)
    if mistake.sentence:
        return mistake.run(call, observed.name)
    return observed.expected[next(i for i, one in enumerate(observed.calls) if one is call)]
