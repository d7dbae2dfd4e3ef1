"""For users' test suites: assertions, and checks over a table of asymmetric geometries.

* `assertions`: assert_backward_matches_dense
* `check_runner`: conv_checks, parametrize_with_conv_checks
* `case_table`: the geometries
* `options`: only_options
* `_gate`: gate, for harnesses of generated kernels
* `kernel_calls`: how it calls a kernel, and functions that the kernel replaced
"""

from convdense.implementations.layouts import channels_last
from convdense.implementations.signatures import from_cache, without_bias
from convdense.testing._gate import gate
from convdense.testing.assertions import assert_backward_matches_dense
from convdense.testing.case_table import Case, cases
from convdense.testing.check_runner import Check, conv_checks, parametrize_with_conv_checks
from convdense.testing.options import only_options

__all__ = [
    "Case",
    "Check",
    "assert_backward_matches_dense",
    "cases",
    "channels_last",
    "conv_checks",
    "from_cache",
    "gate",
    "only_options",
    "parametrize_with_conv_checks",
    "without_bias",
]


def __dir__() -> list[str]:
    """Return what is public: the files of the folder are not."""
    return list(__all__)
