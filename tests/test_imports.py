"""Rooms: who may import whom, and that headers say what is so. Read from the source, nothing is run.

    minigrad.kernels <- minigrad <- nets <- gan, attacks         and inside each, the rooms of `ROOMS` below

A module's header ends with a line "Imports: numpy, minigrad.autograd, common." It names what the module imports, and nothing else:
packages, modules of ours by their dotted path or that of a folder above them, neighbours in the same folder by their bare name
(and so the rooms of minigrad/kernels/cpu in one another).
"(when called)" stands behind what only functions import. The standard library is not named.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CPU = "minigrad.kernels.cpu"
CORE, BOXES = "attacks.core", ("attacks.white_box", "attacks.black_box")
ROOMS = {  # what a file below the folder may import of our own, beside its own folder; the longest match counts
    "minigrad/kernels/cpu/machine": (),
    "minigrad/kernels/cpu/registers": (f"{CPU}.machine",),
    "minigrad/kernels/cpu/parts": (f"{CPU}.registers", f"{CPU}.machine"),
    "minigrad/kernels/cpu/convolution": (f"{CPU}.parts", f"{CPU}.registers", f"{CPU}.machine", "minigrad.kernels.geometry"),
    "minigrad/kernels/cpu/layers": (f"{CPU}.convolution", f"{CPU}.parts", f"{CPU}.registers", f"{CPU}.machine",
                                    "minigrad.kernels.reference", "minigrad.kernels.geometry"),
    "minigrad/kernels": (),
    "minigrad/functional": ("minigrad.absent", "minigrad.autograd", "minigrad.kernels", "minigrad.notice", "minigrad.random"),
    "minigrad/nn": ("minigrad.absent", "minigrad.autograd", "minigrad.creation", "minigrad.functional", "minigrad.kernels",
                    "minigrad.notice", "minigrad.random", "minigrad.tensor"),
    "minigrad/optim": ("minigrad.absent", "minigrad.autograd", "minigrad.kernels", "minigrad.nn", "minigrad.notice",
                       "minigrad.tensor"),
    "minigrad/data": ("minigrad.checkpoint", "minigrad.creation", "minigrad.domains", "minigrad.files", "minigrad.functional",
                      "minigrad.paths", "minigrad.pictures", "minigrad.random", "minigrad.tensor"),
    "minigrad": (),
    "nets/commands": ("minigrad", "nets"),
    "nets": ("minigrad",),
    "gan/commands": ("minigrad", "nets", "gan"),
    "gan": ("minigrad", "nets"),
    "attacks/core": ("minigrad",),
    "attacks/white_box": ("minigrad", CORE),
    "attacks/black_box": ("minigrad", CORE),
    "attacks/defend": ("minigrad", CORE, *BOXES),
    "attacks/evaluate": ("minigrad", CORE, *BOXES, "attacks.defend"),
    "attacks/copying": ("minigrad", CORE, *BOXES, "attacks.defend"),
    "attacks/commands": ("minigrad", "nets", "attacks"),
    "attacks": ("minigrad", "nets"),
    "benchmarks": ("minigrad", "nets", "gan", "attacks"),
}
SCRIPTS = ("gan", "nets", "attacks")  # whose commands are scripts, and no library for others
OWN = ("minigrad", "nets", "gan", "attacks", "benchmarks", "tests")
FILES = sorted(p for folder in OWN[:-1] for p in (ROOT / folder).rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION = 450, 70
HEADERLESS = ("__init__.py", "__main__.py")


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def module_of(path):
    return name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(path):
    """(what is imported, line, inside a function) for everything that a file imports; names of modules are resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(n) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
             for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, id(node) in inner) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield from ((f"{node.module}.{alias.name}", node.lineno, id(node) in inner) for alias in node.names)


def module_part(name):
    """minigrad.nn.Linear -> minigrad.nn: the longest part that is a module or package of ours; others' first word."""
    if not within(name, OWN):
        return name.split(".")[0]
    words = name.split(".")
    while not ((ROOT.joinpath(*words)).is_dir() or ROOT.joinpath(*words).with_suffix(".py").is_file()):
        words.pop()
    return ".".join(words)


