"""python -m gan curve: does the loss say how good the samples are?

Two games on the same data from the same seed: the non-saturating GAN of 2014, and WGAN-GP. At 60 moments of each the losses stand
beside a measure of the samples that knows nothing of the discriminator: the sliced Wasserstein distance to 4,096 held-out points.
Prints Spearman's rank correlation of each loss with it over the run: 1 would be a loss that orders the moments as the quality does.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan import losses, penalties
from gan.metrics.sliced import sliced_wasserstein
from gan.toys import Critic, Generator, Truth
from minigrad import command, data, optim
from minigrad.pictures import new_figure, save_png
from minigrad.random import Stream, Streams
from minigrad.words import table, write_json

BATCH, MOMENTS, JUDGED = 128, 60, 4096
WARM = (25, 100)  # the generator's first steps, and the critic's before each of them (Arjovsky et al. 2017, section 4)
GAMES = {"GAN, non-saturating": ("non_saturating", 1, 1e-3, (0.5, 0.999)), "WGAN-GP": ("wasserstein", 10, 1e-3, (0.0, 0.9))}
SLOW = 0.3  # the generator's rate as a share of the discriminator's: the run shall show all of the way, not its end only


def main(argv=None):
    text = command.doc(__doc__, __file__)
    parser = command.Parser("gan curve", text, data="swissroll", steps=300, run=False,
                            takes="15 seconds",
                            examples=["", "--data grid --seed 3"])
    parser.add_argument("--out", type=command.path, default="curve.png", metavar="FILE",
                        help="the picture; FILE with .json holds the numbers")
    o = parser.parse(argv)
    truth = Truth(o.data)
    held_out = data.load(o.data, train=False).x[:JUDGED]
    games = {name: play(truth, held_out, o, *game) for name, game in GAMES.items()}
    found = {name: {which: spearman(records[which], records["distance"]) for which in ("loss of D", "loss of G")}
             for name, records in games.items()}
    print(table(["rank correlation with the distance", "loss of D", "loss of G", "distance: first", "least", "last"],
                [[name, *(f"{found[name][which]:+.2f}" for which in ("loss of D", "loss of G")),
                  *(f"{v:.3f}" for v in (records["distance"][0], min(records["distance"]), records["distance"][-1]))]
                 for name, records in games.items()]))
    print("WGAN-GP's loss of D is minus its estimate of the distance, so its sign is turned in the figure")
    print("picture:", save_png(o.out, drawn(games, found, o)))
    write_json(o.out.rpartition(".")[0] + ".json", {"rank correlation": found, "games": games})


def play(truth, held_out, o, name, critic_steps, rate, betas) -> dict:
    """{step, loss of D, loss of G, distance} at each moment; a loss is its mean since the moment before."""
    loss, streams = getattr(losses, name), Streams(o.seed)
    generator, critic = Generator(2, 64, 3, rng=streams["init"]), Critic(64, 3, rng=streams["init"])
    batches = data.DataLoader(truth.samples / np.float32(truth.scale), BATCH, shuffle=True, drop_last=True,
                              rng=streams["data"]).forever()
    adam_g = optim.Adam(generator.parameters(), SLOW * rate, betas=betas)
    adam_d = optim.Adam(critic.parameters(), rate, betas=betas)
    fixed = mg.tensor(Stream(o.seed, "judged").normal((len(held_out), 2)))
    records, recent, look = {"step": [], "loss of D": [], "loss of G": [], "distance": []}, [], max(1, o.steps // MOMENTS)
    for step in range(1, o.steps + 1):
        for _ in range(WARM[1] if step <= WARM[0] and name == "wasserstein" else critic_steps):
            real, latent = mg.tensor(next(batches)[0]), mg.tensor(streams["latent"].normal((BATCH, 2)))
            with mg.no_grad():
                fake = generator(latent)
            total = loss_d = loss.discriminator(critic(real), critic(fake))
            if name == "wasserstein":
                total = total + penalties.gradient_penalty(critic, real, fake, streams["place"])
            adam_d.zero_grad()
            total.backward()
            adam_d.step()
        critic.requires_grad_(False)
        loss_g = loss.generator(critic(generator(mg.tensor(streams["latent"].normal((BATCH, 2))))))
        adam_g.zero_grad()
        loss_g.backward()
        adam_g.step()
        critic.requires_grad_(True)
        recent.append((loss_d.item(), loss_g.item()))
        if step % look == 0:
            with mg.no_grad():
                samples = generator(fixed).numpy() * np.float32(truth.scale)
            means = np.mean(recent, 0)
            recent = []
            for key, value in zip(records, (step, *means, sliced_wasserstein(samples, held_out, directions=128)), strict=True):
                records[key].append(float(value))
    return records


def spearman(a, b) -> float:
    """Pearson's correlation of the ranks; ties get their mean rank. NaN when one of the two never changes."""
    a, b = (_ranks(np.asarray(x, np.float64)) for x in (a, b))
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else float("nan")


def _ranks(x):
    values, where, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[where]


def drawn(games, found, o) -> np.ndarray:
    """For each game its two losses over the steps, and below each loss against the distance."""
    figure, draw = new_figure(13.0, 8.0)
    figure.suptitle(f"does the loss say how good the samples are? ({o.data}, seed {o.seed})", fontsize=13)
    for row, (name, records) in enumerate(games.items()):
        sign = -1 if name == "WGAN-GP" else 1
        loss_d = sign * np.array(records["loss of D"])
        label = "estimated distance (minus loss of D)" if sign < 0 else "loss of D"
        axes = figure.add_subplot(2, 3, 3 * row + 1)
        axes.plot(records["step"], loss_d, color="C0", label=label)
        axes.plot(records["step"], records["loss of G"], color="C1", label="loss of G")
        axes.set_title(f"{name}: what the curve shows", fontsize=11)
        axes.set_xlabel("step of the generator")
        axes.legend(frameon=False, fontsize=9)
        axes = figure.add_subplot(2, 3, 3 * row + 2)
        axes.plot(records["step"], records["distance"], color="C2")
        axes.set_title("how far the samples are from the data", fontsize=11)
        axes.set_xlabel("step of the generator")
        axes.set_ylabel("sliced Wasserstein distance")
        axes = figure.add_subplot(2, 3, 3 * row + 3)
        axes.scatter(records["distance"], loss_d, c=records["step"], cmap="viridis", s=18)
        axes.set_xlabel("sliced Wasserstein distance (dark: early)")
        axes.set_ylabel(label)
        d, g = sign * found[name]["loss of D"], found[name]["loss of G"]
        axes.set_title(f"rank correlation {d:+.2f}  (loss of G: {g:+.2f})", fontsize=11)
    for axes in figure.axes:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return draw()
