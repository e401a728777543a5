"""Damage files by the thousand and see what their readers say: python tests/damage.py [SORT ...] [--count N] [--seed N]

For each sort a good file is made, damaged in one of the ways of `WAYS`, and read. What may happen:

    same      it loads, and every value is as it was (the damage hit a date, a name that nothing reads, unused bits)
    refused   the reader's documented error, in one line that names the file
    silent    it loads with other values: must be 0
    unseen    the same in a format without any checksum (safetensors, PyTorch's before 1.6, IDX that is not compressed): the reader
              can check the structure, and no reader could see more
    other     an undocumented type of exception: must be 0
    hung      longer than `LIMIT` seconds: must be 0

A reader that mends (metrics.jsonl is put back from the checkpoint) or passes over what is damaged (sessions.jsonl, which only tells
a history) refuses nothing.

The growth of the process's largest memory over that of a good read is told as well. A sort is added by `@sort(...)` on a function
that writes the good file and returns (path, read); `tests/test_damage.py` runs a sample of each.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import struct
import sys
import tarfile
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from minigrad import checkpoint, kinds, report  # noqa: E402
from minigrad.checkpoint import CheckpointError  # noqa: E402
from minigrad.data import DataError  # noqa: E402
from minigrad.data.formats import read_cifar10, read_idx  # noqa: E402
from minigrad.run import Run, RunError  # noqa: E402

LIMIT = 60.0  # seconds for one file
OUTCOMES = ("same", "refused", "silent", "unseen", "other", "hung")


class Sort(NamedTuple):
    """How a kind of file is made and read."""

    make: Callable  # folder -> (path, read); read(path) gives a tree of arrays and plain values
    errors: tuple  # documented exceptions
    checksum: bool  # whether the format has one over all that is read
    refuses: bool  # whether the reader refuses what is damaged; else it mends it or passes over it


SORTS: dict[str, Sort] = {}


def sort(name: str, *errors, checksum=True, refuses=True):
    def register(make):
        SORTS[name] = Sort(make, errors, checksum, refuses)
        return make
    return register


# ---- the sorts


def arrays():
    rng = np.random.default_rng(0)
    return {"conv.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "conv.bias": rng.normal(size=4).astype(np.float32),
            "steps": np.array(7), "mask": rng.random(9) < 0.5, "halves": rng.normal(size=20).astype(np.float16)}


@sort("checkpoint", CheckpointError)
def make_checkpoint(folder):
    path = os.path.join(folder, "step.npz")
    checkpoint.save(path, {"model": arrays(), "optimiser": [arrays(), {"rate": 0.1, "betas": (0.5, 0.999)}], "step": 2**70,
                           "streams": {"data": [1, None, True, "ä"]}})
    return path, checkpoint.load


@sort("npz", CheckpointError)
def make_npz(folder):
    path = os.path.join(folder, "w.npz")
    np.savez_compressed(path, **arrays(), zeros=np.zeros((64, 64)))
    return path, checkpoint.load_weights


@sort("safetensors", CheckpointError, checksum=False)
def make_safetensors(folder):
    path = os.path.join(folder, "w.safetensors")
    checkpoint.save_weights(path, arrays())
    return path, checkpoint.load_weights


KINDS = {"float32": "Float", "int64": "Long", "bool": "Bool", "float16": "Half"}


def pickled(weights: dict) -> tuple[bytes, dict]:
    """The pickle that torch.save writes for a dict of tensors, and the bytes of each storage. Hence no PyTorch is needed."""
    def name(module, what):
        return f"c{module}\n{what}\n".encode()

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(*values):
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    body, data = b"\x80\x02}(", {}
    for key, (title, array) in enumerate(weights.items()):
        data[str(key)] = array.tobytes()
        storage = b"(" + text("storage") + name("torch", KINDS[str(array.dtype)] + "Storage") + text(str(key)) + text("cpu") \
            + b"J" + struct.pack("<i", array.size) + b"tQ"
        strides = [step // array.itemsize for step in array.strides]
        body += text(title) + name("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + b"K\0" + numbers(*array.shape) \
            + numbers(*strides) + b"\x89" + name("collections", "OrderedDict") + b")RtR"
    return body + b"u.", data


@sort("pth", CheckpointError)
def make_pth(folder):
    path = os.path.join(folder, "w.pth")
    body, data = pickled(arrays())
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in {"data.pkl": body, "byteorder": b"little", **{f"data/{key}": d for key, d in data.items()},
                               "version": b"3\n"}.items():
            archive.writestr(f"archive/{entry}", content)
    return path, checkpoint.load_torch


@sort("pth-legacy", CheckpointError, checksum=False)
def make_legacy(folder):
    path = os.path.join(folder, "w.pth")
    body, data = pickled(arrays())
    keys = b"".join(b"X\1\0\0\0" + key.encode() for key in data)
    with open(path, "wb") as file:
        file.write(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03." + b"\x80\x02}X\r\0\0\0little_endian\x88s."
                   + body + b"\x80\x02](" + keys + b"e.")
        for array in arrays().values():
            file.write(struct.pack("<q", array.size) + array.tobytes())
    return path, checkpoint.load_torch


def idx(packed: bool):
    import gzip

    content = b"\0\0\x08\3" + struct.pack(">3I", 20, 28, 28) + np.random.default_rng(0).bytes(20 * 28 * 28)
    return gzip.compress(content, 6, mtime=0) if packed else content


@sort("idx", DataError)
def make_idx(folder):
    path = os.path.join(folder, "train-images-idx3-ubyte.gz")
    with open(path, "wb") as file:
        file.write(idx(packed=True))
    return path, lambda path: read_idx(path, ndim=3)


@sort("idx-plain", DataError, checksum=False)
def make_plain_idx(folder):
    path = os.path.join(folder, "train-images-idx3-ubyte")
    with open(path, "wb") as file:
        file.write(idx(packed=False))
    return path, lambda path: read_idx(path, ndim=3)


@sort("cifar", DataError)
def make_cifar(folder):
    path = os.path.join(folder, "cifar-10-binary.tar.gz")
    records = np.zeros((10_000, 3073), np.uint8)
    records[:, 0] = np.arange(10_000) % 10
    records[::20, 1:64] = np.random.default_rng(0).integers(0, 256, (500, 63))
    with tarfile.open(path, "w:gz", compresslevel=6) as archive:
        for name in ("batches.meta.txt", "test_batch.bin", "readme.html"):
            content = records.tobytes() if name.endswith(".bin") else name.encode()
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path, lambda path: read_cifar10(path, train=False)


# ---- files of a run


def make_run(folder) -> Run:
    """A run of twelve steps that was interrupted after ten."""
    run = Run.create("toy", {"data": "glyphs", "steps": 12, "rate": 0.002, "betas": [0.5, 0.99], "norm": False, "average": None},
                     folder, quiet=True, command="python -m toy fit", kind="toy fit")
    for step in run.loop(0, 10, save=lambda: {"w": np.arange(20.0)}, every=5):
        run.log(step, loss_d=1 / step, loss_g=step / 7, accuracy=0.5)
    run.close()
    return run


@sort("config", RunError)
def make_config(folder):
    run = make_run(folder)
    return run.file("config.json"), lambda path: dict(Run.open(run.path, quiet=True).config)


@sort("environment", RunError)
def make_environment(folder):
    run = make_run(folder)
    return run.file("environment.json"), lambda path: kinds.environment(run.path)[0]


@sort("metrics", RunError, refuses=False)
def make_metrics(folder):
    run = make_run(folder)

    def read(path):
        Run.resume(run.path, quiet=True).close()
        if os.path.exists(run.file("metrics.aside.jsonl")):
            os.unlink(run.file("metrics.aside.jsonl"))
        return [record for _, record in report.read_lines(path)]
    return run.file("metrics.jsonl"), read


@sort("sessions", RunError, checksum=False, refuses=False)
def make_sessions(folder):
    run = make_run(folder)
    with open(run.file("sessions.jsonl")) as file:
        line = file.read()
    with open(run.file("sessions.jsonl"), "w") as file:
        file.write(line * 3)

    def read(path):
        Run.resume(run.path, quiet=True).close()
        return [kinds.asked_steps(run.path, 10, 12), kinds.last_session(run.path)]
    return run.file("sessions.jsonl"), read


# ---- damage


def flip(content, rng):
    for _ in range(int(rng.choice([1, 1, 1, 2, 8]))):
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))


def truncate(content, rng):
    del content[rng.integers(len(content)):]


def splice(content, rng):
    """A block of the file over another place of it."""
    start, stop = span(content, rng)
    at = int(rng.integers(len(content)))
    content[at:at + stop - start] = content[start:stop]


def remove(content, rng):
    start, stop = span(content, rng)
    del content[start:stop]


def zero(content, rng):
    start, stop = span(content, rng)
    content[start:stop] = bytes(stop - start)


def duplicate(content, rng):
    start, stop = span(content, rng)
    content[start:start] = content[start:stop]


def header(content, rng):
    for _ in range(int(rng.integers(1, 5))):
        content[rng.integers(min(len(content), 256))] = int(rng.integers(256))


def trailer(content, rng):
    """Where zip has its list of contents and gzip its checksum."""
    for _ in range(int(rng.integers(1, 5))):
        content[-1 - int(rng.integers(min(len(content), 400)))] = int(rng.integers(256))


def large(content, rng):
    """A number of four or eight bytes that says: very many."""
    at = int(rng.integers(len(content)))
    content[at:at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\xca\x9a\x3b"])


def append(content, rng):
    content += rng.bytes(int(rng.integers(1, 64)))


WAYS = {f.__name__: f for f in (flip, truncate, splice, remove, zero, duplicate, header, trailer, large, append)}


def span(content, rng) -> tuple[int, int]:
    start = int(rng.integers(len(content)))
    return start, min(len(content), start + int(rng.choice([1, 8, 64, 512, 4096])))


def same(a, b) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return a == b


class Hung(BaseException):
    """No Exception: a reader that catches those must not catch this one."""


def hung(*_):
    raise Hung


def trial(name: str, count: int, seed: int = 0, folder=None) -> dict:
    """Counts by outcome, and under "worst" (way, what) of what must not be, "seconds" (slowest file) and "megabytes"."""
    if folder is None:
        with tempfile.TemporaryDirectory() as folder:
            return trial(name, count, seed, folder)
    kind, rng = SORTS[name], np.random.default_rng(seed)
    path, read = kind.make(folder)
    with open(path, "rb") as file:
        whole = file.read()
    peak(reset=True)
    expected = read(path)
    counts, worst, slowest, before = Counter(dict.fromkeys(OUTCOMES, 0)), Counter(), 0.0, peak()
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, hung)
    ways = list(WAYS)
    for i in range(count):
        content = bytearray(whole)
        way = ways[i % len(ways)]
        WAYS[way](content, rng)
        with open(path, "wb") as file:
            file.write(content)
        outcome, what, seconds = attempt(kind, read, path, expected)
        counts[outcome] += 1
        slowest = max(slowest, seconds)
        if outcome in ("silent", "other", "hung"):
            worst[way, what] += 1
    return {**counts, "worst": dict(worst), "seconds": slowest, "megabytes": peak() - before}


def attempt(kind: Sort, read, path, expected):
    start = time.process_time()  # other work on the machine does not count
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        found = read(path)
        outcome, what = ("same", "") if same(found, expected) else ("silent" if kind.checksum else "unseen", "")
    except kind.errors as error:
        said = str(error)
        good = all(part in said for part in os.path.split(path)) and len(said) < 2000
        outcome, what = ("refused", "") if good else ("other", f"unclear: {said[:80]}")
    except Hung:
        outcome, what = "hung", ""
    except Exception as error:
        outcome, what = "other", f"{type(error).__name__}: {str(error)[:80]}"
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
    return outcome, what, time.process_time() - start


def peak(reset=False) -> float:
    """Megabytes that this process has had at most, on Linux since the last reset."""
    try:
        if reset:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sorts", nargs="*", metavar="SORT", help=f"of {', '.join(SORTS)} (default: all)")
    parser.add_argument("--count", type=int, default=3000, help="files of each sort")
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args()
    unknown = sorted(set(o.sorts) - set(SORTS))
    if unknown:
        parser.error(f"unknown sort {', '.join(unknown)}; there are {', '.join(SORTS)}")
    print(f"{'sort':12}{'files':>7}" + "".join(f"{name:>9}" for name in OUTCOMES) + f"{'slowest':>10}{'memory':>10}")
    failed = False
    for name in o.sorts or SORTS:
        found = trial(name, o.count, o.seed)
        print(f"{name:12}{o.count:>7}" + "".join(f"{found[key]:>9}" for key in OUTCOMES)
              + f"{found['seconds']:>8.2f} s{found['megabytes']:>+7.0f} MB", flush=True)
        for (way, what), times in found["worst"].items():
            print(f"    {way} x {times}: {what}")
        failed |= any(found[key] for key in ("silent", "other", "hung"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
