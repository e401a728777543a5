"""One self-contained HTML page: a shell, sections, tables, figures, and one style for all of them.

The page opens offline: pictures lie inside it (base64), there are no scripts and no network. Everything that comes from outside
is escaped; only a `Markup` is taken as it is.

    page.write("report.html", "A title", [page.section("Result", page.table({"accuracy": 0.98}))])

Imports: checkpoint, pictures.
"""

from __future__ import annotations

import base64
import html
import io
import os

from minigrad.checkpoint import atomic_write
from minigrad.pictures import pillow

__all__ = ["STYLE", "Markup", "cell", "figure", "rows", "section", "table", "write"]

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
"""


class Markup(str):
    """Text that is HTML already."""


def write(path, title: str, parts, style: str = "") -> str:
    """Write the page: its title, then `parts` (HTML) in their order. style: CSS beside the common one. Returns the path."""
    text = ("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>{html.escape(title)}</title><style>{STYLE}{style}</style><main><h1>{html.escape(title)}</h1>"
            + "\n".join(parts) + "</main></html>\n")
    with atomic_write(path) as file:
        file.write(text.encode(errors="backslashreplace"))  # a folder's name may be no UTF-8
    return os.fspath(path)


def section(name: str, content: str) -> Markup:
    """A card with a heading."""
    return Markup(f"<section><h2>{html.escape(name)}</h2>{content}</section>")


def code(text: str) -> Markup:
    """A command line in a paragraph of its own; nothing for no text."""
    return Markup(f"<p class=command><code>{html.escape(text)}</code></p>" if text else "")


def note(text: str) -> Markup:
    """A small paragraph."""
    return Markup(f"<p class=note>{html.escape(text)}</p>")


def cell(value) -> Markup:
    """A value as HTML: a Markup as it is, a dict as a table, a list with spaces between, a float in six digits, None as nothing."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, dict):
        return table(value)
    if isinstance(value, float):
        return Markup(f"{value:.6g}")
    if isinstance(value, (list, tuple)):
        return Markup(html.escape(" ".join(str(item) for item in value)))
    return Markup(html.escape("" if value is None else str(value)))


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


def figure(picture, alt: str, caption: str = "", kind: str = "main") -> Markup:
    """A picture inside the page: the path of a PNG file, or what `save_png` takes. kind: "main" over the width, or "small"."""
    if isinstance(picture, (str, os.PathLike)):
        with open(picture, "rb") as file:
            data = file.read()
    else:
        memory = io.BytesIO()
        pillow(picture).save(memory, "PNG")
        data = memory.getvalue()
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return Markup(f"<figure class={kind}><img alt='{html.escape(alt)}' src='{source}'>{below}</figure>")
