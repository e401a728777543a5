"""python -m gan cartoon: photographs become frames of a cartoon, though no photograph was ever drawn.

A generator learns from a discriminator of cartoons, and from a network that says whether a picture still shows the same things
(Chen, Lai & Liu 2018). The discriminator is shown cartoons whose edges were smoothed as well, as fakes: clear edges are a few
pixels, which it would overlook. First some steps without it, on the content alone. Default data: landscapes drawn here, as a
photograph and as a cartoon show them, so the true cartoon of each photograph is known. While it trains, held-out photographs
before and after; at the end how many are taken for cartoons, how clear their edges are, how much of the content is left.
`python -m gan translate RUN PICTURE...` then takes pictures of yours.
"""

from __future__ import annotations

import minigrad as mg
from gan import losses
from gan.commands.helpers import cartoons
from gan.commands.helpers.gradients import gradient_norms
from gan.commands.helpers.health import Health
from gan.commands.helpers.two_kinds import classifier_of_two
from gan.diagnosis import WARM
from gan.translate import Game, initialise, play
from minigrad import command, inputs, optim
from minigrad.random import Streams
from minigrad.words import write_json
from nets.generators.cartoon import CartoonDiscriminator, CartoonGenerator
from nets.training import constant_then_falling, scheduled

REMEDIES = {
    "too good": "a smaller --omega, a smaller --judge-width, more cartoons",
    "vanishing": "a smaller --judge-width",
    "exploding": "a lower --rate",
    "collapse": "a larger --omega, more steps in --initial",
    "memorising": "more cartoons, a smaller --judge-width, fewer --steps",
    "oscillation": "a lower --rate, --fall 0.5",
    "checkerboard": "--resize; more --steps, because transposed convolutions of 3x3 and stride 2 unlearn it late",
    "not finite": "a lower --rate; --resume goes on from the last good checkpoint",
}


def options(argv=None):
    parser = command.Parser(
        "gan cartoon", command.doc(__doc__, __file__), data="scenes", steps=3_000,
        takes="3 minutes",
        examples=["", "--data photos2ghibli", "--photos folder:holidays --cartoons folder:frames --size 96",
                  "--without edges", "--features classifiers/squeezenet1_0_fp16.npz", "--resume runs/cartoon-0001"],
    )
    cartoons.add_options(parser)
    parser.add_argument("--content", choices=["l1", "l2"], default="l1", help="the content loss: absolute or squared differences")
    parser.add_argument("--without", choices=cartoons.WITHOUT, action="append", default=[], help="leave a part of the method out: "
                        "the steps before the game, or the smoothed cartoons; may be given twice")
    o = parser.parse(argv)
    cartoons.settle(o)
    if "initialization" in o.without:
        o.initial = 0
    if o.dry_run:
        o.initial = min(o.initial, 1)  # so that both kinds of steps are tried
    o.loss = "non_saturating" if "edges" in o.without else "cartoon"
    return o


def main(argv=None):
    o = options(argv)
    train, test = cartoons.both_sets(o)
    o.channels, streams = train.a.x.shape[1], Streams(o.seed)
    learnt = train if o.no_mirror else type(train)(*map(cartoons.mirrored, train))
    photographs = inputs.batches(learnt.a, o.batch, streams["data photos"])
    drawings = inputs.batches(cartoons.with_smoothed(learnt.b), o.batch, streams["data cartoons"])
    generator = CartoonGenerator(o.channels, o.width, o.blocks, o.resize, rng=streams["init"])
    discriminator = CartoonDiscriminator(o.channels, o.judge_width, o.stages, rng=streams["init"])
    run = command.start("cartoon", o)
    run.say(f"first, the feature net: {o.features} ...")
    net = cartoons.feature_net(o, train.a, run.file("features.npz")).to(o.device)
    run.say(f"features: {net}")
    answers = classifier_of_two(run.say, train, test, o)
    adam_g, adam_d = (optim.Adam(network.to(o.device).parameters(), o.rate, betas=(0.5, 0.999))
                      for network in (generator, discriminator))
    health = Health(run, o, train.b, losses.non_saturating, held_out=test.b, remedies=REMEDIES, game="non_saturating", together=1,
                    warm=o.initial + WARM)
    kept = dict(generator=generator, discriminator=discriminator, adam_g=adam_g, adam_d=adam_d, photographs=photographs,
                drawings=drawings, streams=streams, watch=health.watch)
    run.restore(kept)
    falling = run.follows(lambda steps: constant_then_falling(steps, o.fall), o.steps)
    schedules = [scheduled(adam, falling, run.step) for adam in (adam_g, adam_d)]
    game = Game(generator, discriminator, net, adam_g, adam_d, o.omega, o.content)

    photos, drawn = photographs.forever(), drawings.forever()
    run.image(None, test.b.x[:cartoons.SHOWN], "real", columns=6)
    with health.told():
        for step in run.loop(run.step, o.steps, save=kept):
            p = mg.tensor(next(photos)[0], device=o.device)
            begun = step > o.initial
            if begun:
                both = mg.tensor(next(drawn)[0], device=o.device)
                c, e = both[:, : o.channels], both[:, o.channels :]
                played = play(game, p, c, None if "edges" in o.without else e)
            else:
                played = initialise(game, p)
            for schedule in schedules:
                schedule.step()

            if step == o.initial + 1:
                run.log(step, balance=played.content.item() / played.adversarial.item())
            if run.due(step, 20):
                norms = gradient_norms("gradient_g", generator)
                told = dict(loss_d=played.discriminator, loss_g=played.adversarial) if begun else {}
                names = list(norms)  # of 27 layers a few, or the curves could not be told apart
                run.log(step, loss_content=played.content, **told, **{name: norms[name] for name in names[:: len(names) // 4 or 1]})
                if begun and step % 20 == 0:  # not where the run happens to end
                    health.pulse(played.real, played.fake, played.translated, norms)
            if run.due(step, 500, first=20):
                run.check_finite(step, [*generator.named_parameters(), *discriminator.named_parameters()])
                run.log(step, **cartoons.measured(generator, net, test, answers))
                run.image(step, cartoons.before_and_after(generator, test), "before_and_after", columns=6)
            if begun and run.due(step, 500):  # asked anew, because a log that comes only at a run's end is noted for each
                health.look(step, cartoons.before_and_after(generator, test, 64)[1::2], discriminator, last=step % 500 != 0)
    finish(run, o, cartoons.measured(generator, net, test, answers), cartoons.real_numbers(test, answers), net, health, test)


def finish(run, o, found, real, net, health, test):
    """The numbers in words, result.json, the report."""
    write_json(run.file("result.json"), {**found, **real, "features": str(net), "parts left out": list(o.without)})
    words = cartoons.in_words(found, real)
    for name, text in words.items():
        run.say(f"{name}: {text}")
    without = "".join(f", without {name}" for name in o.without)
    run.finish(title=f"CartoonGAN: {test.a.name} to {test.b.name}{without}", summary={
        **words, "feature net": str(net), "images seen": f"{o.steps * o.batch:,} photographs, "
        f"{min(o.initial, o.steps) * o.batch:,} of them on the content alone", "diagnosis": health.words()})
