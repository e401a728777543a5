"""python -m gan translate RUN PICTURE...: pictures of your own through the translators of a run of gan cyclegan or gan cartoon.

A folder stands for the pictures in it. Each is cropped to a square in its middle, made as large as the run's pictures, translated,
and written as one row: before, after and, with the two translators of gan cyclegan, back again. About a second for each.
"""

from __future__ import annotations

import os
from collections import Counter

import numpy as np

from minigrad import command
from minigrad.kinds import RunError, kind_of, require
from minigrad.pictures import make_grid, save_png
from minigrad.run import Run
from nets.commands.helpers.own_pictures import files_of, squares
from nets.generators.cartoon import CartoonGenerator
from nets.generators.cyclegan import ResnetGenerator
from nets.generators.draw import in_batches


def main(argv=None):
    parser = command.Parser("gan translate", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            takes="1 second for a picture",
                            examples=["runs/cyclegan-0001 photo.jpg", "runs/cyclegan-0001 folder --to a --out pictures",
                                      "runs/cartoon-0001 holidays"])
    parser.add_argument("run", type=command.path, metavar="RUN", help="the folder of a run of gan cyclegan or gan cartoon")
    parser.add_argument("images", type=command.path, metavar="PICTURE", nargs="+", help="pictures, or folders of pictures")
    parser.add_argument("--to", choices=["a", "b"], default="b", help="which kind they shall become: the first or the second; a "
                        "run of gan cartoon has one way only, to cartoons, b")
    parser.add_argument("--out", type=command.path, metavar="FOLDER", help="where to write (default: RUN/translated)")
    o = parser.parse(argv)
    run = Run.open(o.run)
    ways = translators(run, o.to)
    files = [file for given in o.images for file in files_of(given)]
    rows = [squares(files, run.config["size"], run.config["channels"])]
    for way in ways:
        rows.append(in_batches(way, way, rows[-1], 10))
    folder = o.out or run.file("translated")
    os.makedirs(folder, exist_ok=True)
    taken = Counter()
    for file, row in zip(files, np.stack(rows, 1), strict=True):
        name = os.path.splitext(os.path.basename(file))[0]
        taken[name] += 1  # two folders may have pictures of one name
        number = f"-{taken[name]}" if taken[name] > 1 else ""
        print(file, "->", save_png(os.path.join(folder, f"{name}{number}.png"), make_grid(row, len(rows))))


def translators(run, to) -> list:
    """[the way to kind `to`, the way back] of a run of gan cyclegan, [the way to cartoons] of one of gan cartoon."""
    require(run.path, "gan cyclegan", "gan cartoon")
    c, held = run.config, run.restored or {}
    if kind_of(run.path) == "gan cartoon":
        if to == "a":
            raise ValueError("--to a: a run of gan cartoon makes cartoons of photographs, and there is no way back")
        networks = {"generator": CartoonGenerator(c["channels"], c["width"], c["blocks"], c["resize"])}
    else:
        networks = {name: ResnetGenerator(c["channels"], c["channels"], c["width"], c["blocks"], c["resize"])
                    for name in ("gf" if to == "b" else "fg")}
    if not set(networks) <= set(held):
        raise RunError(run.path, "holds no checkpoint of a translator; give a run of `python -m gan cyclegan` or of `python -m gan "
                       "cartoon`")
    for name, network in networks.items():
        network.load_state_dict(held[name])
    return [network.eval() for network in networks.values()]
