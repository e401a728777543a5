"""Imports point one way: minigrad.kernels <- minigrad <- nets <- gan, attacks. Read from the source, nothing is run."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {  # what a file below the folder may import of our own; the longest match counts
    "minigrad/kernels": {"minigrad.kernels"},
    "minigrad": {"minigrad"},
    "nets": {"minigrad", "nets"},
    "gan": {"minigrad", "nets", "gan"},
    "attacks": {"minigrad", "nets", "attacks"},
    "benchmarks": {"minigrad", "nets", "gan", "attacks", "benchmarks"},
}
OWN = ("minigrad", "nets", "gan", "attacks", "benchmarks", "tests")
FILES = sorted(p for folder in ALLOWED if "/" not in folder for p in (ROOT / folder).rglob("*.py"))


def imports(path):
    """(module, line, inside a function) for everything that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(n) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
             for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, id(node) in inner) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield from ((f"{node.module}.{alias.name}", node.lineno, id(node) in inner) for alias in node.names)


def within(name, packages):
    return any(name == p or name.startswith(p + ".") for p in packages)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_point_down(path):
    here = path.relative_to(ROOT).as_posix()
    allowed = ALLOWED[max((f for f in ALLOWED if here.startswith(f + "/")), key=len)]
    for name, line, inside in imports(path):
        if not within(name, OWN):
            assert name.split(".")[0] != "torch" or here.startswith("benchmarks/"), f"{here}:{line} imports torch"
            continue
        assert within(name, allowed), f"{here}:{line} imports {name}; allowed: {sorted(allowed)}"
        assert not inside, f"{here}:{line} imports {name} inside a function: that hides an import circle"


@pytest.mark.parametrize("path", sorted((ROOT / "minigrad" / "autograd").glob("*.py")), ids=lambda p: p.name)
def test_the_engine_imports_the_standard_library_only(path):
    for name, line, _ in imports(path):
        top = name.split(".")[0]
        own = within(name, ["minigrad.autograd"])
        assert own or top in sys.stdlib_module_names or top == "__future__", f"minigrad/autograd/{path.name}:{line} imports {name}"


PRIVATE_ALLOWED = {"minigrad/doctor.py": {"blas._get"}}  # the number of BLAS's threads, which has no public name yet


LIBRARY = [p for p in FILES if p.is_relative_to(ROOT / "minigrad")]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_private_name_is_used_in_another_module(path):
    here, found = path.relative_to(ROOT).as_posix(), []
    tree, modules = ast.parse(path.read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and within(node.module, OWN):
            modules |= {alias.asname or alias.name for alias in node.names}
            found += [alias.name for alias in node.names if alias.name.startswith("_")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found += [f"{node.value.id}.{node.attr}"] if node.attr.startswith("_") and not node.attr.startswith("__") else []
    assert set(found) <= PRIVATE_ALLOWED.get(here, set()), f"{here} uses {found}: give it a public name where it is defined"


def test_functional_and_kernels_do_not_know_tensor():
    for path in FILES:
        here = path.relative_to(ROOT).as_posix()
        if here.startswith(("minigrad/functional/", "minigrad/kernels/")):
            for name, line, _ in imports(path):
                assert not within(name, ["minigrad.tensor", "minigrad.creation", "minigrad.nn"]), (
                    f"{here}:{line}: {name}"
                )


def test_importing_the_library_loads_nothing_heavy_that_it_does_not_need():
    code = (
        "import sys, minigrad; print([m for m in ('torch', 'cupy', 'matplotlib', 'PIL', 'tqdm') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]", f"import minigrad loads {out}"
