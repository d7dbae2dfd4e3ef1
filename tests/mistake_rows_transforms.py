"""Mistakes in convolutions by fast Fourier transform and by Winograd's minimal filtering."""

import numpy as np

import convdense as cd
from tests.mistake_rows_base import Table, pair

TABLE = Table()
SIGNAL = cd.Conv((2, 7), out_channels=2, kernel=3)
IMAGE = cd.Conv((2, 5, 6), out_channels=2, kernel=(2, 3))
SAME = cd.Conv((2, 6), out_channels=2, kernel=3, padding=1)
TILES = cd.Conv((2, 6), out_channels=2, kernel=3)
TILED_IMAGE = cd.Conv((2, 6, 4), out_channels=2, kernel=3)
SIX = cd.Conv((1, 6), out_channels=2, kernel=3)

REVERSED = (("revers",), ("flip",), ("rotated",))
SHIFTED = (("shift",), ("off by one",), ("one cell",))


# Fourier: correlation is a product with the conjugate


def spectra(x, w, size):
    return np.fft.rfft(x, size), np.fft.rfft(w, size)


@TABLE.y(SAME, ("circular",), ("wrap",))
def fourier_wraps_around(x, w, b):
    of_x, of_w = spectra(x, w, 6)
    y = np.fft.irfft(np.einsum("ncf,ocf->nof", of_x, of_w.conj()), 6)
    return np.roll(y, 1, axis=2) + b[:, None]


@TABLE.y(IMAGE, *REVERSED)
def fourier_without_the_conjugate(x, w, b):
    of_x, of_w = np.fft.rfft2(x, (6, 8)), np.fft.rfft2(w, (6, 8))
    y = np.fft.irfft2(np.einsum("ncij,ocij->noij", of_x, of_w), (6, 8))
    return y[:, :, 1:5, 2:6] + b[:, None, None]


@TABLE.y(SIGNAL, *SHIFTED)
def fourier_cropped_one_cell_late(x, w, b):
    of_x, of_w = spectra(x, w[:, :, ::-1], 9)
    y = np.fft.irfft(np.einsum("ncf,ocf->nof", of_x, of_w), 9)
    return y[:, :, 3:8] + b[:, None]


@TABLE.dx(SIGNAL, *REVERSED)
def fourier_dx_not_reversed(x, w, dy):
    padded = np.pad(dy, ((0, 0), (0, 0), (2, 0)))
    of_dy, of_w = spectra(padded, w, 9)
    return np.fft.irfft(np.einsum("nof,ocf->ncf", of_dy, of_w.conj()), 9)[:, :, :7]


@TABLE.dw(SIGNAL, ("multiplied",), ("normali",), ("factor",), ("times 9",))
def fourier_dw_not_divided_by_its_length(x, w, dy):
    of_x, of_dy = np.fft.rfft(x, 9), np.fft.rfft(dy, 9)
    product = np.einsum("ncf,nof->ocf", of_x, of_dy.conj())
    return np.fft.irfft(product, 9, norm="forward")[:, :, :3]


@TABLE.dw(IMAGE, ("first sample",), ("sample 0",))
def fourier_dw_of_the_first_sample(x, w, dy):
    of_x, of_dy = np.fft.fft2(x[:1], (6, 8)), np.fft.fft2(dy[:1], (6, 8))
    product = np.einsum("ncij,noij->ocij", of_x, of_dy.conj())
    return np.fft.ifft2(product).real[:, :, :2, :3]


@TABLE.y(SIGNAL, ("+=",), ("overlap",), ("block",), ("tile",))
def overlap_add_that_overwrites(x, w, b):
    full = np.zeros((len(x), 2, 12))
    for first in range(0, 7, 4):
        of_x, of_w = spectra(x[:, :, first : first + 4], w[:, :, ::-1], 6)
        block = np.fft.irfft(np.einsum("ncf,ocf->nof", of_x, of_w), 6)
        full[:, :, first : first + 6] = block
    return full[:, :, 2:7] + b[:, None]


@TABLE.made(IMAGE, rounds=True)
def right_fourier():
    size = 6, 8

    def product(letters, one, other):
        one, other = np.fft.rfft2(one, size), np.fft.rfft2(other, size)
        return np.fft.irfft2(np.einsum(letters, one, other), size)

    def forward(x, w, b):
        y = product("ncij,ocij->noij", x, w[:, :, ::-1, ::-1])
        return y[:, :, 1:5, 2:6] + b[:, None, None]

    def backward(x, w, dy):
        dx = product("noij,ocij->ncij", dy, w)[:, :, :5, :6]
        dw = product("ncij,noij->ocij", x, dy[:, :, ::-1, ::-1])[:, :, 3:5, 3:6]
        return dx, dw, dy.sum(axis=(0, 2, 3))

    return pair(forward, backward)


@TABLE.y(SIGNAL, rounds=True)
def right_fourier_at_the_length_of_the_signal(x, w, b):
    """The outputs that wrap around are not among those kept."""
    of_x, of_w = spectra(x, w, 7)
    y = np.fft.irfft(np.einsum("ncf,ocf->nof", of_x, of_w.conj()), 7)
    return y[:, :, :5] + b[:, None]


@TABLE.y(SIGNAL, rounds=True)
def right_overlap_add(x, w, b):
    full = np.zeros((len(x), 2, 12))
    for first in range(0, 7, 4):
        of_x, of_w = spectra(x[:, :, first : first + 4], w[:, :, ::-1], 6)
        full[:, :, first : first + 6] += np.fft.irfft(np.einsum("ncf,ocf->nof", of_x, of_w), 6)
    return full[:, :, 2:7] + b[:, None]


# Winograd: y = A^T [(G g) * (B^T d)] for each tile of 4 cells, which gives 2 outputs

