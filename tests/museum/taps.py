"""The order of taps, axes and channels."""

import numpy as np

import convdense as cd
from tests.museum.exhibit import Exhibit, exhibit
from tests.museum.kernels import Direct, scatter

EXHIBITS: list[Exhibit] = []
REVERSED = "kernel|tap|weight & reversed|flipped|order|turned|rotated|mirror"


@exhibit(
    "NVlabs/WarpConvNet",
    1,
    cd.Conv((2, 3, 4, 3), 2, 3, padding=1),
    "the same weights give another output than in MinkowskiEngine",
    "3-D, as reported; kernel 3 and sizes are ours, and every cell is occupied",
    y=REVERSED,
    dx=REVERSED,
    dw=REVERSED,
)
class TapsInReverseOrder(Direct):
    """The offsets of the taps are enumerated from the last to the first."""

    def cells(self, axis, of):
        cells = super().cells(axis, of)
        return cells if self.fixed else cells[:, ::-1]


@exhibit(
    "NervanaSystems/neon",
    111,
    cd.Conv((2, 3, 3, 4), 2, 2),
    "a reader of the CPU backend found the wrong letter in an index; with one plane of depth, as "
    "in every 2-D layer, nothing is wrong",
    "3-D, as that code is; the issue names no sizes",
    dx="depth|plane|axis|position|slice|index & output|overwrit|zero|another|wrong|instead|first",
)
class DepthOfTheOutput(Direct):
    """dx is written into the plane of the last output that met it, not into its own."""

    def dx(self, x, w, dy):
        columns = w.reshape(len(w), -1).T @ dy.reshape(len(dy), len(w), -1)
        depths, *others = self.all_cells("dx")
        shape = len(x), len(x[0]), -1, columns.shape[-1]
        columns, dx = columns.reshape(shape).swapaxes(2, 3), np.zeros_like(x)
        for d in range(x.shape[2]):
            here = [np.where(depths == d, d, -1), *others]
            plane = scatter(columns, here, x.shape[2:]).reshape(x.shape)[:, :, d]
            last = np.nonzero((depths == d).any(axis=1))[0][-1]
            dx[:, :, d if self.fixed else last] = plane
        return dx
