"""python -m gan mlp: the GAN of 2014, as its authors ran it: a perceptron draws digits, a maxout network judges them.

Goodfellow et al. 2014 with the settings of the authors' own `mnist.yaml`: SGD with rate 0.1 and momentum 0.5 to 0.7, dropout in the
discriminator, both players moved at once by gradients of one pass. Ends with the paper's own number, the likelihood of held-out
pictures under a Parzen window of samples (225 +- 2 nats there, after hundreds of passes), and its picture: beside each of the last
samples the training picture nearest to it. About 3 minutes on glyphs, 6 on MNIST.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan.generate import generate
from gan.losses import minimax, non_saturating
from gan.metrics.nearest import nearest
from gan.metrics.parzen import parzen
from minigrad import command, data, optim
from minigrad.random import Stream, Streams
from minigrad.words import write_json
from nets.commands.helpers.images import train_and_held_out
from nets.generators.mlp import MLPDiscriminator, MLPGenerator, marginals
from nets.training import scheduled

STEPS = {"glyphs": 4_000, "other": 10_000}
GAMES = {"non_saturating": non_saturating, "minimax": minimax}
COPIES = 10  # samples shown beside the nearest training picture


def options(argv=None):
    parser = command.Parser(
        "gan mlp", command.doc(__doc__, __file__), steps=None,
        examples=["", "--data mnist", "--data fashion-mnist --steps 20000", "--resume runs/mlp-0001"],
    )
    add = parser.add_argument
    add("--steps", type=command.COUNT, help=f"training steps (default: {STEPS['glyphs']} for glyphs, else {STEPS['other']})")
    add("--size", type=command.COUNT, help="pixels; default: 28, or what the data has")
    add("--batch", type=command.COUNT, default=100, help="images in a batch")
    add("--latent", type=command.COUNT, default=100, help="numbers in the latent vector, N(0, 1)")
    add("--hidden", type=command.COUNT, default=1200, help="units in each of the generator's two hidden layers")
    add("--units", type=command.COUNT, default=240, help="maxout units in each of the discriminator's two, of 5 pieces")
    add("--rate", type=command.POSITIVE, default=0.1, help="rate of SGD at the start")
    add("--decay", type=command.POSITIVE, default=1.000004, help="what the rate is divided by after each step, down to 1e-6")
    add("--momentum", type=command.SHARE, default=0.5, help="at the start; it rises along a line to --final-momentum")
    add("--final-momentum", type=command.SHARE, default=0.7, help="from pass 250 on")
    add("--loss", choices=list(GAMES), default="non_saturating", help="of the generator (see gan/losses.py)")
    o = parser.parse(argv)
    o.steps = o.steps or STEPS.get(o.data, STEPS["other"])
    return o


def main(argv=None):
    o = options(argv)
    images, held_out = train_and_held_out(o)
    streams = Streams(o.seed)
    loader = data.DataLoader(images, o.batch, shuffle=True, drop_last=True, rng=streams["data"])
    bias = marginals(images.normalised())
    generator = MLPGenerator(o.size, o.channels, o.latent, o.hidden, bias, rng=streams["init"]).to(o.device)
    discriminator = MLPDiscriminator(o.size, o.channels, o.units, rng=streams["dropout"]).to(o.device)
    run = command.start("mlp", o)
    sgd_g, sgd_d = (optim.SGD(network.parameters(), o.rate, o.momentum) for network in (generator, discriminator))
    kept = dict(generator=generator, discriminator=discriminator, sgd_g=sgd_g, sgd_d=sgd_d, loader=loader, streams=streams)
    run.restore(kept)
    schedules = [scheduled(sgd, lambda t: max(o.decay**-t, 1e-6 / o.rate), run.step) for sgd in (sgd_g, sgd_d)]

    batches, latents = loader.forever(), streams["latent"]
    fixed = Stream(o.seed, "fixed").normal((100, o.latent))
    for step in run.loop(run.step, o.steps, save=kept):
        momentum = rising(o, 1 + (step - 1) // len(loader))
        for group in (*sgd_g.param_groups, *sgd_d.param_groups):
            group["momentum"] = momentum

        real = mg.tensor(next(batches)[0], device=o.device)
        latent = mg.tensor(latents.normal((o.batch, o.latent)), device=o.device)
        loss_d, loss_g, real_logits, fake_logits = one_pass(o, generator, discriminator, real, latent)
        sgd_g.step()
        sgd_d.step()
        for schedule in schedules:
            schedule.step()

        if run.due(step, 20):
            run.log(step, loss_d=loss_d, loss_g=loss_g, probability_real=real_logits.sigmoid().mean(),
                    probability_fake=fake_logits.sigmoid().mean())
        if run.due(step, 500) or step == 20:
            run.check_finite(step, [*generator.named_parameters(), *discriminator.named_parameters()])
            run.image(step, generate(generator, fixed), columns=10)
    finish(run, o, generator, images, held_out)


def one_pass(o, generator, discriminator, real, latent):
    """(loss_d, loss_g, logits of real, logits of fake), and each player's parameters get the gradient of its own loss.

    Both losses come from one pass: the generator's step sees the units that were dropped for the discriminator's. That loss counts
    half, as in the authors' code: 1/2 (cross-entropy of real + cross-entropy of fake)."""
    real_logits, fake_logits = discriminator(mg.cat([real, generator(latent)])).split(len(real))
    loss_d = non_saturating.discriminator(real_logits, fake_logits)
    loss_g = GAMES[o.loss].generator(fake_logits)
    for network, loss, again in ((generator, loss_g, True), (discriminator, loss_d * 0.5, False)):
        parameters = list(network.parameters())
        for p, g in zip(parameters, mg.grad(loss, parameters, retain_graph=again), strict=True):
            p.grad = g
    return loss_d, loss_g, real_logits, fake_logits


