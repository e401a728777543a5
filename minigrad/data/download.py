"""Fetch a file once, whole and verified: resumed where it was interrupted, checked by digest, renamed into place.

`fetch` tries its addresses in turn. Bytes are appended to `<path>.part`, which survives an interruption and is
continued by an HTTP Range request (a server that ignores Range just sends everything again). Only a file whose length
and digest are right becomes `path`. A server that does not answer within `PATIENCE` seconds, or sends less than `SLOWEST`
bytes a second over as long, is left for the next. Standard library only, plus tqdm for the bar when it writes to a terminal.

Imports: tqdm (when called), dataset.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time

from minigrad.data.dataset import DataError

try:
    import fcntl
except ImportError:  # not on Windows: there, two downloads of one file at once are not noticed
    fcntl = None

__all__ = ["fetch", "verify"]

TIMEOUT = 30  # seconds without a byte
PATIENCE, SLOWEST = 60.0, 1000
ATTEMPTS = 4
PAUSE = 1.0


def fetch(addresses, path, *, sha256=None, md5=None, size=None, progress=True) -> str:
    """Download the first good one of `addresses` to `path` and return it; a good file that is there already is kept.

    sha256, md5, size: what the file must be (None: not checked). DataError lists every address with what went wrong."""
    path = os.fspath(path)
    if os.path.exists(path) and _wrong(path, sha256, md5, size) is None:
        return path
    part, problems = path + ".part", []
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        lock = open(part, "ab", buffering=0)  # unbuffered: its length on disk is where to go on
    except OSError as error:
        raise DataError(path, f"cannot be written: {error.strerror}",
                        "Set MINIGRAD_DATA to a folder that can") from None
    with lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DataError(path, "another process is downloading it", "Wait for that one to end") from None
        for address in addresses:
            problem = _from(address, part, lock, sha256, md5, size, progress)
            if problem is None:
                os.fsync(lock.fileno())
                break
            problems.append(f"{address}: {problem}")
    if len(problems) < len(addresses):
        os.replace(part, path)
        return path
    if os.path.getsize(part) == 0:
        os.unlink(part)
    raise DataError(path, "could not be downloaded:\n  " + "\n  ".join(problems) + "\n",
                    f"Check the connection and run the command again (it resumes), name another server with "
                    f"MINIGRAD_MIRROR, or put the file there yourself: {path}")


def verify(path, *, sha256=None, md5=None, size=None) -> None:
    """DataError with expected and actual digest unless the file is the right one."""
    problem = _wrong(path, sha256, md5, size)
    if problem is not None:
        raise DataError(path, problem, "Delete it and download it again with --download")


def _from(address, part, file, sha256, md5, size, progress) -> str | None:
    """Fill `part` from one address; None when it is whole and right, else the problem in words."""
    import http.client  # 40 ms to import: only when something is downloaded
    import urllib.error

    restarted = False
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * attempt)
        before = os.path.getsize(part)
        try:
            problem = _request(address, part, file, size, progress)
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # the part is already as long as the file, or longer
                problem = None
            elif error.code < 500 and error.code not in (408, 429):
                return f"HTTP status {error.code} {error.reason}"
            else:
                problem = f"HTTP status {error.code} {error.reason}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = str(getattr(error, "reason", None) or error) or type(error).__name__
        if problem is None:
            problem = _wrong(part, sha256, md5, size)
            if problem is None:
                return None
            file.truncate(0)
            # a part from elsewhere may have spoilt it: once more from the start
            if restarted or not before:
                return problem
            restarted = True
    return problem


def _request(address, part, file, size, progress) -> str | None:
    import urllib.request

    have = os.path.getsize(part)
    if size is not None and have == size:
        return None
    headers = {"User-Agent": "minigrad"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with _answer(urllib.request.Request(address, headers=headers)) as response:
        if have and not (response.status == 206
                         and (response.headers.get("Content-Range") or "").startswith(f"bytes {have}-")):
            file.truncate(0)
            have = 0
            if response.status == 206:
                return "the server answered with another range than asked for"
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else size
        if size is not None and total != size:
            return f"the server's file has {total} bytes, expected {size}"
        with _bar(os.path.basename(part)[:-5], total, have, progress) as bar:
            since, then = time.monotonic(), have
            while block := response.read1(1 << 16):
                file.write(block)
                have += len(block)
                bar.update(len(block))
                if time.monotonic() - since > PATIENCE:
                    if have - then < SLOWEST * PATIENCE:
                        return f"too slow: {have - then} bytes in {time.monotonic() - since:.0f} s"
                    since, then = time.monotonic(), have
                if total is not None and have > total:
                    file.truncate(0)
                    return f"the server sent more than the {total} bytes it declared"
    if total is not None and have < total:
        return f"interrupted after {have} of {total} bytes"
    return None


def _answer(request):
    """The response, its head read; OSError when there is none in PATIENCE seconds. A server that sends its head byte by
    byte never runs into the socket's own timeout, so that another thread waits for it and may be left behind."""
    import urllib.request

    found = []

    def ask():
        try:
            found.append(urllib.request.urlopen(request, timeout=TIMEOUT))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if not found:
        raise TimeoutError(f"no answer in {PATIENCE:.0f} s")
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _bar(name, total, have, progress):
    from tqdm import tqdm  # only when something is downloaded

    return tqdm(desc=name, total=total, initial=have, unit="B", unit_scale=True, unit_divisor=1024,
                disable=not progress or not sys.stderr.isatty())


def _wrong(path, sha256, md5, size) -> str | None:
    if not os.path.isfile(path):
        return "not a file"
    actual = os.path.getsize(path)
    if size is not None and actual != size:
        return f"has {actual} bytes, expected {size}"
    for name, expected in (("sha256", sha256), ("md5", md5)):
        if expected is not None:
            digest = hashlib.new(name, usedforsecurity=False)
            with open(path, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
            if digest.hexdigest() != expected:
                return f"wrong {name}: expected {expected}, got {digest.hexdigest()}"
    return None
