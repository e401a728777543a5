"""The report in a real browser: no error on its console, the slider moves the pictures, and nothing is asked of a network.

Chromium writes the page's DOM after a script, appended to a copy of the page, has done what a hand would do.
"""

import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from minigrad.run import Run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt install chromium")

HAND = """
<script>
const seen = [];
const look = name => {
  for (const box of document.querySelectorAll('.slider')) {
    const shown = frames => Array.from(frames.children).findIndex(p => !p.hidden && p.complete && p.naturalWidth > 0);
    seen.push([name, box.querySelector('output').textContent, Array.from(box.querySelectorAll('.frames'), shown)]);
  }
};
const range = document.querySelector('.slider input');
const drag = value => { range.value = value; range.dispatchEvent(new Event('input', {bubbles: true})); };
look('start');
range.focus();
drag(0);
look('dragged');
drag(1);
look('one on');
document.querySelector('.slider button').click();
setTimeout(() => {
  look('played');
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  document.body.insertAdjacentHTML('beforeend', '<pre id=result></pre>');
  document.getElementById('result').textContent = JSON.stringify({seen, wide, focused: document.activeElement === range});
}, 3000);
</script>
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = Run.create("toy", {"loss": "non_saturating", "classes": 10}, tmp_path_factory.mktemp("runs"), quiet=True,
                      command="python -m toy fit")
    for step in made.loop(0, 60):
        made.log(step, loss_d=1 / step, loss_g=2 / step, **{"gradient_d/conv1": 1 / step, "gradient_g/conv1": 2 / step})
        if step % 20 == 0:
            for name in ("before", "after"):
                made.image(step, np.full((4, 1, 8, 8), step / 60, np.float32), name)
    made.image(None, np.zeros((4, 1, 8, 8), np.float32), "real")
    with open(made.file("diagnosis.jsonl"), "w", encoding="utf-8") as file:
        file.write(json.dumps({"step": 40, "name": "collapse <1>", "evidence": "one mode", "remedy": "--pack 2"}) + "\n")
    made.finish(title="A toy", summary={"text": "a\nb", "file": made.file("samples", "real.png")})
    yield made
    made.close()


def browse(path, home, width=1100):
    """(the DOM, what the console said) of a page in a headless Chromium."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home}", "--enable-logging=stderr",
               f"--window-size={width},1200", "--virtual-time-budget=8000", "--dump-dom", f"file://{path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def copied(run, path, more: str):
    """The report with something appended."""
    with open(run.file("report.html"), encoding="utf-8") as file:
        path.write_text(file.read() + more, encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1100, 500])
def test_the_slider_moves_all_columns_and_the_console_is_silent(run, tmp_path, width):
    dom, console = browse(copied(run, tmp_path / "page.html", HAND), tmp_path / "home", width)
    assert console == []
    result = json.loads(re.search(r"<pre id=.result.>(.*?)</pre>", dom)[1])
    assert result["seen"] == [["start", "step 60", [2, 2]], ["dragged", "step 20", [0, 0]], ["one on", "step 40", [1, 1]],
                              ["played", "step 60", [2, 2]]]
    assert result["focused"] and result["wide"] <= 0  # arrow keys reach it; nothing is wider than the page


def test_an_error_on_the_console_would_be_seen(run, tmp_path):
    """That the test above can fail: the same page with a fault in it."""
    _, console = browse(copied(run, tmp_path / "page.html", "<script>absent()</script>"), tmp_path / "home")
    assert "absent is not defined" in "".join(console)


def test_the_page_asks_nothing_of_a_network(run):
    with open(run.file("report.html"), encoding="utf-8") as file:
        text = file.read()
    assert not re.search(r"(?:src|href)=['\"]?(?:https?:|//)|@import|url\(|fetch\(|XMLHttpRequest", text)
    assert os.path.getsize(run.file("report.html")) < 2_000_000
