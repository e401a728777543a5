"""What every benchmark shares: the two libraries under one set of names, timing in alternating blocks, one table.

The two libraries run in one process and take turns: a block of ours, a pause, a block of PyTorch's, and again. The ratio
is taken within each pair of blocks, so what slows the machine for a while slows both; its median and quartiles are printed.
PyTorch is set up as its manuals advise for the CPU: channels-last images and weights, the fused Adam, gradients set to None.

On a busy machine `--cpu-time` measures one thread by the time that it was on a processor.
Imports torch before minigrad, whose OMP_WAIT_POLICY=passive is not PyTorch's default.
"""

from __future__ import annotations

import argparse
import functools
import gc
import os
import platform
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import torch  # isort: skip

import llvmlite
import numba
import numpy as np
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import minigrad as mg
from benchmarks.peak import peak
from benchmarks.times import says
from minigrad import functional, kernels, nn, optim

# ---- the two libraries -----------------------------------------------------------------------------------------------


def _torch_images(array):
    return torch.from_numpy(np.ascontiguousarray(array)).to(memory_format=torch.channels_last)


def _images(array):
    """An (N, C, H, W) view of channels-last memory, as `minigrad.data.DataLoader` gives it."""
    return mg.from_numpy(np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2))


OURS = SimpleNamespace(
    name="minigrad", nn=nn, F=functional, grad=mg.grad, cat=mg.cat, no_grad=mg.no_grad, Adam=optim.Adam, SGD=optim.SGD,
    tensor=mg.from_numpy, images=_images, set_threads=kernels.set_num_threads,
)
THEIRS = SimpleNamespace(
    name="PyTorch", nn=torch.nn, F=torch.nn.functional, grad=torch.autograd.grad, cat=torch.cat, no_grad=torch.no_grad,
    Adam=functools.partial(torch.optim.Adam, fused=True), SGD=functools.partial(torch.optim.SGD, fused=True),
    tensor=torch.from_numpy, images=_torch_images, set_threads=torch.set_num_threads,
)


def peer(module):
    """The same layers in PyTorch, with the same weights. Our layers print as PyTorch's do, so the text builds them."""
    twin = _layers(module)
    for layer in twin.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = True                                # PyTorch's fastest way
    twin.load_state_dict({name: torch.from_numpy(np.asarray(a)) for name, a in module.state_dict().items()})
    return twin.train(module.training).to(memory_format=torch.channels_last)


def _layers(module):
    if isinstance(module, nn.Sequential):
        return torch.nn.Sequential(*map(_layers, module))
    return eval(repr(module), vars(torch.nn))


def copy_weights(ours, theirs):
    """Give PyTorch's twin (of the same tree and names) our weights, in channels-last memory; returns it."""
    theirs.load_state_dict({name: torch.from_numpy(np.asarray(a)) for name, a in ours.state_dict().items()})
    return theirs.to(memory_format=torch.channels_last)


# ---- timing ----------------------------------------------------------------------------------------------------------


class Timing(NamedTuple):
    """Milliseconds (medians) and quartiles of the ratio PyTorch / ours over the pairs of blocks."""

    ours: float
    theirs: float
    ratio: tuple[float, float, float]

    def per(self, steps: int) -> Timing:
        """The same for one of `steps` steps."""
        return Timing(self.ours / steps, self.theirs / steps, self.ratio)


BLOCK, PAIRS, PAUSE = 0.05, 15, 0.003  # seconds in a block at least; pairs of blocks; seconds for pools to go to sleep


def interleaved(ours, theirs, options, pairs=PAIRS) -> Timing:
    """Time two functions in alternating blocks, after two runs of each (the first compiles and allocates)."""
    clock = time.process_time if options.cpu_time else time.perf_counter
    runs = [_runs_in_a_block(f) for f in (ours, theirs)]
    times = []
    gc.collect()
    for pair in range(3 if options.quick else pairs):
        seconds = {i: _block((ours, theirs)[i], runs[i], clock) for i in ((0, 1) if pair % 2 == 0 else (1, 0))}
        times.append((seconds[0], seconds[1]))
    a, b = np.array(times).T
    return Timing(1e3 * float(np.median(a)), 1e3 * float(np.median(b)), tuple(np.quantile(b / a, [0.5, 0.25, 0.75])))


