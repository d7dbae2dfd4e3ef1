"""certify: equality decided exactly, on integers whose sums round nowhere.

* `_certify`: certify, and what it does for one layer with weights
* `options`: its options, their defaults and their checks
* `clock`: a time limit, and progress at a terminal
* `certificate_base`: what every certificate shares: what a user's code is held to, its lines, its
  JSON
* `sentences`: every sentence that a certificate prints about what was run, each in one place
* `resolution`: what rounding can hide: how small an error passes, and what is not decided
* `layer_certificate`: Certificate: of one layer, its text, how sure it is
* `network_certificate`: NetworkCertificate: of pools and networks, and how they are judged
* `pool_certificate`: a user's pool
* `integer_ranges`: how large integers may be for sums to stay exact
* `integer_trials`: every pair of basis vectors, random trials
* `contraction`: channels contracted: judged without computing them all
* `ring_trials`: integer dtypes and their sums, exact or modulo 2^m
* `pool_probes`: inputs in which chosen cells win or tie
* `rounding_explainer`: whether rounding explains a difference; the error probability that is left
* `implementation_review`: what kind of right or wrong a user's code is
* `behaviour_trials`: what is tried beside the numbers; a small copy of a large layer
* `memory_need`: what it would hold in memory, counted beforehand
* `other_shapes`: other channels, pixels and kernels
* `bilinearity`: whether what is wrong is linear in each operand
* `second_derivatives`: the derivatives of dx and dw
* `effective_roundoff`: how precise a user's code is
"""

from convdense.certificates._certify import certify
from convdense.certificates.layer_certificate import Certificate
from convdense.certificates.network_certificate import NetworkCertificate

# "kind" in JSON -> what reads it
READERS: dict[str, type[Certificate] | type[NetworkCertificate]] = {
    "certificate": Certificate,
    "network certificate": NetworkCertificate,
}

__all__ = ["READERS", "Certificate", "NetworkCertificate", "certify"]
