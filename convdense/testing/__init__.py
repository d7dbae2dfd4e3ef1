"""For other people's test suites: assertions, and checks over a table of asymmetric geometries."""

from convdense.checks.layouts import channels_last
from convdense.testing.assertions import assert_backward_matches_dense
from convdense.testing.options import only_options
from convdense.testing.running import Check, conv_checks, parametrize_with_conv_checks
from convdense.testing.table import Case, cases
from convdense.testing.wrappers import from_cache, without_bias

__all__ = [
    "Case",
    "Check",
    "assert_backward_matches_dense",
    "cases",
    "channels_last",
    "conv_checks",
    "from_cache",
    "only_options",
    "parametrize_with_conv_checks",
    "without_bias",
]
