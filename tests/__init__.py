"""The tests. Each process of ``pytest -n auto`` has one thread: more would wait for each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
