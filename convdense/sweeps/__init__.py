"""Every geometry of a small scope, on every pair of basis vectors.

* `_sweep`: sweep, on all cores
* `scope`: which geometries
* `all_basis_pairs`: one small layer on all its pairs at once
"""

from convdense.sweeps._sweep import sweep

__all__ = ["sweep"]
