"""Damage files of compiled kernels, and count what the cache makes of them.

    python tests/kernels/damage_cache.py COUNT [SEED]

A few kernels are compiled into a folder that vanishes. COUNT times a file of theirs is damaged, or made unreadable, or the cache is
kept from writing; each kind in turn, at random places. Then a kernel is asked for, and written again. Printed for each kind:

    silent      a file that is not what was written was loaded
    exceptions  something was raised instead of "absent", or by a write that failed
    lost        a failed write left neither the whole old file nor none, or left rubbish behind
    not healed  the file was not whole after it had been written again, although it could be
    hangs       no answer within LIMIT seconds
    crashes     the process died

The exit status is 1 unless all of them are 0. `test_cache` runs a sample of this.
"""
import builtins
import collections
import contextlib
import errno
import functools
import io
import json
import os
import pickle
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

LIMIT = 5
FAULTS = "silent", "exceptions", "lost", "not healed", "hangs"


class Hang(BaseException):
    """The alarm."""


# ----------------------------------------------------------------------------------------------- what can happen to a file


def changed(edit):
    """A kind of damage that replaces the bytes of a file by edit(rng, bytes, bytes of another file)."""
    @functools.wraps(edit)
    def damage(rng, path, whole, other):
        data = edit(rng, bytearray(whole), other)
        if data == whole:                                       # zeros may have been zeros before
            data[rng.randrange(len(data))] ^= 1
        with open(path, "wb") as file:
            file.write(data)
    return damage


@changed
def one_bit(rng, data, other):
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


@changed
def a_bit_of_the_header(rng, data, other):
    data[rng.randrange(48)] ^= 1 << rng.randrange(8)
    return data


@changed
def some_bytes(rng, data, other):
    for _ in range(rng.randint(1, 64)):
        place = rng.randrange(len(data))
        data[place] = (data[place] + rng.randint(1, 255)) % 256
    return data


@changed
def a_lost_page(rng, data, other):
    start = rng.randrange(len(data))
    data[start:start + 4096] = bytes(len(data[start:start + 4096]))
    return data


@changed
def cut_off(rng, data, other):
    return data[:rng.randrange(len(data))]


@changed
def too_long(rng, data, other):
    return data + rng.randbytes(rng.randint(1, 5000))


@changed
def empty(rng, data, other):
    return b""


@changed
def junk(rng, data, other):
    return rng.randbytes(rng.randrange(1, 2 * len(data)))


@changed
def junk_behind_a_header(rng, data, other):
    return data[:48] + rng.randbytes(len(data) - 48)


@changed
def another_kernel(rng, data, other):
    return other


@changed
def bytes_exchanged(rng, data, other):
    """Two stretches change places: every byte is there."""
    half = len(data) // 2
    return data[half:] + data[:half]


class Bomb:
    """What must never be unpickled."""

    def __reduce__(self):
        return os._exit, (17,)


@changed
def a_pickle_that_ends_the_process(rng, data, other):
    bomb = pickle.dumps(Bomb())
    return rng.choice([bomb, data[:48] + bomb, data[:8] + len(bomb).to_bytes(8, "little") + data[16:48] + bomb])


def a_huge_file(rng, path, whole, other):
    size = rng.choice([1 << 26, 1 << 33, 1 << 40])
    with open(path, "wb") as file:
        file.write(whole[:8] + size.to_bytes(8, "little") + whole[16:48])
        file.truncate(48 + size)


def instead(make):
    """A kind of damage that puts something else in the place of the file."""
    @functools.wraps(make)
    def damage(rng, path, whole, other):
        os.unlink(path)
        make(path)
    return damage


@instead
def a_folder(path):
    os.mkdir(path)


@instead
def a_pipe(path):
    os.mkfifo(path)


@instead
def a_device(path):
    os.symlink("/dev/zero", path)


@instead
def a_dead_link(path):
    os.symlink(path + ".gone", path)


@instead
def a_circle_of_links(path):
    os.symlink(path, path)


@instead
def a_socket(path):
    here = os.getcwd()
    os.chdir(os.path.dirname(path))                             # the paths of sockets must be short
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind("socket")
        os.rename("socket", path)
    finally:
        os.chdir(here)


@instead
def nothing(path):
    pass


DAMAGES = [one_bit, a_bit_of_the_header, some_bytes, a_lost_page, cut_off, too_long, empty, junk, junk_behind_a_header,
           another_kernel, bytes_exchanged, a_pickle_that_ends_the_process, a_huge_file, a_folder, a_pipe, a_device, a_dead_link,
           a_circle_of_links, a_socket, nothing]


