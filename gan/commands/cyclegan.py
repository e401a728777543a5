"""python -m gan cyclegan: pictures of one kind become pictures of another, though no picture has a partner to learn from.

Two translators and two judges (Zhu et al. 2017): what goes there must come back as it was. Default data: brown beasts and
striped ones, drawn here, whose true translations are known. While it trains, held-out pictures in rows: before, after, and
back; and three numbers: the share of translations that a classifier of the two kinds takes for the other kind, the error of the
way back, and, where partners are known, how near each translation comes to its own. `python -m gan translate RUN PICTURE...`
then takes pictures of yours.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan.commands.helpers.two_kinds import classifier_of_two
from gan.translate import Pool, cycle_losses, discriminator_loss, oracle
from minigrad import command, data, inputs, optim
from minigrad.random import Streams
from minigrad.words import percent, write_json
from nets.commands.helpers.images import NO_TEST_SET
from nets.generators.cyclegan import PatchDiscriminator, ResnetGenerator
from nets.generators.draw import in_batches
from nets.training import constant_then_falling, scheduled

SIZES = {"beasts": 32}  # others: 64
SHOWN = 8  # held-out pictures of each kind in a sheet


def options(argv=None):
    parser = command.Parser(
        "gan cyclegan", command.doc(__doc__, __file__), data="beasts", steps=4_000,
        takes="6 minutes",
        examples=["", "--data horse2zebra --steps 10000", "--data pair:summer,winter --size 64 --width 32",
                  "--identity 0 --seed 3", "--resize", "--resume runs/cyclegan-0001"],
    )
    add = parser.add_argument
    add("--size", type=command.COUNT, help="pixels, a multiple of 4 (default: 32 for beasts, else 64; the paper has 128, 256)")
    add("--batch", type=command.COUNT, default=1, help="pictures of each kind in a step")
    add("--width", type=command.COUNT, default=16, help="maps next to the picture, in all four networks (the paper's 64)")
    add("--blocks", type=command.COUNT, default=6, help="residual blocks of a translator (the paper's 6 below 256 pixels, else 9)")
    add("--patch", type=command.COUNT, help="layers of stride 2 in a judge: 3 see patches of 70 pixels, 2 of 34, 1 of 16 "
        "(default: 2 up to 32 pixels, else 3)")
    add("--cycle", type=command.WEIGHT, default=10.0, help="weight of the way there and back")
    add("--identity", type=command.WEIGHT, default=0.5, help="weight, times --cycle, of leaving the other kind as it is: it "
        "keeps colours")
    add("--pool", type=command.NATURAL, default=50, help="former translations that a judge is shown as well; 0 for none")
    add("--rate", type=command.POSITIVE, default=2e-4, help="Adam's rate (beta1 = 0.5)")
    add("--fall", type=command.FRACTION, default=0.5, help="last part of training, over which the rate falls to 0")
    add("--resize", action="store_true", help="enlarge by repetition and convolution: no checkerboard of transposed convolutions")
    o = parser.parse(argv)
    o.size = o.size or SIZES.get(o.data.partition(":")[0], 64)
    o.patch = o.patch or (2 if o.size <= 32 else 3)
    if o.size % 4 or o.size < 8:
        raise ValueError(f"--size {o.size}: a translator halves the sides twice; give a multiple of 4, at least 8")
    return o


def main(argv=None):
    o = options(argv)
    train, test = both_sets(o)
    o.channels, streams = train.a.x.shape[1], Streams(o.seed)
    loaders = [data.DataLoader(side, o.batch, shuffle=True, drop_last=True, rng=streams[f"data {name}"])
               for name, side in zip("ab", train, strict=True)]
    g, f = (ResnetGenerator(o.channels, o.channels, o.width, o.blocks, o.resize, rng=streams["init"]) for _ in "gf")
    d_a, d_b = (PatchDiscriminator(o.channels, o.width, o.patch, rng=streams["init"]) for _ in "ab")
    run = command.start("cyclegan", o)
    for network in (g, f, d_a, d_b):
        network.to(o.device)
    adam_g = optim.Adam([*g.parameters(), *f.parameters()], o.rate, betas=(0.5, 0.999))
    adam_d = optim.Adam([*d_a.parameters(), *d_b.parameters()], o.rate, betas=(0.5, 0.999))
    pools = [Pool(o.pool, streams[f"pool {name}"]) for name in "ab"]
    kept = dict(g=g, f=f, d_a=d_a, d_b=d_b, adam_g=adam_g, adam_d=adam_d, loader_a=loaders[0], loader_b=loaders[1],
                pool_a=pools[0], pool_b=pools[1], streams=streams)
    run.restore(kept)
    falling = run.follows(lambda steps: constant_then_falling(steps, o.fall), o.steps)
    schedules = [scheduled(adam, falling, run.step) for adam in (adam_g, adam_d)]
    judge = classifier_of_two(run.say, train, test, o)

    endless = [loader.forever() for loader in loaders]
    for step in run.loop(run.step, o.steps, save=kept):
        a, b = (mg.tensor(next(batches)[0], device=o.device) for batches in endless)

        # both translators, judges frozen
        for d in (d_a, d_b):
            d.requires_grad_(False)
        losses, moved = cycle_losses(g, f, d_a, d_b, a, b, cycle=o.cycle, identity=o.identity)
        adam_g.zero_grad()
        sum(losses.values()).backward()
        adam_g.step()

        # both judges, on fakes out of the pools
        for d in (d_a, d_b):
            d.requires_grad_(True)
        loss_d = discriminator_loss(d_a, a, pools[0].draw(moved.fake_a)) + discriminator_loss(d_b, b, pools[1].draw(moved.fake_b))
        adam_d.zero_grad()
        loss_d.backward()
        adam_d.step()
        for schedule in schedules:
            schedule.step()

        if run.due(step, 20):
            run.log(step, loss_d=loss_d, **{f"loss_{name}": loss for name, loss in losses.items()})
        if run.due(step, 500, first=20):
            run.check_finite(step, [pair for network in (g, f, d_a, d_b) for pair in network.named_parameters()])
            run.log(step, **measured(g, f, test, judge))
            for name, rows in sheet(g, f, test).items():
                run.image(step, rows, name, columns=3)
    finish(run, o, measured(g, f, test, judge), test, judge)


def both_sets(o):
    """(training, test), each a Pair. A source without test pictures gives a tenth of each side."""
    train = inputs.pair(o, size=o.size, seed=o.seed)
    try:
        test = inputs.pair(o, train=False, size=o.size, seed=o.seed)
    except data.DataError as error:
        if not error.reason.startswith(NO_TEST_SET):
            raise
        (a, held_a), (b, held_b) = (side.split(0.1, o.seed) for side in train)
        train, test = data.Pair(a, b), data.Pair(held_a, held_b)
    for name, side in zip(("the first domain", "the second domain"), train, strict=True):
        if len(side) < o.batch:
            raise ValueError(f"--batch {o.batch}: {name} has {len(side)} pictures; give --batch {max(1, len(side))} or fewer")
    return train, test


def measured(g, f, test, judge) -> dict:
    """Numbers on all held-out pictures; "ab" is the way from a to b, G, and "ba" the other, F.

    fooled_ab    share of translations G(a) that the classifier takes for b
    back_ab      mean absolute difference of F(G(a)) and a, pixels from -1 to 1
    partner_ab   the same of G(a) and its true partner, rank_ab the partner's median rank: where partners are known"""
    found = {}
    for there, back, source, target, way, label in ((g, f, test.a, test.b, "ab", 1), (f, g, test.b, test.a, "ba", 0)):
        before = source.normalised()
        after = in_batches(there, there, before, 50)
        found[f"fooled_{way}"] = float((judge(after) == label).mean())
        found[f"back_{way}"] = float(np.abs(in_batches(back, back, after, 50) - before).mean())
        if isinstance(test, data.Paired):
            truth = oracle(after, target.normalised(), before)
            found |= {f"partner_{way}": truth.error, f"rank_{way}": truth.rank}
    return found


