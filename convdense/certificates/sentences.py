"""Every sentence that a certificate prints about what was run, each in one place.

A test forges each: it holds an implementation of which the sentence would be false.
"""

# In the first line: how sure it is. Then what was compared, what was tried, and what is not known.
SENTENCES = {
    "proof": "every pair of basis vectors tried: a proof if bilinear",
    "near proof": "every pair of basis vectors tried, within rounding",
    "any": "a wrong one passes with probability below 2^{power}",
    "edge": "a wrong edge passes with probability below 2^{power}",
    "odd": "one wrong by odd numbers passes with probability below 2^{power}",
    "pieces": "{trials} trials, no probability is known",
    "trials": "compared: {trials} random trials on integers in {dtype}, batch {batch}; seed {seed}",
    "pairs": "compared: every pair of basis vectors, and random integers of both signs, {trials} "
    "calls in {dtype}, batch {batch}; seed {seed}",
    "stopped": "compared: integers in {dtype}, batch {batch}, until it raised or all was wrong; "
    "seed {seed}",
    "contracted": "the channels contracted by random factors, modulo {rounds} random primes a "
    "trial, drawn after each call; what was not equal so, number by number",
    "exact sums": "integers of {bits} bits of {most}: every sum exact in any order",
    "equal": "a relative error below 2^{power} in one product can pass",
    "excused": "differences up to {bound} passed for rounding: a relative error above 2^{power} in "
    "one product passes with probability at most 2^-10",
    "excused pairs": "differences up to {bound} passed for rounding: a relative error below "
    "2^{power} in one product can pass",
    "rounded sums": "sums round: each entry within a bound that is carried through the layers",
    "functions": "compared: {trials} random trials on integers, then reals, in {dtype}, batch "
    "{batch}; seed {seed}",
    "ring": "on all of {dtype}, sums modulo 2^{m}",
    "even": "a coefficient wrong by 2^v times an odd number passes a trial with probability at "
    "most ({above} - v) / 2^({one} - v), from v = {m} on always",
    "integers": "on {dtype} up to {largest}, sums within {accumulator}",
    "signs": "|x| met {positive:.0%} positive, {zero:.0%} zero and {negative:.0%} negative of its "
    "coordinates",
    "cells": "{won:.0%} of the windows' cells won, {tied:.0%} of their pairs tied; planes beyond "
    "zero are among the inputs",
    "alone": "forward alone was given: no gradient was judged",
    "reals": "compared: random {numbers}, all entries, each with its own bound: {counts}",
    "real sums": "compared: random {numbers}, all entries, contracted over the channels, within "
    "what one channel rounds at most, on average, or all by chance: {counts}",
    "unit": "effective unit roundoff: {units}",
    "right": "right as well: {names}",
    "copy": "tried on a small copy, {copy}, but for: {names}",
    "refused": "refused: {name} ({why})",
    "reported": "reported: {name}: {why}",
    "stopped in time": "time_limit: after {seconds:g} s nothing new was begun",
    "untried": "not tried: {names}",
    "numbers": "nothing beside the numbers was tried: they are wrong",
    "bilinear": "assumed: up to rounding y is {of_y} plus linear in b, dx bilinear in w and dy, "
    "{of_dw}, db linear in dy; then it {holds} for all real inputs of this shape",
    "bilinear y": "assumed: up to rounding y is {of_y} plus linear in b; then it {holds} for all "
    "real inputs of this shape",
    "affine": "assumed: the outputs are affine in each of x, w and dy, and the seed is random",
    "integer code": "it is about the code for {dtype}, not that for floats",
    "degree": "assumed: up to rounding the outputs are polynomials of degree at most 2 in the "
    "operands, and the seed is random",
    "interpreted": "run by an interpreter: this judges the source, not what a compiler makes of it",
    "unseen": "no finite test sees: another result after more calls than were made, one random "
    "call in a thousand, one exact magic value, a threshold relative to the data, another batch, "
    "layout or dtype than tried, a date, code that recognises its judge or tampers with Python",
    "rules": "recorded under schema {schema}: {change}",
}
ON_REALS = "on random reals"  # begins the note of a finding that only they show


def say(key: str, **values: object) -> str:
    """Return one sentence of a certificate."""
    return SENTENCES[key].format(**values)