def within(name, packages):
    return any(name == p or name.startswith(p + ".") for p in packages)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path):
    here = name_of(path)
    room = max((f for f in ROOMS if here.startswith(f + "/")), key=len)
    allowed = (room.replace("/", "."), *ROOMS[room])
    for name, line, inside in imports(path):
        if not within(name, OWN):
            assert name.split(".")[0] != "torch" or here.startswith("benchmarks/"), f"{here}:{line} imports torch"
            continue
        assert within(name, allowed), f"{here}:{line} imports {name}; allowed: {sorted(allowed)}"
        assert not inside, f"{here}:{line} imports {name} inside a function: that hides an import circle"
        module = module_part(name)
        if re.match(rf"({'|'.join(SCRIPTS)})\.commands\.(?!helpers\b)", module):
            assert here.startswith("benchmarks/"), f"{here}:{line}: a command is no library: {name}"  # they time a command


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_private_name_crosses_modules(path):
    """Neither `from minigrad.tensor import _x` nor `tensor._x`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and within(node.module, OWN):
            for alias in node.names:
                assert not re.match(r"_[^_]", alias.name), f"{name_of(path)}:{node.lineno} imports {node.module}.{alias.name}"
                if module_part(f"{node.module}.{alias.name}") == f"{node.module}.{alias.name}":
                    modules.add(alias.asname or alias.name)
        elif isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name for alias in node.names if within(alias.name, OWN)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert not re.match(r"_[^_]", node.attr), f"{name_of(path)}:{node.lineno} uses {node.value.id}.{node.attr}"


def header(path):
    """[(item, when called)] of the line "Imports: ..." in a module's docstring, or None."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    found = re.search(r"^Imports: (.+?)\.(?=\s|$)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        return None
    items = [item.strip() for item in found[1].split(",")]
    return [(item.removesuffix("(when called)").strip(), item.endswith("(when called)")) for item in items]


@pytest.mark.parametrize("path", [p for p in FILES if p.name not in HEADERLESS], ids=name_of)
def test_the_header_names_what_is_imported(path):
    items = header(path)
    if items is None:
        assert "commands" in path.parts or "benchmarks" in path.parts, "the header lacks its line 'Imports: ...'"
        return
    near = [module_of(path).rpartition(".")[0], *([CPU] if module_of(path).startswith(f"{CPU}.") else [])]
    wanted = {}  # module: whether only functions import it
    for name, _, inside in imports(path):
        module = module_part(name)
        if module not in sys.stdlib_module_names:
            wanted[module] = wanted.get(module, True) and inside
    if items == [("the standard library", False)]:
        assert not wanted, f"it imports {sorted(wanted)}"
        return
    covered = {}
    for item, called in items:
        full = next((f"{folder}.{item}" for folder in near if module_part(f"{folder}.{item}") == f"{folder}.{item}"), item)
        here = {m for m in wanted if within(m, [full])}
        assert here, f"the header names {item}, which is not imported"
        assert all(wanted[m] for m in here) == called, f"{item}: '(when called)' says that only functions import it"
        covered |= dict.fromkeys(here)
    assert set(wanted) == set(covered), f"the header does not name {sorted(set(wanted) - set(covered))}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_modules_and_functions_can_be_read(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_MODULE, f"{text.count(chr(10))} lines: would a reader rather have two rooms?"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


def test_the_engine_imports_the_standard_library_only():
    parts = ROOT / "minigrad" / "autograd"
    for path in [parts.with_suffix(".py")] if parts.with_suffix(".py").is_file() else sorted(parts.glob("*.py")):
        for name, line, _ in imports(path):
            top = name.split(".")[0]
            assert top in sys.stdlib_module_names or within(name, ["minigrad.autograd"]), f"{name_of(path)}:{line} imports {name}"


def test_no_import_circle():
    graph = {module_of(p): {module_part(n) for n, _, _ in imports(p) if within(n, OWN)} - {module_of(p)} for p in FILES}
    done = set()
    while len(done) < len(graph):
        free = {m for m in graph if m not in done and graph[m] <= done}
        assert free, f"a circle among {sorted(set(graph) - done)}"
        done |= free


def test_functional_and_kernels_do_not_know_tensor():
    for path in FILES:
        here = name_of(path)
        if here.startswith(("minigrad/functional/", "minigrad/kernels/")):
            for name, line, _ in imports(path):
                assert not within(name, ["minigrad.tensor", "minigrad.creation", "minigrad.nn"]), f"{here}:{line}: {name}"


def test_importing_the_library_loads_nothing_heavy_that_it_does_not_need():
    code = "import sys, minigrad; print([m for m in ('torch', 'cupy', 'matplotlib', 'PIL', 'tqdm') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]", f"import minigrad loads {out}"
