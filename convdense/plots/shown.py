"""matplotlib's own Figure and Axes, which a notebook shows and which write themselves to a file.

pyplot knows nothing of them, so that it does not show them a second time.
"""

from io import BytesIO
from pathlib import Path
from struct import unpack

from matplotlib import axes, figure

from convdense._util.arguments import complain
from convdense._util.files import as_path, save_bytes

FORMATS = (".png", ".svg", ".pdf")
SHARP = 2  # dots of a fine screen, across and down, in each pixel of the picture


class Figure(figure.Figure):
    """A matplotlib Figure: a cell that ends in it shows it, ``.save(path)`` writes it.

    Examples
    --------
    >>> from convdense import Conv, plots
    >>> file, size = plots.anatomy(Conv((1, 3, 3), out_channels=1, kernel=2))._repr_png_()
    >>> file[1:4], list(size)
    (b'PNG', ['width', 'height'])
    """

    def save(self, path: Path | str) -> Path:
        """Write a .png, .svg or .pdf file, whole or not at all; ValueError for another ending."""
        ending = as_path(path).suffix
        data = self._written(ending) if ending in FORMATS else b""  # refused below
        return save_bytes(path, data, FORMATS)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the picture for a notebook, sharp on a fine screen."""
        data = self._written(".png", SHARP * self.dpi)
        width, height = unpack(">2I", data[16:24])  # where a PNG file has its size
        return data, {"width": width // SHARP, "height": height // SHARP}

    def _written(self, ending: str, dpi: float | None = None) -> bytes:
        file = BytesIO()
        self.savefig(file, format=ending[1:], dpi=dpi)
        return file.getvalue()


class Axes(axes.Axes):
    """matplotlib Axes of a `Figure`: what is shown and written is the whole of it."""

    def save(self, path: Path | str) -> Path:
        """Write the figure to a file, as `Figure.save` does."""
        if not isinstance(self.figure, Figure):
            got = "Axes that were removed from their figure"
            raise ValueError(complain("axes", got, "Axes of a figure", "draw them again"))
        return self.figure.save(path)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        """Return the figure for a notebook; None if they were removed from it."""
        return self.figure._repr_png_() if isinstance(self.figure, Figure) else None


def add_axes(whole: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return new Axes; all four are fractions of the figure."""
    added = Axes(whole, (left, bottom, width, height))
    whole.add_axes(added)
    return added
