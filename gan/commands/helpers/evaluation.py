"""What `gan evaluate` shows: a table in the terminal, and a page with the pictures that belong to its numbers."""

from __future__ import annotations

import numpy as np

from gan.metrics.ladder import ROWS
from gan.metrics.modes import floor
from minigrad import page
from minigrad.pictures import make_grid
from minigrad.words import histogram, percent, table

STYLE = ".numbers td:nth-child(2){font-weight:600}"  # the samples' own column
SEES = {  # what a number is blind for, or what to do about it, in the page's last column
    "frechet_distance": "means and covariances of the judge's features: quality and variety together; not memorising",
    "kernel_distance": "the same with all moments up to the third; unbiased, so it suits few samples",
    "classifier_score": "sure answers, all classes equally often; not variety inside a class",
    "confidence": "how sure the judge is; a collapsed generator may score best",
    "entropy": "whether all classes come equally often",
    "precision": "samples that lie among real pictures: quality",
    "recall": "real pictures that lie among samples: variety",
    "density": "as precision, without the weight of outliers; may exceed 1",
    "coverage": "as recall, without the weight of outliers",
    "two_sample": "can the nearest neighbour tell? 1 for sets apart, below 0.5 for copies",
    "sliced": "pixels only: blur and noise at their scale; no network",
    "sharpness": "edges only: below 1 blurred, above 1 noisy",
    "duplicates": "the birthday test: does the generator repeat itself?",
    "memorisation": "median distance to the nearest training picture, held-out pictures 1: 0 for copies",
}


def cells(result) -> tuple[list, list]:
    """(head, rows of texts): a column for each set of pictures, a row for each number."""
    numbers = result["numbers"]
    rows = [[row.name, *(_cell(found.get(row.key), row.digits) for found in numbers.values()), row.best] for row in ROWS
            if any(row.key in found for found in numbers.values())]
    return ["", *numbers, "best"], rows


def extras(result) -> dict:
    """The numbers that only some generators or data have, in words."""
    path = result["path_length"]
    found = {"path length": f"{path['of_real']:.2f} times the mean squared distance of two real pictures, {path['length']:.4g} on "
             f"the judge's features ({path['pairs']} pairs, epsilon {path['epsilon']:g}); straight ways between pictures as "
             "varied as the real ones would score 1"}
    if "stacked" in result:
        mine, real = result["stacked"], result["stacked_real"]
        found["stacked digits"] = f"{mine['modes']} of {mine['of']} modes, KL {mine['kl']:.3f}, of {mine['samples']} samples " \
            f"(as many real stacks: {real['modes']}, {real['kl']:.3f}; theory {floor(mine['samples'], mine['of']):.3f})"
    if "rules" in result:
        mine, real = result["rules"], result["rules_real"]
        kinds = ", ".join(f"{kind} {percent(mine[kind])}" for kind in ("number", "border", "form", "grey"))
        found["rule broken"] = f"{percent(mine['any'])} of the samples ({kinds}); of real pictures {percent(real['any'])}"
    if "inception" in result:
        true, mine, real = (result["inception"][key] for key in ("pictures", "samples", "real"))
        found["FID, KID"] = f"{mine['fid']:.2f}, {mine['kid']:.5f} (real against real {real['fid']:.2f}, {real['kid']:.5f}; " \
            f"{true} pictures on either side; weights {result['inception']['weights']})"
    return found


def terminal(run, other, result) -> str:
    """The whole evaluation in letters."""
    accuracy, against = result["judge_test_accuracy"], result["floor_train_test"]
    known = "" if accuracy is None else f" ({percent(accuracy, 2)} on the test set)"
    tested = "" if against is None else f", {against:.2f} test against train"
    few = f" (only {result['test_images']} test images)" if tested and result["test_images"] < result["compared"] else ""
    head, rows = cells(result)
    return "\n".join([
        f"{run.path}, step {run.step}: {result['samples']} samples ({result['latents']}), judged by {other.path}{known}", "",
        table(head, rows, left=(0,)), "",
        f"  {result['metric']}  {result['frechet_distance']:.2f}   floor: {result['floor_train_train']:.2f} train against train"
        + tested + few,
        *(f"  {name}: {text}" for name, text in extras(result).items()),
        *([f"  {sure(result)}"] if "confidence" in result else []),
        *([f"  {percent(result['as_asked'], 1)} are taken for the class that was asked for"] if "as_asked" in result else []),
        *([histogram(result["histogram"], 100)] if "histogram" in result else [])])


def sure(result) -> str:
    """The judge's confidence in words."""
    return (f"mean confidence {result['confidence']:.3f} (real images {result['confidence_real']:.3f}); "
            f"{percent(result['confident'])} of the samples above 0.9")


def page_of(run, other, result, pictures) -> str:
    """Write RUN/evaluation.html; returns its path. pictures: "samples", "ladder" {name: some}, "twins" (2, n, C, H, W), "near"
    (samples, the training picture nearest to each)."""
    head, rows = cells(result)
    keys = {row.name: row.key for row in ROWS}
    ladder, (samples, copies) = pictures["ladder"], pictures["near"]
    confidence = {"confidence": sure(result)} if "confidence" in result else {}
    parts = [
        page.section("Every number, and what real pictures score",
                     page.rows(head, rows, names=True, right=tuple(range(1, len(head) - 1)))
                     + page.note(f"{result['metric']}; judge {other.path}. 'real' is the floor; the columns after it are real "
                                 "pictures spoilt in known ways. Between which of them do the samples lie?")),
        page.section("What each number sees", page.table({row[0]: SEES[keys[row[0]]] for row in rows})),
        page.section("Numbers of this generator", page.table(extras(result) | confidence)),
        _grid("Samples", pictures["samples"], 10, f"the first {len(pictures['samples'])}, not chosen"),
        _grid("The ladder", np.concatenate(list(ladder.values())), len(ladder["real"]), "a row for each: " + ", ".join(ladder)),
        _grid("Samples, and the training picture nearest to each", np.concatenate([samples, copies]), len(samples),
              "above samples, below the nearest training pictures by the judge's features: copies, or others?"),
        *([page.section("Classes", page.rows(["class", "share of the samples"], [
            [name, percent(share)] for name, share in result["histogram"].items()], right=(1,)))] if "histogram" in result else []),
        page.section("To see it again",
                     page.code(f"python -m gan evaluate {run.path} --judge {other.path} --count {result['samples']}"))]
    if pictures["twins"].size:
        parts.insert(5, _grid("The nearest pairs of samples", np.concatenate(list(pictures["twins"])), pictures["twins"].shape[1],
                              "a pair in each column: the same picture twice, or two that are only alike?"))
    return page.write(run.file("evaluation.html"), f"How good is {run.name}? Step {run.step}", parts, STYLE)


def _grid(title, images, columns, caption):
    return page.section(title, page.figure(make_grid(images, columns), title, caption))


def _cell(value, digits) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{round(value, digits) + 0.0:,.{digits}f}"  # no -0.00
