"""`python -m minigrad.doctor`: what this machine will use, and what is misconfigured, with the remedy. Plain text.

Exit status 1 when something makes results wrong, commands fail, or everything run many times slower; warnings leave it 0.
Each `check_*` function returns (lines to print, findings) and can be called with made-up facts, as its tests do.

Imports: cupy (when called), llvmlite, numba, numpy, minigrad.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes.util
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from importlib import metadata
from typing import NamedTuple

import llvmlite.binding
import numba
import numpy as np

import minigrad
from minigrad import kernels, report
from minigrad.data import cache_folder
from minigrad.data.dataset import roots
from minigrad.data.standard import SETS
from minigrad.kernels.cpu.machine import cache
from minigrad.kernels.cpu.parts import blas
from minigrad.paths import variable
from minigrad.words import doc

FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "neon", "sve")
# package -> (first version that works, first that does not): what setup.py declares
NEEDED = {"numpy": ((2, 0), (2, 6)), "numba": ((0, 61), None), "matplotlib": ((3, 8), None), "pillow": ((10, 1), None),
          "tqdm": ((4, 60), None)}
OPTIONAL = ("pytest", "hypothesis", "ruff", "safetensors", "cupy-cuda13x", "cupy-cuda12x", "mpi4py", "torch")


class Finding(NamedTuple):
    """Something misconfigured. bad: the exit status is 1."""

    bad: bool
    what: str
    remedy: str


def installed() -> dict[str, str]:
    """Versions of the packages that the library needs or can use."""
    found = {}
    for name in (*NEEDED, *OPTIONAL):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", text)[:3])


def check_versions(python: tuple, versions: dict[str, str]):
    """Python and packages against what the library needs."""
    lines, findings = [f"minigrad {minigrad.__version__}, Python {'.'.join(map(str, python[:3]))}"], []
    if python < (3, 10):
        findings.append(Finding(True, f"Python {python[0]}.{python[1]} is older than 3.10", "install Python 3.10 or newer"))
    for name, (low, high) in NEEDED.items():
        if name not in versions:
            findings.append(Finding(True, f"{name} is not installed", "pip install -e ."))
            continue
        version = _version(versions[name])
        if version < low or (high and version >= high):
            rule = f">={'.'.join(map(str, low))}" + (f",<{'.'.join(map(str, high))}" if high else "")
            findings.append(Finding(True, f"{name} {versions[name]} is outside {rule}", f'pip install "{name}{rule}"'))
    lines += [f"{name} {versions[name]}" for name in (*NEEDED, *OPTIONAL) if name in versions]
    return lines, findings


def check_processor(name: str, features, machine: str):
    """Vector units: the kernels' tile is written for them."""
    lines = [f"{name or 'unknown'} ({machine}), vectors: {', '.join(features) or 'none found'}"]
    if machine.lower() in ("x86_64", "amd64") and not {"avx2", "fma"} <= set(features):
        return lines, [Finding(False, "the processor has no AVX2 with FMA", "convolutions will be several times slower; "
                               "use another machine, or check NUMBA_CPU_NAME and NUMBA_CPU_FEATURES")]
    return lines, []


def check_threads(environ, usable: int, quota: float | None, threads: int, blas_threads: int):
    """Threads of the kernels' pool and of BLAS, against the processors that this process may use."""
    lines = [f"{threads} kernel threads (own pool) on {usable} usable cores"
             + (f", of which the container's quota allows {quota:g}" if quota is not None else ""),
             f"BLAS: {_blas_name()}, {blas_threads} threads (products here use one of them)"]
    lines += [f"{name}={environ[name]}" for name in ("MINIGRAD_NUM_THREADS", *report.THREAD_VARIABLES)
              if name in environ]
    findings = []
    allowed = usable if quota is None else min(usable, max(1, round(quota)))
    if threads > allowed:
        findings.append(Finding(False, f"{threads} kernel threads share {allowed} cores", f"set MINIGRAD_NUM_THREADS={allowed}"))
    if environ.get("OMP_WAIT_POLICY", "passive").lower() == "active":
        findings.append(Finding(False, "OMP_WAIT_POLICY=active: waiting OpenMP threads keep cores from the kernels",
                                "unset OMP_WAIT_POLICY, or set it to passive"))
    if environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        findings.append(Finding(True, "NUMBA_DISABLE_JIT is set: kernels run as Python, hundreds of times slower",
                                "unset NUMBA_DISABLE_JIT"))
    return lines, findings


