"""What a person sees of a run: the progress bar, curves.png, report.html; and what the machine was.

`write` reads metrics.jsonl, which is the truth, so a report can be made again at any time. The report is one file with
its pictures inside (base64), no scripts and no network; everything that comes from outside is escaped.
Imports checkpoint and data.images; matplotlib and tqdm when used. Knows nothing of tensors.
"""

from __future__ import annotations

import base64
import html
import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata

import numpy as np

from minigrad.checkpoint import atomic_write
from minigrad.data.images import save_png

__all__ = ["Progress", "curves", "environment", "read_lines", "write"]

PACKAGES = ("numpy", "numba", "matplotlib", "pillow", "tqdm", "cupy-cuda13x")
THREAD_VARIABLES = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                    "OMP_WAIT_POLICY")


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


# ---- the machine


def environment() -> dict:
    """Versions, processor, threads, command line and commit, as written to environment.json. No names of people or
    machines; the home folder is written ~."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    home = os.path.expanduser("~")
    arguments = [word.replace(home, "~") if len(home) > 1 else word for word in sys.argv]
    return {"python": platform.python_version(), "packages": packages,
            "system": f"{platform.system()} {platform.release()} {platform.machine()}", "processor": _processor(),
            "cores": os.cpu_count(), "usable_cores": usable,
            "threads": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
            "arguments": arguments, "commit": _commit()}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            found = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.M)
            return found[1].strip() if found else platform.processor()
    except OSError:
        return platform.processor()


def _commit() -> str | None:
    """The commit of the checkout that this file lies in, with "+" when files were changed; None outside of one."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not os.path.exists(os.path.join(root, ".git")):
        return None
    try:
        found = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
        changed = subprocess.run(["git", "-C", root, "status", "--porcelain", "--untracked-files=no"],
                                 capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() + ("+" if changed.stdout.strip() else "") if found.returncode == 0 else None


# ---- metrics


def read_lines(path):
    """(line, record) of every whole line of metrics.jsonl; a last line that was cut off is left out."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    return
                if not line.endswith("\n") or not isinstance(record, dict) or type(record.get("step")) is not int:
                    return
                yield line, record
    except FileNotFoundError:
        return


def _series(path) -> dict:
    """name -> (steps, values)."""
    series: dict[str, tuple[list, list]] = {}
    for _, record in read_lines(path):
        for name, value in record.items():
            if name != "step" and isinstance(value, (int, float)):
                steps, values = series.setdefault(name, ([], []))
                steps.append(record["step"])
                values.append(value)
    return series


def smooth(values, weight: float):
    """Exponential moving average without the pull of its start: sum_i w^(n-i) v_i / sum_i w^(n-i)."""
    out, mean, norm = [], 0.0, 0.0
    for value in values:
        norm = weight * norm + 1
        mean += (value - mean) / norm  # in this form a constant stays exactly constant
        out.append(mean)
    return out


def curves(run_path, *, title: str = "") -> str | None:
    """Write curves.png: one panel for each group of metrics, raw (pale) and smoothed. "loss_d" and "loss_g" are of one
    group, "loss". None when nothing was logged."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    series = _series(os.path.join(run_path, "metrics.jsonl"))
    groups: dict[str, list[str]] = {}
    for name in series:
        groups.setdefault(re.split(r"[/_]", name, maxsplit=1)[0], []).append(name)
    if not groups:
        return None
    columns = min(len(groups), 2)
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(6.2 * columns, 3.4 * rows + 0.4), dpi=110, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=13)
    for index, (group, names) in enumerate(groups.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        for number, name in enumerate(names):
            steps, values = series[name]
            colour = f"C{number % 10}"
            if len(values) > 20:
                axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
                smoothed = smooth(values, 1 - 1 / max(2, len(values) / 40))
                axes.plot(steps, smoothed, color=colour, linewidth=1.8, label=name)
            else:
                axes.plot(steps, values, color=colour, linewidth=1.8, marker="o", markersize=3.5, label=name)
        axes.set_title(group if len(names) > 1 else names[0], fontsize=11)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=9)
    canvas = FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    canvas.draw()
    return save_png(os.path.join(run_path, "curves.png"), np.asarray(canvas.buffer_rgba())[..., :3])


# ---- the report


