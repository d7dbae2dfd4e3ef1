"""Judge all exhibits and write the page: ``python -m tests.museum``.

With names of bugs (`pytorch/pytorch#63314`) it prints what is said of these, and writes nothing.
"""

import sys
import warnings

from tqdm import tqdm

from tests.museum.judges import judged
from tests.museum.table import PAGE, counts, exhibits, page, quoted, store


def main(wanted: list[str]) -> int:
    warnings.simplefilter("ignore", RuntimeWarning)  # code that is wrong overflows and casts NaN
    shown = [e for e in exhibits() if not wanted or e.name in wanted]
    rows = [judged(e) for e in tqdm(shown, desc="museum", disable=None, leave=False)]
    if wanted:
        for row in rows:
            print(f"{row.name}: {row.before}, after: {row.after}; {row.named}: {quoted(row.said)}")
        return 0
    store(rows)
    PAGE.write_text(page(shown, rows), encoding="utf-8")
    for what, number in counts(list(zip(shown, rows, strict=True))):
        print(f"{number:4d}  {what}")
    good = all(row.before == "refused" and row.after == "holds" for row in rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