B_T = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1.0]])
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
A_T = np.array([[1, 1, 1, 0], [0, 1, -1, -1.0]])


def changed(matrix, *entries):
    """Return a matrix with other entries: (row, column, value)."""
    matrix = matrix.copy()
    for row, column, value in entries:
        matrix[row, column] = value
    return matrix


def winograd(x, w, b_t=B_T, g=G, a_t=A_T):
    """Return a correlation of signals with kernels of 3, without bias."""
    outputs, cells = a_t.shape
    n = x.shape[2] - 2
    tiles = -(-n // outputs)
    padded = np.pad(x, ((0, 0), (0, 0), (0, tiles * outputs - n)))
    of_w = np.einsum("ak,ock->oca", g, w)
    y = np.zeros((len(x), len(w), tiles * outputs))
    for t in range(tiles):
        of_x = np.einsum("ai,nci->nca", b_t, padded[:, :, t * outputs : t * outputs + cells])
        y[:, :, t * outputs : (t + 1) * outputs] = np.einsum("nca,oca,ja->noj", of_x, of_w, a_t)
    return y[:, :, :n]


def winograd_image(x, w, b_t=B_T, g=G, a_t=A_T):
    """Return a correlation of images of even output sizes with kernels of 3 x 3, without bias."""
    of_w = np.einsum("ak,ockm,bm->ocab", g, w, g)
    y = np.zeros((len(x), len(w), x.shape[2] - 2, x.shape[3] - 2))
    for i, j in np.ndindex(y.shape[2] // 2, y.shape[3] // 2):
        tile = x[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
        of_x = np.einsum("ai,ncij,bj->ncab", b_t, tile, b_t)
        product = np.einsum("ncab,ocab->noab", of_x, of_w)
        at = (slice(None), slice(None), slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2))
        y[at] = np.einsum("ra,noab,sb->nors", a_t, product, a_t)
    return y


INPUT = (("winograd", "input"), ("winograd", "data"), ("winograd", "b^t"))
FILTER = (
    ("winograd", "filter"),
    ("winograd", "kernel"),
    ("winograd", "weight"),
    ("winograd", "g "),
)
OUTPUT = (("winograd", "output"), ("winograd", "inverse"), ("winograd", "a^t"))


@TABLE.y(TILES, *INPUT)
def winograd_sign_in_the_input_transform(x, w, b):
    return winograd(x, w, b_t=changed(B_T, (1, 2, -1))) + b[:, None]


@TABLE.y(TILED_IMAGE, *INPUT)
def winograd_image_sign_in_the_input_transform(x, w, b):
    return winograd_image(x, w, b_t=changed(B_T, (0, 2, 1))) + b[:, None, None]


@TABLE.y(TILES, *FILTER)
def winograd_sign_in_the_filter_transform(x, w, b):
    return winograd(x, w, g=changed(G, (2, 1, 0.5))) + b[:, None]


@TABLE.y(TILED_IMAGE, *FILTER, *INPUT, *OUTPUT)
def winograd_image_halves_forgotten(x, w, b):
    """Twice a row of the filter transform: a row of another transform, equivalently."""
    return winograd_image(x, w, g=changed(G, (1, 0, 1), (1, 1, 1), (1, 2, 1))) + b[:, None, None]


@TABLE.y(TILES, *OUTPUT)
def winograd_sign_in_the_output_transform(x, w, b):
    return winograd(x, w, a_t=changed(A_T, (1, 2, 1))) + b[:, None]


@TABLE.y(TILED_IMAGE, *OUTPUT, *INPUT, *FILTER)
def winograd_image_last_sign(x, w, b):
    """The sign of a column of the output transform: a row of another, equivalently."""
    return winograd_image(x, w, a_t=changed(A_T, (1, 3, 1))) + b[:, None, None]


@TABLE.y(TILED_IMAGE, ("transposed",), ("axes", "exchanged"), ("rows", "columns"))
def winograd_filter_transposed(x, w, b):
    return winograd_image(x, w.swapaxes(2, 3)) + b[:, None, None]


@TABLE.y(cd.Conv((2, 7), 2, 3), ("last", "left out"), ("last", "0"), ("last", "missing"))
def winograd_odd_output_forgotten(x, w, b):
    y = np.zeros((len(x), 2, 5))
    y[:, :, :4] = winograd(x[:, :, :6], w)
    return y + b[:, None]


@TABLE.dx(TILES, *REVERSED)
def winograd_dx_not_reversed(x, w, dy):
    padded = np.pad(dy, ((0, 0), (0, 0), (2, 2)))
    return winograd(padded, w.swapaxes(0, 1))


@TABLE.y(TILES)
def right_winograd(x, w, b):
    return winograd(x, w) + b[:, None]


@TABLE.y(TILED_IMAGE)
def right_winograd_image(x, w, b):
    return winograd_image(x, w) + b[:, None, None]


@TABLE.dx(TILES)
def right_winograd_dx(x, w, dy):
    padded = np.pad(dy, ((0, 0), (0, 0), (2, 2)))
    return winograd(padded, w.swapaxes(0, 1)[:, :, ::-1])


B_T_6 = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
G_6 = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
A_T_6 = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
FOUR = {"b_t": np.array(B_T_6, float), "g": G_6, "a_t": np.array(A_T_6, float)}


@TABLE.y(SIX, rounds=True)
def right_winograd_of_four_outputs(x, w, b):
    return winograd(x, w, **FOUR) + b[:, None]


@TABLE.y(SIX, *INPUT)
def winograd_of_four_outputs_sign(x, w, b):
    return winograd(x, w, **{**FOUR, "b_t": changed(FOUR["b_t"], (3, 1, 2))}) + b[:, None]