def _blas_name() -> str:
    try:
        found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{found['name']} {found['version']}"
    except (KeyError, TypeError):
        return "unknown"


def check_cache(found: cache.Survey, disabled: bool):
    """Where compiled kernels are kept, what lies there, and whether more can be added."""
    if not found.folders or disabled:
        why = "compilation is off" if disabled else "no folder can be written"
        return [f"none ({why})"], [] if disabled else [_no_cache("there is no writable folder for compiled kernels")]
    above = found.folders[0]
    with contextlib.suppress(ValueError):                       # on two drives
        above = os.path.commonpath(found.folders)
    lines, findings = [above, f"{found.good} files, {_megabytes(found.size)}"], []
    with contextlib.suppress(OSError):
        lines[-1] += f"; {_megabytes(shutil.disk_usage(_nearest(above)).free)} free"
    if found.other:
        lines.append(f"{found.other} files of other versions, {_megabytes(found.other_size)}: nothing reads them")
    if found.damaged:
        count = len(found.damaged)
        what = "1 file of a compiled kernel is" if count == 1 else f"{count} files of compiled kernels are"
        lines += [f"damaged: {path}" for path in found.damaged[:3]] + ["..."] * (count > 3)
        findings.append(Finding(False, f"{what} damaged or unreadable, and compiled again when needed",
                                "delete them; python -m minigrad.warmup compiles whatever is missing"))
    refused = [f"{folder} cannot be written ({why})" for folder in found.folders if (why := _refusal(folder))]
    if refused:
        findings.append(_no_cache(refused[0] + (f", nor can {len(refused) - 1} more folders" if len(refused) > 1 else "")))
    return lines, findings


def _no_cache(what) -> Finding:
    return Finding(False, f"{what}, so every run compiles anew (a minute)",
                   "make room there, or set NUMBA_CACHE_DIR to a folder of yours")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"


def _nearest(folder: str) -> str:
    """The folder, or the nearest one above it that exists."""
    while not os.path.exists(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


def _refusal(folder: str) -> str:
    """Why no file can be written into the folder, or into the nearest one above it that exists; "" if one can. It holds a megabyte,
    because on a full disk empty files can be made."""
    try:
        with tempfile.TemporaryFile(dir=_nearest(folder)) as file:
            file.write(bytes(1 << 20))
            file.flush()
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _writable(folder: str) -> bool:
    return not _refusal(folder)


def check_kernels():
    """A small convolution by the compiled kernels and by their definition."""
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=size).astype(np.float32) for size in ((2, 16, 8, 8), (16, 16, 3, 3)))
    options = ((1, 1), (1, 1), (1, 1), 1)
    try:
        fast = kernels.conv2d(x, w, *options)
    except Exception as error:  # whatever the compiler raises is the finding
        return ["failed"], [Finding(True, f"a kernel does not compile: {type(error).__name__}: {str(error)[:300]}",
                                    'pip install --force-reinstall "numba>=0.61"')]
    error = float(np.abs(fast - kernels.reference.conv2d(x.astype(np.float64), w.astype(np.float64), *options)).max())
    if not error < 1e-3:
        return [f"wrong by {error:.3g}"], [Finding(True, f"a compiled convolution is wrong by {error:.3g}", "delete the cache of "
                                                   "compiled kernels (see above) and run this again")]
    return [f"compiled, and equal to their definition to {error:.1g}"], []


