"""python -m gan batchnorm: batch norm has two modes, and the wrong one is a silent fault.

In training each map is divided by the statistics of its batch, in use by saved ones. Shows the spread of activations and gradients
through 20 layers with and without batch norm; then trains a classifier and a generator of digits with it and uses both in the wrong
mode: the accuracy at batch sizes from 2 to 128, mixed or sorted by class; an attack of one step whose gradient comes from the wrong
mode; and what the generator draws from one and the same latent in different company.
"""

from __future__ import annotations

import contextlib

import numpy as np

import minigrad as mg
from gan.commands.helpers.short_game import Rules, play
from gan.critics import Critic
from gan.generate import mode
from minigrad import command, data, nn
from minigrad import functional as F
from minigrad.nn import init
from minigrad.pictures import make_grid, new_figure, save_png
from minigrad.random import Stream, Streams
from minigrad.words import percent, table, write_json
from nets.classifiers import LeNet
from nets.generators.dcgan import Generator
from nets.training import fit

LAYERS, WIDTH, SIZES, JUDGED, SIZE = 20, 256, (2, 4, 8, 16, 32, 64, 128), 1024, 16


def main(argv=None):
    text = command.doc(__doc__, __file__)
    parser = command.Parser("gan batchnorm", text, steps=600, run=False, takes="20 seconds", examples=["", "--data mnist --seed 3"])
    parser.add_argument("--epsilon", type=command.LEVEL, default=0.1, help="size of the attack's step, of pixels in [0, 1]")
    parser.add_argument("--out", type=command.path, default="batchnorm.png", metavar="FILE",
                        help="the picture; FILE with .json holds the numbers")
    o = parser.parse(argv)
    train, test = (data.load_labelled(o.data, train=t, size=SIZE, limit=20_000 if t else JUDGED, download=o.download)
                   for t in (True, False))
    depth = {name: through_depth(train.normalised()[:WIDTH], norm, std, o.seed)
             for name, norm, std in (("N(0, 0.02)", False, 0.02), ("He", False, None), ("N(0, 0.02), batch norm", True, 0.02))}
    classifier = trained_classifier(train, o)
    right, wrong = accuracies(classifier, test)
    attack = attacked(classifier, test, o.epsilon)
    rows = drawn_by_a_generator(train, o)

    worst = wrong["mixed"][SIZES[0]]
    print(table(["batch", "accuracy, mixed", "sorted by class", "attack's success"],
                [["saved statistics (any batch)", percent(right, 1), percent(right, 1), percent(attack["saved"], 1)],
                 *([f"batch statistics, {n}", *(percent(v[n], 1) for v in (wrong["mixed"], wrong["sorted"], attack))]
                   for n in SIZES)]))
    print(f"in the wrong mode and a batch of {SIZES[0]} the classifier is right on {percent(worst, 1)} instead of "
          f"{percent(right, 1)}")
    print("picture:", save_png(o.out, drawn(depth, right, wrong, attack, rows, o)))
    write_json(o.out.rpartition(".")[0] + ".json", {
        "spread": {name: {"activations": a, "gradients": g} for name, (a, g) in depth.items()}, "accuracy": right,
        "accuracy, batch statistics": {kind: {str(n): v for n, v in each.items()} for kind, each in wrong.items()},
        "success of the attack": {str(n): v for n, v in attack.items()}})


def through_depth(images, norm, std, seed):
    """(standard deviation of the activations after each layer, and of the loss's gradient there) at the first weights.

    std: of the weights, None for He's sqrt(2 / width)."""
    x, rng = mg.tensor(images.reshape(len(images), -1)), Stream(seed, "depth")
    seen, into = [], x.shape[1]
    for _ in range(LAYERS):
        layer = nn.Linear(into, WIDTH, bias=False, rng=rng)
        init.normal_(layer.weight, 0.0, np.sqrt(2 / into) if std is None else std, rng=rng)
        x = layer(x)
        x = F.relu(nn.BatchNorm1d(WIDTH)(x) if norm else x)
        seen.append(x)
        into = WIDTH
    gradients = mg.grad((x * mg.tensor(rng.normal(x.shape))).sum(), seen)
    return [float(a.detach().numpy().std()) for a in seen], [float(g.numpy().std()) for g in gradients]


def trained_classifier(train, o):
    streams = Streams(o.seed)
    classifier = LeNet(train.x.shape[1], len(train.classes), SIZE, 16, rng=streams["classifier"])
    batches = data.DataLoader(train, 64, shuffle=True, drop_last=True, rng=streams["batches"]).forever()
    return fit(classifier, lambda x, y, step: F.cross_entropy(classifier(mg.tensor(x)), mg.tensor(y)), batches, o.steps)


@contextlib.contextmanager
def batch_statistics(network, chosen=True):
    """Inside, batch norm alone is in training mode (dropout is not), and what it saved is put back after."""
    norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    saved = [{name: b.numpy().copy() for name, b in norm.named_buffers()} for norm in norms]
    was = [norm.training for norm in norms]
    for norm in norms:
        norm.training = chosen
    try:
        yield network
    finally:
        for norm, training, buffers in zip(norms, was, saved, strict=True):
            norm.training = training
            for name, b in norm.named_buffers():
                b.assign_(buffers[name])


def answers(classifier, images, batch):
    with mg.no_grad():
        return np.concatenate([classifier(mg.tensor(images[i : i + batch])).numpy().argmax(1)
                               for i in range(0, len(images), batch)])


