"""The rooms of kernels/cpu: a name has one meaning there. (`test_imports` holds what they may import.) Nothing is run."""
import ast
import collections
from pathlib import Path

CPU = Path(__file__).resolve().parents[2] / "minigrad" / "kernels" / "cpu"
FOLDERS = "layers", "convolution", "parts", "registers", "machine"
FILES = sorted(p for p in CPU.rglob("*.py") if p.parent != CPU)


def name_of(path):
    return path.relative_to(CPU).as_posix()


def test_every_file_lies_in_one_of_the_folders():
    assert {p.parent.name for p in FILES} == set(FOLDERS) and {p.parent.parent for p in FILES} == {CPU}


def defined(path):
    """The names that a module defines at its top, constants and functions."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        for target in node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []:
            yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))


def test_a_constant_has_one_meaning():
    places = collections.defaultdict(set)
    for path in FILES:
        for name in defined(path):
            if name.isupper():
                places[name].add(name_of(path))
    assert len(places) > 50
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_a_kernel_has_a_name_of_its_own():
    places = collections.defaultdict(set)
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                decorators = [ast.unparse(d).split("(")[0] for d in node.decorator_list]
                if {"kernel", "inner", "stage", "instruction"} & set(decorators):
                    places[node.name].add(name_of(path))
    assert len(places) > 60
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_every_tile_is_made_in_one_place():
    makers = {"product_tile", "product_tiles", "panel_tile", "outer_tile", "dot_tile"}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in makers:
                assert name_of(path) == "registers/tiles.py", f"{name_of(path)}:{node.lineno} makes a tile of its own"
