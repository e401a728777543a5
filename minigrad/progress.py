"""What a person sees and does while a loop runs: the bar, a bar of units of work, and Ctrl-C.

Imports: tqdm (when called).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager

__all__ = ["Progress", "Units", "signals"]

HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none


class Progress:
    """A tqdm bar on a terminal; elsewhere a line at most every `interval` seconds, and one at the end."""

    interval = 5.0

    def __init__(self, start: int, steps: int, *, quiet=False):
        self.start, self.steps, self.quiet = start, steps, quiet
        self.began = self.last = time.monotonic()
        self.step, self.text, self.shown = start, "", start
        self.bar, self.scalars = None, {}
        if not quiet and _terminal():
            from tqdm import tqdm

            self.bar = tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True, smoothing=0.1)

    def update(self, step: int) -> None:
        """`step` is done."""
        if self.bar is not None:
            self.bar.update(step - self.step)
        self.step = step
        if self.bar is None and not self.quiet and time.monotonic() - self.last >= self.interval:
            self._line()

    def show(self, scalars: dict) -> None:
        """The latest numbers, shown with the next update."""
        self.scalars.update(scalars)
        self.text = "  ".join(f"{name} {value:.4g}" for name, value in self.scalars.items())
        if self.bar is not None:
            self.bar.set_postfix_str(self.text, refresh=False)

    def clear(self) -> None:
        """Make room for a printed line."""
        if self.bar is not None:
            self.bar.clear()

    def close(self) -> None:
        """Show the last state."""
        if self.bar is not None:
            self.bar.close()
        elif not self.quiet and self.step > self.shown:
            self._line()

    def _line(self) -> None:
        self.last, self.shown = time.monotonic(), self.step
        rate = (self.step - self.start) / max(self.last - self.began, 1e-9)
        left = (self.steps - self.step) / rate if rate else 0
        print(f"step {self.step}/{self.steps}  {100 * self.step // max(self.steps, 1)} %  {rate:.1f} steps/s  "
              f"{_duration(left)} left  {self.text}".rstrip(), file=sys.stderr, flush=True)


def _terminal() -> bool:
    """Whether a bar can be drawn: a terminal that has a width (some containers' have none)."""
    try:
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return False


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


# ---- work that is no run of steps


class Units:
    """A bar over `total` units of work, whatever a unit is.

        with run.units(total) as bar:
            ...                        # some work
            bar.spend(2.5)             # so much of it is done

    For work that is no run of equal steps: trainings and attacks that take turns, say. The time left is about right where a unit
    always costs about the same. `total` is an estimate; work beyond it is not shown, and the bar is full when the block ends.
    Ctrl-C stops at the next unit, as in `Run.loop`.

    .run (the Run), .total, .spent (units done so far), .shown (the whole ones among them that the bar has)."""

    def __init__(self, run, total: float):
        self.run, self.total, self.spent, self.shown = run, max(1, round(total)), 0.0, 0
        self._loop = iter(run.loop(0, self.total))

    def __enter__(self) -> Units:
        next(self._loop)
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is not None:
            self._loop.close()
            return
        for _ in self._loop:
            pass
        self.shown = self.total

    def spend(self, units: float = 1.0) -> None:
        """`units` more are done."""
        self.spent += units
        while self.shown < min(int(self.spent), self.total - 1):
            self.shown += 1
            next(self._loop)

    def reach(self, units: float) -> None:
        """All that was planned up to `units` is done, however much it took."""
        self.spend(max(0.0, units - self.spent))
        self.spent = units


# ---- Ctrl-C


@contextmanager
def signals():
    """A list that SIGINT, SIGTERM and SIGHUP append to; a second one raises KeyboardInterrupt. Old handlers are put back.

    SIGHUP comes when the terminal is closed or the connection lost; it stays ignored where it was, as by nohup. What is printed
    to a terminal that is gone goes nowhere, because an error of printing would cost the checkpoint."""
    pressed: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield pressed  # only the main thread may set handlers
        return

    terminals = [number for number in (1, 2) if os.isatty(number)]

    def handler(number, frame):
        pressed.append(number)
        for output in terminals:
            if not os.isatty(output):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, output)
                os.close(nowhere)
        if len(pressed) > 1 and number != HANGUP:  # of a terminal that is closed, SIGHUP may come twice
            raise KeyboardInterrupt
        try:  # not print: the signal may have come in the middle of one
            os.write(2, b"\nfinishing this step, then saving (once more: leave at once)\n")
        except OSError:  # nobody reads it
            pass

    numbers = [signal.SIGINT, signal.SIGTERM]
    if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN:
        numbers.append(HANGUP)
    old = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield pressed
    finally:
        for number, former in old.items():
            signal.signal(number, former if former is not None else signal.SIG_DFL)