def sheet(g, f, test) -> dict:
    """Pictures in rows of before, after, back: {"a_to_b": (3 * SHOWN, C, H, W), "b_to_a": ...}."""
    sheets = {}
    for there, back, side, name in ((g, f, test.a, "a_to_b"), (f, g, test.b, "b_to_a")):
        before = side.subset(slice(SHOWN)).normalised()
        after = in_batches(there, there, before)
        sheets[name] = np.stack([before, after, in_batches(back, back, after)], 1).reshape(-1, *before.shape[1:])
    return sheets


def finish(run, o, found, test, judge):
    """The numbers in words, result.json, the report."""
    real = [float((judge(side.normalised()) == label).mean()) for label, side in enumerate(test)]
    untranslated = float(np.abs(test.a.normalised() - test.b.normalised()).mean()) if isinstance(test, data.Paired) else None
    write_json(run.file("result.json"), {**found, "told rightly, real a": real[0], "told rightly, real b": real[1],
                                         "off the partner, untranslated": untranslated})
    summary = {}
    for way, source, target, share in (("ab", test.a, test.b, real[1]), ("ba", test.b, test.a, real[0])):
        words = (f"{percent(found[f'fooled_{way}'])} taken for {target.name} (of real {target.name} {percent(share)}); "
                 f"back again off by {found[f'back_{way}']:.3f}")
        if untranslated is not None:
            error = found[f"partner_{way}"]
            change = error / untranslated - 1
            words += (f"; off the true partner by {error:.3f}, untranslated {untranslated:.3f} "
                      f"({percent(abs(change))} {'more' if change > 0 else 'less'}); "
                      f"the partner's rank {found[f'rank_{way}']:g} of {len(test.a)}")
        summary[f"{source.name} to {target.name}"] = words
        run.say(f"{source.name} to {target.name}: {words}")
    run.finish(title=f"CycleGAN: {test.a.name} and {test.b.name}", summary=summary)
