"""What newcomers type works, or says what to type; no message is another library's."""

import ast
import contextlib
import copy
import importlib.util
import io
import pickle
import shlex
from collections import Counter

import numpy as np
import pytest

import convdense as cd
from convdense._util.foreign_names import _MEMBERS
from convdense.cli._main import main
from tests.first_lines import LINES

CODE = [line for line in LINES if "code" in line]
COMMANDS = [line for line in LINES if "command" in line]


def title(line):
    return f"{line['user']}: {line['title']}"


def run(code):
    """Return the value of the last expression, or None where the last line is none."""
    tree, names = ast.parse(code), {"cd": cd}
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<lines>", "exec"), names)
    return last and eval(compile(ast.Expression(last.value), "<lines>", "eval"), names)


def plain(value):
    """Return a value as nested lists, whatever holds it."""
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    for densify in ("toarray", "detach"):
        value = getattr(value, densify, lambda same=value: same)()
    return value.tolist() if hasattr(value, "tolist") else value


@pytest.mark.parametrize("line", CODE, ids=title)
def test_a_line_works_or_says_what_to_type(line):
    for package in line.get("needs", []):
        if importlib.util.find_spec(package.partition(".")[0]) is None:
            pytest.skip(f"needs {package}")
    if "says" in line:
        with pytest.raises((TypeError, ValueError, AttributeError, IndexError), match=line["says"]):
            run(line["code"])
        return
    value = plain(run(line["code"]))
    if "value" in line:
        assert value == plain(eval(line["value"], {"np": np}))


@pytest.mark.parametrize("line", COMMANDS, ids=title)
def test_a_command_works_or_says_what_to_type(line):
    said, ends = io.StringIO(), contextlib.suppress(SystemExit)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), ends:
        main(shlex.split(line["command"])[1:])
    with pytest.raises(ValueError, match=line["says"]):
        raise ValueError(said.getvalue())


def test_every_background_and_enough_lines():
    users = Counter(line["user"] for line in LINES)
    assert set(users) == {
        "PyTorch", "Keras", "JAX", "SciPy", "MATLAB", "ONNX", "NumPy", "pandas",
    }  # fmt: skip
    assert len(LINES) >= 100
    assert len({title(line) for line in LINES}) == len(LINES)


# What the lines do not say of attributes.

CONV = cd.Conv((1, 4, 4), out_channels=2, kernel=3)
TIED = cd.TiedDense(CONV, np.ones((2, 1, 3, 3)), np.ones(2))
NET = cd.network(CONV, cd.ReLU(), cd.MaxPool((2, 2, 2), kernel=2), cd.Flatten(), cd.Linear(2, 2))
OBJECTS = [CONV, TIED, NET, cd.MaxPool((1, 4, 4), kernel=2), cd.Linear(2, 3), cd.tie(CONV), *NET]

ATTRIBUTES = [
    (TIED, "weight", "its .w"),
    (TIED, "bias", "its .b"),
    (TIED, "state_dict", "layer.w and layer.b"),
    (TIED, "predict", "layer.forward(x)"),
    (CONV, "kernel_size", "its .kernel"),
    (CONV, "strides", "its .stride"),
    (CONV, "bias", "layer.weight_shape: this holds none, TiedDense does"),
    (CONV, "forward", "TiedDense(layer, w, b)"),
    (CONV, "toarray", "tie(layer).matrix(w)"),
    (cd.MaxPool((1, 4), kernel=2), "forward", "dense_pool(pool), which runs"),
    (NET, "weight", "net.parameters, arrays by name"),
    (NET, "load_state_dict", "net.with_parameters(arrays_by_name)"),
    (NET, "fit", "train(net, x, labels), of convdense.training"),
    (NET, "input_shape", "its .in_shape"),
    (NET, "output_shape", "layer.out_shape"),
    (NET, "eval", "nothing: all is NumPy's here"),
]


@pytest.mark.parametrize(("thing", "name", "do"), ATTRIBUTES)
def test_a_foreign_attribute_is_answered(thing, name, do):
    with pytest.raises(AttributeError) as refused:
        getattr(thing, name)
    kind = type(thing).__name__
    assert str(refused.value) == f"{kind!r} object has no attribute {name!r}; write {do}"
    assert not hasattr(thing, name)
    assert name not in dir(thing)


@pytest.mark.parametrize("thing", OBJECTS, ids=repr)
def test_all_other_attributes_are_as_python_has_them(thing):
    with pytest.raises(AttributeError) as refused:
        thing.nothing_of_this_name()
    kind = type(thing).__name__
    assert str(refused.value) == f"{kind!r} object has no attribute 'nothing_of_this_name'"
    assert not any(hasattr(thing, name) for name in ("__len_hint__", "__array_interface__", "_w"))
    assert repr(pickle.loads(pickle.dumps(thing))) == repr(copy.deepcopy(thing)) == repr(thing)


def test_an_error_inside_a_property_stays_what_it_is():
    class Broken(cd.Conv):
        @property
        def weight(self):
            return self.missing_inside

    with pytest.raises(AttributeError, match="no attribute 'missing_inside'"):
        _ = Broken((1, 4), 1, 2).weight


def test_what_the_tables_say_to_write_is_an_attribute_of_ours():
    own = {name for thing in OBJECTS for name in dir(thing)} | {"ceil_mode"}
    assert {row[0] for row in _MEMBERS} <= own
    words = [(row[0], word) for row in _MEMBERS for word in row[1].split()]
    assert len(set(words)) == len(words)


def test_parameters_are_a_mapping_that_cannot_be_written_to():
    assert dict(NET.parameters).keys() == {"0.w", "0.b", "4.w", "4.b"}
    message = r"^parameters: got a call; needs no \(\): it is a mapping; write net\.parameters\."
    with pytest.raises(TypeError, match=message):
        NET.parameters()
    with pytest.raises(TypeError, match=r"; write net\.with_parameters\(\.\.\.\)$"):
        NET.parameters["0.w"] = np.zeros((2, 1, 3, 3))


def test_methods_say_which_argument_is_missing_on_every_layer():
    for layer in NET:
        with pytest.raises(TypeError, match=r"^backward: got no 'dy'; needs x, dy in this order$"):
            layer.backward(np.ones(layer.in_shape))
        right = layer.backward(np.ones(layer.in_shape), np.ones(layer.out_shape))
        assert right is not None


def test_the_same_shapes_are_never_taken_for_swapped():
    same = cd.TiedDense(cd.Conv((1, 3), 1, kernel=3, padding=1), np.ones((1, 1, 3)))
    assert same.backward(np.ones((1, 3)), np.zeros((1, 3))).dx.tolist() == [[0, 0, 0]]
    with pytest.raises(ValueError, match="swap the two"):
        NET.backward(np.ones((5, 2)), np.ones((5, 1, 4, 4)))


def test_right_operands_are_never_taken_for_swapped():
    """Two samples of (2, 2) and their (2,) end in each other's shapes."""
    net = cd.network(cd.Conv((2, 2), 2, kernel=1), cd.Flatten(), cd.Linear(4, 2), seed=0)
    x, dy = np.ones((2, 2, 2)), np.ones((2, 2))
    assert net.backward(x, dy)[0].shape == (2, 2, 2)
    assert cd.certify(net, seed=0)
    with pytest.raises(ValueError, match="swap the two"):
        net.backward(dy[0], x[0])
