"""The cache of compiled kernels: what is not whole is absent, and what cannot be written is compiled for this run. Each test's
kernels run in processes of their own, with a cache of their own."""
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import damage_cache
import pytest

from minigrad.kernels.cpu.machine import cache

CODE = """
import hashlib, json, sys
import numpy as np
from minigrad.kernels import cpu
from minigrad.kernels.cpu.machine import cache
from minigrad.kernels.cpu.machine.compiling import on_compile
x = np.arange(-64, 64, dtype=np.float32).reshape(2, 4, 4, 4)
p, g, m, v = ([np.linspace(-1, 1, 16, dtype=np.float32)] for _ in range(4))
names = []
with on_compile(names.append):
    results = [cpu.leaky_relu(x, 0.3), cpu.add_leaky_relu(x, x, 0.7), *p]
    results.append(cpu.avg_pool2d(x, (2, 2), (2, 2), (0, 0), (2, 2), True, None))
    cpu.adam_step(p, g, m, [abs(v[0])], None, step=1, lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0, decoupled=False,
                  maximize=False)
digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in results)).hexdigest()
found = cache.survey()
print(json.dumps([digest, sorted(set(names) & {"activate", "activate_sum", "pool_mean", "adam"}), found.good, len(found.damaged)]))
"""
KERNELS = ["activate", "activate_sum", "adam", "pool_mean"]
SAID = "compiled kernels cannot be kept"


def start(folder, before="", **options):
    return subprocess.Popen([sys.executable, "-c", before + CODE], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "NUMBA_CACHE_DIR": str(folder)}, **options)


def answer(process):
    """(digest of the results, kernels that were compiled, whole files, damaged files, standard error)."""
    out, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    assert "Traceback" not in error
    return *json.loads(out), error


