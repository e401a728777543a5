"""One self-contained HTML page: a shell, sections, tables, figures, sliders, and one style for all of them.

The page opens offline: pictures lie inside it (base64), and there is no network. The one script, some lines that move a slider's
pictures, stands in the page where there is a slider. Links lead to files beside the page. Everything that comes from outside is
escaped; only a `Markup` is taken as it is.

    page.write("report.html", "A title", [page.section("Result", page.table({"accuracy": 0.98}))])

Imports: checkpoint, pictures.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
import urllib.parse

from minigrad.checkpoint import atomic_write
from minigrad.pictures import pillow

__all__ = ["STYLE", "Markup", "bars", "cell", "code", "details", "figure", "link", "note", "rows", "section", "slider", "table",
           "write"]

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
.numbers td{font-variant-numeric:tabular-nums}td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
figure{margin:0}figcaption{color:var(--pale);font-size:13px}
.main img{max-width:100%;height:auto}.strip{display:flex;flex-wrap:wrap;gap:12px}.small img{width:220px;height:auto}
code{font:13px ui-monospace,monospace;color:var(--pale)}
.note{color:var(--pale);font-size:13px}ul{margin:4px 0;padding-left:20px}
a{color:inherit}figure.drawn img{background:#fff;border-radius:6px;max-width:100%}
pre{margin:0;white-space:pre-wrap;font:13px/1.4 ui-monospace,monospace}pre.command{padding:4px 0;overflow-wrap:anywhere}
details>summary{cursor:pointer;color:var(--pale);margin:8px 0}
.bar{display:inline-block;height:10px;background:#4a7ebb;border-radius:2px}
.pair{display:flex;flex-wrap:wrap;gap:16px}.pair figure{flex:1 1 320px;max-width:640px;min-width:0}
.pair img{max-width:100%;height:auto}
.control{display:flex;align-items:center;gap:12px;margin:12px 0 0}.control input{flex:1;min-width:0;max-width:560px}
.control output{min-width:84px;font-variant-numeric:tabular-nums}.control button{font:inherit;min-width:64px}
[hidden]{display:none}
@media(max-width:600px){main{padding:12px 8px 32px}section{padding:12px}th{white-space:normal}.small img{width:46%}
.drawn{overflow-x:auto}.drawn img{max-width:none!important;width:720px}}
"""

SCRIPT = """
for (const box of document.querySelectorAll('.slider')) {
  const range = box.querySelector('input'), said = box.querySelector('output'), play = box.querySelector('button');
  const labels = JSON.parse(box.dataset.labels);
  let timer = 0;
  const show = () => {
    for (const frames of box.querySelectorAll('.frames'))
      Array.from(frames.children).forEach((picture, i) => { picture.hidden = i !== Number(range.value); });
    said.textContent = labels[range.value];
    range.setAttribute('aria-valuetext', labels[range.value]);
  };
  const stop = () => { clearInterval(timer); timer = 0; play.textContent = 'play'; };
  const next = () => { if (range.value === range.max) stop(); else { range.value = Number(range.value) + 1; show(); } };
  range.addEventListener('input', () => { stop(); show(); });
  play.addEventListener('click', () => {
    if (timer) { stop(); return; }
    if (range.value === range.max) range.value = 0;
    show();
    timer = setInterval(next, 400);
    play.textContent = 'stop';
  });
  show();
}
"""


class Markup(str):
    """Text that is HTML already."""


def write(path, title: str, parts, style: str = "") -> str:
    """Write the page: its title, then `parts` (HTML) in their order. style: CSS beside the common one. Returns the path."""
    text = ("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>{html.escape(title)}</title><style>{STYLE}{style}</style><main><h1>{html.escape(title)}</h1>"
            + "\n".join(parts) + "</main>" + (f"<script>{SCRIPT}</script>" if any(SLIDER in part for part in parts) else "")
            + "</html>\n")
    with atomic_write(path) as file:
        file.write(text.encode(errors="backslashreplace"))  # a folder's name may be no UTF-8
    return os.fspath(path)


def section(name: str, content: str) -> Markup:
    """A card with a heading."""
    return Markup(f"<section><h2>{html.escape(name)}</h2>{content}</section>")


def code(text: str) -> Markup:
    """A command line in a paragraph of its own; nothing for no text."""
    return Markup(f"<p class=command><code>{html.escape(text)}</code></p>" if text else "")


def details(name: str, content: str) -> Markup:
    """Content that is folded until its name is clicked."""
    return Markup(f"<details><summary>{html.escape(name)}</summary>{content}</details>")


