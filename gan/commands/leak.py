"""python -m gan leak: why the discriminator's ReLU leaks.

A unit of plain ReLU that is below 0 for every sample passes no gradient: it is dead, and stays so, and the generator behind it is
blind in that direction. With a leak its slope there is small but not 0. Draws leaky ReLU and its slope; then trains the critic of a
game in the plane with a high rate, once for each leak from the same seed, and counts, on 4,096 real and 4,096 generated samples,
the units that are below 0 for all of them (silent) and those that pass no gradient at all (dead).
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan import losses
from gan.toys import Generator, Truth, perceptron
from minigrad import command, data, nn, optim
from minigrad import functional as F
from minigrad.pictures import new_figure, save_png
from minigrad.random import Stream, Streams
from minigrad.words import percent, table, write_json

SLOPES, WIDTH, DEPTH, BATCH, JUDGED = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5), 64, 3, 128, 4096


def main(argv=None):
    text = command.doc(__doc__, __file__)
    parser = command.Parser("gan leak", text, data="ring", steps=600, run=False, takes="10 seconds",
                            examples=["", "--rate 0.05 --seed 3"])
    parser.add_argument("--rate", type=command.POSITIVE, default=0.02,
                        help="Adam's learning rate of the critic: high, so that units die")
    parser.add_argument("--out", type=command.path, default="leak.png", metavar="FILE",
                        help="the picture; FILE with .json holds the numbers")
    o = parser.parse(argv)
    truth = Truth(o.data)
    found = {slope: trained(truth, slope, o) for slope in SLOPES}
    print(table(["slope", "silent units", "dead units", "|dD/dx| at fakes", "loss of D, last tenth"],
                [[f"{slope:g}", percent(r["silent"]), percent(r["dead"]), f"{r['gradient']:.3g}", f"{r['loss']:.3f}"]
                 for slope, r in found.items()]))
    print("picture:", save_png(o.out, drawn(found, o)))
    write_json(o.out.rpartition(".")[0] + ".json", {str(slope): r for slope, r in found.items()})


def trained(truth, slope, o) -> dict:
    """Shares of silent and dead units after a game with this slope, and the gradient that passes to the generator's samples."""
    loss, streams = losses.non_saturating, Streams(o.seed)
    generator = Generator(2, WIDTH, DEPTH, rng=streams["generator"])
    critic = perceptron(2, WIDTH, DEPTH, 1, slope=slope, rng=streams["critic"])
    batches = data.DataLoader(truth.samples / np.float32(truth.scale), BATCH, shuffle=True, drop_last=True,
                              rng=streams["data"]).forever()
    adam_g = optim.Adam(generator.parameters(), 1e-3, betas=(0.5, 0.9))
    adam_d = optim.Adam(critic.parameters(), o.rate, betas=(0.5, 0.9))
    seen = []
    for _ in range(o.steps):
        fake = generator(mg.tensor(streams["latent"].normal((BATCH, 2))))
        loss_d = loss.discriminator(critic(mg.tensor(next(batches)[0])), critic(fake.detach()))
        adam_d.zero_grad()
        loss_d.backward()
        adam_d.step()
        critic.requires_grad_(False)
        adam_g.zero_grad()
        loss.generator(critic(fake)).backward()
        adam_g.step()
        critic.requires_grad_(True)
        seen.append(loss_d.item())
    with mg.no_grad():
        fake = generator(mg.tensor(Stream(o.seed, "judged").normal((JUDGED, 2)))).numpy()
    both = np.concatenate([truth.samples[:JUDGED] / np.float32(truth.scale), fake])
    silent = silent_units(critic, both)
    x = mg.tensor(fake, requires_grad=True)
    (g,) = mg.grad(critic(x).sum(), [x])
    return {"silent": silent, "dead": dead_units(critic, both),
            "gradient": float(np.linalg.norm(g.numpy(), axis=1).mean()), "loss": float(np.mean(seen[-max(1, o.steps // 10):]))}


def silent_units(network, x) -> float:
    """The share of all hidden units that are at most 0 before their activation for every row of x."""
    quiet = []
    with mg.no_grad():
        x = mg.tensor(x)
        for layer in network:
            if isinstance(layer, nn.LeakyReLU):
                quiet.append((x.numpy() <= 0).all(0))
            x = layer(x)
    return float(np.concatenate(quiet).mean())


def dead_units(network, x) -> float:
    """The share of all hidden units whose bias gets a gradient of exactly 0 from the logits of x, which no rounding would do."""
    biases = [layer.bias for layer in network if isinstance(layer, nn.Linear)][:-1]
    gradients = mg.grad(network(mg.tensor(x)).sum(), biases)
    return float(np.concatenate([g.numpy() == 0 for g in gradients]).mean())


def drawn(found, o) -> np.ndarray:
    figure, draw = new_figure(13.6, 4.4)
    axis = np.linspace(-3, 3, 601)
    left, middle, right = (figure.add_subplot(1, 3, i) for i in (1, 2, 3))
    for slope, colour in ((0.0, "C3"), (0.2, "C0")):
        x = mg.tensor(axis, requires_grad=True)
        y = F.leaky_relu(x, slope)
        (g,) = mg.grad(y.sum(), [x])
        name = f"leak {slope:g}" if slope else "ReLU (leak 0)"
        left.plot(axis, y.detach().numpy(), color=colour, linewidth=2, label=name)
        middle.plot(axis, g.numpy(), color=colour, linewidth=2, label=name)
    left.set_title("max(x, slope x)", fontsize=11)
    middle.set_title("its derivative: below 0 the leak is all that passes", fontsize=11)
    for axes in (left, middle):
        axes.set_xlabel("x, what comes into the unit")
        axes.legend(frameon=False, fontsize=10)
    place = np.arange(len(found))
    right.bar(place - 0.2, [100 * r["silent"] for r in found.values()], 0.38, color="0.7", label="silent: below 0 for every sample")
    right.bar(place + 0.2, [100 * r["dead"] for r in found.values()], 0.38, color="C3", label="dead: no gradient passes")
    right.set_xticks(place, [f"{slope:g}" for slope in found])
    right.set_xlabel("slope of the leak in the critic")
    right.set_ylabel("hidden units, %")
    right.set_title(f"a critic after {o.steps} steps ({o.data}, rate {o.rate:g})", fontsize=11)
    right.legend(frameon=False, fontsize=9)
    for axes in figure.axes:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return draw()
