"""Every benchmark in turn, each in a process of its own.

    python -m benchmarks [--threads N] [--quick]
"""

import argparse
import os
import signal
import subprocess
import sys

from benchmarks import LISTED
from benchmarks.times import MINUTES
from minigrad.domains import COUNT
from minigrad.words import doc


def main(argv=None):
    each = ", ".join(f"{name} {minutes}" for name, minutes in MINUTES.items())
    text = (f"{doc(__doc__, __file__)}\n\nTakes about {sum(MINUTES.values())} minutes on two cores, with --quick far less.\n"
            f"In minutes: {each}\npython -m benchmarks.NAME runs one of them. Ctrl-C ends all; a table that is printed is whole.")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=text,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=COUNT, default=2, metavar="N", help="threads of both libraries (default: 2)")
    parser.add_argument("--quick", action="store_true", help="few repetitions, small cases only")
    options = parser.parse_args(argv)
    status = 0
    for name, minutes in MINUTES.items():
        print(f"\n# {name}" + ("" if options.quick else f", about {minutes} min"), flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", "--threads", str(options.threads)]
        code = run(command + ["--quick"] * options.quick)
        if code is None:
            print(f"\nstopped in {name}", file=sys.stderr)
            return 130
        status |= code
    return status


def run(command) -> int | None:
    """The benchmark's exit status; None where Ctrl-C ended it. Ctrl-C reaches both processes; where only this one was told, the
    benchmark is told too, and may clear its temporary files away before this returns."""
    with subprocess.Popen(command, env={**os.environ, LISTED: "1"}) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
            return None
    return None if code in (-signal.SIGINT, 130) else code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # once more, or between two benchmarks
        sys.exit(130)
