"""The tests; `conftest.py` says how they are a proof."""

import os

# Beside other processes of tests one thread each: BLAS threads that wait for a core that another
# process has make small products many times slower. It is set before NumPy is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
