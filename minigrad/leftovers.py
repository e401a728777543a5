"""A start that fails leaves nothing behind: the folder of a run goes when an error ends its command before the first step.

    with no_leftovers():
        run = made(Run.create(...), root_is_new)       # what `command.start` does
        ...                                            # an error here removes the folder, unless something has been learned

Removed is only what this process made, and only while nothing but the configuration and the environment is in it: a checkpoint, a
line of metrics, a picture, a finished step, or a file that someone else has put there keeps it.

Imports: kinds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import weakref

from minigrad import kinds

__all__ = ["holds_nothing", "made", "no_leftovers"]

BEFORE_THE_FIRST_STEP = {"config.json", "environment.json", ".lock", "sessions.jsonl"}

_made: list = []  # (path of a run, weak reference to it, whether the folder around it is new, too)


def made(run, new_root: bool):
    """Note a run that this process has made; returns it. new_root: the folder that runs lie in was made for it."""
    _made.append((run.path, weakref.ref(run), new_root))  # a run holds its lock as long as someone holds the run
    return run


@contextlib.contextmanager
def no_leftovers():
    """Runs that are `made` within the block and have done no step vanish when an exception leaves it, Ctrl-C and exits included."""
    before = len(_made)
    try:
        yield
    except BaseException:
        for path, run, new_root in _made[before:]:
            if holds_nothing(path):
                if run() is not None:
                    run().close()
                shutil.rmtree(path, ignore_errors=True)  # what cannot be removed must not hide the error
                if new_root:
                    with contextlib.suppress(OSError):  # not empty: another run was made beside it
                        os.rmdir(os.path.dirname(path))
        raise
    finally:
        del _made[before:]


def holds_nothing(folder) -> bool:
    """Whether a run's folder holds no more than its start: no file beside configuration and environment, no finished step."""
    files = {os.path.relpath(os.path.join(place, name), folder) for place, _, names in os.walk(folder) for name in names}
    return files <= BEFORE_THE_FIRST_STEP and all(record.get("from") == record.get("to") for record in kinds.sessions(folder))
