"""Certificates."""

from convdense.certificates._certify import certify
from convdense.certificates.layer_certificate import Certificate
from convdense.certificates.network_certificate import NetworkCertificate

__all__ = ["Certificate", "NetworkCertificate", "certify"]
