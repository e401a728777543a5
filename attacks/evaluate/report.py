"""report.html: everything of an evaluation in one file that opens offline; each number with what it is worth.

The order is that of a reader in doubt: the number and its verdict, all numbers with their reasons, the threat and what only people
can say, curves, checks, attacks, the worst case, pictures, published numbers, settings and queries. No scripts, no network,
pictures inside (base64); everything that comes from outside is escaped.

Imports: attacks.evaluate, minigrad.pictures, minigrad.report, minigrad.data.images.
"""

from __future__ import annotations

import base64
import html
import io
from collections import Counter

import numpy as np

from attacks.evaluate.case import NA, percent
from attacks.evaluate.checks import NOT_MECHANICAL
from attacks.evaluate.evaluation import Evaluation, attack_name
from attacks.evaluate.published import beside
from minigrad import pictures, report
from minigrad.checkpoint import atomic_write

COLOURS = {"passed": "#2a7d4f", "warn": "#b7791f", "fail": "#c0392b", "n/a": "#8a8f98",
           "believable": "#2a7d4f", "with care": "#b7791f", "do not believe": "#c0392b"}
STYLE = report.STYLE + """
.badge{display:inline-block;padding:1px 9px;border-radius:9px;color:#fff;font-size:13px;white-space:nowrap}
.head{border-left:6px solid var(--mark);padding-left:14px}.big{font-size:22px;font-weight:600;margin:4px 0}
ul{margin:4px 0;padding-left:20px}.note{color:var(--pale);font-size:13px}td.n{text-align:right;font-variant-numeric:tabular-nums}
"""


def write(path, e: Evaluation, *, title: str, classes=None, data: str = "", norm: str | None = None, command: str = "",
          environment: dict | None = None) -> str:
    """Write the report of an evaluation; returns the path.

    classes: names for captions; data: as minigrad.data names it, for published numbers; norm: 'linf', 'l2', 'l1', default the
    threat's; command, environment: shown at the end.
    """
    norm = norm or e.case.threat.name
    numbers = e.numbers()
    parts = [_head(e, numbers[-1]), _section("Numbers", _numbers(numbers)), _section("Claim", _claim(e)),
             _section("Curves", figure(curve_picture(e, norm), "accuracy against epsilon") + _curve_note(e)),
             _section("Checks", _checks(e.checks)), _section("Attacks in a row", _runs(e)),
             *([] if e.ablation is None else [_section("What each attack adds", _added(e))]),
             _section("Worst case for each sample", _worst(e))]
    sheet = examples(e, classes)
    if sheet is not None:
        parts.append(_section("Examples", figure(sheet, "original, perturbation, result")))
    parts.append(_section("Published", _published(data, norm, e.case.threat.epsilon)))
    parts.append(_section("Settings and queries", _settings(e)))
    if environment:
        parts.append(_section("Environment", _plain(environment)))
    if command:
        parts.append(f"<p><code>{html.escape(command)}</code></p>")
    page = (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>{html.escape(title)}</title><style>{STYLE}</style><main><h1>{html.escape(title)}</h1>"
            + "\n".join(parts) + "</main></html>\n")
    with atomic_write(path) as file:
        file.write(page.encode())
    return str(path)


# ---- sections --------------------------------------------------------------------------------------------------------


def _head(e, last) -> str:
    failed, warned = (sum(c.status == s for c in e.checks) for s in ("fail", "warn"))
    asked = sum(c.status != NA for c in e.checks)
    return (f"<section class=head style='--mark:{COLOURS[last.verdict]}'><div>{badge(last.verdict)}</div>"
            f"<p class=big>robust accuracy at most {percent(last.value)} "
            f"<span class=note>of {last.n} samples; 95 % interval {percent(last.low)} to "
            f"{percent(last.high)}</span></p>"
            f"<p>{asked} checks apply: {failed} failed, {warned} warn. An accuracy under attack is an upper bound: the "
            f"next attack may "
            f"lower it.</p>{_reasons(last.reasons)}</section>")


def _numbers(numbers) -> str:
    rows = "".join(f"<tr><td>{html.escape(x.name)}<td class=n>{percent(x.value)}<td class=n>{percent(x.low)} – "
                   f"{percent(x.high)}"
                   f"<td>{badge(x.verdict)}<td>{_reasons(x.reasons)}" for x in numbers)
    return f"<table><tr><th>number<th>value<th>95 % interval<th>verdict<th>why{rows}</table>"


