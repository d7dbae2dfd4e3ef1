"""Certificates."""

from convdense.certificates._certify import certify
from convdense.certificates.certify_layer import Certificate
from convdense.certificates.certify_network import NetworkCertificate

__all__ = ["Certificate", "NetworkCertificate", "certify"]
