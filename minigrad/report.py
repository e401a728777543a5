"""What stays of a run for people to look at: curves.png and report.html; and what the machine was.

`write` reads metrics.jsonl, which is the truth, so a report can be made again at any time. The report is one page that
opens offline (`minigrad.page`). Nothing here knows of tensors.

Imports: matplotlib (when called), files, page, pictures, records.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib import metadata

from minigrad import page, pictures
from minigrad.files import open_regular
from minigrad.records import json_lines, metrics_record, unsealed

__all__ = ["curves", "environment", "made_at", "read_lines", "write"]

PACKAGES = ("numpy", "numba", "matplotlib", "pillow", "tqdm", "cupy-cuda13x")
THREAD_VARIABLES = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                    "OMP_WAIT_POLICY")


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
    """(line, record) of every good line of metrics.jsonl; one that is damaged, or that was cut off, is left out."""
    for line, value in json_lines(path):
        record = metrics_record(value)
        if record is not None:
            yield line.decode(), record


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
    from matplotlib.ticker import MaxNLocator

    series = _series(os.path.join(run_path, "metrics.jsonl"))
    groups: dict[str, list[str]] = {}
    for name in series:
        groups.setdefault(re.split(r"[/_]", name, maxsplit=1)[0], []).append(name)
    if not groups:
        return None
    columns = min(len(groups), 2)
    rows = -(-len(groups) // columns)
    figure, draw = pictures.new_figure(6.2 * columns, 3.4 * rows + 0.4)
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
    return pictures.save_png(os.path.join(run_path, "curves.png"), draw())


# ---- the report


def write(run_path, *, title: str, config: dict, summary: dict, command: str = "", step: int | None = None) -> str:
    """Write curves.png and report.html into a run. step: that it is of, for `made_at`. Returns the path of the report."""
    drawn = curves(run_path)
    parts = [page.code(command)]
    if summary:
        parts.append(page.section("Result", page.table(summary)))
    parts += [page.section(name, _development(files)) for name, files in _samples(run_path).items()]
    if drawn:
        parts.append(page.section("Curves", page.figure(drawn, "curves")
                                  + _metrics_table(_series(os.path.join(run_path, "metrics.jsonl")))))
    parts.append(page.section("Configuration", page.table(config)))
    for name, content in (("Environment", _environment(run_path)), ("Sessions", _sessions(run_path))):
        if content:
            parts.append(page.section(name, content))
    if step is not None:
        parts.append(f"<!-- of step {step} -->")
    return page.write(os.path.join(run_path, "report.html"), title, parts)


def made_at(run_path) -> int | None:
    """The step that a run's report is of; None where there is no report, or one that does not say."""
    try:
        with open_regular(os.path.join(run_path, "report.html")) as file:
            found = re.findall(rb"<!-- of step (\d{1,12}) -->", file.read())
    except OSError:
        return None
    return int(found[-1]) if found else None


def _samples(run_path) -> dict:
    """name -> files in order of step."""
    folder = os.path.join(run_path, "samples")
    found = sorted((match[1], int(match[2]), os.path.join(folder, entry)) for entry in os.listdir(folder)
                   if (match := re.fullmatch(r"(.+)_(\d{6,})\.png", entry))) if os.path.isdir(folder) else []
    samples: dict[str, list[str]] = {}
    for name, _, path in found:
        samples.setdefault(name, []).append(path)
    return samples


def _development(files) -> str:
    """The last sample, and below it up to eight of those on the way there."""
    if len(files) == 1:
        return _sample(files[0])
    strip = "".join(_sample(file, "small") for file in _spread(files, 8))
    return f"{_sample(files[-1])}<h3>on the way</h3><div class=strip>{strip}</div>"


def _sample(path, kind="main") -> str:
    text = f"step {int(re.search(r'_([0-9]+)[.]png$', path)[1])}"
    return page.figure(path, text, text, kind)


def _spread(files, count):
    if len(files) <= count:
        return files
    return [files[round(i * (len(files) - 1) / (count - 1))] for i in range(count)]


def _metrics_table(series) -> str:
    lines = []
    for name, (_, values) in series.items():
        tail = values[-max(1, len(values) // 10):]
        numbers = (values[-1], sum(tail) / len(tail), min(values), max(values))
        lines.append([name, *(f"{v:.5g}" for v in numbers), len(values)])
    return page.rows(["metric", "last", "mean of last tenth", "least", "greatest", "points"], lines, names=True)


def _environment(run_path) -> str:
    try:
        return page.table(unsealed(os.path.join(run_path, "environment.json"))[0])
    except (OSError, ValueError):
        return ""


def _sessions(run_path) -> str:
    try:
        records = [value for _, value in json_lines(os.path.join(run_path, "sessions.jsonl")) if isinstance(value, dict)]
        names = list(dict.fromkeys(name for record in records for name in record if name != "closing"))
        return page.rows(names, [[record.get(name) for name in names] for record in records]) if records else ""
    except OSError:
        return ""