def _runs_in_a_block(f) -> int:
    f()
    start = time.perf_counter()
    f()
    return max(1, round(BLOCK / (time.perf_counter() - start)))


def _block(f, runs, clock) -> float:
    time.sleep(PAUSE)
    start = clock()
    for _ in range(runs):
        f()
    return (clock() - start) / runs


class FlopCounter(TorchDispatchMode):
    """Within the block, adds up in `.flops` what PyTorch's formulas give for the convolutions and products it runs."""

    flops = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        if operation._overloadpacket in flop_registry:
            self.flops += flop_registry[operation._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def check_equal(what: str, ours, theirs, tolerance=1e-3):
    """Both sides must compute the same: compare numbers (losses) before anything is timed."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if not np.allclose(ours, theirs, rtol=tolerance, atol=tolerance):
        raise AssertionError(f"{what}: the two libraries disagree before timing: {ours} against PyTorch's {theirs}")


# ---- tables ----------------------------------------------------------------------------------------------------------

HEAD = ("work", "ours ms", "PyTorch ms", "ratio", "quartiles", "GFLOP", "GFLOP/s", "of peak")


def row(work: str, timing: Timing, flops: float, threads: int) -> tuple:
    """One line of the table. flops: what direct summation needs; Winograd does fewer, so a share may exceed 100 %."""
    ratio, low, high = timing.ratio
    cells = (work, f"{timing.ours:.4g}", f"{timing.theirs:.4g}", f"{ratio:.2f}", f"{low:.2f}-{high:.2f}")
    if not flops:
        return (*cells, "", "", "")
    rate = flops / timing.ours * 1e3
    return (*cells, f"{flops / 1e9:.3g}", f"{rate / 1e9:.0f}", f"{100 * rate / peak(threads):.0f} %")


def table(title: str, rows, head=HEAD) -> None:
    """Print a Markdown table: the first column to the left, numbers to the right."""
    rows = [tuple(map(str, r)) for r in rows]
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]

    def line(cells):
        return "| " + " | ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths))) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    print(f"\n{title}\n", line(head), rule, *map(line, rows), sep="\n", flush=True)


def machine(threads: int) -> str:
    """What a figure must be read with: processor, cores, versions, peak, and how busy the machine is."""
    load = os.getloadavg()[0]
    shared = " (shared with other work: figures are provisional)" if load > 0.3 else ""
    return (f"{_processor()}, {os.cpu_count()} cores, {threads} threads, measured peak {peak(threads) / 1e9:.0f} GFLOP/s; "
            f"Python {platform.python_version()}, NumPy {np.__version__}, Numba {numba.__version__}, "
            f"llvmlite {llvmlite.__version__}, PyTorch {torch.__version__}; load average {load:.2f}{shared}")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# ---- the command line ------------------------------------------------------------------------------------------------


def parser_of(doc: str, cases=()) -> argparse.ArgumentParser:
    """The options of every benchmark; one with named `cases` has --only too."""
    file = sys.argv[0]
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{Path(file).stem}", description=doc + says(file),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, choices=range(1, 65), metavar="N", help="threads (default: 2)")
    parser.add_argument("--quick", action="store_true", help="three pairs of blocks instead of fifteen; no cases that take minutes")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, time on the processor: for busy machines")
    if cases:
        parser.add_argument("--only", default="", metavar="TEXT", help=f"cases whose names contain it: {', '.join(cases)}")
    return parser


def start(parser: argparse.ArgumentParser | str, argv=None, cases=()) -> argparse.Namespace:
    """The options, by a parser or that of a benchmark with this docstring; sets the threads of both libraries, names the machine.

    A benchmark with named `cases` finds in options.cases the names that --only selects.
    """
    if isinstance(parser, str):
        parser = parser_of(parser, cases)
    options = parser.parse_args(argv)
    if cases:
        options.cases = [name for name in cases if options.only in name]
        if not options.cases:
            parser.error(f"--only {options.only}: no case has this in its name; there are {', '.join(cases)}")
    if options.cpu_time:
        options.threads = 1
    set_threads(options.threads)
    print(machine(options.threads) + (", time on the processor" if options.cpu_time else ""), flush=True)
    return options


def set_threads(threads: int) -> None:
    for library in (OURS, THEIRS):
        library.set_threads(threads)
