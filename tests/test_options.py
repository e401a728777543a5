"""Every option of every command: what it may be is its type. Numbers, homes in paths, and python -OO, for all commands alike."""

import argparse
import contextlib
import importlib
import io
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan import __main__ as gan_main
from minigrad import command, domains
from minigrad.data import cache_folder, find, load
from minigrad.domains import Domain
from minigrad.paths import expand, path, variable
from minigrad.run import Run
from tests.parsers import COMMANDS, parser_of

ROOT = Path(__file__).resolve().parent.parent
WORDS = {"data", "target", "only", "preset"}  # options that hold words of their own; what they may be is told when they are used
TRIED = ["-1", "-0.5", "0", "1", "1.5", "nan", "-nan", "inf", "-inf", "1e400", "1e39", "9" * 30, "9" * 5000, "1/0", "8/255", "x",
         "", "1e-400", "True", "0x10", "1,5"]


def valued(parser):
    return [action for action in parser._actions if action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction)]


def given_to(parser, action, text):
    """(value, None) or (None, message) of one option with this text, all that is required being there."""
    needed = [other for other in parser._actions if other is action or other.required]
    named = [word for other in needed if other.option_strings
             for word in ([f"{other.option_strings[0]}={text}"] if other is action else [other.option_strings[0], "x"])]
    placed = [text if other is action else "x" for other in needed if not other.option_strings]
    words = [*named, *(["--", *placed] if placed else [])]
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return getattr(parser.parse_args(words), action.dest), None
    except SystemExit as leaving:
        assert leaving.code == 2
        return None, errors.getvalue()


@pytest.mark.parametrize("package, name", COMMANDS)
def test_every_number_is_in_its_domain_or_an_error_that_names_the_option(package, name):
    parser = parser_of(package, name)
    for action in valued(parser):
        known = isinstance(action.type, Domain) or action.type is path or action.choices or action.dest in WORDS \
            or action.metavar == "TEXT"
        assert known, f"{package} {name} {action.option_strings or action.dest}: which values may it have? Give it a Domain or path"
        if not isinstance(action.type, Domain):
            continue
        default = action.default if isinstance(action.default, list) else [action.default]
        assert all(value is None or value in action.type for value in default), action.dest
        for text in TRIED:
            value, message = given_to(parser, action, text)
            if message is not None:
                assert action.option_strings[0] in message and "must be" in message and "Traceback" not in message
                continue
            for one in value if isinstance(value, list) else [value]:
                assert one in action.type and math.isfinite(one) and (isinstance(one, int) or not action.type.whole)
        for text in ("nan", "inf", "x", ""):
            assert given_to(parser, action, text)[1] is not None, f"{action.option_strings[0]} {text}"


@pytest.mark.parametrize("package, name, words", [
    ("gan", "dcgan", ["--gamma", "-3"]), ("gan", "dcgan", ["--refine", "-1"]), ("gan", "dcgan", ["--rate", "nan"]),
    ("gan", "dcgan", ["--fall", "2"]), ("gan", "dcgan", ["--average", "-1"]), ("gan", "dcgan", ["--beta2", "1.5"]),
    ("gan", "dcgan", ["--rate", "0"]), ("nets", "classifier", ["--smooth", "1.5"]), ("attacks", "universal", ["--rate", "0"]),
    ("attacks", "mi_fgsm", ["--momentum", "-1"]), ("attacks", "jsma", ["--share", "0"]), ("attacks", "jsma", ["--theta", "2"]),
    ("attacks", "train", ["--dropout", "1"]), ("attacks", "certify", ["--alpha", "1"]), ("attacks", "zoo", ["--lr", "0"]),
    ("gan", "evaluate", ["--count", "1"]),
])
def test_what_ran_before_is_an_error_of_usage(package, name, words):
    assert given_to(parser := parser_of(package, name), next(a for a in parser._actions if words[0] in a.option_strings),
                    words[1])[1] is not None


@pytest.mark.parametrize("text, value", [("-1e-1", -0.1), ("-.5", -0.5), ("-1/2", -0.5), ("-1", -1), ("-inf", None),
                                         ("-nan", None)])