def rising(o, epoch) -> float:
    """Momentum in pass 1, 2, ...: along a line from --momentum in the first to --final-momentum in the 250th, then constant."""
    share = min(1.0, (epoch - 1) / 249)
    return o.momentum + (o.final_momentum - o.momentum) * share


def finish(run, o, generator, images, held_out):
    """The likelihood of held-out pictures, the nearest training pictures, the report."""
    run.say("measuring: the likelihood of held-out pictures under a Parzen window of 10,000 samples ...")
    judged, count = held_out.normalised((0.0, 1.0)), max(1, min(1000, len(held_out) // 10))
    samples = (generate(generator, Stream(o.seed, "judged").normal((10_000, o.latent))) + 1) / 2
    real = images.subset(Stream(o.seed, "reference").permutation(len(images))[:10_000]).normalised((0.0, 1.0))
    scores = {}
    for name, rows in (("samples", samples), ("training pictures in their place", real)):
        mean, error, sigma = parzen(judged[:count], judged[count:], rows)
        scores[name] = {"nats": mean, "standard error": error, "sigma": sigma}
        run.say(f"  {name}: {mean:.1f} +- {error:.1f} nats per picture (sigma {sigma:.3f})")
    write_json(run.file("result.json"), {"data": o.data, "pictures": len(judged) - count, "parzen": scores})

    some = samples[:COPIES]
    index, _ = nearest(some.reshape(COPIES, -1), images.normalised((0.0, 1.0)).reshape(len(images), -1))
    run.image(o.steps, np.concatenate([some * 2 - 1, images.subset(index).normalised()]), "nearest", columns=COPIES)
    run.finish(title=f"The GAN of 2014 on {o.data}", summary={
        "likelihood of held-out pictures, nats": f"{scores['samples']['nats']:.1f} +- {scores['samples']['standard error']:.1f}",
        "the same with training pictures as samples": f"{scores['training pictures in their place']['nats']:.1f}",
        "published, MNIST (Goodfellow et al. 2014, table 1)": "225 +- 2",
        "passes over the data": f"{o.steps * o.batch / len(images):.1f}"})