def write(run_path, *, title: str, config: dict, summary: dict, command: str = "") -> str:
    """Write curves.png and report.html into a run. Returns the path of the report."""
    drawn = curves(run_path)
    parts = [f"<p class=command><code>{html.escape(command)}</code></p>" if command else ""]
    if summary:
        parts.append("<section><h2>Result</h2>" + _table(summary) + "</section>")
    for name, files in _samples(run_path).items():
        last = files[-1]
        parts.append(f"<section><h2>{html.escape(name)}</h2>{_figure(last, 'main')}")
        if len(files) > 1:
            strip = "".join(_figure(file, "small") for file in _spread(files, 8))
            parts.append(f"<h3>on the way</h3><div class=strip>{strip}</div>")
        parts.append("</section>")
    if drawn:
        parts.append(f"<section><h2>Curves</h2>{_figure(drawn, 'main', caption=False)}"
                     + _metrics_table(_series(os.path.join(run_path, "metrics.jsonl"))) + "</section>")
    parts.append("<section><h2>Configuration</h2>" + _table(config) + "</section>")
    for name, file in (("Environment", "environment.json"), ("Sessions", "sessions.jsonl")):
        content = _read(os.path.join(run_path, file))
        if content:
            parts.append(f"<section><h2>{name}</h2>" + content + "</section>")
    page = (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>{html.escape(title)}</title><style>{STYLE}</style><main><h1>{html.escape(title)}</h1>"
            + "\n".join(parts) + "</main></html>\n")
    path = os.path.join(run_path, "report.html")
    with atomic_write(path) as file:
        file.write(page.encode())
    return path


def _samples(run_path) -> dict:
    """name -> files in order of step."""
    folder = os.path.join(run_path, "samples")
    found = sorted((match[1], int(match[2]), os.path.join(folder, entry)) for entry in os.listdir(folder)
                   if (match := re.fullmatch(r"(.+)_(\d{6,})\.png", entry))) if os.path.isdir(folder) else []
    samples: dict[str, list[str]] = {}
    for name, _, path in found:
        samples.setdefault(name, []).append(path)
    return samples


def _spread(files, count):
    if len(files) <= count:
        return files
    return [files[round(i * (len(files) - 1) / (count - 1))] for i in range(count)]


def _figure(path, kind, caption=True) -> str:
    with open(path, "rb") as file:
        data = base64.b64encode(file.read()).decode()
    step = re.search(r"_(\d+)\.png$", path)
    text = f"step {int(step[1])}" if step and caption else ""
    note = f"<figcaption>{text}</figcaption>" if text else ""
    return f"<figure class={kind}><img alt='{text or 'curves'}' src='data:image/png;base64,{data}'>{note}</figure>"


def _table(values: dict) -> str:
    return "<table>" + "".join(f"<tr><th>{html.escape(str(key))}<td>{_cell(value)}" for key, value in values.items()) \
        + "</table>"


def _cell(value) -> str:
    if isinstance(value, dict):
        return _table(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return html.escape(" ".join(str(item) for item in value))
    return html.escape("" if value is None else str(value))


def _metrics_table(series) -> str:
    head = "<tr><th>metric<th>last<th>mean of last tenth<th>least<th>greatest<th>points"
    rows = []
    for name, (_, values) in series.items():
        tail = values[-max(1, len(values) // 10):]
        numbers = (values[-1], sum(tail) / len(tail), min(values), max(values))
        rows.append(f"<tr><th>{html.escape(name)}" + "".join(f"<td>{v:.5g}" for v in numbers) + f"<td>{len(values)}")
    return "<table class=numbers>" + head + "".join(rows) + "</table>"


def _read(path) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            if path.endswith(".json"):
                return _table(json.load(file))
            records = [json.loads(line) for line in file]
    except (OSError, ValueError, AttributeError):
        return ""
    keys = list(dict.fromkeys(key for record in records for key in record))
    return "<table class=numbers><tr>" + "".join(f"<th>{html.escape(key)}" for key in keys) + "".join(
        "<tr>" + "".join(f"<td>{_cell(record.get(key))}" for key in keys) for record in records) + "</table>"


STYLE = """
:root{color-scheme:light dark;--ink:#1d2127;--pale:#667;--line:#d9dce2;--back:#fbfbfc;--card:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ec;--pale:#9aa;--line:#383d46;--back:#16181c;--card:#1f2227}}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:26px;margin:8px 0}h2{font-size:18px;margin:0 0 12px}
h3{font-size:14px;color:var(--pale);margin:16px 0 8px}
section{background:var(--card);border:1px solid var(--line);border-radius:8px}
section{padding:16px;margin:16px 0;overflow-x:auto}
table{border-collapse:collapse;font-size:14px}th,td{text-align:left;padding:3px 14px 3px 0;vertical-align:top}
th{font-weight:600;color:var(--pale);white-space:nowrap}tr+tr>*{border-top:1px solid var(--line)}
.numbers td{font-variant-numeric:tabular-nums}figure{margin:0}figcaption{color:var(--pale);font-size:13px}
.main img{max-width:100%;height:auto}.strip{display:flex;flex-wrap:wrap;gap:12px}.small img{width:220px;height:auto}
code{font:13px ui-monospace,monospace;color:var(--pale)}
"""