def link(target: str, text: str | None = None) -> Markup:
    """A link to a file or folder beside the page; target: its path from there, with /."""
    return Markup(f"<a href='{html.escape(urllib.parse.quote(target))}'>{html.escape(target if text is None else text)}</a>")


def note(text: str) -> Markup:
    """A small paragraph."""
    return Markup(f"<p class=note>{html.escape(text)}</p>")


def cell(value) -> Markup:
    """A value as HTML: a Markup as it is, a dict as a table, a list with spaces between, a float in six digits, a text of several
    lines line for line, None as nothing."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, dict):
        return table(value)
    if isinstance(value, float):
        return Markup(f"{value:.6g}")
    if isinstance(value, (list, tuple)):
        return Markup(html.escape(" ".join(str(item) for item in value)))
    text = html.escape("" if value is None else str(value))
    return Markup(f"<pre>{text}</pre>" if "\n" in text else text)


def table(values: dict) -> Markup:
    """Names and values, a row for each; a dict in it is a table in its cell."""
    return Markup("<table>" + "".join(f"<tr><th>{html.escape(str(name))}<td>{cell(value)}" for name, value in values.items())
                  + "</table>")


def rows(head, lines, *, right=(), names=False) -> Markup:
    """A table with a head. lines: sequences of values, as many as in the head; cells as `cell` writes them.

    right: numbers of the columns of figures, aligned at the right. names: the first cell of each line is the name of the row."""
    def one(i, value):
        return f"<th>{cell(value)}" if names and i == 0 else f"<td{' class=n' if i in right else ''}>{cell(value)}"

    return Markup("<table class=numbers><tr>" + "".join(f"<th>{cell(name)}" for name in head)
                  + "".join("<tr>" + "".join(one(i, value) for i, value in enumerate(line)) for line in lines) + "</table>")


def bars(shares: dict, width: int = 300) -> Markup:
    """Shares by name, a row for each: its name, a bar of `width` pixels for the largest, per cent."""
    largest = max([*shares.values(), 1e-9])
    return Markup("<table>" + "".join(
        f"<tr><th>{html.escape(str(name))}<td><span class=bar style='width:{width * share / largest:.0f}px'></span>"
        f"<td class=n>{100 * share:.1f} %" for name, share in shares.items()) + "</table>")


def figure(picture, alt: str, caption: str = "", kind: str = "main") -> Markup:
    """A picture inside the page: the path of a PNG or GIF file, or what `save_png` takes.

    kind: "main" over the width, "small", or "drawn" (ink on white, as matplotlib draws: it keeps its white on a dark page)."""
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return Markup(f"<figure class={kind}>{_image(picture, alt)}{below}</figure>")


SLIDER = "<div class=slider"


def slider(series: dict, labels, caption: str = "", beside: dict | None = None) -> Markup:
    """Pictures that a slider leads through: by mouse, finger or arrow keys, or played. The last one is shown at first.

    series: {name: pictures}, columns side by side that move together; each has one picture for each of the labels, as `figure`
    takes them. labels: what the slider says at each place, "step 500". beside: {name: picture}, columns that stand still."""
    labels = [str(label) for label in labels]
    if not series or not labels or any(len(pictures) != len(labels) for pictures in series.values()):
        raise ValueError(f"slider: {len(labels)} labels, but {[len(pictures) for pictures in series.values()]} pictures")
    columns = "".join(
        "<figure><div class=frames>" + "".join(_image(picture, f"{name}, {label}", "" if i == len(labels) - 1 else " hidden")
                                               for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)))
        + f"</div><figcaption>{html.escape(name)}</figcaption></figure>" for name, pictures in series.items())
    columns += "".join(figure(picture, name, name) for name, picture in (beside or {}).items())
    last = len(labels) - 1
    control = (f"<div class=control><button type=button>play</button><input type=range min=0 max={last} step=1 value={last} "
               f"aria-label='{html.escape(', '.join(series))}: which step'><output>{html.escape(labels[-1])}</output></div>")
    return Markup(f"{SLIDER} data-labels='{html.escape(json.dumps(labels))}'><div class=pair>{columns}</div>{control}"
                  f"{note(caption) if caption else ''}</div>")


def _image(picture, alt: str, more: str = "") -> str:
    """<img> with the picture inside. more: further attributes."""
    kind = "png"
    if isinstance(picture, (str, os.PathLike)):
        kind = "gif" if os.fspath(picture).lower().endswith(".gif") else "png"
        with open(picture, "rb") as file:
            data = file.read()
    else:
        memory = io.BytesIO()
        pillow(picture).save(memory, "PNG")
        data = memory.getvalue()
    return f"<img alt='{html.escape(alt)}' src='data:image/{kind};base64,{base64.b64encode(data).decode()}'{more}>"