def run(folder, before=""):
    return answer(start(folder, before))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A cache that is whole, and the digest of what its kernels compute."""
    folder = tmp_path_factory.mktemp("good")
    digest, compiled, files, damaged, error = run(folder)
    assert compiled == KERNELS and files >= len(KERNELS) and damaged == 0 and SAID not in error
    assert run(folder) == (digest, [], files, 0, error)
    return folder, digest


@pytest.fixture
def copy(good, tmp_path):
    """A copy of that cache, the digest, and the files of the kernels that are asked for."""
    shutil.copytree(good[0], tmp_path / "cache")
    paths = [next((tmp_path / "cache").glob(f"*/*.{name}.*.nbc")) for name in KERNELS]
    return tmp_path / "cache", good[1], paths


@pytest.mark.parametrize("kinds", [damage_cache.DAMAGES[i:i + 4] for i in range(0, len(damage_cache.DAMAGES), 4)],
                         ids=lambda kinds: kinds[0].__name__)
def test_a_damaged_file_is_compiled_again_and_replaced(copy, kinds):
    """Four kinds at once, one for each kernel: the results are the same, and a second start compiles nothing but what a folder
    keeps from the disk."""
    folder, digest, paths = copy
    rng, stays, whole = random.Random(0), [], [path.read_bytes() for path in paths]
    for i, (damage, name, path) in enumerate(zip(kinds, KERNELS, paths, strict=True)):
        damage(rng, str(path), whole[i], whole[i - 1])
        stays += [name] * (damage is damage_cache.a_folder)
    for compiled in KERNELS, stays:
        result = run(folder)
        assert result[:2] == (digest, compiled) and result[3] == len(stays)
        assert result[4].count(SAID) == len(stays)


def test_a_sample_of_the_damages_of_the_script(capfd):
    table, faults = damage_cache.damage(80)
    assert faults == 0, table
    assert capfd.readouterr().err.count(SAID) == 1              # forty kinds of failure, one line


def test_the_script_would_see_a_fault(tmp_path, monkeypatch):
    """A check that lets everything through is noticed."""
    (tmp_path / "script.py").write_text(f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
                                        "import damage_cache; from minigrad.kernels.cpu.machine import cache\n"
                                        "cache.digest_of = lambda version, payload: cache.hashlib.sha256(version).digest()\n"
                                        "damage_cache.worker(int(sys.argv[2]), 0)\n")
    monkeypatch.setattr(damage_cache, "__file__", str(tmp_path / "script.py"))
    table, faults = damage_cache.damage(40)
    assert faults > 0, table


@pytest.mark.parametrize("before", [
    "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n",              # the system refuses larger files
    "import minigrad.kernels.cpu.machine.cache as c, errno\n"
    "def full(*a, **k): raise OSError(errno.ENOSPC, 'No space left on device')\n"
    "c.write = full\n",
    "import minigrad.kernels.cpu, errno\n"
    "from numba.core import caching\n"
    "def refuse(*a, **k): raise OSError(errno.EROFS, 'Read-only file system')\n"
    "caching.tempfile.TemporaryFile = refuse\n",
    "from numba.core import caching; caching.CacheImpl._locator_classes = []\n",
    "from numba.core import caching; caching.IndexDataCacheFile = lambda **k: object()\n",     # a Numba that we do not know
], ids=["limit", "full", "read-only", "no folder", "other Numba"])
def test_where_nothing_can_be_written_kernels_are_compiled_for_this_run_and_one_line_says_so(tmp_path, good, before):
    digest, compiled, files, damaged, error = run(tmp_path, before)
    assert (digest, compiled, files, damaged) == (good[1], KERNELS, 0, 0)
    assert error.count(SAID) == 1 and "minigrad.doctor" in error
    assert not list(tmp_path.rglob("*.nb*"))


def test_a_cache_that_cannot_be_written_is_still_read(copy):
    before = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    assert run(copy[0], before)[:2] == (copy[1], [])


def test_processes_that_fill_a_cache_together_leave_it_whole(tmp_path, good):
    for result in [answer(p) for p in [start(tmp_path), start(tmp_path)]]:
        assert result[0] == good[1] and SAID not in result[4]
    assert run(tmp_path)[:2] == (good[1], [])
    assert not list(tmp_path.rglob("*.tmp.*"))


def test_files_of_numba_and_of_other_versions_are_not_read(copy):
    """The version holds the sources, the compiler and Python; the survey counts such files apart."""
    folder, digest, paths = copy
    for path in paths:
        path.rename(path.with_name(path.name.replace(path.name.split(".")[2], "0" * 12)))
    (paths[0].parent / "activation.activate-1.py311.nbi").write_bytes(b"")
    assert run(folder)[:2] == (digest, KERNELS)
    files = cache.KernelFiles(lambda: 0, str(folder), "1")
    files.save("key", "code")
    assert files.load("key") == "code" and files.load("other") is None
    later = cache.KernelFiles(lambda: 0, str(folder), "2")
    shutil.copy(files.path("key"), later.path("key"))
    assert later.load("key") is None
    shutil.copy(files.path("key"), files.path("other"))
    assert files.load("other") is None
    files.flush()
    assert files.paths() == [] and files.load("key") is None


def test_the_doctor_says_what_is_damaged(copy):
    folder, _, paths = copy
    paths[0].write_bytes(b"")
    paths[1].unlink()
    paths[1].mkdir()
    code = ("from minigrad import doctor; from minigrad.kernels.cpu.machine import cache\n"
            "lines, found = doctor.check_cache(cache.survey(), False); print(*lines, *found, sep='\\n')")
    done = subprocess.run([sys.executable, "-c", code],
                          capture_output=True, text=True, env={**os.environ, "NUMBA_CACHE_DIR": str(folder)})
    assert f"damaged: {paths[0]}" in done.stdout and f"damaged: {paths[1]}" in done.stdout, done.stderr
    assert "2 files of compiled kernels are damaged" in done.stdout and done.stdout.startswith(f"{folder}\n")
