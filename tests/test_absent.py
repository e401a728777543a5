"""Names that are absent say what to use instead, and names that are there are not in the table."""

import importlib

import pytest

import minigrad as mg
from minigrad import nn
from minigrad.absent import ABSENT, missing

PLACES = {"Tensor": lambda: mg.ones(2), "Module": lambda: nn.Linear(2, 2)}
NAMES = [(place, name) for place, names in ABSENT.items() for name in names if "." not in name]


def at(place):
    return PLACES[place]() if place in PLACES else importlib.import_module(place)


@pytest.mark.parametrize("place, name", NAMES)
def test_an_absent_name_teaches(place, name):
    assert not hasattr(at(place), name)
    with pytest.raises(AttributeError, match="on purpose") as error:
        getattr(at(place), name)
    assert ABSENT[place][name] in str(error.value) and name in str(error.value)


@pytest.mark.parametrize("place", ABSENT)
def test_other_names_fail_as_ever(place):
    for name in ("no_such_name", "__no_such_name__", "_no_such_name"):
        assert not hasattr(at(place), name)
        assert getattr(at(place), name, 5) == 5
        with pytest.raises(AttributeError, match=name):
            getattr(at(place), name)


def test_in_place_names_are_answered_by_rule():
    for call, words in ((lambda: mg.ones(2).exp_, r"x = x\.exp"), (lambda: mg.functional.elu_, r"F\.elu\(x\)")):
        with pytest.raises(AttributeError, match=words):
            call()


def test_the_error_is_pythons():
    error = missing("minigrad", "jit")
    assert isinstance(error, AttributeError) and error.name == "jit"
    with pytest.raises(ImportError):
        from minigrad import jit  # noqa: F401


def test_what_scripts_reach_through_the_package_is_found():
    assert mg.utils.data.DataLoader is mg.data.DataLoader
    mg.backends.cudnn.benchmark = True
    mg.backends.cudnn.deterministic = True
    assert not mg.backends.cudnn.is_available() and not mg.backends.mps.is_available()
    mg.use_deterministic_algorithms(True)
    assert mg.nn.utils.rnn.pad_sequence and mg.checkpoint.save and mg.gradcheck.check_grads


def test_there_are_enough_and_most_are_pytorchs():
    assert len(NAMES) >= 40
    torch = pytest.importorskip("torch")
    theirs = {"minigrad": torch, "minigrad.nn": torch.nn, "minigrad.functional": torch.nn.functional, "minigrad.optim": torch.optim,
              "minigrad.nn.utils": torch.nn.utils, "minigrad.nn.utils.rnn": torch.nn.utils.rnn,
              "minigrad.utils.data": torch.utils.data, "Tensor": torch.ones(2), "Module": torch.nn.Linear(2, 2)}
    for place, name in NAMES:
        if place in theirs and name not in ("ao", "quantization", "onnx", "prune", "export", "distributed"):  # imported apart
            assert hasattr(theirs[place], name), (place, name)
