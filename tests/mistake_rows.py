"""The table of mistakes that a diagnosis is asked to name, beside their nearest right relatives.

By hand, from the root: ``python -m tests.mistake_rows [part of a name] [--new] [--student]`` prints
what ``diagnose`` says of each row, and whether it has the words expected; ``--new`` is the table of
``tests/new_passes.py``, ``--student`` that of ``tests/student_passes.py``.
"""

import sys
from time import process_time

import convdense as cd
from tests import (
    mistake_rows_behaviour,
    mistake_rows_channels,
    mistake_rows_dtypes,
    mistake_rows_geometry,
    mistake_rows_loops,
    mistake_rows_padding,
    mistake_rows_pairs,
    mistake_rows_pools,
    mistake_rows_sums,
    mistake_rows_transforms,
)
from tests.mistake_rows_base import QUANTITIES, Row

KINDS = (
    mistake_rows_loops,
    mistake_rows_transforms,
    mistake_rows_channels,
    mistake_rows_geometry,
    mistake_rows_padding,
    mistake_rows_pools,
    mistake_rows_sums,
    mistake_rows_dtypes,
    mistake_rows_behaviour,
    mistake_rows_pairs,
)
ROWS: list[Row] = [row for kind in KINDS for row in kind.TABLE.wrong]
RIGHT: list[Row] = [row for kind in KINDS for row in kind.TABLE.right]
OPTIONS = ("--new", "--student")


# What a diagnosis says


def sentences(diagnosis):
    """Return {quantity: the line that names its mistake}, lower case."""
    found = {}
    for line in str(diagnosis).splitlines():
        name, colon, sentence = line.partition(": ")
        if colon and name in QUANTITIES:
            found[name] = f"{found[name]}; {sentence}" if name in found else sentence
    return found


def has_words(sentence, alternatives):
    """Return whether a sentence has all words of one alternative, and none it must not have."""
    said = sentence.lower()
    return any(
        all((word[1:] not in said) if word[0] == "!" else word.lower() in said for word in words)
        for words in alternatives
    )


UNNAMED = ("no mistake that is known", "nothing is wrong")


def judged(row):
    """Return ("matched", "missed", "misnamed" or "blamed", what was said)."""
    try:
        diagnosis = cd.diagnose(row.layer, row.implementation, **row.options)
        text = str(diagnosis)
    except Exception as raised:
        return "missed", f"raised {type(raised).__name__}: {raised}"
    said = sentences(diagnosis)
    if set(said) - set(row.words) and not row.behaviour:
        return "blamed", text
    if not row.words and not row.behaviour:
        return ("matched" if diagnosis else "blamed"), text
    named = all(
        name in said and has_words(said[name], alternatives)
        for name, alternatives in row.words.items()
    )
    if named and all(word.lower() in text.lower() for word in row.behaviour):
        return "matched", text
    if any(unnamed in text.lower() for unnamed in UNNAMED) or not said:
        return "missed", text
    return "misnamed", text


def chosen(arguments):
    """Return (wrong rows, right rows) of the table that an option asks for."""
    if "--new" in arguments:
        from tests.new_passes import NEW, NEW_RIGHT

        return NEW, NEW_RIGHT
    if "--student" in arguments:
        from tests.student_passes import STUDENT, STUDENT_RIGHT

        return STUDENT, STUDENT_RIGHT
    return ROWS, RIGHT


def main(arguments):
    """Print a line for every row, and what was said of those that are not matched."""
    rows, right = chosen(arguments)
    part = " ".join(word for word in arguments if word not in OPTIONS)
    counts: dict[str, int] = {}
    total = 0.0
    for table, heading in ((rows, "wrong"), (right, "right")):
        for row in table:
            if part not in row.name:
                continue
            begin = process_time()
            verdict, text = judged(row)
            seconds = process_time() - begin
            total += seconds
            key = f"{heading}: {verdict}"
            counts[key] = counts.get(key, 0) + 1
            print(f"{verdict:9}{seconds:7.2f} s  {row.name}", flush=True)
            if verdict != "matched" or part:
                print("".join(f"    | {line}\n" for line in text.splitlines()), end="")
                for name, alternatives in row.words.items():
                    print(f"    expected of {name}: {alternatives}")
                if row.behaviour:
                    print(f"    expected: {row.behaviour}")
    counted = ", ".join(f"{key} {count}" for key, count in sorted(counts.items()))
    print(f"{counted}; {total:.0f} s of the processor")


if __name__ == "__main__":
    main(sys.argv[1:])
