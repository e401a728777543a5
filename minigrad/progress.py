"""What a person sees and does while a loop runs: the bar, a bar of units of work, and Ctrl-C.

Imports: tqdm (when called).
"""

from __future__ import annotations

import collections
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager

__all__ = ["Pace", "Progress", "Units", "layout", "remains", "signals", "uncounted"]


class Pace:
    """How fast steps go, and so how long the rest will take.

    A step counts unless it is the first of the session, or something was compiled in it (`uncounted`), or `leave_out` was called:
    those are slower than all that follow. Old steps are forgotten by and by: the pace is that of the last half of the time or more.

    .rate (steps in a second, None while it cannot be known: before two steps and a second that count)"""

    def __init__(self):
        self.now = self.before = time.monotonic()
        self.skip, self.lost = True, _uncounted[0]
        self.steps, self.seconds = 0, 0.0
        self.marks = collections.deque([(0, 0.0)])  # (steps, seconds) so far, one for each second at most

    def leave_out(self) -> None:
        """The step that runs now is no measure of others."""
        self.skip = True

    def update(self, steps: int) -> None:
        """So many are done since the last call."""
        self.before, self.now = self.now, time.monotonic()
        compiled = _uncounted[0] != self.lost
        if not (self.skip or compiled):
            self.steps += steps
            self.seconds += self.now - self.before
            if self.seconds - self.marks[-1][1] >= 1.0:
                self.marks.append((self.steps, self.seconds))
                while len(self.marks) > 2 and self.marks[1][1] <= self.seconds / 2:
                    self.marks.popleft()
        self.skip, self.lost = False, _uncounted[0]

    @property
    def rate(self) -> float | None:
        if self.steps < 2 or self.seconds < 1.0:
            return None
        steps, seconds = self.marks[0]
        return (self.steps - steps) / max(self.seconds - seconds, 1e-9)


_uncounted = [0]  # how often something has begun that says nothing of the pace of steps


def uncounted() -> None:
    """Something has begun that steps do not usually do: a kernel is compiled. `Pace` leaves this step out."""
    _uncounted[0] += 1

HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none


class Progress:
    """A tqdm bar on a terminal; elsewhere a line at most every `interval` seconds, and one at the end.

    No time is told before it can be known (see `Pace`)."""

    interval = 5.0
    redraw = 0.1  # seconds, at least, from one state of the bar to the next

    def __init__(self, start: int, steps: int, *, quiet=False):
        self.start, self.steps, self.quiet = start, steps, quiet
        self.step, self.shown = start, start
        self.bar, self.scalars, self.logged, self.pace = None, {}, start, Pace()
        self.last = self.pace.now
        if not quiet and _terminal():
            from tqdm import tqdm

            self.bar = tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True, mininterval=0, bar_format=self._format())

    def update(self, step: int) -> None:
        """`step` is done."""
        self.pace.update(step - self.step)
        self.step = step
        if self.quiet or self.pace.now - self.last < (self.interval if self.bar is None else self.redraw):
            return
        if self.bar is None:
            self._line()
        else:
            self._draw()

    def show(self, scalars: dict, step: int) -> None:
        """Numbers of this step, shown with the next update; beside newer ones they are shown with their step."""
        self.logged = step
        self.scalars.update({name: (value, step) for name, value in scalars.items()})

    def leave_out(self) -> None:
        """The step that runs now takes longer than others will."""
        self.pace.leave_out()

    def clear(self) -> None:
        """Make room for a printed line."""
        if self.bar is not None:
            self.bar.clear()

    def close(self) -> None:
        """Show the last state."""
        if self.bar is not None:
            self._draw()
            self.bar.close()
        elif not self.quiet and self.step > self.shown:
            self._line()

    def _numbers(self) -> dict:
        """{step: {name: value}}: those of the newest step first, then what is measured only now and then."""
        groups = {self.logged: {}}
        for name, (value, step) in self.scalars.items():
            groups.setdefault(step, {})[name] = value
        return groups

    def _left(self) -> float | None:
        """Seconds to go, or None while nobody can tell."""
        rate = self.pace.rate
        return (self.steps - self.step) / rate if rate else None

    def _format(self) -> str:
        numbers = {name if step == self.logged else f"at step {step} {name}": value
                   for step, group in self._numbers().items() for name, value in group.items()}
        text = layout(_columns(), self.step, self.steps, self._left(), self.pace.rate, numbers)
        return "{percentage:3.0f} %|{bar}| " + text.replace("{", "{{").replace("}", "}}")

    def _draw(self) -> None:
        self.last = self.pace.now
        self.bar.bar_format = self._format()
        self.bar.n = self.step
        self.bar.refresh()

    def _line(self) -> None:
        self.last, self.shown = time.monotonic(), self.step
        rate, left = self.pace.rate, self._left()
        parts = [f"step {self.step}/{self.steps}", f"{100 * self.step // max(self.steps, 1)} %"]
        if left is not None:
            parts += [f"{rate:.1f} steps/s", f"{_duration(left)} left"]
        for step, group in self._numbers().items():
            parts += [f"at step {step}:"] * (step != self.logged) + [f"{name} {value:.4g}" for name, value in group.items()]
        print("  ".join(parts), file=sys.stderr, flush=True)


