"""check: this data, in floats, every entry judged by its own bound.

* `check_layer`: check, Report
* `check_network`: the same for pools and networks
"""

from convdense.checks.check_layer import Report, check

__all__ = ["Report", "check"]
