"""Without PyTorch every benchmark, and all of them together, ends with status 1 and one line that names the extra."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")
ALONE = ("bakeoff", "diagnosis")  # need no PyTorch


@pytest.mark.parametrize("module", MODULES)
def test_one_line_and_status_1(module, tmp_path):
    """PyTorch is hidden from importlib.util.find_spec, by which the package asks for it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\nu.find_spec = lambda name, package=None: None if name == 'torch' else "
        "find(name, package)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    name = "benchmarks" if module == "__main__" else f"benchmarks.{module}"
    if module in ALONE:
        found = subprocess.run([sys.executable, "-m", name, "--help"], cwd=ROOT, env=environment, capture_output=True, text=True,
                               timeout=60)
        assert found.returncode == 0 and "PyTorch takes no part" in found.stdout
        return
    found = subprocess.run([sys.executable, "-m", name, "--quick"], cwd=ROOT, env=environment, capture_output=True, text=True,
                           timeout=60)
    assert found.returncode == 1 and found.stdout == "" and found.stderr.count("\n") == 1
    assert "PyTorch" in found.stderr and ".[bench]" in found.stderr


@pytest.mark.skipif(os.name != "posix", reason="a signal as Ctrl-C sends it")
def test_an_interrupted_benchmark_is_no_traceback_of_the_list():
    """Ctrl-C reaches the benchmark and the list that started it; the list says nothing more and starts no other."""
    code = ("import subprocess, sys, benchmarks.__main__ as m\n"
            "def run(command):\n    print(command[2])\n    raise KeyboardInterrupt\n"
            "subprocess.run = run\nsys.exit(m.main(['--quick']))")
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stderr) == (130, "") and found.stdout.split("\n")[-2:] == ["benchmarks.convolution", ""]


def test_the_readme_names_the_extra():
    assert all(".[bench]" in (ROOT / file).read_text(encoding="utf-8") for file in ("README.md", "benchmarks/README.md"))
