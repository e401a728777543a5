"""The rulebook: every operation is in it, each at the place where it is defined, with an equation and with the rule that runs."""

import ast
import functools
import gc
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from minigrad import explain, rulebook
from minigrad.autograd import Primitive, primitive

ROOT = Path(__file__).resolve().parent.parent
OPERATIONS = rulebook.read().operations
EACH = pytest.mark.parametrize("module, op", OPERATIONS, ids=[f"{m.__name__.rpartition('.')[2]}-{op.name}" for m, op in OPERATIONS])


def command(*arguments, options=()):
    return subprocess.run([sys.executable, *options, "-m", "minigrad.explain", *arguments], cwd=ROOT, capture_output=True,
                          text=True, timeout=120)


@functools.cache
def definitions(file):
    """{line of the def: (name, its decorators, its statements but for a docstring)} of every function of a file."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            body = node.body[ast.get_docstring(node) is not None:]
            found[node.lineno] = node.name, [ast.unparse(d) for d in node.decorator_list], "\n".join(map(ast.unparse, body))
    return found


def test_every_primitive_of_the_library_is_listed():
    alive = [op for op in gc.get_objects() if type(op) is Primitive and isinstance(op.forward, types.FunctionType)]
    alive = {op for op in alive if op.forward.__module__.startswith("minigrad.")}
    assert alive == {op for _, op in OPERATIONS} and len(OPERATIONS) == len(alive) >= 80
    assert not rulebook.read().failed


def test_every_primitive_in_the_source_is_listed():
    count = sum("primitive" in decorator.partition("(")[0] for path in (ROOT / "minigrad").rglob("*.py")
                for _, decorators, _ in definitions(path.relative_to(ROOT)).values() for decorator in decorators)
    assert count == len(OPERATIONS)


@EACH
def test_the_place_is_the_definition(module, op):
    place = rulebook.place(op.forward)
    name, decorators, _ = definitions(place.file)[place.line]
    assert name == op.forward.__name__ and decorators[-1].startswith("primitive")
    assert (ROOT / place.file).samefile(module.__file__)


@EACH
def test_there_is_an_equation(module, op):
    text = rulebook.equation(op)
    assert text and text != op.name, f"{rulebook.place(op.forward)}: the docstring of {op.name} begins with no equation"


@EACH
def test_the_rule_is_the_one_that_runs(module, op):
    assert op.rule is not None
    place = rulebook.place(op.rule)
    _, decorators, body = definitions(place.file)[place.line]
    assert decorators == [f"{op.forward.__name__}.vjp"]
    text = "\n".join(place.body)
    assert ast.unparse(ast.parse("def rule():\n" + "\n".join(f"    {line}" for line in place.body)).body[0].body) == body, text


def test_everything_is_printed_in_lines_that_fit_and_counted():
    text = rulebook.rules()
    lines = text.splitlines()
    assert max(map(len, lines)) <= rulebook.WIDTH
    squeezed = "".join(text.split())
    for module, op in OPERATIONS:
        assert f"    {rulebook.place(op.forward)}" in lines
        assert f"{op.name}(" in text and module.__name__ in lines
        assert "".join(rulebook.equation(op).split()) in squeezed
        for line in rulebook.place(op.rule).body:
            assert "".join(line.partition("  # ")[0].split()) in squeezed
    modules = {module for module, _ in OPERATIONS}
    assert lines[-1] == f"{len(OPERATIONS)} operations in {len(modules)} modules of minigrad, none without a rule"


def test_names_choose_and_functions_say_what_they_are():
    text = rulebook.rules(["mul", "_conv2d", "relu"])
    chosen = re.findall(r"^(\w+)\(.*\)$", text, re.MULTILINE)
    assert chosen == ["relu", "conv2d", "mul"]
    assert "a, b = node.inputs" in text and "a * b" in text and "operations in" not in text
    assert "minigrad/functional/activation.py" in text and "no operation, but a function of operations" in text


def test_unknown_names_leave_with_status_2_and_a_guess(capsys):
    with pytest.raises(SystemExit) as stop:
        explain.main(["rules", "mul", "cov2d"])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and not out and "no operation 'cov2d'; did you mean conv2d" in err
    with pytest.raises(SystemExit) as stop:
        explain.main(["rules", "--package", "no_such_package"])
    assert stop.value.code == 2 and "cannot import 'no_such_package'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        explain.main(["rule"])
    assert stop.value.code == 2


def test_without_a_command_it_says_what_there_is(capsys):
    assert explain.main([]) == 0
    out = capsys.readouterr().out
    assert "rules" in out and "explain(f, x)" in out and "explain(loss)" in out
    with pytest.raises(SystemExit) as stop:
        explain.main(["--help"])
    assert stop.value.code == 0 and capsys.readouterr().out == out


def test_an_operation_without_rule_or_source_says_so(monkeypatch):
    module = types.ModuleType("lent")
    module.cube_root = primitive(np.cbrt)
    module.double = primitive(lambda x: 2 * x)
    module.double.vjp(lambda node, needs, g: (g * 2,))
    module.double.forward.__module__ = module.double.rule.__module__ = "lent"
    monkeypatch.setitem(sys.modules, "lent", module)
    text = rulebook.rules(package="lent")
    assert "(its source cannot be read)\n    no rule: it cannot be differentiated" in text
    assert "module.double.vjp(lambda node, needs, g: (g * 2,))" in text
    assert text.endswith("2 operations in 1 module of lent, 1 without a rule")


def test_a_module_that_cannot_be_imported_is_named(monkeypatch, tmp_path):
    package = tmp_path / "half_a_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "bad.py").write_text("import no_such_module\n")
    (package / "__main__.py").write_text("raise SystemExit('a command was run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "not read: half_a_package.bad (No module named 'no_such_module')" in rulebook.rules(package="half_a_package")


def test_other_packages_have_operations_too():
    text = rulebook.rules(package="attacks.defend")
    assert "straight_through(proxy, value)" in text and "\nadd(" not in text and text.endswith("none without a rule")


def test_the_command_prints_the_rulebook():
    done = command("rules", "mul")
    assert done.returncode == 0 and done.stdout == rulebook.rules(["mul"]) + "\n" and not done.stderr


def test_without_docstrings_names_are_printed_without_equations():
    done = command("rules", options=["-OO"])
    assert done.returncode == 0 and not done.stderr
    assert "mul(a, b)\n    minigrad/functional/elementwise.py:" in done.stdout and "a, b = node.inputs" in done.stdout
    assert "no equations: python -OO" in done.stdout.splitlines()[-1]


@pytest.mark.skipif(os.name == "nt", reason="a closed pipe is another error there")
def test_a_closed_pipe_is_no_error():
    process = subprocess.Popen([sys.executable, "-m", "minigrad.explain", "rules"], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 0
    process.stderr.close()
