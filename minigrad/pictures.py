"""Pictures for people: grids, sheets of originals and results, curves, bars, tables of shares; PNG and GIF files.

    make_grid  pictures in rows and columns
    columns    rows of small pictures, one column for each sample, captions below
    stacked    such sheets one below the other
    equation   picture + magnified perturbation = picture
    heat       a table of shares with its numbers in the cells
    lines      curves with axes and a legend
    spans      a line from least to largest for each name, a dot at the median
    bars       shares of many things side by side, with marks for what others measured
    save_png, save_gif   any of these to a file, atomically

`make_grid` and the files take pictures (N, C, H, W) or (C, H, W) with C = 1 or 3: uint8 as they are, or floats with -1 black and 1
white. The sheets take uint8 that `colour` made of samples in [0, 1]. Each function that draws returns one picture, uint8
(H, W, 3). Texts in red mark what fooled the network. `new_figure` is the one place that makes a matplotlib figure.

Imports: PIL (when called), matplotlib (when called), numpy, checkpoint.
"""

from __future__ import annotations

import os

import numpy as np

from minigrad.checkpoint import atomic_write

INK, RED, PALE = (20, 24, 30), (190, 20, 30), (110, 116, 126)


# ---- grids and files


def to_uint8(images) -> np.ndarray:
    """uint8 of the same shape: floats from [-1, 1] to 0..255, rounded to nearest, clipped; NaN becomes 0."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise TypeError(f"to_uint8: pictures must be uint8 or floats in [-1, 1], got {images.dtype}")
    scaled = np.nan_to_num(np.asarray(images, np.float32) * 127.5 + 127.5, nan=0.0, posinf=255.0, neginf=0.0)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def make_grid(images, columns: int | None = None, *, padding: int = 2, scale: int | None = None, labels=None,
              background: int = 255) -> np.ndarray:
    """One picture uint8 (H, W, 3) of all `images` (N, C, H, W), row by row.

    columns: default the smallest square. padding: pixels between pictures (after scaling). scale: nearest-neighbour
    magnification; default so that a picture is at least 56 px tall. labels: N strings written under the pictures."""
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise ValueError(f"make_grid: images must be (N, C, H, W) with N >= 1 and C = 1 or 3, got {images.shape}")
    n, _, height, width = images.shape
    columns = int(np.ceil(np.sqrt(n))) if columns is None else columns
    scale = max(1, -(-56 // height)) if scale is None else scale
    if columns < 1 or scale < 1 or padding < 0:
        raise ValueError(f"make_grid: needs columns >= 1, scale >= 1, padding >= 0; got {columns}, {scale}, {padding}")
    if labels is not None and len(labels) != n:
        raise ValueError(f"make_grid: {n} images but {len(labels)} labels")
    columns = min(columns, n)
    rows = -(-n // columns)
    pixels = np.broadcast_to(to_uint8(images), (n, images.shape[1], height, width))
    pixels = np.repeat(pixels, 3, axis=1) if images.shape[1] == 1 else pixels.copy()
    if images.dtype.kind == "f":
        broken = np.isnan(images).any(axis=1)
        for channel, value in enumerate((255, 0, 255)):
            pixels[:, channel][broken] = value
    height, width = height * scale, width * scale
    pixels = pixels.repeat(scale, axis=2).repeat(scale, axis=3)
    line = 14 if labels is not None else 0
    grid = np.full((padding + rows * (height + line + padding), padding + columns * (width + padding), 3), background,
                   np.uint8)
    for i in range(n):
        top = padding + (i // columns) * (height + line + padding)
        left = padding + (i % columns) * (width + padding)
        grid[top:top + height, left:left + width] = pixels[i].transpose(1, 2, 0)
    return grid if labels is None else _write_labels(grid, labels, columns, height, width, padding, line)


def _write_labels(grid, labels, columns, height, width, padding, line):
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(grid)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    for i, label in enumerate(labels):
        text = str(label)
        while len(text) > 1 and draw.textlength(text, font=font) > width:
            text = text[:-2] + "…" if len(text) > 2 else text[:1]
        x = padding + (i % columns) * (width + padding) + width / 2
        y = (i // columns + 1) * (height + line + padding) - line / 2
        draw.text((x, y), text, fill=(0, 0, 0), font=font, anchor="mm")
    return np.asarray(picture)


def save_png(path, image) -> str:
    """Write a picture as PNG, atomically: a PIL image, an array uint8 (H, W, 3) or (H, W), or a picture (C, H, W) or
    several (N, C, H, W), which become a grid. Returns the path."""
    picture = pillow(image)
    with atomic_write(path) as file:
        picture.save(file, "PNG")
    return os.fspath(path)


def save_gif(path, frames, *, milliseconds: int = 80, loop: bool = True) -> str:
    """Write pictures (each as in `save_png`, all of one size) as an animated GIF, atomically. Returns the path."""
    pictures = [pillow(frame) for frame in frames]
    if not pictures or len({picture.size for picture in pictures}) > 1:
        raise ValueError(f"save_gif: needs one or more frames of one size, got {[p.size for p in pictures][:5]}")
    with atomic_write(path) as file:
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=milliseconds,
                         **({"loop": 0} if loop else {}))
    return os.fspath(path)


def pillow(image):
    """A PIL image of whatever `save_png` takes; ValueError for anything else."""
    from PIL import Image

    if isinstance(image, Image.Image):
        return image
    image = np.asarray(image)
    if image.ndim == 4 or image.ndim == 3 and image.shape[2] != 3 and image.shape[0] in (1, 3):
        image = make_grid(image, **({"padding": 0, "scale": 1} if image.ndim == 3 else {}))
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.ndim == 3 and image.shape[2] != 3 or not image.size:
        raise ValueError(f"a picture must be uint8 (H, W, 3) or (H, W), or (C, H, W), or (N, C, H, W) for a grid, with "
                         f"C = 1 or 3; got {image.dtype} {image.shape}")
    return Image.fromarray(np.ascontiguousarray(image))


# ---- samples as pixels


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
    figure, draw = new_figure(1.6 + 0.62 * k + wide, 1.5 + 0.55 * len(rows))
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
    figure, draw = new_figure(6.2 * len(panels) + 0.3, 4.4)
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
    figure, draw = new_figure(9.0, 1.4 + 0.3 * len(values))
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
    figure, draw = new_figure(9.6, 1.3 + groups * max(0.5, 0.17 * len(series)))
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


def new_figure(width, height):
    """(figure, function that renders it to uint8 (H, W, 3)): no pyplot, no global state, no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)

    def draw():
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    return figure, draw
