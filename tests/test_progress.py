"""The bar: time is told only when it can be known, compilation never counts, and a narrow terminal still has a bar."""

import os
import re
import select
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import progress
from minigrad.progress import AROUND, BAR, Pace, Progress, layout


@pytest.fixture
def clock(monkeypatch):
    """time.monotonic of the bar, moved by hand."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def work(seconds):
        now[0] += seconds
    return work


def test_nothing_is_told_before_two_steps_and_a_second(clock):
    pace = Pace()
    for seconds in (40.0, 0.4, 0.4):  # the first step never counts, however long
        assert pace.rate is None
        clock(seconds)
        pace.update(1)
    assert pace.rate is None
    clock(0.4)
    pace.update(1)
    assert pace.rate == pytest.approx(2.5)


@pytest.mark.parametrize("at", [1, 2, 5, 9])
def test_a_step_in_which_something_is_compiled_does_not_count(clock, at):
    """46 minutes were announced for a run of three: whenever kernels are compiled, the pace is that of the other steps."""
    pace = Pace()
    for step in range(1, 21):
        if step == at:
            progress.uncounted()
            clock(30.0)
        clock(0.5)
        pace.update(1)
        assert pace.rate is None or pace.rate == pytest.approx(2.0)
    assert pace.rate is not None


def test_a_picture_out_of_turn_does_not_count(clock):
    pace = Pace()
    for step in range(1, 31):
        if step == 20:
            pace.leave_out()
            clock(9.0)
        clock(0.5)
        pace.update(1)
    assert pace.rate == pytest.approx(2.0)


@given(st.lists(st.floats(0.01, 100), min_size=3, max_size=60))
def test_the_pace_is_one_that_some_stretch_of_steps_had(times):
    now = [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress.time, "monotonic", lambda: now[0])
        pace = Pace()
        for seconds in times:
            now[0] += seconds
            pace.update(1)
    if pace.rate is not None:
        assert 1 / max(times[1:]) - 1e-9 <= pace.rate <= 1 / min(times[1:]) + 1e-9


def test_the_pace_follows_a_machine_that_became_slower(clock):
    pace = Pace()
    for seconds in [0.1] * 100 + [1.0] * 100:
        clock(seconds)
        pace.update(1)
    assert pace.rate == pytest.approx(1.0, rel=0.05)


def test_lines_tell_no_time_until_it_is_known(clock, capsys):
    shown = Progress(0, 100)
    shown.show({"loss": 0.5}, 1)
    clock(60)
    shown.update(1)  # the first step, with all that is compiled in it
    for step in (2, 3, 4):
        clock(6)
        shown.update(step)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["step 1/100  1 %  loss 0.5", "step 2/100  2 %  loss 0.5"]
    assert lines[2] == "step 3/100  3 %  0.2 steps/s  9:42 left  loss 0.5"


def test_a_bar_that_stands_still_tells_no_time(clock, capsys):
    shown = Progress(0, 100)
    for step in (1, 2, 2, 2, 2):
        clock(30)
        shown.update(step)
    for _ in range(40):
        clock(30)
        shown.update(2)
    assert capsys.readouterr().err.splitlines()[-1].startswith("step 2/100  2 %")


def test_a_number_of_an_earlier_step_is_shown_with_that_step(clock, capsys):
    """A test accuracy of step 20 beside a loss of step 60 would be taken for one of step 60."""
    shown = Progress(0, 100)
    for step in range(1, 101):
        if step % 20 == 0:
            shown.show({"test_accuracy": 0.5, "distance": 7.0} if step == 20 else {}, step)
            shown.show({"loss": 1 / step}, step)
        clock(1)
        shown.update(step)
    lines = {int(line.split()[1].split("/")[0]): line for line in capsys.readouterr().err.splitlines()}
    assert lines[25].endswith("test_accuracy 0.5  distance 7  loss 0.05") and "at step" not in lines[25]
    assert lines[65].endswith("left  loss 0.01667  at step 20:  test_accuracy 0.5  distance 7")


NAMES = st.sampled_from(["loss_d", "loss_g", "probability_real", "test_accuracy", "x"])
NUMBERS = st.dictionaries(NAMES, st.floats(-1e6, 1e6), max_size=5)


@given(st.integers(40, 300), st.integers(0, 10**7), st.none() | st.floats(0, 1e6), NUMBERS)
def test_the_bar_has_ten_columns_in_every_terminal(columns, steps, left, scalars):
    text = layout(columns, steps // 2, steps, left, None if left is None else 12.345, scalars)
    assert len(text) <= columns - AROUND - BAR


@pytest.mark.parametrize("columns, wanted", [
    (60, ["loss_d 1.06", "2:31 left", "loss_g 0.998"]), (80, ["1350/3000", "2:31 left", "loss_d 1.06", "loss_g 0.998"]),
    (120, ["1350/3000", "2:31 left", "loss_d 1.06", "loss_g 0.998", "probability_real 0.61"]),
])
def test_the_two_first_numbers_and_the_time_are_what_a_narrow_terminal_keeps(columns, wanted):
    scalars = {"loss_d": 1.0603, "loss_g": 0.99811, "probability_real": 0.6101, "probability_fake": 0.4406}
    found = layout(columns, 1350, 3000, 151.0, 18.25, scalars)
    assert [part for part in wanted if part in found] == wanted


SCRIPT = """
import time
from minigrad.progress import Progress
bar = Progress(0, 400)
for step in range(1, 401):
    if step % 20 == 0:
        bar.show({"loss_d": 1.0612345, "loss_g": 0.9987654, "probability_real": 0.61, "probability_fake": 0.44}, step)
    time.sleep(0.004)
    bar.update(step)
bar.close()
"""


def read_all(file) -> str:
    """What comes out of a terminal until the other side closes it."""
    seen = b""
    while select.select([file], [], [], 30)[0]:
        try:
            more = os.read(file, 65536)
        except OSError:  # closed
            break
        if not more:
            break
        seen += more
    os.close(file)
    return seen.decode()


@pytest.mark.skipif(os.name != "posix", reason="a terminal of a given width needs a pty")
def test_real_terminals_show_a_bar_that_can_be_read():
    import fcntl
    import pty
    import termios

    running = {}
    for columns in (60, 80, 120):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        running[columns] = ours, subprocess.Popen([sys.executable, "-c", SCRIPT], stderr=theirs, stdout=subprocess.DEVNULL)
        os.close(theirs)
    for columns, (ours, process) in running.items():
        states = [state for state in read_all(ours).replace("\n", "\r").split("\r") if "|" in state]
        assert process.wait(30) == 0 and len(states) > 5
        assert min(len(re.search(r"\|(.*)\|", state)[1]) for state in states) >= BAR and max(map(len, states)) <= columns
        late = states[-2]
        assert "loss_d 1.06" in late and "loss_g 0.999" in late and re.search(r"\d:\d\d left", late)
