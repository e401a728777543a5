"""Curves of a run: panels with names on both axes, each series pale as it is and smoothed, the values of theory dashed.

Names in one panel share their first word: "loss_d" and "loss_g" are of the group "loss". A name with a stroke, "gradient_d/conv1",
belongs to a family, which has a panel of its own, on a scale of powers of ten, apart from the main curves.

Imports: matplotlib (when called), pictures.
"""

from __future__ import annotations

import re

from minigrad import pictures

__all__ = ["FEW", "UNITS", "draw", "smooth"]

UNITS = {  # what stands at the vertical axis, by the first word of a name
    "loss": "loss", "nats": "nats", "probability": "probability", "batch": "share", "test": "share", "probe": "share",
    "modes": "clusters", "high": "share", "reverse": "nats", "gradient_d": "length of the gradient",
    "gradient_g": "length of the gradient", "error": "mean squared error", "agreement": "share", "transfer": "share",
    "target": "probability", "fooled": "share", "back": "distance", "partner": "distance", "rank": "median rank",
    "alpha": "share of the new level", "pixels": "pixels", "augmented": "share", "health": "beside what is usual",
    "clear": "share", "content": "distance", "balance": "ratio",
}
EXACT = ("alpha", "pixels")  # of a schedule: nothing to smooth
FEW = 20  # values are drawn as they are, with dots; more of them are smoothed
TITLES = {"probability": "what D thinks: the probability of being real",
          "gradient_d": "gradients of the discriminator, layer by layer",
          "gradient_g": "gradients of the generator, layer by layer", "health": "the numbers of the diagnosis"}


def draw(path, series: dict, *, families: bool = False, references: dict | None = None, title: str = "") -> str | None:
    """Write the panels to `path`; returns it, or None where there is nothing to draw.

    series: {name: (steps, values)}. families: those with a stroke in their names, else the others.
    references: {name: (value, text, why)}, a dashed line in the colour of the series (`terms.references`)."""
    groups: dict[str, list[str]] = {}
    for name in series:
        if ("/" in name) == families:
            groups.setdefault(re.split(r"/" if families else r"_", name, maxsplit=1)[0], []).append(name)
    if not groups:
        return None
    columns = min(len(groups), 2)
    rows = -(-len(groups) // columns)
    figure, finished = pictures.new_figure(6.2 * columns, 3.4 * rows + 0.4)
    if title:
        figure.suptitle(title, fontsize=13)
    for index, (group, names) in enumerate(groups.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        for number, name in enumerate(names):
            _line(axes, *series[name], name.rpartition("/")[2], f"C{number % 10}")
            if references and name in references:
                value, text, _ = references[name]
                axes.axhline(value, color=f"C{number % 10}", linewidth=1, linestyle="--", alpha=0.8)
                axes.annotate(text, (1, value), xycoords=("axes fraction", "data"), xytext=(-2, 2), textcoords="offset points",
                              ha="right", fontsize=8, color=f"C{number % 10}")
        _dress(axes, group, names, families)
    return pictures.save_png(path, finished())


def _line(axes, steps, values, name: str, colour: str) -> None:
    if name in EXACT:
        axes.plot(steps, values, color=colour, linewidth=1.8, label=name)
    elif len(values) > FEW:
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(steps, smooth(values, 1 - 1 / max(2, len(values) / 40)), color=colour, linewidth=1.8, label=name)
    else:
        axes.plot(steps, values, color=colour, linewidth=1.8, marker="o", markersize=3.5, label=name)


def _dress(axes, group: str, names, families: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(TITLES.get(group, group if len(names) > 1 else names[0]), fontsize=11)
    axes.set_xlabel("step")
    axes.set_ylabel(UNITS.get(group, ""))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    if families:
        axes.set_yscale("log", nonpositive="clip")
    else:
        axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=9)


def smooth(values, weight: float):
    """Exponential moving average without the pull of its start: sum_i w^(n-i) v_i / sum_i w^(n-i)."""
    out, mean, norm = [], 0.0, 0.0
    for value in values:
        norm = weight * norm + 1
        mean += (value - mean) / norm  # in this form a constant stays exactly constant
        out.append(mean)
    return out
