"""Verdicts: check (this data, in floats), certify (exactly), and the table of claims."""

from convdense.checks.exact import certify
from convdense.checks.exact_layer import Certificate
from convdense.checks.exact_network import NetworkCertificate
from convdense.checks.floats import Report, check
from convdense.checks.report import Finding

__all__ = ["Certificate", "Finding", "NetworkCertificate", "Report", "certify", "check"]
