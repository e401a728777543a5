"""python -m gan collapse: only one digit. A generator that draws the same thing always, and what each remedy makes of it.

The game is made to collapse: the generator has no batch norm, learns ten times as fast as the discriminator, and Adam's first
beta is its usual 0.9, not DCGAN's 0.5. Then the same game is played again from the same seed, with the same pictures in the same
order, once with each remedy and nothing else changed; at the end with the cause removed. A small classifier (trained here, or that
of --judge) says which digits are drawn: their shares, and the entropy of these, log 10 = 2.30 for ten equal ones. (In the plane,
where modes can be counted, `gan toy` takes the same remedies as options.)
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan.commands.helpers.short_game import Rules, play
from gan.critics import Critic
from gan.generate import generate
from gan.metrics.classes import class_report
from gan.metrics.judge import judge
from minigrad import command, data, nn
from minigrad import functional as F
from minigrad.pictures import make_grid, new_figure, save_png
from minigrad.progress import Progress
from minigrad.random import Stream, Streams
from minigrad.run import Run
from minigrad.words import percent, table, write_json
from nets.classifiers import LeNet, trained
from nets.generators.dcgan import Generator
from nets.training import fit

COLLAPSING = dict(rate=2e-4, generator_rate=2e-3, beta1=0.9)
REMEDIES = {
    "no remedy": {},
    "minibatch stddev, groups of 4": dict(stddev=4),
    "packing, 4 together": dict(pack=4),
    "unrolling, 3 steps": dict(unroll=3),
    "Wasserstein, gradient penalty 10,\n5 steps of the critic": dict(loss="wasserstein", gradient_penalty=10.0, critic_steps=5),
    "R1 of weight 1": dict(gamma=1.0),
    "relativistic pairing": dict(loss="relativistic"),
    "relativistic pairing with R1": dict(loss="relativistic", gamma=1.0),
    "spectral norm": dict(spectral_norm=True),
    "instance noise 0.5": dict(noise=0.5),
    "cause removed: equal rates, beta 0.5": dict(rate=5e-4, generator_rate=5e-4, beta1=0.5),
}
JUDGED, SHOWN = 1000, 16


def main(argv=None):
    text = command.doc(__doc__, __file__)
    parser = command.Parser("gan collapse", text, steps=1500, run=False,
                            takes="2 minutes", examples=["", "--seed 3", "--data mnist --judge runs/classifier-0001"])
    parser.add_argument("--size", type=command.COUNT, default=16, help="pixels of the pictures")
    parser.add_argument("--width", type=command.COUNT, default=16, help="maps next to the image, in both players")
    parser.add_argument("--judge", type=command.path, metavar="RUN", help="a run of nets classifier on the same data and size; "
                        "default: a small one is trained first")
    parser.add_argument("--out", type=command.path, default="collapse.png", metavar="FILE",
                        help="the picture; FILE with .json holds the numbers")
    o = parser.parse(argv)
    train, test = (data.load_labelled(o.data, train=t, size=o.size, limit=20_000 if t else JUDGED, download=o.download)
                   for t in (True, False))
    classifier = chosen_judge(o, train)
    found, bar = {}, Progress(0, len(REMEDIES) * o.steps)
    for name, changed in REMEDIES.items():
        rules = Rules(**{**COLLAPSING, **changed})
        pictures = played(rules, train, o, bar)
        found[name] = {**class_report(judge(classifier, pictures)[1]), "pictures": pictures[:SHOWN]}
    bar.close()
    real = class_report(judge(classifier, test.normalised())[1])

    print(table(["from the same seed", "entropy", "largest share", "confidence"],
                [[name.replace("\n", " "), f"{r['entropy']:.2f}", percent(max(r["histogram"])), f"{r['confidence']:.2f}"]
                 for name, r in {"real pictures": real, **found}.items()]))
    plain = found["no remedy"]
    best = max((name for name in REMEDIES if REMEDIES[name].keys().isdisjoint({"rate"})), key=lambda n: found[n]["entropy"])
    print(f"without a remedy {percent(max(plain['histogram']))} of the samples are one digit (entropy {plain['entropy']:.2f} of "
          f"{np.log(len(train.classes)):.2f}); with {best.replace(chr(10), ' ')}: {found[best]['entropy']:.2f}")
    print("picture:", save_png(o.out, drawn(found, real, train.classes, o)))
    write_json(o.out.rpartition(".")[0] + ".json", {
        "real": real, "games": {name.replace("\n", " "): {what: value for what, value in r.items() if what != "pictures"}
                                for name, r in found.items()}})


def chosen_judge(o, train):
    """The classifier of --judge, or a small one that is trained now."""
    if o.judge:
        run = Run.open(o.judge)
        if (run.config["data"], run.config["size"]) != (o.data, o.size):
            raise ValueError(f"--judge {o.judge} was trained on {run.config['data']} of {run.config['size']} pixels; this needs "
                             f"{o.data} of {o.size}")
        return trained(run)
    streams = Streams(o.seed)
    network = LeNet(train.x.shape[1], len(train.classes), o.size, 16, rng=streams["judge"])
    batches = data.DataLoader(train, 64, shuffle=True, drop_last=True, rng=streams["judge's data"]).forever()
    return fit(network, lambda x, y, step: F.cross_entropy(network(mg.tensor(x)), mg.tensor(y)), batches, min(o.steps, 600))


def played(rules, train, o, bar) -> np.ndarray:
    """JUDGED pictures of a generator without batch norm after a game of `rules`."""
    streams, channels = Streams(o.seed), train.x.shape[1]
    generator = Generator(o.size, channels, rules.latent, o.width, rng=streams["generator"])
    for place, layer in enumerate(generator.main):
        if isinstance(layer, nn.BatchNorm2d):
            generator.main[place] = nn.Identity()
    critic = Critic(o.size, channels, o.width, packed=rules.pack, group=rules.stddev, spectral=rules.spectral_norm,
                    rng=streams["critic"])
    batches = data.DataLoader(train, rules.batch, shuffle=True, drop_last=True, rng=streams["data"]).forever()
    for _ in play(generator, critic, batches, o.steps, rules, streams):
        bar.update(bar.step + 1)
    return generate(generator, Stream(o.seed, "judged").normal((JUDGED, rules.latent)))


def drawn(found, real, classes, o) -> np.ndarray:
    """A row for each game: a strip of samples, the shares of the classes, their entropy and the largest."""
    figure, draw = new_figure(14.6, 1.2 + 0.7 * len(found))
    figure.suptitle(f"a game that was made to collapse, and each remedy from the same seed ({o.data}, {o.size} pixels, {o.steps:,} "
                    f"steps, seed {o.seed})\nno batch norm in the generator, its rate ten times the other's, Adam's beta 0.9",
                    fontsize=12)
    rows = figure.subplots(len(found), 2, width_ratios=(4.6, 1.6), squeeze=False)
    for (left, right), (name, r) in zip(rows, found.items(), strict=True):
        left.imshow(make_grid(r["pictures"], columns=SHOWN, padding=2))
        left.set_yticks([left.get_ylim()[0] / 2], [name], fontsize=11)
        left.set_xticks([])
        left.tick_params(length=0)
        left.spines[:].set_visible(False)
        right.bar(range(len(classes)), [100 * share for share in r["histogram"]], color="C3" if name == "no remedy" else "C0")
        right.axhline(100 / len(classes), color="0.3", linewidth=0.8, linestyle=":")
        right.set(ylim=(0, 100), yticks=[], xticks=range(len(classes)))
        right.set_xticklabels(classes if name == list(found)[-1] and max(map(len, classes)) == 1 else [])
        right.tick_params(length=0)
        right.spines[["top", "right", "left"]].set_visible(False)
        right.text(1.02, 0.5, f"entropy {r['entropy']:.2f}\nlargest {percent(max(r['histogram']))}",
                   transform=right.transAxes, va="center", fontsize=10)
    rows[0, 1].set_title(f"share of each class (dotted: equal);\nreal pictures' entropy {real['entropy']:.2f}", fontsize=10)
    return draw()
