"""report.html: everything of an evaluation in one file that opens offline; each number with what it is worth.

The order is that of a reader in doubt: the number and its verdict, all numbers with their reasons, the threat and what only people
can say, curves, checks, attacks, the worst case, pictures, published numbers, settings and queries. The page is made by
`minigrad.page`.

Imports: numpy, attacks.core.arrays, minigrad.page, minigrad.pictures, minigrad.words, case, checks, evaluation, published.
"""

from __future__ import annotations

import html
from collections import Counter

import numpy as np

from attacks.core.arrays import NO_ANSWER, said
from attacks.evaluate.case import NA
from attacks.evaluate.checks import NOT_MECHANICAL
from attacks.evaluate.evaluation import Evaluation, attack_name
from attacks.evaluate.published import beside
from minigrad import page, pictures
from minigrad.page import Markup, rows, section
from minigrad.words import percent

COLOURS = {"passed": "#2a7d4f", "warn": "#b7791f", "fail": "#c0392b", "n/a": "#8a8f98",
           "believable": "#2a7d4f", "with care": "#b7791f", "do not believe": "#c0392b"}
STYLE = """
.badge{display:inline-block;padding:1px 9px;border-radius:9px;color:#fff;font-size:13px;white-space:nowrap}
.head{border-left:6px solid var(--mark);padding-left:14px}.big{font-size:22px;font-weight:600;margin:4px 0}
"""


def write(path, e: Evaluation, *, title: str, classes=None, data: str = "", norm: str | None = None, command: str = "",
          environment: dict | None = None) -> str:
    """Write the report of an evaluation; returns the path.

    classes: names for captions; data: as minigrad.data names it, for published numbers; norm: 'linf', 'l2', 'l1', default the
    threat's; command, environment: shown at the end.
    """
    norm = norm or e.case.threat.name
    numbers = e.numbers()
    parts = [_head(e, numbers[-1]), section("Numbers", _numbers(numbers)), section("Claim", _claim(e)),
             section("Curves", page.figure(curve_picture(e, norm), "accuracy against epsilon") + _curve_note(e)),
             section("Checks", _checks(e.checks)), section("Attacks in a row", _runs(e)),
             *([] if e.ablation is None else [section("What each attack adds", _added(e))]),
             section("Worst case for each sample", _worst(e))]
    sheet = examples(e, classes)
    if sheet is not None:
        parts.append(section("Examples", page.figure(sheet, "original, perturbation, result")))
    parts.append(section("Published", _published(data, norm, e.case.threat.epsilon)))
    parts.append(section("Settings and queries", _settings(e)))
    if environment:
        parts.append(section("Environment", page.table(environment)))
    return page.write(path, title, [*parts, page.code(command)], STYLE)


# ---- sections --------------------------------------------------------------------------------------------------------


def _head(e, last) -> str:
    failed, warned = (sum(c.status == s for c in e.checks) for s in ("fail", "warn"))
    asked = sum(c.status != NA for c in e.checks)
    return (f"<section class=head style='--mark:{COLOURS[last.verdict]}'><div>{badge(last.verdict)}</div>"
            f"<p class=big>robust accuracy at most {percent(last.value)} "
            f"<span class=note>of {last.n} samples; 95 % interval {percent(last.low)} to {percent(last.high)}</span></p>"
            f"<p>{asked} checks apply: {failed} failed, {warned} warn. An accuracy under attack is an upper bound, because the "
            f"next attack may lower it.</p>{_reasons(last.reasons)}</section>")


def _numbers(numbers) -> str:
    return rows(["number", "value", "95 % interval", "verdict", "why"], [
        [x.name, percent(x.value), f"{percent(x.low)} – {percent(x.high)}", badge(x.verdict), _reasons(x.reasons)] for x in numbers
    ], right=(1, 2))


def _claim(e) -> str:
    case = e.case
    lo, hi = case.victim.bounds
    return page.table({
        "network": f"{type(case.victim.net).__name__}, {case.classes} classes, inputs {case.x.shape[1:]} in [{lo:g}, {hi:g}]"
                   + (", answers at random" if case.randomised else ""),
        "the attacker wants": "any class but the true one",
        "the attacker knows": "the network, its weights and the defense (white box)",
        "the attacker may change": f"{case.threat!r}, in units of the input",
        "samples": f"{len(case)}; {int((~case.right).sum())} are wrong before any attack and count as not robust",
        **{key: e.statements.get(key) or f"NOT STATED: {what}" for key, what in NOT_MECHANICAL.items()},
    })


def _curve_note(e) -> str:
    c = e.curves
    lines = [[f"{eps:.4g}", *(percent(v[i]) for v in c.accuracy.values()), percent(c.worst[i])] for i, eps in enumerate(c.epsilons)]
    half = "never fall" if np.isinf(c.half) else f"fall within {c.half:.4g}"
    return (rows(["epsilon", *c.accuracy, "worst case"], lines, right=range(len(c.accuracy) + 2))
            + page.note(f"Half of the samples that were right {half}. Worst case: by any attack, at this or a smaller epsilon."))