def check_gpu(has_cupy: bool, has_driver: bool, devices: list[str] | None, error: str = ""):
    """CUDA through CuPy; the processor is enough for everything."""
    if not has_cupy:
        if has_driver:
            return ["an NVIDIA driver, but no CuPy"], [Finding(False, "the GPU cannot be used: CuPy is missing",
                                                               "pip install -e '.[gpu]'")]
        return ["none (no NVIDIA driver); --device cpu is the default"], []
    if not devices:
        reason = error or "it sees no device"
        return [f"CuPy, but {reason}"], [Finding(False, f"CuPy is installed but cannot be used: {reason}",
                                                 "install the CuPy that fits the driver's CUDA version")]
    return devices, []


def _devices() -> tuple[list[str] | None, str]:
    try:
        import cupy

        runtime = cupy.cuda.runtime
        return [runtime.getDeviceProperties(i)["name"].decode() for i in range(runtime.getDeviceCount())], ""
    except Exception as error:  # a broken driver raises anything
        return None, f"{type(error).__name__}: {str(error)[:200]}"


def check_data(environ, folders: list[str]):
    """Which downloaded sets are found, and where."""
    asked = variable("MINIGRAD_DATA", environ)
    lines = [f"MINIGRAD_DATA={asked}" if asked else f"MINIGRAD_DATA is not set; downloads go to {cache_folder()}"]
    for folder in folders:
        found = sorted(name for name in SETS if os.path.isdir(os.path.join(folder, name)))
        lines.append(f"{folder}: {', '.join(found) or 'no set'}")
    lines.append("built in: glyphs, shapes, ring, grid, swissroll")
    if asked and not os.path.isdir(asked):
        return lines, [Finding(True, f"MINIGRAD_DATA={asked} is no folder", "make it, correct it, or unset MINIGRAD_DATA")]
    return lines, []


def check_runs(folder: str):
    """Whether commands can write their runs here."""
    if _writable(folder):
        return [os.path.join(folder, "runs")], []
    return [f"{folder} cannot be written"], [Finding(False, f"commands cannot write runs/ in {folder}",
                                                     "change to a folder of yours")]


def cpu_quota(root: str = "/sys/fs/cgroup") -> float | None:
    """Processors that the container's quota allows (cgroup v2 or v1), or None without one."""
    try:
        with open(f"{root}/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        with open(f"{root}/cpu/cpu.cfs_quota_us", encoding="ascii") as file:
            quota = int(file.read())
        with open(f"{root}/cpu/cpu.cfs_period_us", encoding="ascii") as file:
            return quota / int(file.read()) if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def examine() -> list[tuple]:
    """(title, lines, findings) of every check on this machine."""
    facts, features = report.environment(), llvmlite.binding.get_host_cpu_features()
    has_cupy = importlib.util.find_spec("cupy") is not None
    has_driver = bool(shutil.which("nvidia-smi") or ctypes.util.find_library("cuda"))
    devices, error = _devices() if has_cupy else (None, "")
    machine = facts["system"].split()[-1]
    return [
        ("versions", *check_versions(sys.version_info[:3], installed())),
        ("processor", *check_processor(facts["processor"], [f for f in FEATURES if features.get(f)], machine)),
        ("threads", *check_threads(os.environ, facts["usable_cores"], cpu_quota(), kernels.get_num_threads(),
                                   blas.get_blas_threads())),
        ("compiled kernels", *check_cache(cache.survey(), bool(numba.config.DISABLE_JIT))),
        ("kernels", *check_kernels()),
        ("GPU", *check_gpu(has_cupy, has_driver, devices, error)),
        ("data", *check_data(os.environ, roots())),
        ("runs", *check_runs(os.getcwd())),
    ]


def main(argv=()) -> int:
    """Print the examination; 1 if anything is badly wrong, else 0."""
    argparse.ArgumentParser(prog="python -m minigrad.doctor", description=doc(__doc__, __file__).split("\nEach")[0],
                            allow_abbrev=False).parse_args(argv)
    findings = []
    for title, lines, found in examine():
        print(f"{title:<17} " + f"\n{'':<18}".join(lines))
        findings += found
    print()
    for finding in sorted(findings, key=lambda f: not f.bad):
        print(f"{'PROBLEM' if finding.bad else 'warning'}: {finding.what}\n         remedy: {finding.remedy}")
    if not findings:
        print("Nothing is misconfigured.")
    return int(any(finding.bad for finding in findings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
