"""A start that fails is one line and leaves nothing behind: no run's folder, whatever the fault and whichever the command."""

import importlib
import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import ModuleType

import numpy as np
import pytest

import minigrad as mg
from attacks import __main__ as attacks_main
from gan import __main__ as gan_main
from minigrad import command, nn
from minigrad.data import save_png
from minigrad.devices import DeviceError
from minigrad.leftovers import holds_nothing
from minigrad.run import Run
from nets import __main__ as nets_main

PACKAGES = {"nets": nets_main, "gan": gan_main, "attacks": attacks_main}
COMMANDS = [(package, name) for package, module in PACKAGES.items() for name in module.COMMANDS]


@pytest.fixture
def there(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIGRAD_DEBUG", raising=False)
    monkeypatch.setenv("MINIGRAD_DATA", "")
    return tmp_path


def typed(package, *words):
    """(status, output, errors) of a command line, as `python -m package words` would give them."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = attacks_main.main(list(words)) if package == "attacks" else \
                command.main(package, PACKAGES[package].COMMANDS, list(words))
        except SystemExit as leaving:
            status = leaving.code
    return status, out.getvalue(), err.getvalue()


# ---- a GPU that is not there

REQUIRED = {("nets", "classify"): ["photo.png"], ("nets", "generate"): ["RUN"], ("gan", "sample"): ["RUN"],
            ("gan", "evaluate"): ["RUN", "--judge", "RUN"], ("gan", "translate"): ["RUN", "photo.png"],
            ("gan", "modes"): ["RUN", "--judge", "RUN"]}


@pytest.mark.parametrize("package, name", COMMANDS)
def test_cuda_without_cupy_is_one_line_that_says_what_to_install(package, name, there, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # import cupy: ImportError
    status, out, err = typed(package, name, *REQUIRED.get((package, name), []), "--device", "cuda")
    assert os.listdir(there) == [] and out == "" and "Traceback" not in err
    if "unknown option '--device'" in err or "(choose from" in err:  # a command without the option, or one for the CPU alone
        assert status == 2
    else:
        assert status == 1 and 'pip install -e ".[gpu]"' in err and len(err.splitlines()) == 1


def broken_cupy(devices):
    """A CuPy that counts so many GPUs, or cannot count."""
    cupy = ModuleType("cupy")

    class CUDARuntimeError(RuntimeError):
        pass

    class Runtime:
        @staticmethod
        def getDeviceCount():
            if devices is None:
                raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
            return devices

    Runtime.CUDARuntimeError = CUDARuntimeError
    cupy.cuda = ModuleType("cuda")
    cupy.cuda.runtime = Runtime
    return cupy


@pytest.mark.parametrize("cupy, words", [
    (None, r'pip install -e "\.\[gpu\]"'), (broken_cupy(None), "finds no GPU.*NoDevice.*doctor"),
    (broken_cupy(0), "there is no GPU here"),
], ids=["no CuPy", "no driver", "no GPU"])
@pytest.mark.parametrize("ask", [
    lambda: mg.tensor([1.0]).cuda(), lambda: mg.tensor([1.0], device="cuda"), lambda: mg.tensor([1.0]).to("cuda"),
    lambda: mg.zeros(2, device="cuda"), lambda: nn.Linear(2, 2).to("cuda"), lambda: nn.Linear(2, 2).cuda(),
], ids=["x.cuda()", "tensor", "x.to", "zeros", "net.to", "net.cuda()"])
def test_asking_for_a_gpu_in_python_says_what_is_missing(cupy, words, ask, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(DeviceError, match=words) as caught:
        ask()
    assert isinstance(caught.value, RuntimeError) and isinstance(caught.value, ImportError) and "\n" not in str(caught.value)


# ---- starts that fail


def photos(folder, count, size=28):
    os.makedirs(folder)
    for i in range(count):
        save_png(folder / f"{i}.png", np.random.default_rng(i).integers(0, 256, (size, size, 3), np.uint8))
    return f"folder:{folder}"


@pytest.mark.parametrize("package, words", [
    ("gan", ["dcgan", "--data", "mnits"]), ("gan", ["dcgan", "--size", "30"]), ("gan", ["dcgan", "--data", "npz:absent.npz"]),
    ("gan", ["dcgan", "--data", "FEW"]), ("gan", ["dcgan", "--norm"]), ("gan", ["toy", "--data", "glyphs"]),
    ("nets", ["classifier", "--data", "FEW"]), ("nets", ["classifier", "--data", "ring"]),
    ("nets", ["autoencoder", "--data", "FEW"]), ("nets", ["vae", "--size", "31"]), ("nets", ["blur", "--data", "FEW"]),
    ("nets", ["charrnn", "--data", "text:absent.txt"]), ("attacks", ["train", "--data", "FEW"]),
    ("attacks", ["pgd", "--model", "absent"]), ("attacks", ["certify", "--model", "absent"]),
], ids=lambda value: " ".join(value) if isinstance(value, list) else value)
def test_a_start_that_fails_leaves_no_folder(package, words, there):
    few = photos(there / "photos", 3)
    status, _, err = typed(package, *(few if word == "FEW" else word for word in words))
    assert status in (1, 2) and "error" in err and os.listdir(there) == ["photos"]


COMMAND = """
from minigrad import command

def main(argv):
    parser = command.Parser("toy fit", "x", data=None, steps=5)
    parser.add_argument("--fault", default="", help="where it goes wrong")
    o = parser.parse(argv)
    run = command.start("fit", o)
    if o.fault == "start":
        raise ValueError("before the loop")
    if o.fault == "interrupted":
        raise KeyboardInterrupt
    if o.fault == "file":
        open(run.file("notes.txt"), "w").close()
        raise ValueError("someone's file is there")
    for step in run.loop(run.step, o.steps, save=dict):
        if o.fault == "first":
            raise ValueError("in the first step")
        if o.fault == "nan":
            run.log(step, loss=float("nan"))
        if o.fault == "logged":
            run.log(step, loss=1.0)
            raise ValueError("after a line of metrics")
        if o.fault == "second" and step == 2:
            raise ValueError("in the second step")
    run.finish()
"""


@pytest.mark.parametrize("fault, kept", [("start", False), ("interrupted", False), ("first", False), ("nan", False), ("file", True),
                                         ("logged", True), ("second", True), ("", True)])
def test_only_a_run_without_a_finished_step_vanishes(fault, kept, there, monkeypatch, tmp_path_factory):
    place = tmp_path_factory.mktemp("command")
    (place / "fit_with_faults.py").write_text(COMMAND)
    monkeypatch.syspath_prepend(str(place))
    importlib.invalidate_caches()
    for already in (False, True):  # without and with runs from before
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            status = command.main("toy", {"fit": ("fit_with_faults", "")}, ["fit", "--fault", fault])
        assert (status == 0) == (fault == "")
        if not kept and not already:
            assert os.listdir(there) == []  # the folder around it was made for it, and went with it
            Run.create("fit", {}, "runs", quiet=True).close()
        elif not kept:
            assert os.listdir("runs") == ["fit-0001"]
        else:
            assert os.path.isfile("runs/fit-0001/config.json")


def test_a_resumed_run_never_vanishes(there):
    run = Run.create("classifier", {"steps": 5, "data": "FEW", "seed": 0}, "runs", quiet=True, kind="nets classifier")
    run.close()
    assert holds_nothing(run.path)
    status, _, err = typed("nets", "classifier", "--resume", run.path)
    assert status == 1 and "error" in err and os.path.isfile(run.file("config.json"))
