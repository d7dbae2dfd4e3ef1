"""Files: weights in and out, matrices out; a file appears whole or not at all."""

import os
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array, complain

SUFFIXES = (".npz", ".mtx")  # of files of a matrix
# What reading an .npz file raises where it holds pickled objects, one array or none, and where
# its bytes were changed: in the arrays, and in the ZIP archive around them (a method or an
# encryption that zipfile lacks is NotImplementedError, RuntimeError).
_NUMPY_RAISES = (ValueError, EOFError, AttributeError, TypeError)
_ZIPFILE_RAISES = (BadZipFile, zlib.error, NotImplementedError, RuntimeError)


def read_array(path: Path, name: str = "weights") -> Array:
    """Return the array in an .npy file; anything that would need pickle is refused."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        array = None  # pickled objects, or no array at all
    except OSError as error:
        got = f"{path} ({error.strerror})"
        raise ValueError(complain(name, got, "an .npy file that can be read")) from None
    if not isinstance(array, np.ndarray):
        needs = "an .npy file of numbers, as numpy.save writes it"
        raise ValueError(complain(name, str(path), needs))
    return array


def as_path(path: object) -> Path:
    """Return the path that a text or a path names."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(complain("path", repr(path), "the name of a file"))
    return Path(path)


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays in an .npz file by name; anything that would need pickle is refused."""
    needs = "an .npz file of arrays, as numpy.savez writes it"
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError  # a single array: refused below, as any other wrong file is
            return {name: file[name] for name in file.files}
    except OSError as error:
        got = f"{path} ({error.strerror})"
        raise ValueError(complain("path", got, "an .npz file that can be read")) from None
    except (*_NUMPY_RAISES, *_ZIPFILE_RAISES):
        raise ValueError(complain("path", str(path), needs)) from None


def save_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays to an .npz file by name; an older file stays until this one is whole."""
    check_name("path", path, (".npz",))
    with atomic_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes a name for allow_pickle


def check_output(path: Path) -> None:
    """Refuse the name of a matrix file that `check_name` refuses."""
    check_name("output", path, SUFFIXES)


def check_name(name: str, path: Path, formats: Sequence[str]) -> None:
    """Refuse a name of another format, the name of a folder, or one in a folder that is missing."""
    if path.suffix not in formats:
        raise ValueError(complain(name, str(path), "a name that ends in " + " or ".join(formats)))
    if path.is_dir():
        raise ValueError(complain(name, f"{path}, which is a folder", "the name of a file"))
    if not path.parent.is_dir():
        needs = f"a folder that exists, which {path.parent} does not"
        raise ValueError(complain(name, str(path), needs))


def save_matrix(path: Path, matrix: sp.csr_array) -> None:
    """Write a sparse matrix, with a progress bar.

    As .npz for `scipy.sparse.load_npz`, or as .mtx, the Matrix Market format. Whatever goes wrong,
    an older file stays as it was.
    """
    check_output(path)
    as_npz = path.suffix == ".npz"
    size = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    total = size if as_npz else None  # the size of a text is not known before it is written
    with atomic_file(path) as file, _progress(file, total) as counted:
        if as_npz:
            sp.save_npz(counted, matrix, compressed=False)
        else:
            from scipy.io import mmwrite  # noqa: PLC0415  (0.1 s, only here)

            real = matrix.data.real.dtype
            # every float comes back as it was: 9 digits do in float32, 17 in float64, where
            # `precision` is 6 and 15
            digits = np.finfo(real).precision + 3 if real.kind == "f" else None
            mmwrite(counted, matrix, precision=digits)


def save_bytes(path: str | os.PathLike[str], data: bytes, formats: Sequence[str]) -> Path:
    """Write a file whose name ends in one of the formats, whole or not at all; return its path."""
    name = as_path(path)
    check_name("path", name, formats)
    with atomic_file(name) as file:
        file.write(data)
    return name


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file in the same folder; rename it to path at the end, or remove it."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:  # its text names the temporary file, of which nobody knows
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        # mkstemp makes a private file; give it the permissions of any other new file
        mask = os.umask(0)  # the mask is read by setting another
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


@contextmanager
def _progress(file: BinaryIO, total: int | None) -> Iterator[BinaryIO]:
    """Return a file whose written bytes move a progress bar, on stderr and only at a terminal."""
    from tqdm import tqdm  # noqa: PLC0415  (only where there is something to wait for)

    options = {"desc": "writing", "total": total, "file": sys.stderr, "leave": False}
    with tqdm.wrapattr(file, "write", disable=None, **options) as counted:
        yield counted
