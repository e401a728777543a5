"""python -m gan dcgan: two networks play, and digits appear.

The script reads top to bottom: options, data, the two players and their optimisers, the loop of two steps. Presets:

best       (default) the recipe that measured best on digits here; `docs/recipes.md` has the comparison. Both players are
           told the class where the data has classes. Non-saturating logistic loss, R1 penalty every 16th step, no batch
           norm in the discriminator, Adam with a high rate that falls to 0 at the end, averaged generator.
stacked    best with pairs packed (PacGAN2), larger batches and many more steps, for the 1,000 modes of stacked-mnist: all of
           them, with a KL of 0.09 nats, after 16 minutes on one core of an AMD EPYC.
published  Radford, Metz & Chintala 2016 as in the well-known PyTorch example: batch norm in both players, N(0, 0.02),
           Adam 2e-4 with beta1 = 0.5, separate real and fake batches, the generator's step on the same fakes.
"""

from __future__ import annotations

import argparse

import minigrad as mg
from gan import losses
from gan.commands.helpers import remedies
from gan.commands.helpers.gradients import gradient_norms
from gan.commands.helpers.health import Health
from gan.generate import generate, networks, refresh
from gan.penalties import r1_penalty
from gan.regularise import add_noise, falling, one_sided, unrolled
from minigrad import command, inputs, optim
from minigrad.random import Stream, Streams
from nets.training import constant_then_falling, scheduled

PRESETS = {
    "best": dict(
        batch=32, latent=64, width=48, refine=2, refine_generator=1, norm=False, loss="non_saturating", gamma=1.0, lazy=16,
        beta2=0.99, fall=0.3, average=10_000, fresh=False,
    ),
    "stacked": dict(
        data="stacked-mnist", steps=50_000, batch=64, latent=128, width=32, refine=2, refine_generator=1, norm=False,
        loss="non_saturating", gamma=1.0, lazy=16, rate=2e-3, beta2=0.99, fall=0.3, average=20_000, fresh=False, pack=2,
        conditional=False,
    ),
    "published": dict(
        batch=128, latent=100, width=64, refine=0, refine_generator=0, norm=True, loss="non_saturating", gamma=0.0, lazy=16,
        rate=2e-4, beta2=0.999, fall=0.0, average=0, fresh=False, conditional=False,
    ),
}
STEPS = {"glyphs": 3_000, "other": 12_000}
SMALL, RATE, RATE_OF_LARGE = 32, 2e-3, 5e-4  # pixels; Adam's rate up to there, and above: deeper players need smaller steps
CLASSES = 100  # at most so many are told to the players unasked


