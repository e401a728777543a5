"""Freed memory stays: a second array of the same size costs no page faults where the C library can be told so."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import minigrad, resource
import numpy as np
def step():
    return [np.ones(500_000, np.float32) for _ in range(8)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment):
    found = subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, capture_output=True,
                           text=True, check=True)
    return int(found.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_a_freed_array_is_used_again():
    from minigrad.memory import keep

    if not keep():
        pytest.skip("not glibc")
    assert faults() < 1000 < faults(MINIGRAD_NO_ENV="1")