# ------------------------------------------------------------------------------------------ what can happen to reading and writing


class Failing(io.FileIO):
    """A file that fails at one of its steps, once `allowed` bytes have been written."""

    def __init__(self, path, mode, step, number, allowed=0):
        super().__init__(path, mode.replace("b", ""))
        self.step, self.number, self.allowed = step, number, allowed

    def fail(self, step):
        if self.step == step:
            raise OSError(self.number, os.strerror(self.number))

    def read(self, *size):
        self.fail("read")
        return super().read(*size)

    def write(self, data):
        if self.step == "write":
            super().write(bytes(data)[:self.allowed])
        self.fail("write")
        return super().write(data)

    def close(self):
        already = self.closed
        super().close()
        if not already:
            self.fail("close")


def opening(step, number, allowed=0):
    """open() whose files fail at `step`; "open" fails at once."""
    def open_(path, mode="r", **options):
        if step == "open" or step == "open " + mode:
            raise OSError(number, os.strerror(number), path)
        if "b" not in mode or ("r" in mode) != (step == "read"):
            return builtins.open(path, mode, **options)
        return Failing(path, mode, step, number, allowed)
    return open_


READING = {f"{step}: {errno.errorcode[number]}": (step, number)
           for step, number in [("open", errno.EACCES), ("open", errno.EIO), ("open", errno.EMFILE), ("read", errno.EIO),
                                ("read", errno.ESTALE), ("read", errno.ENOMEM)]}
WRITING = {f"{step}: {errno.errorcode[number]}": (step, number)
           for step, number in [("open", errno.ENOSPC), ("open", errno.EROFS), ("open", errno.EACCES), ("write", errno.ENOSPC),
                                ("write", errno.EDQUOT), ("write", errno.EIO), ("close", errno.ENOSPC), ("close", errno.EIO),
                                ("replace", errno.EACCES), ("replace", errno.EXDEV), ("folder", errno.ENOSPC),
                                ("folder", errno.EROFS)]}


@contextlib.contextmanager
def failing(cache, step, number, allowed=0):
    """Within the block, the cache's reading or writing fails so."""
    from numba.core import caching

    def refuse(*args, **options):
        raise OSError(number, os.strerror(number))

    replace, folder = os.replace, caching.tempfile.TemporaryFile
    try:
        if step == "replace":
            os.replace = refuse
        elif step == "folder":
            caching.tempfile.TemporaryFile = refuse
        else:
            cache.open = opening(step, number, allowed)
        yield
    finally:
        os.replace, caching.tempfile.TemporaryFile = replace, folder
        vars(cache).pop("open", None)


# -------------------------------------------------------------------------------------------------------------- the trials


