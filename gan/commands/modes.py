"""python -m gan modes RUN --judge RUN: how many of the 1,000 combinations of stacked digits does a generator draw?

RUN is one of gan dcgan on stacked-mnist (three digits as red, green and blue). A classifier of single digits looks at each colour
for itself; a combination counts as a mode that is found when one sample shows it. Printed are the modes and the Kullback-Leibler
divergence of their shares from equal ones, in nats, beside what real pictures score through the same classifier and what as many
perfectly drawn samples would score, (1,000 - 1)/(2 N). The usual number of samples is 26,000 (VEEGAN, PacGAN).

Published, VEEGAN's and PacGAN's tables: DCGAN 99 modes / 3.40, VEEGAN 150 / 2.95, PacDCGAN2 1,000 / 0.06.
"""

from __future__ import annotations

import numpy as np

from gan.generate import generate, trained_generator
from gan.metrics import fingerprint, stacked_modes
from gan.metrics.modes import floor
from gan.metrics.stacked import SAMPLES, read_stack
from minigrad import command, data
from minigrad.random import Stream
from minigrad.run import Run
from minigrad.words import percent, table, write_json
from nets.classifiers import trained

DATA = "stacked-mnist"


def main(argv=None):
    parser = command.Parser("gan modes", command.doc(__doc__, __file__), data=None, steps=None, run=False, takes="6 seconds",
                            examples=["runs/dcgan-0001 --judge runs/classifier-0001"])
    parser.add_argument("run", type=command.path, metavar="RUN", help=f"a run of gan dcgan --data {DATA}")
    parser.add_argument("--judge", type=command.path, required=True, metavar="RUN", help="a run of nets classifier --data mnist")
    parser.add_argument("--count", type=command.TWO, default=SAMPLES, help="samples to draw")
    o = parser.parse(argv)
    run, other = Run.open(o.run), Run.open(o.judge)
    if run.config["data"].partition(":")[0] != DATA:
        raise ValueError(f"{o.run} was trained on {run.config['data']}; modes are counted on --data {DATA}")
    generator, classifier = trained_generator(run), trained(other)
    if (other.config["channels"], other.config["size"]) != (1, run.config["size"]):
        raise ValueError(f"--judge {o.judge} sees {other.config['size']} pixels in {other.config['channels']} channels; the digits "
                         f"of {o.run} have {run.config['size']} in one")
    latents, labels = Stream(o.seed, "modes"), []
    for start in range(0, o.count, 2000):  # 26,000 pictures at once would take a gigabyte
        images = generate(generator, latents.normal((min(2000, o.count - start), run.config["latent"])))
        labels.append(read_stack(classifier, images))
    test = data.load(DATA, train=False, size=run.config["size"], limit=min(o.count, 10_000))
    real = read_stack(classifier, test.normalised())
    right = float((real @ (100, 10, 1) == test.y).mean())
    (modes, kl), (real_modes, real_kl) = stacked_modes(np.concatenate(labels)), stacked_modes(real)
    result = {"samples": o.count, "modes": modes, "kl": kl, "floor_of_kl": floor(o.count, 1000),
              "real": {"samples": len(real), "modes": real_modes, "kl": real_kl, "floor_of_kl": floor(len(real), 1000)},
              "judge": f"{other.name}-{fingerprint(classifier)}",
              "judge_accuracy_of_three": right}
    write_json(run.file("modes.json"), result)
    print(f"{run.path}, step {run.step}, judged by {other.path} (all three digits right on {percent(right, 2)} of real pictures)")
    print(table(["", "samples", "modes of 1,000", "KL, nats", "floor of KL"],
                [["generated", f"{o.count:,}", f"{modes:,}", f"{kl:.3f}", f"{result['floor_of_kl']:.3f}"],
                 ["real, test set", f"{len(real):,}", f"{real_modes:,}", f"{real_kl:.3f}", f"{floor(len(real), 1000):.3f}"]]))
