"""Every tile variant is compiled and run, each in a process of its own; so are the kernels without a cache, without a compiler, and
with bounds checked. Warming up compiles each kernel once."""
import os
import subprocess
import sys

import pytest

from minigrad.kernels.cpu.registers.emit import tile_shape

CHECK = """
import numpy as np
from minigrad.kernels import cpu, reference
from minigrad.kernels.cpu.convolution import choice
from minigrad.kernels.cpu.registers import emit
choice.winograd_pays = lambda *_: {winograd}
choice.WHOLE = emit.STREAMED = 0
print(emit.VL, emit.MR, emit.NV)
for n, c, h, o, k, s, p, groups in {cases}:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((n, c, h, h + (k < h))).astype("f"), rng.standard_normal((o, c // groups, k, k)).astype("f")
    rest = (s, s), (p, p), (1, 1), groups
    exact = reference.conv2d(x.astype("d"), w.astype("d"), *rest)
    g = rng.standard_normal(exact.shape).astype("f")
    maps = [(lambda m, x, w, g: m.conv2d(x, w, *rest)), (lambda m, x, w, g: m.conv2d_dx(g, w, *rest, x.shape[2:])),
            (lambda m, x, w, g: m.conv2d_dw(x, g, *rest, w.shape[2:]))]
    for f in maps:
        exact = f(reference, x.astype("d"), w.astype("d"), g.astype("d"))
        error = np.abs(f(cpu, x, w, g) - exact).max() / np.abs(exact).max()
        assert error < 3e-5, ((n, c, h, o, k, s, p, groups), error)
print("right")
"""
SCAN = """
import numpy as np
from minigrad.kernels import cpu, reference
rng = np.random.default_rng(0)
shapes = (2, 9, 5), (9, 11), (9, 11), (44, 5), (44, 11), (44,), (2, 9, 11)
x, h, c, v, w, b, g = (rng.standard_normal(s).astype("f") for s in shapes)
ours = cpu.lstm_scan(x, h, c, v, w, b)
exact = reference.lstm_scan(*(a.astype("d") for a in (x, h, c, v, w, b)))
ours += cpu.lstm_scan_dx(g, g, c, *ours[1:], v, w)
exact += reference.lstm_scan_dx(*(a.astype("d") for a in (g, g, c, *exact[1:], v, w)))
for a, e in zip(ours, exact, strict=True):
    assert np.abs(a - e).max() < 1e-4, np.abs(a - e).max()
print("right")
"""
LAYERS = [(2, 1, 9, 40, 4, 2, 1, 1), (2, 20, 6, 32, 3, 1, 1, 1), (20, 17, 3, 19, 3, 1, 0, 1),
          (2, 16, 6, 1, 4, 1, 1, 1), (1, 16, 5, 16, 3, 1, 1, 16)]


def run(code, **environment):
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tile_fits_the_machine():
    assert tile_shape({"avx512f", "avx2", "fma"}, "x86_64-unknown-linux-gnu") == (16, 14, 2)
    assert tile_shape({"avx2", "fma"}, "x86_64-apple-darwin") == (8, 6, 2)
    assert tile_shape(set(), "arm64-apple-darwin22.4.0") == tile_shape({"neon"}, "aarch64-linux-gnu") == (4, 14, 2)
    assert tile_shape({"sse2"}, "x86_64-unknown-linux-gnu") == (4, 6, 2)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names of x86 processors")
@pytest.mark.parametrize("shape, environment", [
    ("8 6 2", dict(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="+avx2,+fma,+avx,+sse2")),
    ("4 6 2", dict(NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="+sse2")),
    ("4 14 2", dict(MINIGRAD_TILE="4,14,2", NUMBA_CPU_NAME="nehalem", NUMBA_CPU_FEATURES="+sse2")),
], ids=["AVX2", "plain", "NEON's shape"])
def test_other_machines_tiles_are_right(shape, environment):
    cases = LAYERS[:3]
    if shape == "8 6 2":
        cases = [(2, 16, 7, 16, 3, 1, 1, 1), (2, 16, 8, 16, 4, 2, 1, 1), (2, 16, 7, 3, 3, 1, 1, 1), (2, 16, 6, 16, 3, 1, 1, 16)]
    out = run(CHECK.format(winograd=True, cases=cases), **environment)
    assert out.split("\n")[:2] == [shape, "right"]
    assert run(SCAN, **environment) == "right\n"


def test_without_a_compiler():
    """NUMBA_DISABLE_JIT=1: every kernel runs as Python, the tiles as their twins."""
    cases = [(1, 1, 5, 3, 4, 2, 1, 1), (1, 3, 4, 5, 3, 1, 1, 1), (1, 16, 3, 1, 2, 1, 0, 1), (1, 16, 3, 16, 2, 1, 0, 16),
             (16, 16, 2, 3, 2, 1, 0, 1)]
    assert "right" in run(CHECK.format(winograd=False, cases=cases), NUMBA_DISABLE_JIT="1")
    assert "right" in run(CHECK.format(winograd=True, cases=[(1, 16, 4, 16, 3, 1, 1, 1)]), NUMBA_DISABLE_JIT="1")
    assert run(SCAN, NUMBA_DISABLE_JIT="1") == "right\n"