class Trials:
    """The files of some kernels, and how the cache does with them."""

    def __init__(self, seed):
        import numpy as np

        from minigrad.kernels import cpu
        from minigrad.kernels.cpu.machine import cache
        from minigrad.kernels.cpu.parts import activation

        x = np.ones((1, 16, 2, 2), np.float32)
        cpu.add_leaky_relu(cpu.leaky_relu(x, 0.5), x, 0.5)
        self.cache, self.rng, self.counts, self.kernels = cache, random.Random(seed), {}, []
        for f in (activation.activate, activation.activate_sum):
            files, (path,) = f._cache.below._cache_file, f._cache.below._cache_file.paths()
            with open(path, "rb") as file:
                whole = file.read()
            key, code = pickle.loads(whole[48:])
            sig, compiled = f.signatures[0], next(iter(f.overloads.values()))
            self.kernels.append((files, path, whole, key, code, f._cache, sig, compiled))

    def count(self, kind, fault=None):
        counts = self.counts.setdefault(kind, collections.Counter())
        counts[fault or "trials"] += 1

    @contextlib.contextmanager
    def watched(self, kind):
        """One trial."""
        def alarm(*_):
            raise Hang

        self.count(kind)
        signal.signal(signal.SIGALRM, alarm)
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        try:
            yield
        except Hang:
            self.count(kind, "hangs")
        except Exception as error:
            print(f"{kind}: {type(error).__name__}: {error}", file=sys.stderr)
            self.count(kind, "exceptions")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def restore(self, files, path, whole):
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.makedirs(files.folder, exist_ok=True)
        with open(path, "wb") as file:
            file.write(whole)

    def damaged_file(self, damage):
        k = self.rng.randrange(len(self.kernels))
        files, path, whole, key, code, *_ = self.kernels[k]
        kind = damage.__name__.replace("_", " ")
        self.restore(files, path, whole)
        damage(self.rng, path, whole, self.kernels[1 - k][2])
        with self.watched(kind):
            if files.load(key) is not None:
                self.count(kind, "silent")
            with contextlib.suppress(IsADirectoryError):        # said, and nothing of the user's is removed
                files.save(key, code)
            if not os.path.isdir(path) and files.load(key) is None:
                self.count(kind, "not healed")
            if files.paths() != [path]:
                self.count(kind, "lost")

    def failed_reading(self, name):
        files, path, whole, key, code, kept, sig, _ = self.rng.choice(self.kernels)
        self.restore(files, path, whole)
        kind = "reading: " + name
        with self.watched(kind):
            with failing(self.cache, *READING[name]):
                if files.load(key) is not None:
                    self.count(kind, "silent")
            if files.load(key) is None:
                self.count(kind, "not healed")

    def failed_writing(self, name):
        """The whole way: the dispatcher's call, which must raise nothing."""
        files, path, whole, key, _, kept, sig, compiled = self.rng.choice(self.kernels)
        self.restore(files, path, whole)
        before = whole
        if self.rng.random() < 0.5:
            os.unlink(path)
            before = None
        kind = "writing: " + name
        with self.watched(kind):
            with failing(self.cache, *WRITING[name], self.rng.randrange(len(whole))):
                kept.save_overload(sig, compiled)
            self.check_kept(kind, files, path, before)
            kept.save_overload(sig, compiled)
            if files.load(key) is None:
                self.count(kind, "not healed")

    def check_kept(self, kind, files, path, before):
        """After a failed write the old file is there as it was, and nothing else."""
        after = None
        if os.path.exists(path):
            with open(path, "rb") as file:
                after = file.read()
        if after != before or [name for name in os.listdir(files.folder) if ".tmp." in name]:
            self.count(kind, "lost")

    def lost_folder(self, by_file):
        files, path, whole, key, _, kept, sig, compiled = self.rng.choice(self.kernels)
        self.restore(files, path, whole)
        kind = "a file in the place of the folder" if by_file else "the folder vanishes"
        shutil.rmtree(files.folder)
        if by_file:
            with open(files.folder, "wb"):
                pass
        with self.watched(kind):
            if files.load(key) is not None:
                self.count(kind, "silent")
            kept.save_overload(sig, compiled)
            if by_file:
                os.unlink(files.folder)
                kept.save_overload(sig, compiled)
            if files.load(key) is None:
                self.count(kind, "not healed")

    def all(self):
        """One function for each kind."""
        return ([functools.partial(self.damaged_file, damage) for damage in DAMAGES]
                + [functools.partial(self.failed_reading, name) for name in READING]
                + [functools.partial(self.failed_writing, name) for name in WRITING]
                + [functools.partial(self.lost_folder, by_file) for by_file in (False, True)])


def worker(count, seed):
    """`count` trials in this process; their counts as JSON."""
    trials = Trials(seed)
    kinds = trials.all()
    for number in range(count):
        kinds[number % len(kinds)]()
    print(json.dumps(trials.counts))


def damage(count, seed=0):
    """The table of `count` trials in another process, and the number of faults."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, __file__, "--worker", str(count), str(seed)], text=True, stdout=subprocess.PIPE,
                              env={**os.environ, "NUMBA_CACHE_DIR": folder}, timeout=60 + count)
    if done.returncode:
        return f"crashes 1: the process ended with status {done.returncode}", 1
    counts = json.loads(done.stdout.splitlines()[-1])
    total = collections.Counter()
    for row in counts.values():
        total.update(row)
    lines = [f"{'':<36}{'trials':>8}" + "".join(f"{fault:>12}" for fault in FAULTS)]
    for kind, row in [*counts.items(), ("all", total)]:
        lines.append(f"{kind:<36}{row.get('trials', 0):>8}" + "".join(f"{row.get(fault, 0):>12}" for fault in FAULTS))
    return "\n".join([*lines, "crashes 0"]), sum(total[fault] for fault in FAULTS)


def main(argv):
    if argv[:1] == ["--worker"]:
        worker(int(argv[1]), int(argv[2]))
        return 0
    table, faults = damage(int(argv[0]) if argv else 3000, int(argv[1]) if argv[1:] else 0)
    print(table)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
