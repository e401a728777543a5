"""python -m gan toogood: a discriminator that is too good teaches nothing, if the loss is minimax.

A generator stands still, and discriminators are trained against it, far beyond what a game would allow: one on the log loss, one as
a Wasserstein critic with a gradient penalty. From time to time the gradient that would reach the generator is measured: of the
minimax and the non-saturating loss through the same discriminator, of the Wasserstein loss through the critic. (Arjovsky & Bottou
2017, figures 2 and 3.)
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan import losses, penalties
from gan.toys import perceptron
from minigrad import command, data, inputs, nn, optim
from minigrad.pictures import new_figure, save_png
from minigrad.random import Streams
from minigrad.words import table, write_json

SIZE, WIDTH, DEPTH, BATCH = 16, 128, 3, 128
NAMES = {"minimax": "C3", "non_saturating": "C0", "wasserstein": "C2"}


def main(argv=None):
    text = command.doc(__doc__, __file__)
    parser = command.Parser("gan toogood", text, steps=1000, run=False, takes="7 seconds",
                            examples=["", "--data mnist --seed 3"])
    parser.add_argument("--out", type=command.path, default="toogood.png", metavar="FILE",
                        help="the picture; FILE with .json holds the numbers")
    o = parser.parse(argv)
    pictures = inputs.images(o, size=SIZE, limit=10_000)
    real = pictures.normalised().reshape(len(pictures), -1)
    marks = sorted({round(mark) for mark in np.geomspace(1, o.steps, 20)})
    norms, accuracy = {}, []
    for game, shown in (("non_saturating", ("minimax", "non_saturating")), ("wasserstein", ("wasserstein",))):
        found, right = against_a_frozen_generator(real, game, shown, marks, o)
        norms |= found
        accuracy = accuracy or right
    falls = {name: max(values) / values[-1] for name, values in norms.items()}
    print(table(["loss", "gradient norm at G, step 1", "largest", f"step {o.steps}", "largest / last"],
                [[name, *(f"{v:.3g}" for v in (norm[0], max(norm), norm[-1], falls[name]))] for name, norm in norms.items()]))
    print(f"the discriminator of the log loss is right on {100 * accuracy[-1]:.2f} % of real and fake samples")
    print("picture:", save_png(o.out, drawn(marks, norms, accuracy, o)))
    write_json(o.out.rpartition(".")[0] + ".json", {"steps": marks, "norms": norms, "accuracy": accuracy, "largest / last": falls})


def against_a_frozen_generator(real, game, shown, marks, o):
    """({loss: norm at each mark}, accuracy at each mark) of a discriminator trained on `game` alone."""
    streams = Streams(o.seed)  # the same generator and the same batches for every game
    pixels, latent = real.shape[1], 64
    generator = nn.Sequential(perceptron(latent, WIDTH, 2, pixels, slope=0.0, rng=streams["init"]), nn.Tanh())
    critic = nn.Sequential(perceptron(pixels, WIDTH, DEPTH, 1, rng=streams["init"]), nn.Flatten(0))
    batches = data.DataLoader(real, BATCH, shuffle=True, drop_last=True, rng=streams["data"]).forever()
    adam = optim.Adam(critic.parameters(), 5e-4, betas=(0.5, 0.9))
    test = mg.tensor(streams["test"].normal((512, latent)))
    norms, accuracy = {name: [] for name in shown}, []
    for step in range(1, o.steps + 1):
        x = mg.tensor(next(batches)[0])
        with mg.no_grad():
            fake = generator(mg.tensor(streams["latent"].normal((BATCH, latent))))
        total = getattr(losses, game).discriminator(critic(x), critic(fake))
        if game == "wasserstein":
            total = total + penalties.gradient_penalty(critic, x, fake, streams["place"]) * 10
        adam.zero_grad()
        total.backward()
        adam.step()
        if step in marks:
            for name in shown:
                norms[name].append(reaching(generator, critic, getattr(losses, name), test))
            with mg.no_grad():
                accuracy.append(float(((critic(x).numpy() > 0).mean() + (critic(generator(test)).numpy() < 0).mean()) / 2))
    return norms, accuracy


def reaching(generator, critic, loss, latents) -> float:
    """The length of the gradient of the generator's loss by all of its parameters."""
    own = list(generator.parameters())
    gradients = mg.grad(loss.generator(critic(generator(latents))), own)
    return float(np.sqrt(sum((g.numpy().astype(np.float64) ** 2).sum() for g in gradients)))


def drawn(marks, norms, accuracy, o) -> np.ndarray:
    figure, draw = new_figure(12.4, 4.8)
    figure.suptitle(f"a generator that stands still, discriminators trained against it ({o.data}, {SIZE} pixels)", fontsize=12)
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    for name, colour in NAMES.items():
        left.plot(marks, norms[name], color=colour, marker="o", markersize=4, label=name.replace("_", "-").replace("wass", "Wass"))
    left.set_yscale("log")
    left.set_ylabel("norm of the gradient at the generator's parameters")
    right.plot(marks, [100 * a for a in accuracy], color="0.3", marker="o", markersize=4)
    right.axhline(50, color="0.8", linewidth=1)
    right.set_ylim(45, 101)
    right.set_ylabel("accuracy of the log loss's discriminator, %")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("steps of the discriminator, the generator frozen")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=10)
    return draw()
