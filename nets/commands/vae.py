"""python -m nets vae: a variational autoencoder. Codes drawn at random become pictures; a bound tells how likely a picture is.

The loss is that bound, in nats per picture: what the decoder leaves open plus what the code says (nets/generators/vae.py). Presets:

published  the well-known PyTorch example for MNIST: 784-400-20-400-784, Bernoulli likelihood, Adam 1e-3, batch 128, 10 passes
           over the 60,000 pictures; usually 100 to 106 nats on the test set
plane      a code of two numbers: all that the decoder can draw fits on one sheet (fully connected, because the first layer of
           DCGAN's generator has no bias, so every code near 0 looks alike to it, and with two numbers many are near 0)
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad import command, data, inputs, optim
from minigrad.data import make_grid, save_gif
from minigrad.random import Stream, Streams
from nets.commands.helpers.images import above_each_other, some, train_and_held_out
from nets.generators.draw import in_batches
from nets.generators.vae import LIKELIHOODS, NETWORKS, VAE, plane, walk
from nets.sharpness import sharpness_ratio
from nets.training import constant_then_falling, scheduled

PRESETS = {
    "published": dict(network="mlp", latent=20, hidden=400, likelihood="bernoulli", batch=128, rate=1e-3, fall=0.0, steps=4_690,
                      beta=1.0),
    "plane": dict(network="mlp", latent=2, hidden=400, steps=3_000),
}


def options(argv=None):
    parser = command.Parser(
        "nets vae", command.doc(__doc__, __file__), steps=2_000, presets=PRESETS,
        takes="50 seconds",
        examples=["", "--preset plane", "--data mnist --preset published", "--data folder:faces --likelihood gaussian --batch 64",
                  "--resume runs/vae-0001"],
    )
    add = parser.add_argument
    add("--size", type=command.COUNT, help="pixels; default: 28, or what the data has; 28, 32 and 64 are usual")
    add("--batch", type=command.COUNT, default=128, help="images in a batch")
    add("--latent", type=command.COUNT, default=16, help="numbers in the code")
    add("--network", choices=NETWORKS, default="conv", help="DCGAN's own networks, or fully connected ones")
    add("--width", type=command.COUNT, default=32, help="conv: maps next to the image, in both networks")
    add("--refine", type=command.NATURAL, default=1, help="conv: extra 3x3 convolutions at the start of the decoder")
    add("--hidden", type=command.COUNT, default=400, help="mlp: units of the hidden layers")
    add("--likelihood", choices=LIKELIHOODS, help="of the pixels given the code (default: bernoulli for grey pictures, gaussian "
        "for colour)")
    add("--beta", type=command.WEIGHT, default=1.0, help="weight of the divergence in the loss; the bound is told with 1")
    add("--rate", type=command.POSITIVE, default=2e-3, help="Adam's learning rate")
    add("--fall", type=command.FRACTION, default=0.5, help="last part of training, over which the rate falls to 0")
    return parser.parse(argv)


def main(argv=None):
    o = options(argv)
    train, held_out = train_and_held_out(o)
    o.likelihood = o.likelihood or ("bernoulli" if o.channels == 1 else "gaussian")
    streams = Streams(o.seed)
    loader = inputs.batches(train, o.batch, streams["data"])
    vae = VAE(o.size, o.channels, o.latent, o.network, o.likelihood, o.width, o.refine, o.hidden, rng=streams["init"]).to(o.device)
    run = command.start("vae", o)
    adam, noise = optim.Adam(vae.parameters(), o.rate), streams["noise"]
    kept = dict(vae=vae, adam=adam, loader=loader, streams=streams)
    run.restore(kept)
    schedule = scheduled(adam, constant_then_falling(o.steps, o.fall), run.step)

    shown, columns = some(held_out)
    fixed = Stream(o.seed, "fixed").normal((100, o.latent))
    batches = loader.forever()
    for step in run.loop(run.step, o.steps, save=kept):
        images = mg.tensor(next(batches)[0], device=o.device)
        reconstruction, divergence = vae.bound(images, mg.tensor(noise.normal((o.batch, o.latent)), device=o.device))
        loss = reconstruction.mean() + divergence.mean() * o.beta
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()

        if run.due(step, 20):
            run.log(step, nats_reconstruction=reconstruction.mean(), nats_divergence=divergence.mean(),
                    nats_bound=reconstruction.mean() + divergence.mean())
        if run.due(step, 500, first=20):
            run.check_finite(step, vae.named_parameters())
            run.log(step, nats_bound_held_out=sum(held_out_bound(vae, held_out, o.seed)))
            run.image(step, in_batches(vae, vae.decode, fixed), "drawn", columns=10)
            run.image(step, above_each_other(shown, in_batches(vae, vae, shown), columns=columns), "copies", columns=columns)

    # what it has learned: the bound, the plane, a walk, and how sharp it draws
    missed, told = held_out_bound(vae, held_out, o.seed)
    means, logvars = in_batches(vae, vae.encode, held_out.subset(slice(2000)).normalised())
    nats = 0.5 * (np.exp(logvars) + means**2 - 1 - logvars).mean(0)  # that each coordinate of the code says
    if o.latent > 1:
        across, down = np.sort(np.argsort(-nats, kind="stable")[:2]).tolist()
        run.image(None, in_batches(vae, vae.decode, plane(means[0], 20, across, down)), "plane", columns=20, padding=0)
    stops = means[: len(shown)]
    path = np.stack([in_batches(vae, vae.decode, codes) for codes in walk(stops, np.roll(stops, -1, axis=0), 10)], 1)
    run.image(None, path[:8].reshape(-1, *path.shape[2:]), "walk", columns=10)
    grids = [make_grid(path[:25, i], 5) for i in [*range(10), *reversed(range(1, 9))]]
    gif = save_gif(run.file("samples", "walk.gif"), grids)
    originals = held_out.subset(slice(1000)).normalised()
    drawn = in_batches(vae, vae.decode, Stream(o.seed, "sharpness").normal((1000, o.latent)))
    summary = {
        f"bound on -log p of a held-out picture, {o.likelihood}": f"{missed + told:.2f} nats",
        "of it reconstruction, divergence": f"{missed:.2f}, {told:.2f} nats",
        "coordinates of the code that say more than 0.1 nats": f"{int((nats > 0.1).sum())} of {o.latent}",
        "sharpness, originals 1": f"copies {sharpness_ratio(in_batches(vae, vae, originals), originals):.3f}, "
                                  f"drawn {sharpness_ratio(drawn, originals):.3f}",
    }
    run.finish(title=f"Variational autoencoder on {o.data}", summary=summary)
    print(f"held-out bound {missed + told:.2f} nats a picture, {o.likelihood}: reconstruction {missed:.2f}, divergence {told:.2f}")
    print(f"walk between held-out pictures: {gif if not o.dry_run else '(dry run, nothing is kept)'}")


def held_out_bound(vae, held_out, seed):
    """(reconstruction, divergence): means over the held-out pictures in nats, one draw of the code for each, always the same."""
    noise, sums = Stream(seed, "held out"), np.zeros(2)
    for images, _ in data.DataLoader(held_out, 250, shuffle=False, drop_last=False):
        e = mg.tensor(noise.normal((len(images), vae.latent)), device=next(iter(vae.parameters())).device)
        parts = in_batches(vae, lambda x, e=e: vae.bound(x, e), images)
        sums += [part.sum(dtype=np.float64) for part in parts]
    return sums / len(held_out)
