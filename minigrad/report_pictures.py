"""The pictures of a run in its report: samples over time behind a slider, sheets that belong to no step, and moving pictures.

`Run.image` names them: NAME_000500.png of step 500, NAME.png of none.

Imports: numpy, page, pictures.
"""

from __future__ import annotations

import os
import re

import numpy as np

from minigrad import page
from minigrad.pictures import make_grid, save_png

__all__ = ["LATEST", "development", "found", "keep"]

LATEST = "latest.png"  # a copy of the newest sample, for an open picture viewer
CAPTIONS = {"real": "real pictures, for comparison",
            "a_to_b": "a to b: a picture, its translation, and that translated back",
            "b_to_a": "b to a: a picture, its translation, and that translated back",
            "before_and_after": "before and after, side by side: photographs that were never trained on, and what became of them",
            "copies": "copies: above a picture, below it what came through the code",
            "nearest": "above: drawn pictures; below each: the picture of the training set that is nearest to it"}
FRAMES = 40  # of a slider: so many pictures keep the page below some ten megabytes


def keep(run_path, step: int | None, image, name: str, grid: dict, shown: list) -> tuple[str, str]:
    """Write a picture, as `Run.image` says -> (its path, what to tell or ""). shown: the names so far, which grow by new ones."""
    path, latest = (os.path.join(run_path, "samples", file) for file in (
        f"{name}.png" if step is None else f"{name}_{step:06d}.png", LATEST))
    image = image.numpy() if hasattr(image, "numpy") else image
    if isinstance(image, np.ndarray) and image.ndim == 4:
        image = make_grid(image, **grid)
    elif grid:
        raise ValueError(f"Run.image: {', '.join(grid)} need pictures (N, C, H, W)")
    save_png(path, image)
    if step is None:
        return path, ""
    new = name not in shown
    if new:
        shown.append(name)
    if name == shown[0]:
        save_png(latest, image)
    return path, f"picture: {path}" + (f" (the newest is always {latest})" if len(shown) == 1 else "") if new else ""


def found(run_path) -> tuple[dict, dict]:
    """({series: [(step, path)] in order of step}, {name: path} of pictures that belong to no step)."""
    folder = os.path.join(run_path, "samples")
    series, others = {}, {}
    for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        path = os.path.join(folder, entry)
        if not os.path.isfile(path) or entry == LATEST:
            continue
        if match := re.fullmatch(r"(.+)_(\d{6,})\.png", entry):
            series.setdefault(match[1], []).append((int(match[2]), path))
        elif re.fullmatch(r"[^.].*\.(png|gif)", entry):
            others[entry.removesuffix(".png")] = path  # walk.png is "walk", walk.gif keeps its ending
    return {name: sorted(pairs) for name, pairs in series.items()}, others


def development(run_path) -> dict:
    """{heading: HTML}. Series that were drawn at the same steps move together."""
    series, others = found(run_path)
    together: dict[tuple, list[str]] = {}
    for name, pairs in series.items():
        together.setdefault(tuple(step for step, _ in pairs), []).append(name)
    sections, real = {}, {caption("real"): others.pop("real")} if "real" in others else {}
    for steps, names in sorted(together.items(), key=lambda item: -len(item[0])):
        if len(steps) > 1:
            chosen = spread(range(len(steps)), FRAMES)
            sections[f"While it learned: {', '.join(map(words, names))}"] = page.slider(
                {caption(name): [series[name][i][1] for i in chosen] for name in names}, [f"step {steps[i]:,}" for i in chosen],
                "Move the slider, or use the arrow keys once it is chosen." + (
                    "" if len(chosen) == len(steps) else f" {len(chosen)} of {len(steps)} pictures; all lie in samples/."),
                beside=real)
            real = {}
        else:
            for name in names:
                sections[words(name)] = page.figure(series[name][0][1], name, f"after step {steps[0]:,}" if steps[0] else "")
    if real:  # no slider to stand beside
        others = {"real": next(iter(real.values())), **others}
    if others:
        sections["More pictures"] = page.Markup("<div class=pair>" + "".join(
            page.figure(path, words(name), caption(name)) for name, path in others.items()) + "</div>")
    return sections


def caption(name: str) -> str:
    """What is said below a picture, or a series of them."""
    if name in CAPTIONS:
        return CAPTIONS[name]
    return f"{words(name.removesuffix('.gif'))}, moving" if name.endswith(".gif") else words(name)


def words(name: str) -> str:
    """The name of a series as words."""
    return name.replace("_", " ")


def spread(items, count: int) -> list:
    """At most `count` of them, evenly spread, the first and the last among them."""
    items = list(items)
    if len(items) <= count:
        return items
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
