"""The colours of the palette stay apart for every common colour blindness, simulated.

Simulation: Machado, Oliveira and Fernandes, *A Physiologically-based Model for Simulation of Color
Vision Deficiency*, IEEE Transactions on Visualization and Computer Graphics 15 (2009), the matrices
of severity 1.0, on linear RGB. Distance: CIE 1976, the Euclidean distance in CIELAB. A difference
of 2.3 is just noticeable (Mahy, Van Eycken and Oosterlinck, *Evaluation of uniform color spaces
developed after the adoption of CIELAB and CIELUV*, 1994), side by side and with care; small squares
apart from each other, at a glance, are given five times as much."""

from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from convdense.display.palette import COLOURS, MASKED, channels
from convdense.plots.cell_grid import diverging
from convdense.plots.differences import EXTRA, MISSING, OTHER_WEIGHT

APART = 5 * 2.3
SIGHT = {
    "all colours": np.eye(3),
    "no red (protanopia)": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green (deuteranopia)": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue (tritanopia)": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
on_sights = pytest.mark.parametrize("sight", SIGHT)
TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)  # IEC 61966-2-1
TAB10 = [to_hex(colour) for colour in matplotlib.colormaps["tab10"].colors[: len(COLOURS)]]


def linear(colour):
    """Return linear RGB, from 0 to 1, of #RRGGBB (IEC 61966-2-1)."""
    shares = np.array(channels(colour)) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """Return CIELAB of linear RGB, white being (100, 0, 0)."""
    share = TO_XYZ @ rgb / TO_XYZ.sum(axis=1)
    fx, fy, fz = np.where(share > (6 / 29) ** 3, np.cbrt(share), share * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


def seen(colour, sight):
    return lab(np.clip(SIGHT[sight] @ linear(colour), 0, 1))


def distance(one, other, sight):
    return float(np.linalg.norm(seen(one, sight) - seen(other, sight)))


def alike(colours, sight):
    """Return the pairs that are hard to tell apart."""
    return [pair for pair in combinations(colours, 2) if distance(*pair, sight) < APART]


@on_sights
def test_weights_the_mask_and_white_are_told_apart(sight):
    assert alike([*COLOURS, MASKED, "#FFFFFF"], sight) == []


@on_sights
def test_kinds_of_differences_are_told_apart_from_each_other_and_from_what_agrees(sight):
    assert (
        alike([kind.colour for kind in (MISSING, EXTRA, OTHER_WEIGHT)] + [MASKED, "#FFFFFF"], sight)
        == []
    )


@on_sights
def test_the_signs_of_numbers_are_told_apart(sight):
    looks = [to_hex(look) for look in diverging(np.array([[-2.0, -1, 0, 1, 2]]))[0]]
    assert alike(looks, sight) == []


def test_in_the_usual_colours_weights_look_alike():
    """tab10 is what matplotlib takes when nothing else is said: the check refuses it."""
    assert alike(TAB10, "all colours") == []
    pairs = {sight: alike(TAB10, sight) for sight in SIGHT}
    assert ("#ff7f0e", "#2ca02c") in pairs["no red (protanopia)"]  # orange and green
    assert ("#2ca02c", "#d62728") in pairs["no green (deuteranopia)"]  # green and red


def test_one_colour_exchanged_for_a_near_one_is_seen():
    green_like_rose = "#8F8F70"  # for who sees no green
    assert distance(COLOURS[0], green_like_rose, "all colours") > APART
    assert alike([COLOURS[0], green_like_rose], "no green (deuteranopia)")


KNOWN = {  # published: sRGB primaries under D65, to the second digit
    "#FFFFFF": (100, 0, 0),
    "#000000": (0, 0, 0),
    "#FF0000": (53.24, 80.09, 67.20),
    "#00FF00": (87.73, -86.18, 83.18),
    "#0000FF": (32.30, 79.19, -107.86),
}


@pytest.mark.parametrize("colour", KNOWN)
def test_cielab_of_known_colours(colour):
    assert lab(linear(colour)) == pytest.approx(KNOWN[colour], abs=0.03)


@on_sights
def test_greys_stay_as_they_are(sight):
    for grey in ("#FFFFFF", MASKED, "#777777", "#000000"):
        assert seen(grey, sight) == pytest.approx(lab(linear(grey)), abs=1e-3)


def test_who_sees_no_red_or_green_mixes_them_up_and_who_sees_no_blue_does_not():
    for sight, mixed_up in zip(SIGHT, (False, True, True, False), strict=True):
        share = distance("#C00000", "#507000", sight) / distance(
            "#C00000", "#507000", "all colours"
        )
        assert (share < 0.5) == mixed_up
