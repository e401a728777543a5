"""Without PyTorch every benchmark, and all of them together, ends with status 1 and one line that names the extra."""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as list_of_benchmarks
from benchmarks.times import MINUTES, says

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


def test_the_readme_names_the_extra():
    assert all(".[bench]" in (ROOT / file).read_text(encoding="utf-8") for file in ("README.md", "benchmarks/README.md"))


def test_help_says_how_long_each_takes():
    assert set(MINUTES) | set(ALONE) | {"__main__", "common", "networks", "peak", "times"} == set(MODULES)
    for name, minutes in MINUTES.items():
        assert f"about {minutes} minute" in says(f"/somewhere/benchmarks/{name}.py")
    assert says("pytest") == ""
    with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit):
        list_of_benchmarks.main(["--help"])
    assert f"about {sum(MINUTES.values())} minutes on two cores" in out.getvalue()


STUB = """
import time
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    open("tidy", "w").close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="signals as Ctrl-C sends them, and /proc to find the child")
@pytest.mark.parametrize("told", ["both", "benchmark", "list", "alone"])
def test_ctrl_c_is_one_line_and_130(told, tmp_path):
    """A terminal tells both processes. The list starts no other benchmark, and each may clear its files away."""
    package = tmp_path / "benchmarks"
    package.mkdir()
    for file in ("__init__.py", "__main__.py", "times.py"):
        shutil.copy(ROOT / "benchmarks" / file, package)
    (package / "convolution.py").write_text(STUB)
    (tmp_path / "torch.py").write_text("")  # as if it were installed
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "benchmarks.convolution" if told == "alone" else "benchmarks"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    seen = ""
    while not seen.endswith("ready\n"):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        seen += line
    if told == "both":
        os.killpg(process.pid, signal.SIGINT)
    elif told == "benchmark":
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as children:
            os.kill(int(children.read().split()[0]), signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert error == f"\nstopped in {'benchmarks.convolution' if told == 'alone' else 'convolution'}\n" and out == ""
    assert process.returncode == (-signal.SIGINT if told == "alone" else 130)  # a shell calls both 130
    assert (tmp_path / "tidy").exists() and seen.count("#") == (0 if told == "alone" else 1)
