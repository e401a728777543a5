"""Pictures of attacks for people: sheets of originals, perturbations and results; the sum of the lecture's panda; tables.

    columns   rows of small pictures, one column for each sample, captions below
    stacked   such sheets one below the other
    equation  picture + magnified perturbation = picture
    heat      a table of shares with its numbers in the cells
    lines     curves with axes and a legend
    spans     a line from least to largest for each name, a dot at the median
    bars      shares of many things side by side, with marks for what others measured

Samples are arrays (N, C, H, W) in [0, 1] with C = 1 or 3; every function returns one picture, uint8 (H, W, 3), for
`Run.image` or `save_png`. Texts in red mark what fooled the network.

Imports: minigrad.data.images, NumPy; Pillow and matplotlib when called.
"""

from __future__ import annotations

import os

import numpy as np

from minigrad.data.images import to_uint8

INK, RED, PALE = (20, 24, 30), (190, 20, 30), (110, 116, 126)


class Caption(str):
    """A text below a picture; Caption(text, fooled=True) is written in red."""

    fooled = False

    def __new__(cls, text, fooled=False):
        new = super().__new__(cls, text)
        new.fooled = bool(fooled)
        return new


def colour(x) -> np.ndarray:
    """(N, C, H, W) in [0, 1] as uint8 (N, 3, H, W), rounded as a file rounds it."""
    x = np.asarray(x)
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"colour: samples must be pictures (N, C, H, W) with C = 1 or 3, got {x.shape}")
    return np.repeat(to_uint8(x.astype(np.float32) * 2 - 1), 3 // x.shape[1], axis=1)


def magnified(delta, factor=None):
    """(uint8 (N, 3, H, W), factor): perturbations made visible, by one factor for all.

    Colour pictures: 0.5 + factor * delta, so grey is no change. Grey ones: white is no change, red brighter, blue darker.
    factor: default so that the largest change is drawn in full."""
    delta = np.asarray(delta, np.float32)
    largest = float(np.abs(delta).max(initial=0.0))
    full = 1.0 if delta.shape[1] == 1 else 0.5
    if factor is None:
        factor = full / largest if largest else 1.0
    d = np.clip(delta * np.float32(factor), -full, full)
    if delta.shape[1] == 3:
        return colour(d + 0.5), factor
    up, down = np.maximum(d, 0), np.maximum(-d, 0)
    red, green, blue = 1 - down * 0.88, 1 - np.maximum(up * 0.9, down * 0.63), 1 - up * 0.85
    return colour(np.concatenate([red, green, blue], axis=1)), factor


def confidence(p: float, digits: int = 1) -> str:
    """A probability in per cent that is never rounded up to certainty: "> 99.9 %"."""
    most = 100 - 10.0**-digits
    return f"{100 * p:.{digits}f} %" if 100 * p <= most + 0.5 * 10.0**-digits else f"> {most:.{digits}f} %"


def times(factor: float) -> str:
    """The factor of a magnification, for captions."""
    return f"× {factor:.0f}" if factor >= 10 else f"× {factor:.2g}"


# ---- sheets


def columns(rows, names, captions, title="", cell: int = 104) -> np.ndarray:
    """Rows of pictures, one column for each sample.

    rows: arrays uint8 (N, 3, H, W). names: what stands before each row. captions: for each row N texts of one or more lines,
    or None. cell: least height and width of a picture in pixels; small ones are magnified by a whole factor."""
    rows = [np.asarray(row) for row in rows]
    n, _, height, width = rows[0].shape
    scale = max(1, -(-cell // max(height, width)))
    height, width, gap, size = height * scale, width * scale, 8, 13
    wide = max(width, 92)
    deep = [1 + max((text.count("\n") for text in texts), default=0) if texts else 0 for texts in captions]
    left = 14 + round(max(_width(line, size) for name in names for line in name.split("\n")))
    top = 16 + (24 if title else 0)
    whole = top + sum(height + gap + lines * (size + 4) for lines in deep) + 4
    total = max(left + n * (wide + gap) + 4, left + (_width(title, 16) if title else 0))
    picture, draw = _canvas(total, whole)
    if title:
        draw.text((left, 9), title, fill=INK, font=_font(16))
    y = top
    for row, name, texts, lines in zip(rows, names, captions, deep, strict=True):
        block = name.split("\n")
        for i, line in enumerate(block):
            draw.text((left - 10, y + height / 2 + (i - (len(block) - 1) / 2) * 17), line, fill=INK if i == 0 else PALE,
                      font=_font(size), anchor="rm")
        for i in range(n):
            x = left + i * (wide + gap)
            at = x + (wide - width) // 2
            draw.rectangle((at - 1, y - 1, at + width, y + height), outline=(222, 225, 230))
            _paste(picture, row[i], scale, at, y)
            if texts:
                _caption(draw, texts[i], x + wide / 2, y + height + 3, wide, size)
        y += height + gap + lines * (size + 4)
    return np.asarray(picture)


def stacked(sheets) -> np.ndarray:
    """Pictures uint8 (H, W, 3) one below the other, on white."""
    wide = max(sheet.shape[1] for sheet in sheets)
    return np.concatenate([np.pad(s, ((0, 0), (0, wide - s.shape[1]), (0, 0)), constant_values=255) for s in sheets])


def equation(pictures, captions, title="", cell: int = 320) -> np.ndarray:
    """picture + perturbation = result, side by side. pictures: three uint8 (3, H, W); captions: three texts of one or more
    lines, of which the first is the larger."""
    height, width = np.shape(pictures[0])[1:]
    scale = max(1, round(cell / max(height, width)))
    height, width, sign = height * scale, width * scale, 46
    deep = max(text.count("\n") for text in captions)
    top = 44 if title else 14
    picture, draw = _canvas(3 * width + 2 * sign + 28, top + height + 12 + 26 + deep * 21 + 8)
    if title:
        draw.text((14, 12), title, fill=INK, font=_font(17))
    for i, (pixels, text) in enumerate(zip(pictures, captions, strict=True)):
        x = 14 + i * (width + sign)
        _paste(picture, pixels, scale, x, top)
        for k, line in enumerate(text.split("\n")):
            fill = RED if getattr(text, "fooled", False) and k < 2 else INK if k < 2 else PALE
            size = 19 if k == 0 else 15
            draw.text((x + width / 2, top + height + 10 + (0 if k == 0 else 26 + (k - 1) * 21)),
                      _short(line, width + sign - 6, size), fill=fill, font=_font(size), anchor="ma")
        if i < 2:
            draw.text((x + width + sign / 2, top + height / 2), "+="[i], fill=INK, font=_font(34), anchor="mm")
    return np.asarray(picture)


def _paste(picture, pixels, scale, x, y):
    from PIL import Image

    pixels = np.asarray(pixels).repeat(scale, axis=1).repeat(scale, axis=2)
    picture.paste(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))), (round(x), round(y)))


