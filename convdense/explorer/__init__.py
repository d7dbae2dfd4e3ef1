"""A page to explore a layer: one self-contained HTML file, drawn from its tie map.

* `page`: explore, Page
* `svg`: its drawings

`explorer.html`, `explorer.css` and `explorer.js` are its template, style and script.
"""

from convdense.explorer.page import ENTRIES_LIMIT, Page, explore

__all__ = ["ENTRIES_LIMIT", "Page", "explore"]


def __dir__() -> list[str]:  # what is public: the files of the folder are not
    return __all__
