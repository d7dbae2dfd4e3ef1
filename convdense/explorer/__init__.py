"""A page to explore a layer: one self-contained HTML file, drawn from its tie map."""

from convdense.explorer.page import ENTRIES_LIMIT, Page, explore

__all__ = ["ENTRIES_LIMIT", "Page", "explore"]