BAR = 10  # columns of the bar at least
AROUND = 8  # of per cent and the bar's ends: " 45 %|", "| "


def layout(columns: int, step: int, steps: int, left: float | None, rate: float | None, scalars: dict) -> str:
    """What stands behind the bar, so that `BAR` columns or more remain for the bar itself. What matters most is kept: the first
    number and the time left, then the second number, the steps, the other numbers, the rate. It stands in a fixed order."""
    numbers = [f"{name} {value:.3g}" for name, value in scalars.items()]
    pieces = {"steps": f"{step}/{steps}", "left": "" if left is None else f"{_duration(left)} left",
              "rate": "" if rate is None else f"{rate:.3g}/s", **{f"number {i}": text for i, text in enumerate(numbers)}}
    order = ["number 0", "left", "number 1", "steps", *(f"number {i}" for i in range(2, len(numbers))), "rate"]
    room, kept = columns - AROUND - BAR, set()
    for name in order:
        needed = len(pieces.get(name, "")) + 2
        if needed > 2 and needed <= room:
            kept.add(name)
            room -= needed
    return "  ".join(text for name, text in pieces.items() if name in kept)


def _columns() -> int:
    """Of the terminal that standard error writes to."""
    return os.get_terminal_size(sys.stderr.fileno()).columns


def _terminal() -> bool:
    """Whether a bar can be drawn: a terminal that has a width (some containers' have none)."""
    try:
        return sys.stderr.isatty() and _columns() > 0
    except (OSError, ValueError):
        return False


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


# ---- work that is no run of steps


def remains(partial) -> str:
    """What is left of work without checkpoints after Ctrl-C, in words. partial: as of `Run.loop`."""
    if partial:
        return "what is finished is kept"
    return "nothing was saved" + ("" if partial is False else ", because no part is finished yet")


class Units:
    """A bar over `total` units of work, whatever a unit is.

        with run.units(total) as bar:
            ...                        # some work
            bar.spend(2.5)             # so much of it is done

    For work that is no run of equal steps: trainings and attacks that take turns, say. The time left is about right where a unit
    always costs about the same. `total` is an estimate; work beyond it is not shown, and the bar is full when the block ends.
    Ctrl-C stops at the next unit, as in `Run.loop`; with partial=True nothing is raised: `.stopped` becomes True, the bar moves no
    more, and whoever works here is to end soon and keep what is finished.

    kept: a list of what is finished, for a caller that catches the SystemExit; unless it is empty, the message says so.

    .run (the Run), .total, .spent (units done so far), .shown (the whole ones among them that the bar has), .stopped."""

    def __init__(self, run, total: float, *, partial: bool = False, kept=()):
        self.run, self.total, self.spent, self.shown = run, max(1, round(total)), 0.0, 0
        self.partial, self.stopped = partial, False
        self._loop = iter(run.loop(0, self.total, partial=partial or kept))

    def __enter__(self) -> Units:
        next(self._loop)
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is not None:
            self._loop.close()
            return
        while not self.stopped and self._move():
            pass
        self.shown = self.total

    def spend(self, units: float = 1.0) -> None:
        """`units` more are done."""
        self.spent += units
        while not self.stopped and self.shown < min(int(self.spent), self.total - 1):
            self.shown += 1
            self._move()

    def reach(self, units: float) -> None:
        """All that was planned up to `units` is done, however much it took."""
        self.spend(max(0.0, units - self.spent))
        self.spent = units

    def _move(self) -> bool:
        """One unit on; False when the bar is at its end."""
        try:
            return next(self._loop, None) is not None
        except SystemExit:
            if not self.partial:
                raise
            self.stopped = True
            return False


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
