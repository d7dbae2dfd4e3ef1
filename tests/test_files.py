"""convdense matrix: what is written comes back bit for bit; a failure leaves the old file."""

import inspect
import os
import signal
import time

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import convdense as cd
from convdense._util import files
from convdense.cli._main import main

LAYER = cd.Conv((3, 8, 7), 4, (3, 2), stride=2, padding=1)
ARGUMENTS = [
    "matrix",
    "--input",
    "3x8x7",
    "--out-channels",
    "4",
    "--kernel",
    "3x2",
    "--stride",
    "2",
    "--padding",
    "1",
]


@pytest.fixture(params=["float32", "float64", "complex128", "int64"])
def weights(request, tmp_path):
    w = (np.random.default_rng(0).normal(size=LAYER.weight_shape) * 100).astype(request.param)
    np.save(tmp_path / "w.npy", w)
    return w


def run(tmp_path, name, *more) -> int:
    return main(
        [*ARGUMENTS, "--weights", str(tmp_path / "w.npy"), "-o", str(tmp_path / name), *more]
    )


def read_matrix_market(path):
    """Return a sparse array, where SciPy can be asked for one.

    From 1.18 on its old default warns.
    """
    asked = (
        {"spmatrix": False} if "spmatrix" in inspect.signature(scipy.io.mmread).parameters else {}
    )
    return scipy.io.mmread(path, **asked)


@pytest.mark.parametrize(("name", "read"), [("W.npz", sp.load_npz), ("W.mtx", read_matrix_market)])
def test_the_file_holds_the_matrix(tmp_path, weights, name, read, capsys):
    assert run(tmp_path, name) == 0
    expected = cd.tie(LAYER).matrix(weights)
    back = sp.csr_array(read(tmp_path / name)).astype(
        weights.dtype
    )  # Matrix Market knows no float32
    assert np.array_equal(back.toarray(), expected.toarray())
    assert back.nnz == expected.nnz
    assert (
        capsys.readouterr()
        .out.strip()
        .endswith(f"W.{name[2:]}: 64 x 168, {expected.nnz:,} entries, {weights.dtype}")
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "w.npy"])


@pytest.mark.parametrize("name", ["W.npz", "W.mtx"])
@pytest.mark.parametrize("old", [b"the old file", None])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name, old):
    np.save(tmp_path / "w.npy", np.ones(LAYER.weight_shape))
    if old is not None:
        (tmp_path / name).write_bytes(old)
    before = sorted(p.name for p in tmp_path.iterdir())

    def fails(file, *_, **__):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(sp, "save_npz", fails)
    monkeypatch.setattr(scipy.io, "mmwrite", fails)
    assert run(tmp_path, name) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    if old is not None:
        assert (tmp_path / name).read_bytes() == old
    monkeypatch.undo()
    assert run(tmp_path, name) == 0
    assert (tmp_path / name).read_bytes() != old


@pytest.mark.parametrize(
    ("output", "more", "text"),
    [
        ("W.txt", [], "needs a name that ends in .npz or .mtx"),
        ("nowhere/W.npz", [], "needs a folder that exists"),
        ("W.npz", ["--max-bytes", "1000"], "needs at most max_bytes=1,000; use ties.operator(w)"),
        (
            "W.npz",
            ["--groups", "2"],
            "groups: got 2; needs a divisor of the 3 channels of in_shape",
        ),
        ("W.npz", ["--dilation", "2"], ""),
    ],
)
def test_refusals_are_one_line(tmp_path, capsys, output, more, text):
    np.save(tmp_path / "w.npy", np.ones(LAYER.weight_shape))
    status = run(tmp_path, output, *more)
    said = capsys.readouterr().err
    if not text:  # the nearest right neighbour
        assert (status, said) == (0, "")
        return
    assert status == 2
    assert text in said
    assert len(said.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.npy"]


def test_weights_that_are_none_are_refused(tmp_path, capsys):
    np.save(tmp_path / "w.npy", np.array([{}], object), allow_pickle=True)
    assert run(tmp_path, "W.npz") == 2
    (tmp_path / "w.npy").write_bytes(b"no array")
    assert run(tmp_path, "W.npz") == 2
    np.savez(tmp_path / "w.npz", np.ones(3))
    (tmp_path / "w.npz").rename(tmp_path / "w.npy")
    assert run(tmp_path, "W.npz") == 2
    assert (
        capsys.readouterr().err.count("needs an .npy file of numbers, as numpy.save writes it") == 3
    )
    np.save(tmp_path / "w.npy", np.ones((4, 3, 3, 3)))
    assert run(tmp_path, "W.npz") == 2
    assert "--weights: got shape (4, 3, 3, 3); needs (4, 3, 3, 2)" in capsys.readouterr().err


def test_an_ordinary_file_with_ordinary_permissions(tmp_path):
    np.save(tmp_path / "w.npy", np.ones(LAYER.weight_shape))
    (tmp_path / "reference").touch()
    run(tmp_path, "W.npz")
    assert (tmp_path / "W.npz").stat().st_mode == (tmp_path / "reference").stat().st_mode


def test_check_output_accepts_both_formats(tmp_path):
    for name in ("W.npz", "W.mtx"):
        files.check_output(tmp_path / name)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_in_the_middle_of_writing_leaves_nothing_behind(
    tmp_path, monkeypatch, capsys, name
):
    if not hasattr(signal, name):
        pytest.skip(f"no {name} on this system")
    np.save(tmp_path / "w.npy", np.ones(LAYER.weight_shape))
    number = getattr(signal, name)
    # whatever this process was started with: a shell's background job ignores SIGINT, nohup ignores
    # SIGHUP
    original = signal.signal(
        number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    )
    before = signal.getsignal(number)

    def interrupted(file, *_, **__):
        file.write(b"half")
        os.kill(os.getpid(), number)
        time.sleep(5)  # never slept to its end

    monkeypatch.setattr(sp, "save_npz", interrupted)
    try:
        status = run(tmp_path, "W.npz")
    except SystemExit as ended:
        status = ended.code
    finally:
        after = signal.signal(number, original)
    assert status == 128 + number
    assert [p.name for p in tmp_path.iterdir()] == ["w.npy"]
    assert after == before
    assert capsys.readouterr().err.splitlines() == (
        ["convdense: interrupted"] if name == "SIGINT" else []
    )


def test_files_that_cannot_be_read_or_written_are_named_with_their_option(tmp_path, capsys):
    assert run(tmp_path, "W.npz") == 2
    assert "weights: got " in (said := capsys.readouterr().err)
    assert "(No such file or directory); needs an .npy file that can be read" in said
    np.save(tmp_path / "w.npy", np.ones(LAYER.weight_shape))
    (tmp_path / "folder.npz").mkdir()
    assert run(tmp_path, "folder.npz") == 2
    assert "folder.npz, which is a folder; needs the name of a file" in capsys.readouterr().err


def test_a_folder_that_takes_no_file_is_named_and_no_temporary_name(tmp_path, monkeypatch):
    def refuses(**_):
        raise PermissionError(13, "Permission denied", "/x/.page.html.abc")

    monkeypatch.setattr("tempfile.mkstemp", refuses)
    with pytest.raises(PermissionError) as error:
        files.save_bytes(tmp_path / "page.html", b"", (".html",))
    assert error.value.filename == str(tmp_path / "page.html")
