"""python -m gan translate RUN PICTURE...: pictures of your own through the translators of a run of gan cyclegan.

A folder stands for the pictures in it. Each is cropped to a square in its middle, made as large as the run's pictures, translated
and translated back, and written as one row: before, after, back again. About a second for each.
"""

from __future__ import annotations

import os
from collections import Counter

import numpy as np

from minigrad import command
from minigrad.kinds import RunError, require
from minigrad.pictures import make_grid, save_png
from minigrad.run import Run
from nets.commands.helpers.own_pictures import files_of, squares
from nets.generators.cyclegan import ResnetGenerator
from nets.generators.draw import in_batches


def main(argv=None):
    parser = command.Parser("gan translate", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            takes="1 second for a picture",
                            examples=["runs/cyclegan-0001 photo.jpg", "runs/cyclegan-0001 folder --to a --out pictures"])
    parser.add_argument("run", type=command.path, metavar="RUN", help="the folder of a run of gan cyclegan")
    parser.add_argument("images", type=command.path, metavar="PICTURE", nargs="+", help="pictures, or folders of pictures")
    parser.add_argument("--to", choices=["a", "b"], default="b", help="which kind they shall become: the first or the second")
    parser.add_argument("--out", type=command.path, metavar="FOLDER", help="where to write (default: RUN/translated)")
    o = parser.parse(argv)
    run = Run.open(o.run)
    there, back = translators(run, o.to)
    files = [file for given in o.images for file in files_of(given)]
    before = squares(files, run.config["size"], run.config["channels"])
    after = in_batches(there, there, before, 10)
    again = in_batches(back, back, after, 10)
    folder = o.out or run.file("translated")
    os.makedirs(folder, exist_ok=True)
    taken = Counter()
    for file, rows in zip(files, np.stack([before, after, again], 1), strict=True):
        name = os.path.splitext(os.path.basename(file))[0]
        taken[name] += 1  # two folders may have pictures of one name
        number = f"-{taken[name]}" if taken[name] > 1 else ""
        print(file, "->", save_png(os.path.join(folder, f"{name}{number}.png"), make_grid(rows, 3)))


def translators(run, to):
    """(the way to kind `to`, the way back), of a finished or unfinished run."""
    require(run.path, "gan cyclegan")
    if run.restored is None or not {"g", "f"} <= set(run.restored):
        raise RunError(run.path, "holds no checkpoint of a CycleGAN; give a run of `python -m gan cyclegan`")
    c, found = run.config, []
    for name in ("g", "f"):
        network = ResnetGenerator(c["channels"], c["channels"], c["width"], c["blocks"], c["resize"])
        network.load_state_dict(run.restored[name])
        found.append(network.eval())
    return found if to == "b" else found[::-1]
