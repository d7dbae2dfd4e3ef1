"""A moving picture of a layer: the kernel slides, its row lights up, the gradients grow."""

from base64 import b64encode
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from convdense._util.arguments import Array
from convdense._util.files import save_bytes
from convdense.geometry import HasShapes
from convdense.plots._frame import draw_output, sampled

COLOURS = 48  # of all frames together
SHOWN, LAST = 900, 4000  # milliseconds of a frame, and of the last one


@dataclass(frozen=True)
class Animation:
    """A moving picture; a notebook shows it.

    Parameters
    ----------
    title : str
    gif : bytes
        The whole file.

    Examples
    --------
    >>> Animation("Nothing", b"GIF89a")
    Animation('Nothing', 6 bytes)
    """

    title: str
    gif: bytes

    def save(self, path: Path | str) -> Path:
        """Write the picture to a .gif file, whole or not at all, and return its path.

        Raises
        ------
        ValueError
            For another ending, or a folder that does not exist.
        """
        return save_bytes(path, self.gif, (".gif",))

    def _repr_html_(self) -> str:
        data = b64encode(self.gif).decode()
        return f'<img alt="{escape(self.title)}" src="data:image/gif;base64,{data}">'

    def __repr__(self) -> str:
        return f"Animation({self.title!r}, {len(self.gif):,} bytes)"


def animate(
    layer: HasShapes, x: npt.ArrayLike | None = None, dy: npt.ArrayLike | None = None
) -> Animation:
    """Return a moving picture of a small layer, a frame for each output.

    The kernel slides over the input while its row of the matrix lights up; each weight's gradient
    is the sum over the outputs that have been met. The last frame, which stays longer, holds the
    gradient of ``TiedDense.backward``.

    Parameters
    ----------
    layer : anything `tie` knows
    x, dy : arrays of one sample, or None
        Input and upstream gradient; None: integers from -3 to 3, always the same.

    Returns
    -------
    Animation
        ``.save(path)`` for a .gif file, ``.gif`` its bytes; shown as it is in a notebook. A still
        picture of one output is `frame`.

    Raises
    ------
    ValueError
        If the layer is too large to be read, or x or dy has another shape.
    TypeError
        For x or dy that are not real numbers, and for what `tie` does not know.

    Examples
    --------
    >>> from convdense import Conv
    >>> moving = animate(Conv((1, 2, 2), out_channels=1, kernel=(1, 2)))
    >>> moving.gif[:6]
    b'GIF89a'
    """
    sample = sampled(layer, x, dy)
    frames = [_pixels(draw_output(sample, r)) for r in range(sample.ties.shape[0])]

    # The colours are chosen for all frames at once, below each other, so that none flickers.
    strip = _few_colours(Image.fromarray(np.concatenate(frames)))
    height, width = frames[0].shape[:2]
    tops = range(0, height * len(frames), height)
    first, *others = [strip.crop((0, top, width, top + height)) for top in tops]

    times = [SHOWN] * len(others) + [LAST]
    file = BytesIO()
    first.save(
        file, "GIF", save_all=True, append_images=others, duration=times, loop=0, optimize=True
    )
    return Animation(repr(layer), file.getvalue())


def _few_colours(image: Image.Image) -> Image.Image:
    """Return the image in its most frequent colours: areas stay as they are, edges may not."""
    counted = sorted(image.getcolors(1 << 24) or [], reverse=True)
    channels = [channel for _, colour in counted[:COLOURS] for channel in colour]  # type: ignore[attr-defined]  # its stub knows pixels as numbers alone
    palette = Image.new("P", (1, 1))
    palette.putpalette(channels)
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def _pixels(figure: Figure) -> Array:
    """Return the colours of a figure, (height, width, 3) from 0 to 255."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib leaves it untyped
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]  # the same
