"""python -m nets autoencoder: pictures through a code of a few numbers and back, on DCGAN's own networks, by squared error.

The copies are blurred: where the code leaves open what a picture looks like, the squared error asks for the mean of all these.
Samples while it trains: held-out pictures above their copies, and pictures of codes drawn at random, which no training was for.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad import command, data, inputs, optim
from minigrad import functional as F
from minigrad.random import Stream, Streams
from nets.commands.helpers.images import above_each_other, some, train_and_held_out
from nets.generators.autoencoder import Autoencoder
from nets.generators.draw import in_batches
from nets.sharpness import sharpness_ratio
from nets.training import constant_then_falling, scheduled

LOSSES = {"mse": F.mse_loss, "l1": F.l1_loss}


def options(argv=None):
    parser = command.Parser(
        "nets autoencoder", command.doc(__doc__, __file__), steps=1_500,
        takes="40 seconds",
        examples=["", "--data mnist --latent 32", "--data folder:faces --size 64 --batch 64", "--resume runs/autoencoder-0001"],
    )
    add = parser.add_argument
    add("--size", type=command.COUNT, help="pixels; default: 28, or what the data has; 28, 32 and 64 are usual")
    add("--batch", type=command.COUNT, default=128, help="images in a batch")
    add("--latent", type=command.COUNT, default=8, help="numbers in the code")
    add("--width", type=command.COUNT, default=32, help="maps next to the image, in both networks")
    add("--refine", type=command.NATURAL, default=1, help="extra 3x3 convolutions at the start of the decoder")
    add("--loss", choices=list(LOSSES), default="mse", help="squared or absolute error of a pixel")
    add("--rate", type=command.POSITIVE, default=2e-3, help="Adam's learning rate; it falls to 0 in the last half")
    return parser.parse(argv)


def main(argv=None):
    o = options(argv)
    train, held_out = train_and_held_out(o)
    streams = Streams(o.seed)
    loader = inputs.batches(train, o.batch, streams["data"])
    network = Autoencoder(o.size, o.channels, o.latent, o.width, o.refine, rng=streams["init"]).to(o.device)
    run = command.start("autoencoder", o)
    adam = optim.Adam(network.parameters(), o.rate)
    kept = dict(autoencoder=network, adam=adam, loader=loader, streams=streams)
    run.restore(kept)
    schedule = scheduled(adam, constant_then_falling(o.steps, 0.5), run.step)

    shown, columns = some(held_out)
    fixed = Stream(o.seed, "fixed").normal((50, o.latent))
    batches = loader.forever()
    for step in run.loop(run.step, o.steps, save=kept):
        images = mg.tensor(next(batches)[0], device=o.device)
        loss = LOSSES[o.loss](network(images), images)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()

        if run.due(step, 20):
            run.log(step, loss_train=loss)
        if run.due(step, 250, first=20):
            run.check_finite(step, network.named_parameters())
            error, codes = held_out_error(network, held_out, LOSSES[o.loss])
            run.log(step, loss_held_out=error)
            copies = in_batches(network, network, shown)
            run.image(step, above_each_other(shown, copies, columns=columns), "copies", columns=columns)
            random = in_batches(network, network.decoder, codes.mean(0) + codes.std(0) * fixed)
            run.image(step, random, "random_codes", columns=10)

    originals = held_out.subset(slice(1000)).normalised()
    copies = in_batches(network, network, originals)
    error, _ = held_out_error(network, held_out, LOSSES[o.loss])
    mean = LOSSES[o.loss](*(mg.tensor(a) for a in (np.broadcast_to(train.normalised().mean(0), originals.shape).copy(), originals)))
    ratio = sharpness_ratio(copies, originals)
    summary = {f"{o.loss} on held-out pictures, pixels from -1 to 1": f"{error:.5f} (the mean picture: {mean.item():.5f})",
               "sharpness of the copies, originals 1": f"{ratio:.3f}", "numbers in the code": o.latent,
               "numbers in a picture": o.channels * o.size**2}
    run.finish(title=f"Autoencoder on {o.data}", summary=summary)
    print(f"held-out {o.loss} {error:.5f} (the mean picture for every one: {mean.item():.5f}); "
          f"copies have {ratio:.2f} of the originals' sharpness")


def held_out_error(network, held_out, loss):
    """(error, codes (N, latent)) of all held-out pictures."""
    total, codes = 0.0, []
    for images, _ in data.DataLoader(held_out, 250, shuffle=False, drop_last=False):
        code = in_batches(network, network.encoder, images)
        copies = in_batches(network, network.decoder, code)
        total += loss(mg.tensor(copies), mg.tensor(images)).item() * len(images)
        codes.append(code)
    return total / len(held_out), np.concatenate(codes)
