"""doctor: each check on made-up facts, and the whole on this machine."""

import os
import subprocess
import sys

import numpy as np
import pytest

from minigrad import doctor, kernels
from minigrad.kernels.cpu.machine.cache import Survey

VERSIONS = {"numpy": "2.4.1", "numba": "0.68.0", "matplotlib": "3.10.1", "pillow": "11.0", "tqdm": "4.67.1"}


def the_one(result):
    lines, findings = result
    assert lines and len(findings) == 1
    return findings[0]


def test_good_versions_and_bad_ones():
    lines, findings = doctor.check_versions((3, 11, 2), VERSIONS)
    assert not findings and "numpy 2.4.1" in lines
    assert "older than 3.10" in the_one(doctor.check_versions((3, 9, 1), VERSIONS)).what
    found = the_one(doctor.check_versions((3, 11, 2), {**VERSIONS, "numpy": "1.26.4"}))
    assert found.bad and found.what == "numpy 1.26.4 is outside >=2.0,<2.6" and found.remedy == 'pip install "numpy>=2.0,<2.6"'
    assert the_one(doctor.check_versions((3, 11, 2), {**VERSIONS, "numpy": "2.6.0rc1"})).bad
    assert the_one(doctor.check_versions((3, 11, 2), {**VERSIONS, "numba": "0.60.0"})).bad
    missing = {k: v for k, v in VERSIONS.items() if k != "tqdm"}
    assert the_one(doctor.check_versions((3, 11, 2), missing)).what == "tqdm is not installed"


def test_declared_versions_are_those_of_setup():
    text = open(os.path.join(os.path.dirname(doctor.__file__), "..", "setup.py"), encoding="utf-8").read()
    for name, (low, high) in doctor.NEEDED.items():
        rule = f"{name}>={'.'.join(map(str, low))}" + (f",<{'.'.join(map(str, high))}" if high else "")
        assert f'"{rule}"' in text, rule


def test_processor_without_vectors():
    assert not doctor.check_processor("fast", ["avx2", "fma"], "x86_64")[1]
    assert not doctor.check_processor("arm", ["neon"], "aarch64")[1]
    assert not the_one(doctor.check_processor("old", ["sse4.2"], "x86_64")).bad


@pytest.mark.parametrize("environ, usable, quota, threads, text, bad", [
    ({}, 2, None, 4, "4 kernel threads share 2 cores", False),
    ({}, 8, 2.0, 8, "8 kernel threads share 2 cores", False),
    ({"OMP_WAIT_POLICY": "ACTIVE"}, 2, None, 2, "OMP_WAIT_POLICY=active", False),
    ({"NUMBA_DISABLE_JIT": "1"}, 2, None, 1, "hundreds of times slower", True),
])
def test_thread_trouble(environ, usable, quota, threads, text, bad):
    found = the_one(doctor.check_threads(environ, usable, quota, threads, 2))
    assert text in found.what and found.bad == bad


def test_threads_in_order():
    lines, findings = doctor.check_threads({"NUMBA_DISABLE_JIT": "0", "OMP_WAIT_POLICY": "passive"}, 4, 4.0, 4, 4)
    assert not findings and "4 kernel threads" in lines[0] and "BLAS" in lines[1]


def test_cache_folder(tmp_path):
    def survey(*folders, damaged=(), other=0):
        return Survey([str(f) for f in folders], 80, 6_800_000, list(damaged), other, other * 1000)

    lines, findings = doctor.check_cache(survey(tmp_path / "new" / "er", tmp_path / "new" / "est"), False)
    assert lines[0] == str(tmp_path / "new") and lines[1].startswith("80 files, 6.8 MB; ") and lines[1].endswith("B free")
    assert not findings and len(lines) == 2
    assert "3000 files of other versions, 3.0 MB" in doctor.check_cache(survey(tmp_path, other=3000), False)[0][2]
    lines, findings = doctor.check_cache(survey(tmp_path, damaged="abcd"), False)
    assert lines[2:] == ["damaged: a", "damaged: b", "damaged: c", "..."] and not findings[0].bad
    assert findings[0].what.startswith("4 files of compiled kernels are damaged") and "minigrad.warmup" in findings[0].remedy
    assert "NUMBA_CACHE_DIR" in the_one(doctor.check_cache(survey(), False)).remedy
    assert doctor.check_cache(survey(), True)[1] == []
    file = tmp_path / "file"
    file.write_text("")
    found = the_one(doctor.check_cache(survey(file, tmp_path, file), False)).what
    assert f"{file} cannot be written (Not a directory), nor can 1 more" in found
    assert "cannot write runs/" in the_one(doctor.check_runs(str(file))).what
    assert doctor.check_runs(str(tmp_path)) == ([str(tmp_path / "runs")], [])


def test_a_wrong_or_broken_kernel_is_bad(monkeypatch):
    assert doctor.check_kernels()[1] == []
    monkeypatch.setattr(kernels, "conv2d", lambda x, w, *rest: np.zeros((2, 16, 8, 8), np.float32))
    found = the_one(doctor.check_kernels())
    assert found.bad and "wrong by" in found.what
    monkeypatch.setattr(kernels, "conv2d", lambda *args: 1 / 0)
    found = the_one(doctor.check_kernels())
    assert found.bad and "does not compile: ZeroDivisionError" in found.what


def test_gpu():
    assert doctor.check_gpu(False, False, None)[1] == []
    assert "CuPy is missing" in the_one(doctor.check_gpu(False, True, None)).what
    assert "driver too old" in the_one(doctor.check_gpu(True, True, None, "driver too old")).what
    assert doctor.check_gpu(True, True, ["H200"]) == (["H200"], [])


def test_data(tmp_path):
    (tmp_path / "mnist").mkdir()
    lines, findings = doctor.check_data({"MINIGRAD_DATA": str(tmp_path)}, [str(tmp_path)])
    assert not findings and f"{tmp_path}: mnist" in lines
    found = the_one(doctor.check_data({"MINIGRAD_DATA": str(tmp_path / "gone")}, []))
    assert found.bad and found.what.endswith("gone is no folder")
    assert "is not set" in doctor.check_data({}, [])[0][0]


def test_quota_of_a_container(tmp_path):
    assert doctor.cpu_quota(str(tmp_path)) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert doctor.cpu_quota(str(tmp_path)) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert doctor.cpu_quota(str(tmp_path)) is None
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("200000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert doctor.cpu_quota(str(tmp_path)) == 2.0


def test_main_sorts_problems_first_and_sets_the_status(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: [("a", ["one", "two"], [doctor.Finding(False, "small", "do this")]),
                                                    ("b", ["three"], [doctor.Finding(True, "big", "do that")])])
    assert doctor.main() == 1
    out = capsys.readouterr().out
    assert out.index("PROBLEM: big") < out.index("warning: small") and "remedy: do that" in out
    monkeypatch.setattr(doctor, "examine", lambda: [("a", ["fine"], [])])
    assert doctor.main() == 0 and "Nothing is misconfigured" in capsys.readouterr().out


def test_the_command_runs_here_and_notices_a_missing_data_folder(tmp_path):
    environ = {**os.environ, "MINIGRAD_DATA": str(tmp_path / "gone")}
    done = subprocess.run([sys.executable, "-m", "minigrad.doctor"], capture_output=True, text=True, env=environ)
    assert done.returncode == 1 and "PROBLEM: MINIGRAD_DATA" in done.stdout, done.stderr
    for title in ("versions", "processor", "threads", "compiled kernels", "GPU", "data", "runs"):
        assert f"\n{title}" in f"\n{done.stdout}"
