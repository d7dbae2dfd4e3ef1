"""Other frameworks: the only folder that imports them.

* `arrays`: functions on arrays of other libraries -> implementation
* `array_kinds`: NumPy's arrays as those of other libraries, and back
* `dask`: matrix and operator on a cluster
* `torch`: certify_module, certify_model
* `torch_geometry`: module -> geometry
* `torch_implementation`: module or function -> implementation
* `model_calls`: what convolves or pools in a model that runs
* `import_torch`: PyTorch, or how to get it
* `model_report`: ModelReport: one certificate a layer
"""
