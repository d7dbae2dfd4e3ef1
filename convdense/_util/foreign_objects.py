"""Objects of other libraries: their numbers, or what to write in their place; none is imported."""

import sys
from typing import Any

import numpy as np

_KERAS = {
    "array": "hand in its kernel, np.moveaxis(kernel, (-1, -2), (0, 1)), as a NumPy array",
    "layer": "write Conv(in_shape, out_channels, kernel) or what else it is, by hand",
    "implementation": "call it in two such functions of your own",
    "function": "call it in a function of your own",
}
_TORCH = {
    "array": "hand in its numbers, such as module.weight",
    "layer": "write layer_of(module, in_shape), or for a verdict certify_module(module, in_shape) "
    "or certify_model(model, x), of convdense.adapters.torch",
    "implementation": "write implementation(module), of convdense.adapters.torch",
    "function": "write lambda x: module(torch.as_tensor(x)).detach().numpy(), dtype='float32'",
}
# The module of a class that an object is of -> what to write.
_FRAMEWORKS = {"torch.nn.modules": _TORCH, "keras": _KERAS, "flax": _KERAS, "haiku": _KERAS}
# What an object offers -> what to write to make it an array.
_OFFERS = {
    "is_sparse": "write {}.to_dense()",  # PyTorch's
    "toarray": "write {}.toarray()",  # SciPy's
    "is_quantized": "write {}.dequantize()",
    "aval": "call it outside of jit, grad and vmap",  # what JAX traces
    "data_vars": 'write {}["name"], one of its variables',  # xarray's
}


def what_to_write(value: object, place: str, name: str = "") -> str:
    """Return what to write in place of a foreign "array", "layer" or "implementation", or ""."""
    modules = [f"{kind.__module__}." for kind in type(value).__mro__]
    for framework, texts in _FRAMEWORKS.items():
        if any(module.startswith(f"{framework}.") for module in modules):
            return texts[place]
    offered = [text for offer, text in _OFFERS.items() if getattr(value, offer, False)]
    texts_of_array = [*offered, "convert it to a NumPy array of numbers first"]
    if place == "layer" and said(value) != repr(value) and hasattr(value, "dtype"):
        return "a layer comes first: write Conv(in_shape, out_channels, kernel)"
    return texts_of_array[0].format(name) if place == "array" else ""


def said(value: object) -> str:
    """Return how a message names a value: in one line, and an array by its shape."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and not hasattr(type(value), "_use_instead"):
        return f"{type(value).__name__} of shape {tuple(shape)}"
    return " ".join(repr(value).split()) if "\n" in repr(value) else repr(value)


def detached(value: Any) -> Any:
    """Return a PyTorch tensor as an array, bfloat16 in float32; anything else as it is."""
    tensor: Any = getattr(sys.modules.get("torch"), "Tensor", ())
    if not isinstance(value, tensor):
        return value
    here = value.detach().cpu().resolve_conj().resolve_neg()
    return (here.float() if "bfloat16" in str(here.dtype) else here).numpy()


def to_numpy(value: Any) -> Any:
    """Return an array of whatever a value holds; JAX's bfloat16 comes in float32, too."""
    given = detached(value)
    if hasattr(given, "__dlpack__") and not hasattr(given, "__array__"):
        given = np.from_dlpack(given)
    array = np.asarray(given)
    is_foreign = array.dtype.kind == "V"  # its name takes long to make
    return array.astype(np.float32) if is_foreign and array.dtype.name == "bfloat16" else array
