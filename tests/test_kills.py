"""A sample of what `python tests/kills.py` does by the hundred: a training that is killed again and again ends as its twin."""

import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
def test_killed_trainings_end_byte_for_byte_as_if_left_alone():
    script = os.path.join(ROOT, "tests", "kills.py")
    found = subprocess.run([sys.executable, script, "nets classifier", "--kills", "6", "--seed", "3"], capture_output=True,
                           text=True, timeout=300, env={**os.environ, "PYTHONPATH": ROOT})
    assert found.returncode == 0, found.stdout + found.stderr
    assert "6 kills" in found.stdout and "0 trials went wrong" in found.stdout
