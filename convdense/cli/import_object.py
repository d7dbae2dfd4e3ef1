"""module:object, as typed on the command line: the user's code, imported and made for a layer."""

import atexit
import ctypes
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from difflib import get_close_matches
from importlib import import_module, invalidate_caches
from inspect import signature
from types import ModuleType
from typing import Any, TypeGuard

import numpy as np

from convdense._util.arguments import complain, first_line
from convdense.geometry.protocols import HasShapes, Implementation
from convdense.implementations.evaluators import caught, is_ctrl_c, is_forward_alone
from convdense.implementations.layouts import channels_last
from convdense.verdicts.comparison import Raised

STDOUT, STDERR = 1, 2  # file descriptors
OPTION = "--implementation"
FORM = "module:object, such as mylayers:Conv"
NEEDS = (
    "an object with forward and backward, a pair of functions, forward alone, "
    "or a class or function of the layer that returns one"
)


@contextmanager
def users_code() -> Iterator[None]:
    """Let modules of the current directory be imported, and send what they print to stderr.

    The directory is looked in first, as `python -m` does. What they print is also what C code and
    their own processes write to file descriptor 1, and what is written when the program ends.
    """
    here = os.getcwd()
    added = here not in sys.path and "" not in sys.path  # "" is the current directory too
    if added:
        sys.path.insert(0, here)
        invalidate_caches()  # so that files written a moment ago are seen
    try:
        with _descriptor_1_is_stderr(), redirect_stdout(sys.stderr):
            yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


@contextmanager
def _descriptor_1_is_stderr() -> Iterator[None]:
    """Send file descriptor 1 to where 2 goes, where standard output is one and not a notebook's."""
    try:
        is_ours = sys.stdout.fileno() == STDOUT
        kept = os.dup(STDOUT) if is_ours else None
    except (AttributeError, OSError, ValueError):  # closed, or no file
        kept = None
    if kept is None:
        yield
        return

    def redirect(to: int = STDERR) -> None:
        sys.stdout.flush()
        with suppress(OSError, TypeError, AttributeError):  # no such library on Windows
            ctypes.CDLL(None).fflush(None)  # what C code has written is still in C's buffers
        os.dup2(to, STDOUT)

    redirect()
    try:
        yield
    finally:
        redirect(kept)
        os.close(kept)
        # Their own functions for the end are registered by now: this one runs before them.
        atexit.register(redirect)


def implementation(reference: str, layer: HasShapes, layout: str | None) -> Implementation:
    """Return the implementation of a layer that module:object names.

    An object (not a class) with forward, or a pair of functions, is one. Anything else that can be
    called is called with the layer and returns one, or is forward alone if arrays suit it instead.
    With the layout "NHWC" its arrays have the channels last, and are turned on the way in and out.
    """
    module, colon, name = reference.partition(":")
    parts = [*module.split("."), *name.split(".")]
    if not colon or not all(map(str.isidentifier, parts)):
        do = "write the module as `import` takes it, without slashes or .py"
        raise ValueError(complain(OPTION, repr(reference), FORM, do))
    found = _attribute(reference, _imported(reference, module), name)
    made = _implementation_from(found, layer, reference)
    return channels_last(made) if layout == "NHWC" else made


def _imported(reference: str, module: str) -> ModuleType:
    """Return a module; messages name the whole reference, as it was typed."""
    try:
        return import_module(module)
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        # the module itself or a package that it is in; anything else is missing inside the module
        if missing and f"{module}.".startswith(f"{missing}."):
            needs = f"a module {missing!r} in the current directory, or installed"
            do = f"change to its directory; this is {os.getcwd()}"
            if module.endswith(".py"):
                do = "leave .py out"
            raise ValueError(complain(OPTION, repr(reference), needs, do)) from None
        got = f"{reference!r}, whose import raised {_in_words(error)}"
        raise ValueError(complain(OPTION, got, "a module that can be imported")) from None


def _attribute(reference: str, module: ModuleType, name: str) -> Any:
    """Return a dotted attribute of a module."""
    found: Any = module
    where = f"module {module.__name__}"
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            close = ", ".join(map(repr, get_close_matches(part, dir(found))))
            needs = f"a name in {where}, which has no {part!r}"
            do = f"did you mean {close}" if close else ""
            raise ValueError(complain(OPTION, repr(reference), needs, do)) from None
        except BaseException as error:  # a property of theirs, or a module's __getattr__
            if is_ctrl_c(error):
                raise
            got = f"{reference!r}, whose {part!r} raised {_in_words(error)}"
            raise ValueError(complain(OPTION, got, f"a name in {where} that can be read")) from None
        where = part
    return found


def _implementation_from(found: object, layer: HasShapes, reference: str) -> Implementation:
    """Return what was found, if it is an implementation, or what it returns for the layer."""
    if _is_implementation(found):
        return found
    if not callable(found):
        raise ValueError(complain(OPTION, f"{reference!r}, of type {type(found).__name__}", NEEDS))
    try:
        made = found(layer)
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        if _takes_arrays(found, layer):
            return found
        got = f"{reference!r}, which raised {_in_words(error)} when called with {layer!r}"
        needs = "a layer that it implements" if isinstance(error, NotImplementedError) else NEEDS
        raise ValueError(complain(OPTION, got, needs)) from None
    if _is_implementation(made) or is_forward_alone(made):
        return made
    got = f"{reference!r}, which returned one of type {type(made).__name__}"
    raise ValueError(complain(OPTION, got, NEEDS))


def _is_implementation(value: Any) -> TypeGuard[Implementation]:
    """Whether it is an object with forward, alone or beside backward, or two functions."""
    if isinstance(value, type):  # a class has both, but is called first
        return False
    if isinstance(value, (tuple, list)):
        return len(value) == 2 and all(map(callable, value))
    forward, backward = (getattr(value, name, None) for name in ("forward", "backward"))
    return callable(forward) and (callable(backward) or is_forward_alone(value))


def _takes_arrays(found: Any, layer: HasShapes) -> bool:
    """Whether a function that did not take the layer needs more arguments, or runs on an x."""
    alone: bool = is_forward_alone(found)
    if not alone:
        return False
    try:
        signature(found).bind(layer)
    except (TypeError, ValueError) as error:  # it needs more; or it is not written in Python
        return isinstance(error, TypeError)
    y = caught(found, np.zeros((1, *layer.in_shape)))
    return not isinstance(y, Raised) and np.ndim(y) > 1


def _in_words(error: BaseException) -> str:
    """Return the kind, the first line and the place of an exception in the user's code."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({_short(error.filename)}:{error.lineno})"

    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<frozen importlib")
    ]
    # files below the current directory, and in no installed package, are most likely the user's
    below = [frame for frame in frames if not os.path.isabs(_short(frame.filename))]
    theirs = [frame for frame in below if "site-packages" not in frame.filename]
    place = ""
    if frames:
        innermost = (theirs or frames)[-1]
        place = f" ({_short(innermost.filename)}:{innermost.lineno})"
    return f"{type(error).__name__}: {first_line(error)}{place}"


def _short(path: str) -> str:
    """Return a path below the current directory relative to it."""
    here = os.path.join(os.getcwd(), "")
    return path.removeprefix(here)