def _claim(e) -> str:
    case = e.case
    lo, hi = case.victim.bounds
    facts = {
        "network": f"{type(case.victim.net).__name__}, {case.classes} classes, inputs {case.x.shape[1:]} in [{lo:g}, "
                   f"{hi:g}]"
                   + (", answers at random" if case.randomised else ""),
        "the attacker wants": "any class but the true one",
        "the attacker knows": "the network, its weights and the defense (white box)",
        "the attacker may change": f"{case.threat!r}, in units of the input",
        "samples": f"{len(case)}; {int((~case.right).sum())} are wrong before any attack and count as not robust",
        **{key: e.statements.get(key) or f"NOT STATED: {what}" for key, what in NOT_MECHANICAL.items()},
    }
    return _plain(facts)


def _curve_note(e) -> str:
    c = e.curves
    head = "<tr><th>epsilon" + "".join(f"<th>{html.escape(name)}" for name in c.accuracy) + "<th>worst case"
    rows = "".join(f"<tr><td class=n>{eps:.4g}" + "".join(f"<td class=n>{percent(v[i])}" for v in c.accuracy.values())
                   + f"<td class=n>{percent(c.worst[i])}" for i, eps in enumerate(c.epsilons))
    half = "never fall" if np.isinf(c.half) else f"fall within {c.half:.4g}"
    return (f"<table class=numbers>{head}{rows}</table><p class=note>Half of the samples that were right {half}. Worst case: by "
            "any attack, at this or a smaller epsilon.</p>")


def _checks(checks) -> str:
    rows = []
    for c in sorted(checks, key=lambda c: ("fail", "warn", "passed", "n/a").index(c.status)):
        advice = f"<br><b>{html.escape(c.advice)}</b>" if c.advice else ""
        rows.append(f"<tr><td>{badge(c.status)}<td>{html.escape(c.name)}<br><span class=note>{c.about}</span><td "
                    f"class=n>{_value(c.value)}"
                    f"<td class=n>{_value(c.threshold)}<td>{html.escape(c.evidence)}{advice}<br>"
                    f"<span class=note>{html.escape(c.reference)}</span>")
    return "<table><tr><th>status<th>check<th>value<th>bound<th>what was seen" + "".join(rows) + "</table>"


def _runs(e) -> str:
    rows = "".join(f"<tr><td>{html.escape(r['attack'])}<td class=n>{r['attacked']}<td class=n>{r['fooled']}"
                   f"<td class=n>{percent(r['robust_accuracy'])}<td class=n>{r['queries']:,}<td "
                   f"class=n>{r['seconds']:.1f}"
                   for r in e.ensemble.runs)
    return ("<table class=numbers><tr><th>attack<th>attacked<th>fooled<th>accuracy left<th>queries<th>seconds" + rows + "</table>"
            "<p class=note>Each attacks only what the ones before it left standing. Seconds are of this run on this "
            "machine.</p>")


def _added(e) -> str:
    rows = "".join(f"<tr><td>{html.escape(r['attack'])}<td class=n>{r['first']}<td class=n>{percent(r['alone'])}"
                   f"<td class=n>{percent(r['without'])}<td class=n>{r['only']}" for r in e.ablation.rows)
    head = "<tr><th>attack<th>fooled in its turn<th>accuracy under it alone<th>accuracy without it<th>fooled by no other"
    return (f"<table class=numbers>{head}{rows}</table><p class=note>All together: {percent(e.ensemble.robust_accuracy)}. Each "
            "attack was also tried on what fell before its turn; it is worth what the accuracy without it would have hidden.</p>")


def _worst(e) -> str:
    distance, which = e.worst
    counts = Counter("stands" if w == "" else str(w) for w in which)
    sizes = distance[np.isfinite(distance) & (distance > 0)]
    table = "".join(f"<tr><td>{html.escape(name)}<td class=n>{count}<td class=n>{percent(count / len(which))}"
                    for name, count in counts.most_common())
    note = f"<p class=note>Median size of what fooled: {np.median(sizes):.4g}.</p>" if len(sizes) else ""
    return f"<table class=numbers><tr><th>nearest example by<th>samples<th>share{table}</table>{note}"


def _published(data, norm, epsilon) -> str:
    eps = float(epsilon) if np.ndim(epsilon) == 0 else None
    rows = beside(data, norm, eps)
    if not rows:
        return "<p class=note>None is known here for this data, norm and epsilon.</p>"

    def line(p):
        value = percent(p.value) if p.unit not in ("distance", "rho") else f"{p.value:g}"
        mark = "" if p.status == "verified" else "<b>from memory, not looked up</b>"
        return (f"<tr><td>{html.escape(p.what)}<td>{html.escape(p.attack)}<td class=n>{value}<td>{p.unit}"
                f"<td class=note>{html.escape(p.source)}. {html.escape(p.note)} {mark}")

    return ("<table><tr><th>network<th>attack<th>value<th>of<th>source" + "".join(map(line, rows)) + "</table><p "
        "class=note>Other "
            "networks, other budgets: they stand beside, they are not a ranking.</p>")


