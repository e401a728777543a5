"""python -m nets blur: why autoencoders blur. The squared error predicts the mean, and the mean of sharp pictures is not sharp.

First, exactly: one picture is fitted to two targets that are equally likely; it becomes their mean. Then an autoencoder and a VAE
are trained on the same batches with the same decoder, DCGAN's generator; the sharpness of what they copy and draw is told beside
that of real pictures. With --gan RUN the generator of a run of gan dcgan, the same decoder trained by a critic, stands beside them.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad import command, inputs, nn, optim, pictures
from minigrad import functional as F
from minigrad.random import Stream, Streams
from minigrad.run import Run, RunError
from minigrad.words import table, write_json
from nets.commands.helpers.images import train_and_held_out
from nets.generators.autoencoder import Autoencoder
from nets.generators.dcgan import Generator
from nets.generators.draw import in_batches
from nets.generators.vae import VAE
from nets.sharpness import sharpness, sharpness_ratio
from nets.training import constant_then_falling, scheduled

# option here: its name in a run of gan dcgan
SHARED = {"data": "data", "size": "size", "latent": "latent", "width": "width", "refine": "refine_generator"}


def options(argv=None):
    parser = command.Parser(
        "nets blur", command.doc(__doc__, __file__), steps=600,
        takes="25 seconds",
        examples=["", "--data mnist", "--data npz:faces.npz --latent 32 --batch 32", "--gan runs/dcgan-0001",
                  "--resume runs/blur-0001"],
    )
    add = parser.add_argument
    add("--size", type=command.COUNT, help="pixels; default: 28, or what the data has; 28, 32 and 64 are usual")
    add("--batch", type=command.COUNT, default=128, help="images in a batch")
    add("--latent", type=command.COUNT, default=8, help="numbers in the code")
    add("--width", type=command.COUNT, default=32, help="maps next to the image")
    add("--refine", type=command.NATURAL, default=1, help="extra 3x3 convolutions at the start of the decoder")
    add("--rate", type=command.POSITIVE, default=2e-3, help="Adam's learning rate; it falls to 0 in the last half")
    add("--gan", type=command.path, metavar="RUN", help="a run of gan dcgan; data, size and decoder are taken from it")
    o = parser.parse(argv)
    if o.gan and not o.resume:
        config = Run.open(o.gan, quiet=True).config
        for here, there in SHARED.items():
            if there not in config:
                raise RunError(o.gan, "is no run of gan dcgan: its configuration has no " + there)
            if getattr(o, here) not in (config[there], parser.get_default(here)):
                raise ValueError(f"--{here} {getattr(o, here)}: {o.gan} has {config[there]}, and the decoders must be equal")
            setattr(o, here, config[there])
    return o


def main(argv=None):
    o = options(argv)
    train, held_out = train_and_held_out(o)
    gan = Run.open(o.gan) if o.gan else None
    real = held_out.subset(slice(1000)).normalised()
    fixed = Stream(o.seed, "fixed").normal((1000, o.latent))
    by_gan = drawn_by(gan, fixed) if gan else None
    run = command.start("blur", o)

    # two targets, equally likely
    targets = real[[0, other(held_out)]]
    guess, away = fitted(targets)
    run.say(f"two targets: the squared error's optimum differs from their mean by {away:.1e} at most")

    # two networks, the same batches, the same decoder
    streams = Streams(o.seed)
    loader = inputs.batches(train, o.batch, streams["data"])
    plain = Autoencoder(o.size, o.channels, o.latent, o.width, o.refine, rng=streams["plain"]).to(o.device)
    likelihood = "bernoulli" if o.channels == 1 else "gaussian"
    vae = VAE(o.size, o.channels, o.latent, "conv", likelihood, o.width, o.refine, rng=streams["vae"]).to(o.device)
    adams = [optim.Adam(network.parameters(), o.rate) for network in (plain, vae)]
    kept = dict(plain=plain, vae=vae, adam_plain=adams[0], adam_vae=adams[1], loader=loader, streams=streams)
    run.restore(kept)
    schedules = [scheduled(adam, constant_then_falling(o.steps, 0.5), run.step) for adam in adams]
    batches = loader.forever()
    for step in run.loop(run.step, o.steps, save=kept):
        images = mg.tensor(next(batches)[0], device=o.device)
        noise = mg.tensor(streams["noise"].normal((o.batch, o.latent)), device=o.device)
        reconstruction, divergence = vae.bound(images, noise)
        losses = F.mse_loss(plain(images), images), (reconstruction + divergence).mean()
        for loss, adam, schedule in zip(losses, adams, schedules, strict=True):
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
        if run.due(step, 20):
            run.log(step, error_autoencoder=losses[0], nats_vae=losses[1])
        if run.due(step, 500, first=20):
            run.check_finite(step, [*plain.named_parameters(), *vae.named_parameters()])
            shown = [in_batches(plain, plain, real[:10]), in_batches(vae, vae, real[:10]), in_batches(vae, vae.decode, fixed[:10])]
            run.image(step, np.concatenate([real[:10], *shown]), "on_the_way", columns=10)

    made = {"real": real, "autoencoder\ncopies": in_batches(plain, plain, real), "VAE\ncopies": in_batches(vae, vae, real),
            "VAE\ndrawn": in_batches(vae, vae.decode, fixed)}
    if gan:
        made["GAN\ndrawn"] = by_gan
    ratios = {name.replace("\n", ", "): sharpness_ratio(rows, real) for name, rows in made.items()}
    ratios["mean of two"] = sharpness(guess[None]).item() / sharpness(targets).mean().item()
    run.image(None, sheet(made, ratios, targets, guess, away), "blur")
    write_json(run.file("blur.json"), {"largest difference from the mean": away, "sharpness, real pictures 1": ratios})
    run.finish(title=f"Why autoencoders blur, on {o.data}", summary={
        "two targets: optimum of the squared error against their mean": f"largest difference {away:.1e}",
        "sharpness (mean absolute Laplacian), real pictures 1": {name: f"{ratio:.3f}" for name, ratio in ratios.items()}})
    print(table(["pictures", "sharpness, real 1"], [(name, f"{ratio:.3f}") for name, ratio in ratios.items()]))


def other(held_out) -> int:
    """The first picture of another class than picture 0, or picture 1 where there are no classes."""
    return 1 if held_out.y is None else int(np.argmax(held_out.y != held_out.y[0]))


def fitted(targets):
    """(the picture that the squared error to all `targets` asks for, its largest difference from their mean)."""
    guess = nn.Parameter(np.zeros_like(targets[0]))
    descent = optim.SGD([guess], 0.25)
    for _ in range(60):
        loss = ((guess - mg.tensor(targets)) ** 2).sum() * (1 / len(targets))
        descent.zero_grad()
        loss.backward()
        descent.step()
    return guess.array, float(np.abs(guess.array - targets.mean(0, dtype=np.float64)).max())


def drawn_by(run, latents) -> np.ndarray:
    """Pictures of a GAN's generator, the averaged one if the run has it, and of its classes each in turn. Its batch norm uses each
    batch's own statistics, because those that were saved are not the averaged weights' (`gan sample` estimates them anew)."""
    c = run.config
    if run.restored is None or "generator" not in run.restored:
        raise RunError(run.path, "holds no checkpoint of a generator")
    classes = len(c.get("classes") or ())
    generator = Generator(c["size"], c["channels"], c["latent"], c["width"], c["refine_generator"], classes)
    generator.load_state_dict(run.restored["average"]["module"] if c["average"] else run.restored["generator"])
    generator.train()
    with mg.no_grad():
        parts = [latents[i : i + 250] for i in range(0, len(latents), 250)]
        known = [[mg.tensor(np.arange(len(part)) % classes)] if classes else [] for part in parts]
        return np.concatenate([generator(mg.tensor(part), *labels).array for part, labels in zip(parts, known, strict=True)])


def sheet(made, ratios, targets, guess, away) -> np.ndarray:
    """The two targets and their optimum, and below them ten pictures of each kind with their sharpness."""
    def unit(x):
        return pictures.colour(np.clip(np.asarray(x, np.float32) * 0.5 + 0.5, 0, 1))

    top = pictures.columns([unit(np.stack([*targets, guess]))], ["one picture for\ntwo targets"],
                           [["this", "or this", f"squared error:\nsharpness {ratios['mean of two']:.2f}"]],
                           f"Two equally likely targets: the squared error asks for their mean (largest difference {away:.0e})")
    names = [f"{name}\nsharpness {ratio:.2f}" for name, ratio in zip((n.replace('\n', ', ') for n in made), ratios.values())]
    below = pictures.columns([unit(rows[:10]) for rows in made.values()], names, [None] * len(made),
                             f"One decoder, trained in {'three' if len(made) > 4 else 'two'} ways", cell=84)
    return pictures.stacked([top, below])
