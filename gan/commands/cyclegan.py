"""python -m gan cyclegan: pictures of one kind become pictures of another, though no picture has a partner to learn from.

Two translators and two judges (Zhu et al. 2017): what goes there must come back as it was. Default data: brown beasts and
striped ones, drawn here, whose true translations are known. While it trains, held-out pictures in rows: before, after, and
back; and three numbers: the share of translations that a classifier of the two kinds takes for the other kind, the error of the
way back, and, where partners are known, how near each translation comes to its own. `python -m gan translate RUN PICTURE...`
then takes pictures of yours.
"""

from __future__ import annotations

import numpy as np

from gan.commands.helpers.translating import Players, both_sets, next_pair
from gan.commands.helpers.translating_health import TranslationHealth
from gan.commands.helpers.two_kinds import classifier_of_two
from gan.translate import oracle
from minigrad import command, data
from minigrad.random import Streams
from minigrad.words import percent, write_json
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
    train, test = both_sets(o, o.batch)
    o.channels, streams = train.a.x.shape[1], Streams(o.seed)
    loaders = [data.DataLoader(side, o.batch, shuffle=True, drop_last=True, rng=streams[f"data {name}"])
               for name, side in zip("ab", train, strict=True)]
    run = command.start("cyclegan", o)
    players = Players(o.channels, streams, width=o.width, blocks=o.blocks, patch=o.patch, resize=o.resize, pool=o.pool, rate=o.rate,
                      device=o.device)
    health = TranslationHealth(run, players, train, test)
    kept = {**players.parts, "loader_a": loaders[0], "loader_b": loaders[1], "streams": streams, "watch": health}
    run.restore(kept, new=["watch"])
    falling = run.follows(lambda steps: constant_then_falling(steps, o.fall), o.steps)
    schedules = [scheduled(adam, falling, run.step) for adam in (players.adam_g, players.adam_d)]
    judge = classifier_of_two(run.say, train, test, o)

    endless = [loader.forever() for loader in loaders]
    with health.told():
        for step in run.loop(run.step, o.steps, save=kept):
            a, b = next_pair(endless, o.device)
            losses, moved = players.round(a, b, cycle=o.cycle, identity=o.identity)
            for schedule in schedules:
                schedule.step()

            if step % 20 == 0:
                health.pulse(a, b, moved)
            if run.due(step, 20):
                run.log(step, **losses)
            if run.due(step, 500, first=20):
                run.check_finite(step, players.named_parameters())
                after = players.translated(test)
                back = players.returned(after)
                health_now = health.look(step, after, last=step % 500 != 0 and step != 20)
                run.log(step, **measured(after, back, test, judge), **health_now)
                for name, rows in sheet(after, back, test).items():
                    run.image(step, rows, name, columns=3)
    after = players.translated(test)
    finish(run, o, measured(after, players.returned(after), test, judge), test, judge, health)


def measured(after, back, test, judge) -> dict:
    """Numbers on all held-out pictures; "ab" is the way from a to b, G, and "ba" the other, F. after, back: by way, what they
    became there and what that became on the way back.

    fooled_ab    share of translations G(a) that the classifier takes for b
    back_ab      mean absolute difference of F(G(a)) and a, pixels from -1 to 1
    partner_ab   the same of G(a) and its true partner, rank_ab the partner's median rank: where partners are known"""
    found = {}
    for source, target, way, label in ((test.a, test.b, "ab", 1), (test.b, test.a, "ba", 0)):
        before = source.normalised()
        found[f"fooled_{way}"] = float((judge(after[way]) == label).mean())
        found[f"back_{way}"] = float(np.abs(back[way] - before).mean())
        if isinstance(test, data.Paired):
            truth = oracle(after[way], target.normalised(), before)
            found |= {f"partner_{way}": truth.error, f"rank_{way}": truth.rank}
    return found


def sheet(after, back, test) -> dict:
    """Pictures in rows of before, after, back: {"a_to_b": (3 * SHOWN, C, H, W), "b_to_a": ...}."""
    sheets = {}
    for way, side, name in (("ab", test.a, "a_to_b"), ("ba", test.b, "b_to_a")):
        before = side.subset(slice(SHOWN)).normalised()
        rows = np.stack([before, after[way][:SHOWN], back[way][:SHOWN]], 1)
        sheets[name] = rows.reshape(-1, *before.shape[1:])
    return sheets


def finish(run, o, found, test, judge, health):
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
    summary["diagnosis"] = health.words()
    run.finish(title=f"CycleGAN: {test.a.name} and {test.b.name}", summary=summary)