def test_with_bounds_checked(tmp_path):
    code = CHECK.format(winograd=False, cases=LAYERS[:3])
    assert "right" in run(code + SCAN, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))


def test_where_nothing_can_be_cached():
    code = ("from numba.core import caching; caching.CacheImpl._locator_classes = []\n"
            "import numpy as np; from minigrad.kernels import cpu; print(cpu.leaky_relu(np.float32([-2, 3]), 0.5))")
    assert "[-1.  3.]" in run(code)


def test_warming_up_leaves_nothing_to_compile_and_each_kernel_one_set_of_types():
    code = ("import minigrad.warmup as w; w.warmup(False); assert not w.warmup(False)\n"
            "import importlib, pkgutil; from minigrad.kernels import cpu\n"
            "for m in pkgutil.walk_packages(cpu.__path__, 'minigrad.kernels.cpu.'):\n"
            "    for name, f in vars(importlib.import_module(m.name)).items():\n"
            "        if hasattr(f, 'signatures'):\n"
            "            kept = f._cache.below._cache_file.paths()\n"
            "            assert max(len(kept), len(f.signatures)) <= (2 if name == 'join' else 1), (name, kept)\n"
            "with w.compiling() as names: w.activation()\n"
            "print('done', names)")
    assert "done []" in run(code)


def test_the_garbage_collector_rests_while_a_kernel_compiles_and_no_longer():
    code = ("import gc; from numba.core import event; from minigrad.kernels.cpu.machine.compiling import kernel, on_compile\n"
            "@kernel\ndef good(x): return x + 1\n"
            "@kernel\ndef bad(x): return x.y\n"
            "seen = []\n"
            "with on_compile(lambda name: seen.append((name, gc.isenabled()))):\n"
            "    assert good(1) == 2 and gc.isenabled()\n"
            "    try: bad(1)\n"
            "    except Exception: assert gc.isenabled()\n"
            "    event.start_event('numba:compile', {'dispatcher': good}); assert not gc.isenabled()\n"
            "assert gc.isenabled(); print(seen)")
    assert run(code) == "[('good', False), ('bad', False), ('good', False)]\n"


def test_a_fork_gets_threads_of_its_own():
    code = ("import os, numpy as np; from minigrad.kernels import cpu\n"
            "x = np.ones(1 << 18, np.float32); cpu.set_num_threads(2); cpu.leaky_relu(x, .1); cpu.leaky_relu(x, .1)\n"
            "pid = os.fork()\n"
            "y = cpu.leaky_relu(-x, .5)\n"
            "assert (y == -.5).all()\n"
            "if pid: print('status', os.waitpid(pid, 0)[1])\n"
            "else: os._exit(0)")
    assert "status 0" in run(code)


def test_a_helper_compiles_for_the_cache_and_ends_with_its_block(tmp_path):
    """The second process leaves its kernels in the cache, so nothing is said about compiling them."""
    code = ("import io, time, pathlib, minigrad.warmup as w; w.cores = lambda: 2\n"
            "folder = pathlib.Path(__import__('os').environ['NUMBA_CACHE_DIR'])\n"
            "with w.helper(['Adam']):\n"
            "    end = time.time() + 100\n"
            "    while not list(folder.glob('*/optimisers.adam*.nbc')) and time.time() < end: time.sleep(0.1)\n"
            "    time.sleep(0.5)\n"
            "line = io.StringIO()\n"
            "with w.compiling(line) as names: w.adam()\n"
            "print(names, line.getvalue().count('compiling kernels'))")
    assert run(code, NUMBA_CACHE_DIR=str(tmp_path)).strip() == "[] 0"


def test_one_line_says_that_kernels_are_compiled_and_a_helper_is_started(tmp_path):
    code = ("import io, minigrad.warmup as w; w.cores = lambda: 2; line, asked = io.StringIO(), []\n"
            "popen = w.subprocess.Popen\n"
            "w.subprocess.Popen = lambda command, **k: asked.append(popen(command, **k)) or asked[-1]\n"
            "with w.compiling(line): w.activation(); w.adam()\n"
            "def refused(*a, **k): raise BlockingIOError('no more processes')\n"
            "w.subprocess.Popen = refused\n"
            "with w.compiling(io.StringIO()): w.pooling()\n"
            "print(line.getvalue().count('compiling kernels'), len(asked), asked[0].poll() is not None)")
    assert run(code, NUMBA_CACHE_DIR=str(tmp_path)).strip() == "1 1 True"
    environment = {**os.environ, "MINIGRAD_WARMUP_CHILD": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "minigrad.warmup", "--job", "Adam"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as child:
        assert child.wait(120) == 0                             # while its parent lives
