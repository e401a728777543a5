"""What every test shares: threads, the hypothesis profiles, the guard of the recording flag, the folder of real data.

The profile `minigrad` draws the same examples on every machine; `HYPOTHESIS_PROFILE=thorough pytest` draws more, new ones.
"""

import contextlib
import os
from pathlib import Path

# before numba and BLAS are imported: a few threads are enough to find races; xdist workers get one each
threads = 1 if "PYTEST_XDIST_WORKER" in os.environ else min(4, os.cpu_count() or 1)
os.environ.setdefault("NUMBA_NUM_THREADS", str(threads))
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from minigrad import autograd, warmup  # noqa: E402

slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.differing_executors]
settings.register_profile(
    "minigrad",
    derandomize=True,
    deadline=None,
    print_blob=True,
    max_examples=15,
    database=None,
    suppress_health_check=slow,
)
settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=100, suppress_health_check=slow)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "minigrad"))

compiling = contextlib.ExitStack()


def pytest_sessionstart(session):
    """Kernels that the cache lacks are compiled meanwhile; once, not in every worker."""
    if "PYTEST_XDIST_WORKER" not in os.environ and not session.config.option.collectonly:
        compiling.enter_context(warmup.helper(warmup.JOBS))


def pytest_sessionfinish(session):
    compiling.close()


@pytest.fixture(autouse=True)
def recording_is_restored():
    """No test, and nothing that it calls, may leave the recording flag or an observer behind."""
    yield
    left = (autograd.state.recording, autograd.state.observer)
    autograd.state.recording, autograd.state.observer = True, None
    assert left == (True, None), f"the engine was left with recording={left[0]}, observer={left[1]}"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of downloaded data sets (MINIGRAD_DATA); the test is skipped where there is none."""
    folder = os.environ.get("MINIGRAD_DATA")
    if not folder:
        pytest.skip("real data: MINIGRAD_DATA is not set")
    if not Path(folder).is_dir():
        pytest.skip(f"real data: MINIGRAD_DATA={folder} is no folder")
    return Path(folder)