def options(argv=None):
    text = command.doc(__doc__, __file__)
    parser = command.Parser(
        "gan dcgan", text.split("\n\n")[0] + "\n\n" + text.split("\n\n", 2)[2], steps=None, presets=PRESETS,
        takes="90 seconds",
        examples=["", "--data mnist", "--data fashion-mnist --preset published", "--stddev 4 --spectral-norm",
                  "--preset stacked", "--data folder:photos --size 64", "--resume runs/dcgan-0001"],
    )
    best = PRESETS["best"]
    add = parser.add_argument
    add("--steps", type=command.COUNT, help=f"training steps (default: {STEPS['glyphs']} for glyphs, "
        f"{STEPS['other']} for other data)")
    add("--size", type=command.COUNT, help="pixels; default: 28, or what the data has; 28, 32 and 64 are usual")
    add("--batch", type=command.COUNT, default=best["batch"], help="images in a batch")
    add("--latent", type=command.COUNT, default=best["latent"], help="numbers in the latent vector")
    add("--width", type=command.COUNT, default=best["width"], help="maps next to the image, in both players")
    add("--refine", type=command.NATURAL, default=best["refine"], help="extra 3x3 convolutions in the discriminator")
    add("--refine-generator", type=command.NATURAL, default=best["refine_generator"], help="the same in the generator")
    add("--loss", choices=["minimax", "non_saturating", "least_squares", "wasserstein", "hinge", "relativistic"],
        default=best["loss"], help="the game (see gan/losses.py)")
    add("--rate", type=command.POSITIVE, help="Adam's learning rate, for both players ... (default: "
        f"{RATE:g} up to {SMALL} pixels, {RATE_OF_LARGE:g} for more)")
    add("--generator-rate", type=command.POSITIVE, help="... but for the generator, where it has its own")
    add("--beta1", type=command.SHARE, default=0.5, help="Adam's first beta")
    add("--beta2", type=command.SHARE, default=best["beta2"], help="Adam's second beta")
    add("--fall", type=command.FRACTION, default=best["fall"], help="last part of training, over which the rate falls to 0")
    add("--gamma", type=command.WEIGHT, default=best["gamma"], help="weight of the R1 penalty; 0 for none")
    add("--lazy", type=command.COUNT, default=best["lazy"], help="steps from penalty to penalty")
    add("--average", type=command.WEIGHT, default=best["average"], help="half-life in images of the averaged generator; 0: none")
    add("--norm", action=argparse.BooleanOptionalAction, default=best["norm"], help="batch norm in the discriminator")
    add("--fresh", action=argparse.BooleanOptionalAction, default=best["fresh"],
        help="new latents for the generator's step")
    add("--conditional", action=argparse.BooleanOptionalAction, help="both players are told the class, so that one can be asked "
        f"for: pick the digit (default: where the data has 2 to {CLASSES} classes, and without --pack)")
    add("--augment", choices=list(remedies.KINDS), default="none", help="the discriminator sees every picture changed at random, "
        "the more often the better it knows them (ADA): for small sets")
    add("--augment-images", type=command.POSITIVE, default=50_000, help="images in which the share of changed ones can go from 0 "
        "to 1")
    remedies.add_options(parser)
    chosen = parser.parse(argv)
    if chosen.steps is None:
        chosen.steps = STEPS.get(chosen.data, STEPS["other"])
    if chosen.gamma and chosen.norm:
        raise ValueError("--gamma needs --no-norm: with batch norm a sample's gradient is not its own (gan/penalties.py)")
    if chosen.conditional and chosen.pack > 1:
        raise ValueError("--conditional goes not with --pack: pictures that are judged together have no common class")
    remedies.check(chosen)
    return chosen