def _checks(checks) -> str:
    lines = []
    for c in sorted(checks, key=lambda c: ("fail", "warn", "passed", "n/a").index(c.status)):
        advice = f"<br><b>{html.escape(c.advice)}</b>" if c.advice else ""
        seen = Markup(f"{html.escape(c.evidence)}{advice}<br><span class=note>{html.escape(c.reference)}</span>")
        name = Markup(f"{html.escape(c.name)}<br><span class=note>{html.escape(c.about)}</span>")
        lines.append([badge(c.status), name, _value(c.value), _value(c.threshold), seen])
    return rows(["status", "check", "value", "bound", "what was seen"], lines, right=(2, 3))


def _runs(e) -> str:
    lines = [[r["attack"], r["attacked"], r["fooled"], percent(r["robust_accuracy"]), f"{r['queries']:,}", f"{r['seconds']:.1f}"]
             for r in e.ensemble.runs]
    return (rows(["attack", "attacked", "fooled", "accuracy left", "queries", "seconds"], lines, right=range(1, 6))
            + page.note("Each attacks only what the ones before it left standing. Seconds are of this run on this machine."))


def _added(e) -> str:
    head = ["attack", "fooled in its turn", "accuracy under it alone", "accuracy without it", "fooled by no other"]
    lines = [[r["attack"], r["first"], percent(r["alone"]), percent(r["without"]), r["only"]] for r in e.ablation.rows]
    return rows(head, lines, right=range(1, 5)) + page.note(
        f"All together: {percent(e.ensemble.robust_accuracy)}. Each attack was also tried on what fell before its turn. It is "
        "worth what the accuracy without it would have hidden.")


def _worst(e) -> str:
    distance, which = e.worst
    counts = Counter("stands" if w == "" else str(w) for w in which)
    sizes = distance[np.isfinite(distance) & (distance > 0)]
    lines = [[name, count, percent(count / len(which))] for name, count in counts.most_common()]
    return rows(["nearest example by", "samples", "share"], lines, right=(1, 2)) + (
        page.note(f"Median size of what fooled: {np.median(sizes):.4g}.") if len(sizes) else "")


def _published(data, norm, epsilon) -> str:
    known = beside(data, norm, float(epsilon) if np.ndim(epsilon) == 0 else None)
    if not known:
        return page.note("None is known here for this data, norm and epsilon.")
    lines = []
    for p in known:
        doubt = "" if p.status == "verified" else "<b>from memory, not looked up</b>"
        source = Markup(f"<span class=note>{html.escape(p.source)}. {html.escape(p.note)} {doubt}</span>")
        value = percent(p.value) if p.unit not in ("distance", "rho") else f"{p.value:g}"
        lines.append([p.what, p.attack, value, p.unit, source])
    return rows(["network", "attack", "value", "of", "source"], lines, right=(2,)) + page.note(
        "Other networks, other budgets: they stand beside, they are not a ranking.")


def _settings(e) -> str:
    runs = [("attack of the claim", e.case.base), *((r.settings.get("attack", ""), r) for r in e.case.at_claim[1:])]
    lines = [[str(name), f"{int(r.queries.sum()):,}", _words(r.settings)] for name, r in runs]
    lines += [[f"ensemble: {r['attack']}", f"{r['queries']:,}", _words(r["settings"])] for r in e.ensemble.runs]
    return rows(["run", "queries", "settings"], lines, right=(1,), names=True)


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
    shown = np.flatnonzero(result.success)[:count]
    if x.ndim != 4 or x.shape[1] not in (1, 3) or not len(shown):
        return None
    lo, hi = case.victim.bounds
    before, after = ((a[shown] - lo) / (hi - lo) for a in (x, x_adv))
    delta, factor = pictures.magnified(after - before)

    def captions(z, fooled):
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        names = [None if k == NO_ANSWER else str(k) if classes is None else str(classes[k]) for k in said(z)]
        return [pictures.Caption("no answer" if name is None else f"{name}  {100 * q.max():.0f} %", fooled)
                for name, q in zip(names, p, strict=True)]

    by = [str(b) for b in e.ensemble.by[shown]]
    return pictures.columns(
        [pictures.colour(before), delta, pictures.colour(after)],
        ["original", f"perturbation\n{pictures.times(factor)}", "adversarial"],
        [captions(case.clean[shown], False), by, captions(case.victim.predict(x_adv[shown]), True)],
    )


# ---- words -----------------------------------------------------------------------------------------------------------


def badge(word: str) -> Markup:
    """A status or verdict in its colour."""
    return Markup(f"<span class=badge style='background:{COLOURS[word]}'>{html.escape(word)}</span>")


def _reasons(reasons) -> Markup:
    return Markup("<ul>" + "".join(f"<li>{html.escape(r)}" for r in reasons) + "</ul>")


def _words(settings: dict) -> str:
    return ", ".join(f"{k} {v}" for k, v in settings.items() if k not in ("attack", "victim", "goal"))


def _value(v) -> str:
    return "" if v is None else f"{v:.4g}"
