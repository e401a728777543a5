"""What stays of a run for people to look at: curves.png and report.html; and what the machine was.

`write` reads metrics.jsonl, which is the truth, so a report can be made again at any time (`again`). The report is one page that
opens offline (`minigrad.page`): results, samples with a slider, curves and what each number means, settings, what to type next.
What others leave in the run has its place there: evaluation.json, diagnosis.jsonl. Nothing here knows of tensors.

Imports: curves, files, page, records, report_pictures, terms, words.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from importlib import metadata

from minigrad import curves, page, report_pictures, terms
from minigrad.files import open_regular
from minigrad.records import json_lines, metrics_record, unsealed
from minigrad.words import write_json

__all__ = ["KNOWN", "again", "environment", "made_at", "read_lines", "write"]

KNOWN = "report.json"  # what a report was made of; older versions wrote none
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


# ---- the report


def write(run_path, *, title: str, config: dict, summary: dict, command: str = "", step: int | None = None, note: str = "",
          after=()) -> str:
    """Write curves.png and report.html into a run, and report.json, from which `again` writes them anew. Returns the page's path.

    step: that the report is of, for `made_at`; None for one of a run that is not finished. note: a sentence below the title.
    after: [(command line, why)], what to type next (`next_steps.after`)."""
    known = {"title": title, "summary": summary, "step": step, "note": note}
    write_json(os.path.join(run_path, KNOWN), known)
    return _write(run_path, config, known, command, after)


def again(run_path, after=()) -> str | None:
    """Write the page anew, from what lies in the run now: after an evaluation, say. None where no report was made before."""
    known, config = _json(run_path, KNOWN), _json(run_path, "config.json")
    if not isinstance(known.get("title"), str) or not isinstance(known.get("summary"), dict):
        return None
    return _write(run_path, config, known, str(_json(run_path, "environment.json").get("command") or ""), after)


def _write(run_path, config: dict, known: dict, command: str, after) -> str:
    series = _series(os.path.join(run_path, "metrics.jsonl"))
    dashed = terms.references(config)
    drawn = curves.draw(os.path.join(run_path, "curves.png"), series, references=dashed)
    gradients = curves.draw(os.path.join(run_path, "gradients.png"), series, families=True)
    step = known.get("step")
    parts = [page.code(_typed(run_path, command))]
    if known.get("note"):
        parts.append(page.note(str(known["note"])))
    sections = {
        "Result": _result(run_path, known["summary"]),
        **report_pictures.development(run_path),
        "Diagnosis": _diagnosis(run_path),
        "Judged": _judged(run_path),
        "Curves": page.figure(drawn, "curves", _dashed(series, dashed), "drawn") + _metrics_table(series) if drawn else "",
        "Behind the curves": page.figure(gradients, "lengths", kind="drawn") + _families(series) if gradients else "",
        "What comes next": "".join(page.Markup(f"{page.note(why)}<pre class=command>{page.cell(line)}</pre>")
                                   for line, why in after),
        "Settings": page.table(config),
        "The machine, and when": "".join(page.details(name, content) for name, content in (
            ("environment", _environment(run_path)), ("sessions", _sessions(run_path))) if content),
        "Files": _files(run_path),
    }
    parts += [page.section(name, content) for name, content in sections.items() if content]
    if step is not None:
        parts.append(f"<!-- of step {step} -->")
    return page.write(os.path.join(run_path, "report.html"), str(known["title"]), parts)


def made_at(run_path) -> int | None:
    """The step that a run's report is of; None where there is no report, or one that does not say."""
    try:
        with open_regular(os.path.join(run_path, "report.html")) as file:
            found = re.findall(rb"<!-- of step (\d{1,12}) -->", file.read())
    except OSError:
        return None
    return int(found[-1]) if found else None


# ---- its sections


def _json(run_path, name: str) -> dict:
    """What a file of the run holds; {} where it is not there or cannot be read: a page is made of what there is."""
    try:
        with open(os.path.join(run_path, name), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _typed(run_path, command: str) -> str:
    """The command as it was typed, with all its options; environment.json has them."""
    words = _json(run_path, "environment.json").get("arguments")
    if not command.startswith("python -m ") or not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return command
    return " ".join([command, *map(shlex.quote, words[len(command.split()) - 2:])])


def _result(run_path, summary: dict) -> str:
    """The summary; a value that is a file of the run is a link to it."""
    def shown(value):
        if isinstance(value, dict):
            return {name: shown(part) for name, part in value.items()}
        inside = os.path.relpath(value, run_path) if isinstance(value, str) and value and os.path.isfile(value) else ".."
        return value if inside.startswith("..") else page.link(inside.replace(os.sep, "/"))

    return page.table(shown(summary)) if summary else ""


def _diagnosis(run_path) -> str:
    """diagnosis.jsonl: {"step", "name", "evidence", "remedy"} in each line."""
    try:
        with open(os.path.join(run_path, "diagnosis.jsonl"), encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        lines = [[record["step"], record["name"], record["evidence"], record["remedy"]] for record in records]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return ""
    return page.rows(["step", "what", "how it shows", "what mends it"], lines, right=(0,)) if lines else ""


def _judged(run_path) -> str:
    """evaluation.json, which `gan evaluate` writes: its numbers, and the classes of the samples."""
    found = _json(run_path, "evaluation.json")
    plain = {name.replace("_", " "): value for name, value in found.items() if isinstance(value, (str, int, float))}
    shares = found.get("histogram")
    drawn = ""
    if isinstance(shares, dict) and shares and all(isinstance(x, (int, float)) for x in shares.values()):
        drawn = (f"<h3>classes of the samples</h3>{page.bars(shares)}"
                 + page.note(f"Evenly spread, each would have {100 / len(shares):.1f} %. A class that is missing is one that the "
                             "generator does not draw."))
    return page.table(plain) + drawn if plain else ""


def _dashed(series, references: dict) -> str:
    """What is pale, strong and dashed in the curves."""
    known = {why: [f"{name} {text} = {value:.3f}" for name, (value, text, other) in references.items() if other == why and
                   name in series] for why in dict.fromkeys(why for _, _, why in references.values())}
    said = "; ".join(f"{', '.join(names)} ({why})" for why, names in known.items() if names)
    many = any(len(values) > curves.FEW for name, (_, values) in series.items() if "/" not in name)
    return ("Pale: each value. Strong: smoothed." if many else "Each value.") + (f" Dashed, by theory: {said}." if said else "")


def _metrics_table(series) -> str:
    lines = []
    for name, (_, values) in ((name, both) for name, both in series.items() if "/" not in name):
        tail = values[-max(1, len(values) // 10):]
        numbers = (values[-1], sum(tail) / len(tail), min(values), max(values))
        lines.append([name, *(f"{v:.5g}" for v in numbers), len(values)])
    meanings = {name: terms.meaning(name) for name, *_ in lines if terms.meaning(name)}
    return (page.rows(["metric", "last", "mean of last tenth", "least", "greatest", "points"], lines, right=range(1, 6), names=True)
            + (f"<h3>what they mean</h3>{page.table(meanings)}" if meanings else ""))


def _families(series) -> str:
    families = dict.fromkeys(name.partition("/")[0] + "/" for name in series if "/" in name)
    return "".join(page.note(terms.meaning(family)) for family in families)


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


def _files(run_path) -> str:
    """Links to what lies in the run."""
    names = sorted(name for name in os.listdir(run_path) if not name.startswith(".") and name != "report.html")
    links = (page.link(name + "/" * os.path.isdir(os.path.join(run_path, name))) for name in names)
    return "<ul>" + "".join(f"<li>{one}" for one in links) + "</ul>"