def main(argv=None):
    o = options(argv)
    images = pictures(o)
    streams = Streams(o.seed)
    loader = inputs.batches(images, o.batch, streams["data"])
    latents, noise, places = streams["latent"], streams["noise"], streams["penalty"]
    loss = one_sided(getattr(losses, o.loss), o.smooth)
    generator, discriminator = networks(vars(o), streams["init"])
    run = command.start("dcgan", o)
    generator.to(o.device), discriminator.to(o.device)
    adam_g, adam_d = (optim.Adam(network.parameters(), rate, betas=(o.beta1, o.beta2)) for network, rate in
                      ((generator, o.generator_rate or o.rate), (discriminator, o.rate)))
    judge, health = remedies.Seen(discriminator, o, streams["augment"]), Health(run, o, images, loss)
    average = optim.EMA(generator, half_life=o.average, ramp_up=0.05) if o.average else None
    fixed = Stream(o.seed, "fixed").normal((100, o.latent))
    kept = dict(generator=generator, discriminator=discriminator, adam_g=adam_g, adam_d=adam_d, loader=loader, streams=streams,
                average=average, adaptive=judge.adaptive, watch=health.watch)
    run.restore(kept, new=["watch"])
    rates = run.follows(lambda steps: constant_then_falling(steps, o.fall), o.steps)
    schedules = [scheduled(adam, rates, run.step) for adam in (adam_g, adam_d)]
    batches, picture = loader.forever(), run.file("samples", f"fakes_{run.step:06d}.png")
    run.image(None, images.x[:100], "real", columns=10)
    with health.told():
        for step in run.loop(run.step, o.steps, save=kept):
            # the discriminator's step: real images up, fakes down, and a small gradient at real ones
            blur = falling(o.noise, step, o.steps // 2 or 1)
            for _ in range(o.critic_steps):
                real, labels = next(batches)
                judge.labels = labels if o.conditional else None
                real = add_noise(mg.tensor(real, device=o.device), blur, noise)
                fake = drawn(o, generator, latents, judge.labels, blur, noise)
                loss_d, real_logits, fake_logits = remedies.discriminator_loss(o, judge, loss, real, fake.detach(), places)
                total = loss_d
                if o.gamma and step % o.lazy == 0:
                    total = total + r1_penalty(judge, real) * (o.gamma * o.lazy)
                adam_d.zero_grad()
                total.backward()
                adam_d.step()
            if judge.adaptive:
                judge.adaptive.update(real_logits)

            # the generator's step: fakes up, through a discriminator that stands still, or as it will be some steps ahead
            discriminator.requires_grad_(False)
            if o.fresh:
                fake = drawn(o, generator, latents, judge.labels, blur, noise)
            with unrolled(discriminator, adam_d,
                          lambda a=real, b=fake: remedies.discriminator_loss(o, judge, loss, a, b, places)[0], o.unroll):
                loss_g = loss.generator(judge(fake), judge(real) if loss.paired else None)
            adam_g.zero_grad()
            loss_g.backward()
            adam_g.step()
            discriminator.requires_grad_(True)
            if average:
                average.update(o.batch)
            for schedule in schedules:
                schedule.step()

            if step % 20 == 0:
                health.pulse(real_logits, fake_logits, fake, gradient_norms("gradient_g", generator))
            if run.due(step, 20):
                run.log(step, loss_d=loss_d, loss_g=loss_g, probability_real=real_logits.sigmoid().mean(),
                        probability_fake=fake_logits.sigmoid().mean(), **judge.numbers())
            if step % 100 == 50:  # with the default --lazy these steps have no penalty in them
                run.log(step, **gradient_norms("gradient_d", discriminator), **gradient_norms("gradient_g", generator))
            if run.due(step, 500, first=20):
                run.check_finite(step, [*generator.named_parameters(), *discriminator.named_parameters()])
                picture = look(run, o, step, average.module if average else generator, fixed, health, discriminator)
    run.finish(title=f"DCGAN on {o.data}", summary={"real images seen": o.steps * o.batch, "samples": picture,
                                                    "diagnosis": health.words()})


def pictures(o):
    """What to train on. Sets what follows from it: o.size, o.channels, o.classes; o.conditional and o.rate where they are open."""
    images = inputs.labelled(o, size=o.size) if o.conditional else inputs.images(o, size=o.size)
    if o.conditional is None:
        o.conditional = images.y is not None and 2 <= len(images.classes) <= CLASSES and o.pack == 1
    o.size, o.channels, o.classes = images.x.shape[2], images.x.shape[1], list(images.classes) if o.conditional else None
    o.rate = o.rate or (RATE if o.size <= SMALL else RATE_OF_LARGE)
    return images


def drawn(o, generator, latents, labels, blur, noise):
    """A batch of fakes from new latents, of the given classes, with instance noise of size `blur`."""
    latent = mg.tensor(latents.normal((o.batch, o.latent)), device=o.device)
    fake = generator(latent) if labels is None else generator(latent, mg.tensor(labels, device=o.device))
    return add_noise(fake, blur, noise)


def look(run, o, step, generator, fixed, health, discriminator) -> str:
    """The run's sheet of samples, always of the same latents, and what the diagnosis says of it. Returns the picture's path."""
    if o.average:
        refresh(generator, vars(o))
    samples = generate(generator, fixed)
    picture = run.image(step, samples, columns=10)
    health.look(step, samples, discriminator, last=step % 500 != 0 and step != 20)
    return picture