def test_a_negative_number_is_no_option(text, value):
    """Without "=", as people type it: the type answers, and not "expected one argument"."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            assert parser_of("attacks", "jsma").parse_args(["--theta", text]).theta == value
        except SystemExit:
            assert value is None and f"--theta: must be a number between -1 and 1, got '{text}'" in errors.getvalue()


def test_presets_are_in_the_domains_too():
    for package, name in COMMANDS:
        parser = parser_of(package, name)
        for preset in parser.presets.values():
            for action in parser._actions:
                if action.dest in preset and isinstance(action.type, Domain):
                    assert action.type.check(name, preset[action.dest]) == preset[action.dest]


ALL = {name: domain for name, domain in vars(domains).items() if isinstance(domain, Domain)}


@given(st.sampled_from(sorted(ALL)), st.one_of(st.floats(), st.integers(-(10**40), 10**40), st.booleans(), st.none(), st.text()))
def test_a_domain_checks_arguments_as_it_reads_text(name, value):
    domain = ALL[name]
    try:
        found = domain.check("f: x", value)
    except TypeError as error:
        assert not isinstance(value, (int, float)) or isinstance(value, bool)
        assert "f: x must be" in str(error)
    except ValueError as error:
        assert "f: x must be" in str(error) and repr(value) in str(error)
        with pytest.raises(argparse.ArgumentTypeError, match="must be"):
            domain(repr(value))
    else:
        assert found == value and domain(repr(value)) == value and math.isfinite(value)


def test_numbers_of_numpy_are_numbers_and_arrays_are_none():
    assert domains.COUNT.check("f: n", np.int64(3)) == 3 and domains.POSITIVE.check("f: x", np.float32(0.5)) == 0.5
    assert domains.COUNT.check("f: n", np.array(3)) == 3
    for wrong in (np.ones(2), [1], "1", None, True):
        with pytest.raises(TypeError, match="f: n must be an integer of at least 1, got"):
            domains.COUNT.check("f: n", wrong)


def test_numbers_in_a_configuration_are_as_good_as_typed(tmp_path):
    """config.json may have been changed by hand: resuming reads it as the command line is read."""
    for broken in ({"gamma": -3}, {"rate": 0}, {"batch": 1.5}, {"steps": "9"}, {"loss": "guess"}, {"average": None, "lazy": True}):
        run = Run.create("dcgan", {"gamma": 1.0, "steps": 4, **broken}, tmp_path, quiet=True, kind="gan dcgan")
        run.close()
        out = io.StringIO()
        with contextlib.redirect_stderr(out):
            assert command.main("gan", gan_main.COMMANDS, ["dcgan", "--resume", run.path]) == 1
        name = [name for name, value in broken.items() if value is not None][-1]
        assert f"--{name} must be" in out.getvalue()


# ---- ~


@pytest.mark.parametrize("package, name", COMMANDS)
def test_every_path_takes_a_home_folder(package, name, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    parser = parser_of(package, name)
    for action in valued(parser):
        if action.metavar in ("RUN", "PATH", "FOLDER", "IMAGE"):
            assert action.type is path, action.dest
            value, message = given_to(parser, action, "~/x y")
            assert message is None and (value[0] if isinstance(value, list) else value) == str(tmp_path / "x y")
            assert "must be a path" in given_to(parser, action, "")[1]  # as of a variable that is not set


def test_homes_in_variables_and_in_data(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MINIGRAD_DATA", "~/data")
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    (tmp_path / "t.txt").write_text("hello hello")
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 4, 4), np.uint8))
    (tmp_path / "photos").mkdir()
    load_png(tmp_path / "photos" / "a.png")
    assert cache_folder() == str(tmp_path / "data") and find("mnist") == str(tmp_path / "data" / "mnist")
    assert variable("MINIGRAD_DATA") == cache_folder() and variable("NOT_SET_ANYWHERE") is None and expand("a~") == "a~"
    assert load("text:~/t.txt").source == str(tmp_path / "t.txt") and load("npz:~/d.npz#x").x.shape == (2, 1, 4, 4)
    assert load("folder:~/photos", size=4).source == str(tmp_path / "photos")
    assert len(load("pair:~/photos,~/photos", size=4).a) == 1
    run = Run.create("toy", {}, "~/runs", quiet=True)
    run.close()
    assert run.path == str(tmp_path / "runs" / "toy-0001") and Run.open("~/runs/toy-0001", quiet=True).name == "toy-0001"


def load_png(file):
    from minigrad.data import save_png

    save_png(file, np.zeros((4, 4), np.uint8))


# ---- python -OO

HELP = """
import contextlib, importlib, io, sys
from attacks import __main__ as a
from gan import __main__ as g
from minigrad import command
from nets import __main__ as n
assert not __doc__
if __debug__: sys.exit("not -OO")

def helped(name, main, argv):
    out, status = io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(out):
            status = main(argv) or 0
    except SystemExit as leaving:
        status = leaving.code or 0
    text = out.getvalue().strip()
    described = [line for line in text.split("\\n\\n")[1:2] if line and not line.startswith(("options:", "positional"))]
    print(name, status, "described" if described else "nothing said: " + text[:200], flush=True)

for package, commands in (("nets", n.COMMANDS), ("gan", g.COMMANDS), ("attacks", a.COMMANDS)):
    for name in commands:
        main = a.main if package == "attacks" else lambda argv: command.main(package, commands, argv)
        helped(f"{package} {name}", main, [name, "--help"])
for name in sys.argv[1:]:
    helped(name, importlib.import_module(name).main, ["--help"])
"""


def optimised(*words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-OO", *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_every_command_describes_itself_without_docstrings():
    modules = ["minigrad.doctor", "minigrad.warmup", "minigrad.explain"]
    if importlib.util.find_spec("torch"):
        modules += [f"benchmarks.{name}" for name in "__main__ attack convolution memory overhead scaling startup training".split()]
    found = optimised("-c", HELP, *modules)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert len(lines) == len(COMMANDS) + len(modules)
    assert [line for line in lines if not line.endswith(" 0 described")] == []


def test_commands_run_without_docstrings_and_asserts(tmp_path):
    size = ["--size", "16", "--width", "2", "--batch", "4", "--steps", "2", "--dry-run"]
    for words in (["nets", "classifier", *size], ["gan", "dcgan", *size], ["attacks", "linear", "--dry-run"]):
        found = optimised("-m", *words)
        assert found.returncode == 0 and "Traceback" not in found.stderr, found.stderr
    found = optimised("-m", "gan", "dcgan", "--gamma", "-3")  # a wrong call is told by an error, not by an assert
    assert found.returncode == 2 and "--gamma" in found.stderr
