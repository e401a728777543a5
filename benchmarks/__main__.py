"""Every benchmark in turn, each in a process of its own.

    python -m benchmarks [--threads N] [--quick]
"""

import argparse
import subprocess
import sys

from minigrad.domains import COUNT
from minigrad.words import doc

NAMES = ("convolution", "training", "attack", "overhead", "memory", "startup", "scaling")


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=doc(__doc__, __file__),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=COUNT, default=2, metavar="N", help="threads of both libraries (default: 2)")
    parser.add_argument("--quick", action="store_true", help="few repetitions, small cases only")
    options = parser.parse_args(argv)
    status = 0
    for name in NAMES:
        print(f"\n# {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", "--threads", str(options.threads)]
        try:
            status |= subprocess.run(command + ["--quick"] * options.quick).returncode
        except KeyboardInterrupt:
            return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
