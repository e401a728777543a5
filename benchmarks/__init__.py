"""minigrad beside PyTorch: `python -m benchmarks` prints every table; README.md says how it is measured.

Every module here needs PyTorch but those of `ALONE`. Without it whatever else is started ends at once, with status 1 and one line
that says so. Ctrl-C ends a benchmark with one line. An import for other reasons, a test's, is left alone.
"""

import importlib.util
import os
import sys

ALONE = ("benchmarks.bakeoff", "benchmarks.diagnosis")  # compare minigrad with itself

LISTED = "MINIGRAD_BENCHMARKS"  # in the environment of those that `python -m benchmarks` starts, which says itself that it stops

_started = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv[:-1] else ""
if _started.partition(".")[0] == "benchmarks" and _started not in ALONE and importlib.util.find_spec("torch") is None:
    sys.exit("the benchmarks compare with PyTorch, which is not installed: pip install -e '.[bench]'")


def _hook(kind, error, trace, other=sys.excepthook):
    """Instead of a traceback after Ctrl-C. The process still dies of SIGINT, which a shell calls 130."""
    if not issubclass(kind, KeyboardInterrupt):
        other(kind, error, trace)
    elif LISTED not in os.environ:
        print(f"\nstopped in {_started}", file=sys.stderr)


if _started.partition(".")[0] == "benchmarks":
    sys.excepthook = _hook