def accuracies(classifier, test):
    """(accuracy with saved statistics, {"mixed" or "sorted": {batch: accuracy with the batch's own}})."""
    images, labels = test.normalised(), test.y
    right = float((answers(classifier, images, 128) == labels).mean())
    wrong = {}
    for kind, order in (("mixed", np.arange(len(labels))), ("sorted", np.argsort(labels, kind="stable"))):
        with batch_statistics(classifier):
            wrong[kind] = {n: float((answers(classifier, images[order], n) == labels[order]).mean()) for n in SIZES}
    return right, wrong


def attacked(classifier, test, epsilon):
    """{batch, or "saved": share of the rightly seen pictures that one step of an attack turns}.

    The step is x + 2 epsilon sign(dL/dx), clipped (Goodfellow et al. 2015, equation 1; pixels lie in [-1, 1]). The gradient comes
    from batches of that size with their own statistics, or from the saved ones; the success is always that on the classifier as
    it is used."""
    images, labels = test.normalised(), test.y
    seen, success = answers(classifier, images, 128) == labels, {}
    for batch in ("saved", *SIZES):
        size = 128 if batch == "saved" else batch
        with batch_statistics(classifier, batch != "saved"):
            changed = []
            for i in range(0, len(images), size):
                x = mg.tensor(images[i : i + size], requires_grad=True)
                (g,) = mg.grad(F.cross_entropy(classifier(x), mg.tensor(labels[i : i + size])), [x])
                changed.append(np.clip(images[i : i + size] + np.float32(2 * epsilon) * np.sign(g.numpy()), -1, 1))
        success[batch] = float((answers(classifier, np.concatenate(changed), 128) != labels)[seen].mean())
    return success


def drawn_by_a_generator(train, o):
    """{what: ten pictures}: the same ten latents with saved statistics, in batches of 128 and of 2, among their copies, and with
    statistics that nobody saved."""
    streams, rules = Streams(o.seed), Rules(rate=1e-3, generator_rate=1e-3, gamma=0.1)
    generator = Generator(SIZE, train.x.shape[1], rules.latent, 32, rng=streams["generator"])
    critic = Critic(SIZE, train.x.shape[1], 32, rng=streams["critic"])
    batches = data.DataLoader(train, rules.batch, shuffle=True, drop_last=True, rng=streams["data"]).forever()
    for _ in play(generator, critic, batches, 2 * o.steps, rules, streams):
        pass
    few, others = (Stream(o.seed, name).normal((n, rules.latent)) for name, n in (("few", 10), ("others", 118)))

    def draw(latents):
        with mg.no_grad():
            return generator(mg.tensor(latents)).numpy()

    with mode(generator, False):
        rows = {"saved statistics, as it should be": draw(few)}
        with batch_statistics(generator):
            rows["batch statistics, among 128"] = draw(np.concatenate([few, others]))[:10]
            rows["batch statistics, two by two"] = np.concatenate([draw(few[i : i + 2]) for i in range(0, 10, 2)])
            rows["each among 127 copies of itself"] = np.concatenate([draw(np.repeat(z[None], 128, 0))[:1] for z in few])
        for norm in generator.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.reset_running_stats()
        rows["statistics that nobody saved"] = draw(few)
    return rows


def drawn(depth, right, wrong, attack, rows, o) -> np.ndarray:
    figure, draw = new_figure(14.4, 8.6)
    figure.suptitle(f"batch norm: statistics of the batch in training, saved ones in use ({o.data}, {SIZE} pixels, seed {o.seed})",
                    fontsize=13)
    top, below = figure.subfigures(2, 1, height_ratios=(1, 1.05))
    first, second, third = top.subplots(1, 3)
    for (name, (spread, gradient)), colour in zip(depth.items(), ("C3", "C1", "C0"), strict=True):
        first.plot(range(1, LAYERS + 1), spread, color=colour, marker="o", markersize=3, label=f"weights {name}")
        first.plot(range(1, LAYERS + 1), gradient, color=colour, linestyle=":", linewidth=1.5)
    first.set(yscale="log", xlabel="layer", ylabel="standard deviation",
              xticks=(1, 5, 10, 15, 20),
              title="through 20 layers, at the first weights:\nactivations, and gradients (dotted)")
    for kind, colour in (("mixed", "C0"), ("sorted", "C3")):
        second.plot(SIZES, [100 * wrong[kind][n] for n in SIZES], color=colour, marker="o", markersize=4,
                    label="batch statistics, " + ("mixed batches" if kind == "mixed" else "sorted by class"))
    second.axhline(100 * right, color="0.3", linestyle="--", label="saved statistics")
    second.set(ylim=(0, 103), ylabel="accuracy, %", title="a classifier in the wrong mode")
    third.plot(SIZES, [100 * attack[n] for n in SIZES], color="C0", marker="o", markersize=4, label="gradient by batch statistics")
    third.axhline(100 * attack["saved"], color="0.3", linestyle="--", label="gradient by saved statistics")
    third.set(ylabel="pictures turned, %", ylim=(0, None),
              title=f"an attack of one step, epsilon {o.epsilon:g},\ntried on the classifier as it is used")
    for axes in (second, third):
        axes.set_xscale("log", base=2)
        axes.set_xticks(SIZES, [str(n) for n in SIZES])
        axes.set_xlabel("batch size")
    for axes in (first, second, third):
        axes.title.set_fontsize(11)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    axes = below.subplots()
    axes.imshow(make_grid(np.concatenate(list(rows.values())), columns=10, scale=4, padding=4))
    cell = SIZE * 4 + 4
    axes.set_yticks([4 + cell * (i + 0.45) for i in range(len(rows))], list(rows), fontsize=11)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("one generator, the same ten latents: what it draws depends on the mode, and then on the company", fontsize=11)
    return draw()
