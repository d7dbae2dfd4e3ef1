"""Layers in sequence.

* `network`: Network
* `residual`: the input added to the output
* `builder`: network: geometries -> layers with weights
"""
