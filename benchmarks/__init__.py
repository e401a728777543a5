"""minigrad beside PyTorch: `python -m benchmarks` prints every table; README.md says how it is measured.

Every module here needs PyTorch. Without it whatever is started ends at once, with status 1 and one line that says so.
"""

import importlib.util
import sys

if importlib.util.find_spec("torch") is None:
    sys.exit("the benchmarks compare with PyTorch, which is not installed: pip install -e '.[bench]'")