def _settings(e) -> str:
    runs = [("attack of the claim", e.case.base), *((r.settings.get("attack", ""), r) for r in e.case.at_claim[1:])]
    rows = "".join(f"<tr><th>{html.escape(str(name))}<td "
                   f"class=n>{int(r.queries.sum()):,}<td>{html.escape(_words(r.settings))}"
                   for name, r in runs)
    rows += "".join(f"<tr><th>ensemble: {html.escape(r['attack'])}<td "
                    f"class=n>{r['queries']:,}<td>{html.escape(_words(r['settings']))}"
                    for r in e.ensemble.runs)
    return f"<table><tr><th>run<th>queries<th>settings{rows}</table>"


# ---- pictures --------------------------------------------------------------------------------------------------------


def curve_picture(e: Evaluation, norm: str) -> np.ndarray:
    """uint8 (H, W, 3): accuracy against epsilon, and the loss of the attack along its steps (median, middle half)."""
    c = e.curves
    series = {name: 100 * np.asarray(v) for name, v in c.accuracy.items()}
    series["worst case per sample"] = 100 * c.worst
    styles = {"worst case per sample": {"color": "black", "linestyle": "--", "marker": None}}
    panels = [dict(x=c.epsilons, series=series, across=f"epsilon ({norm})", down="accuracy, %", percent=True, styles=styles)]
    trace = (e.case.base.trace or {}).get("objective")
    if trace is not None and not np.isnan(trace).all():
        shown = trace[:, ~np.isnan(trace).all(axis=0)]
        middle = tuple(np.nanquantile(shown, q, axis=1) for q in (0.5, 0.25, 0.75))
        panels.append(dict(x=np.arange(len(trace)), series={"median and middle half": middle}, across="step",
                           down=f"loss that {attack_name(e.case.attack)} climbs"))
    return pictures.lines(panels)


def examples(e: Evaluation, classes=None, count: int = 8):
    """A sheet of the first successes of the ensemble: uint8 (H, W, 3); None where inputs are no pictures or none was fooled."""
    result, case = e.ensemble.result, e.case
    x, x_adv = (np.asarray(a.array if hasattr(a, "array") else a) for a in (result.original, result.x_adv))
    rows = np.flatnonzero(result.success)[:count]
    if x.ndim != 4 or x.shape[1] not in (1, 3) or not len(rows):
        return None
    lo, hi = case.victim.bounds
    before, after = ((a[rows] - lo) / (hi - lo) for a in (x, x_adv))
    delta, factor = pictures.magnified(after - before)

    def captions(z, fooled):
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        names = [str(k) if classes is None else str(classes[k]) for k in p.argmax(axis=1)]
        return [pictures.Caption(f"{name}  {100 * q.max():.0f} %", fooled) for name, q in zip(names, p, strict=True)]

    by = [str(b) for b in e.ensemble.by[rows]]
    return pictures.columns(
        [pictures.colour(before), delta, pictures.colour(after)],
        ["original", f"perturbation\n{pictures.times(factor)}", "adversarial"],
        [captions(case.clean[rows], False), by, captions(case.victim.predict(x_adv[rows]), True)],
    )


def figure(pixels, alt: str) -> str:
    """A picture uint8 (H, W, 3) as HTML, inside the file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return f"<figure class=main><img alt='{html.escape(alt)}' src='data:image/png;base64,{data}'></figure>"


# ---- words -----------------------------------------------------------------------------------------------------------


def badge(word: str) -> str:
    """A status or verdict in its colour."""
    return f"<span class=badge style='background:{COLOURS[word]}'>{html.escape(word)}</span>"


def _section(name, content) -> str:
    return f"<section><h2>{html.escape(name)}</h2>{content}</section>"


def _reasons(reasons) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(r)}" for r in reasons) + "</ul>"


def _plain(values: dict) -> str:
    rows = "".join(f"<tr><th>{html.escape(str(k))}<td>{_plain(v) if isinstance(v, dict) else html.escape(str(v))}"
                   for k, v in values.items())
    return f"<table>{rows}</table>"


def _words(settings: dict) -> str:
    return ", ".join(f"{k} {v}" for k, v in settings.items() if k not in ("attack", "victim", "goal"))


def _value(v) -> str:
    return "" if v is None else f"{v:.4g}"
