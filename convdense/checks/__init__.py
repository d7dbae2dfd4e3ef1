"""check: this data, in floats, every entry judged by its own bound.

* `check_layer`: check, Report
* `check_network`: the same for pools and networks
"""

from typing import TYPE_CHECKING, Any

from convdense._util.deprecation import moved_name
from convdense.checks.check_layer import Report, check

__all__ = ["Report", "check"]

_MOVED = dict.fromkeys(("Certificate", "NetworkCertificate", "certify"), "convdense.certificates")
_MOVED |= {"Finding": "convdense.verdicts"}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Hand on what this folder had before certificates and verdicts had their own (PEP 562)."""
        return moved_name(__name__, name, _MOVED)