def _caption(draw, text, x, y, width, size):
    for i, line in enumerate(text.split("\n")):
        fill = RED if getattr(text, "fooled", False) else INK
        draw.text((x, y + i * (size + 4)), _short(line, width + 6, size), fill=fill, font=_font(size), anchor="ma")


def _canvas(width, height):
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (round(width), round(height)), "white")
    return picture, ImageDraw.Draw(picture)


def _font(size: int):
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _width(text, size) -> float:
    return _font(size).getlength(text)


def _short(text, width, size):
    while len(text) > 2 and _width(text, size) > width:
        text = text[:-2].rstrip() + "…"
    return text


# ---- figures


def heat(values, names, title, across="target class", down="true class", rows=None) -> np.ndarray:
    """A table of shares (R, K) in [0, 1], drawn in colour with the numbers in per cent; NaN is left blank.

    names: of the columns; rows: of the rows, by default the same."""
    values, rows = np.asarray(values, float), names if rows is None else rows
    k = len(names)
    wide = 0.0 if rows is names else 2.2 + 0.08 * max(map(len, rows))
    figure, draw = _figure(1.6 + 0.62 * k + wide, 1.5 + 0.55 * len(rows))
    axes = figure.add_subplot()
    drawn = axes.imshow(np.ma.masked_invalid(values), vmin=0, vmax=1, cmap="OrRd", aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=10, color="white" if value > 0.6 else "black")
        else:
            axes.text(j, i, "–", ha="center", va="center", fontsize=10, color="0.6")
    longest = max(map(len, names))
    axes.set_xticks(range(k), names, rotation=45 if longest > 3 else 0, ha="right" if longest > 3 else "center")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(np.arange(k + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(across, fontsize=12)
    axes.set_ylabel(down, fontsize=12)
    axes.set_title(title, fontsize=12)
    bar = figure.colorbar(drawn, ax=axes, label="success, %", ticks=[0, 0.25, 0.5, 0.75, 1], fraction=0.05, pad=0.02)
    bar.ax.set_yticklabels(["0", "25", "50", "75", "100"])
    bar.outline.set_visible(False)
    return draw()


def lines(panels, title="") -> np.ndarray:
    """Panels of curves side by side: dicts of x, series {name: y or (y, low, high)}, across, down, and optionally log and
    percent (the y axis), logx, styles {name: options of plot}."""
    figure, draw = _figure(6.2 * len(panels) + 0.3, 4.4)
    if title:
        figure.suptitle(title, fontsize=13)
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        for number, (name, y) in enumerate(panel["series"].items()):
            y, *band = y if isinstance(y, tuple) else (y,)
            x = panel["x"][name] if isinstance(panel["x"], dict) else panel["x"]
            style = {"color": f"C{number}", "marker": "o" if len(x) <= 15 else None, **panel.get("styles", {}).get(name, {})}
            axes.plot(x, y, label=name, linewidth=1.9, markersize=4, **style)
            if band:
                axes.fill_between(x, *band, color=style["color"], alpha=0.15, linewidth=0)
        if panel.get("log"):
            axes.set_yscale("log")
        if panel.get("logx"):  # few points, far apart: each is a tick
            axes.set_xscale("log")
            axes.set_xticks(panel["x"], [f"{v:,.0f}" for v in panel["x"]], fontsize=9)
            axes.minorticks_off()
        if panel.get("percent"):
            axes.set_ylim(-3, 103)
        axes.set_xlabel(panel["across"], fontsize=11)
        axes.set_ylabel(panel["down"], fontsize=11)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=10)
    return draw()


def spans(values: dict, title, across, paler=()) -> np.ndarray:
    """For each name its numbers (N,), above 0: a line from the least to the largest, a thick one for the middle half, a dot at the
    median, on a logarithmic axis; the first name on top. Names in `paler` are drawn in grey."""
    figure, draw = _figure(9.0, 1.4 + 0.3 * len(values))
    axes = figure.add_subplot()
    for i, (name, v) in enumerate(values.items()):
        low, first, middle, third, high = np.quantile(v, (0, 0.25, 0.5, 0.75, 1))
        tint = "0.6" if name in paler else "C0"
        axes.plot([low, high], [i, i], color=tint, linewidth=1.3)
        axes.plot([first, third], [i, i], color=tint, linewidth=5, solid_capstyle="butt", alpha=0.6)
        axes.plot([middle], [i], "o", color=tint, markersize=6)
    axes.set_xscale("log")
    axes.set_yticks(range(len(values)), list(values), fontsize=10)
    axes.invert_yaxis()
    axes.set_xlabel(across, fontsize=11)
    axes.set_title(title, fontsize=12)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return draw()


def bars(names, series, title, across, marks=None, rule=None, digits=0, colours=("0.72", "C0", "C3")) -> np.ndarray:
    """Shares in [0, 1] as horizontal bars in per cent: a group for each name, a bar in it for each series {name: values}.

    names: the second line of one is written small. marks: {series: values}, drawn as a black stroke on that series' bars; NaN
    for none. rule: a line is drawn before the group of this number. digits: of the numbers beside the bars."""
    groups, each = len(names), 0.8 / len(series)
    figure, draw = _figure(9.6, 1.3 + groups * max(0.5, 0.17 * len(series)))
    axes = figure.add_subplot()
    place = np.arange(groups)
    for number, (name, values) in enumerate(series.items()):
        values, y = 100 * np.asarray(values, float), place + (number - (len(series) - 1) / 2) * each
        axes.barh(y, values, each * 0.92, color=colours[number % len(colours)], label=name)
        beside = values if marks is None or name not in marks else np.fmax(values, 100 * np.asarray(marks[name], float))
        for at, value, end in zip(y, values, beside, strict=True):
            if np.isfinite(value):
                axes.text(end + 0.8, at, f"{value:.{digits}f}", va="center", fontsize=8, color="0.25")
        if marks is not None and name in marks:
            top = 100 * np.asarray(marks[name], float)
            axes.plot(top, y, linestyle="", marker="|", markersize=17, markeredgewidth=2.4, color="black",
                      label="published" if number == 0 else None)
    if rule is not None:
        axes.axhline(rule - 0.5, color="0.3", linewidth=1.0)
    axes.set_yticks(place, [""] * groups)
    for at, name in zip(place, names, strict=True):
        first, _, second = name.partition("\n")
        axes.text(-1.5, at - (0.17 if second else 0), first, ha="right", va="center", fontsize=10)
        axes.text(-1.5, at + 0.2, second, ha="right", va="center", fontsize=7.5, color="0.4")
    axes.set_ylim(groups - 0.5, -0.5)
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel(across, fontsize=11)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(title, fontsize=12)
    figure.legend(loc="outside lower center", ncols=len(series) + (marks is not None), frameon=False, fontsize=10)
    return draw()


def _figure(width, height):
    """(figure, function that renders it to uint8 (H, W, 3)): no pyplot, no global state, no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)

    def draw():
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    return figure, draw
