"""What `gan cartoon` and its ablation share: two sets of pictures, the feature net, what is measured, and the sheet of pictures."""

from __future__ import annotations

import argparse

import numpy as np

from gan.translate import clear_share, oracle, smooth_edges
from minigrad import command, inputs
from minigrad.data import Dataset, Pair, Paired
from minigrad.pictures import to_uint8
from minigrad.progress import Progress
from minigrad.random import Streams
from minigrad.words import percent
from nets import features
from nets.commands.helpers.images import if_there
from nets.generators.draw import in_batches

SIZES = {"scenes": 32}  # others: 64
HELD_OUT = 256  # photographs, of a set that comes without test pictures; of fewer than 1,024 a quarter
SHOWN = 12  # held-out photographs in a sheet
WITHOUT = ("initialization", "edges")


def add_options(parser) -> None:
    """Options of both commands."""
    add = parser.add_argument
    add("--photos", metavar="TEXT", help="photographs: folder:PATH, npz:PATH or a name, such as photos; with --cartoons, in place "
        "of --data")
    add("--cartoons", metavar="TEXT", help="the pictures whose style is wanted, in the same way, such as ghibli")
    add("--size", type=command.COUNT, help="pixels, a multiple of 4, at least 16 (default: 32 for scenes, else 64; the "
        "paper has 256)")
    add("--batch", type=command.COUNT, default=8, help="pictures of each kind in a step")
    add("--width", type=command.COUNT, default=16, help="maps next to the picture in the generator (the paper's 64)")
    add("--blocks", type=command.COUNT, default=8, help="residual blocks of the generator")
    add("--resize", action=argparse.BooleanOptionalAction, default=True, help="enlarge by repetition and convolution; the authors' "
        "net has transposed convolutions, --no-resize, whose checkerboard takes long to unlearn")
    add("--judge-width", type=command.COUNT, default=16, help="maps next to the picture in the discriminator (the paper's 32)")
    add("--stages", type=command.COUNT, help="halvings in the discriminator: 2 see patches of 37 pixels, 1 of 17 (default: 1 below "
        "128 pixels, else 2, the paper's)")
    add("--features", metavar="TEXT", default="random", help="the net whose features the content loss compares: random, a small "
        "net with its first weights; own, the same trained here on the photographs; or a file of SqueezeNet 1.0 or VGG-19")
    add("--omega", type=command.WEIGHT, default=30.0, help="weight of the content loss, whose features have a root mean "
        "square of 1; the paper's 10 is for features as they come")
    add("--initial", type=command.NATURAL, default=400, help="steps on the content loss alone, before the game begins")
    add("--rate", type=command.POSITIVE, default=2e-4, help="Adam's rate (beta1 = 0.5)")
    add("--fall", type=command.FRACTION, default=0.5, help="last part of training, over which the rate falls to 0")
    add("--no-mirror", action="store_true", help="do not train on mirrored pictures as well")


def settle(o) -> None:
    """What follows from the options; ValueError for what does not go together."""
    if (o.photos is None) != (o.cartoons is None):
        missing = "--cartoons" if o.cartoons is None else "--photos"
        raise ValueError(f"--photos and --cartoons go together, and {missing} is missing")
    o.size = o.size or (64 if o.photos else SIZES.get(o.data.partition(":")[0], 64))
    o.stages = o.stages or (1 if o.size < 128 else 2)
    if o.size % 4 or o.size < 16:
        raise ValueError(f"--size {o.size}: the generator halves the sides twice; give a multiple of 4, at least 16")


# ---- pictures


def both_sets(o) -> tuple[Pair, Pair]:
    """(training, test), a Pair of photographs and cartoons each. A side without test pictures gives some of its own: of photographs
    `HELD_OUT` or a quarter, of cartoons a tenth. ValueError for too few, or one side grey and one in colour."""
    asked = dict(size=o.size, seed=o.seed)
    if o.photos is None:
        train = inputs.pair(o, **asked)
        test = if_there(o.data, lambda: inputs.pair(o, train=False, **asked)) or Pair(None, None)
    else:
        named = list(zip((o.photos, o.cartoons), "ab", strict=True))
        train = Pair(*(inputs.side(o, name, letter, **asked) for name, letter in named))
        test = Pair(*(if_there(name, lambda name=name, letter=letter: inputs.side(o, name, letter, train=False, **asked))
                      for name, letter in named))
    if test.a is None or test.b is None:
        counts = (min(HELD_OUT, len(train.a) // 4), len(train.b) // 10)
        halves = [(side, held) if held is not None else side.split(count / len(side), o.seed)
                  for side, held, count in zip(train, test, counts, strict=True)]
        train, test = (Pair(*sides) for sides in zip(*halves, strict=True))
    if train.a.x.shape[1] != train.b.x.shape[1]:
        raise ValueError(f"photographs with {train.a.x.shape[1]} channels and cartoons with {train.b.x.shape[1]}: make both grey "
                         "or both RGB")
    for what, side, held, least in zip(("photographs", "cartoons"), train, test, (3, 1), strict=True):
        if len(side) < max(o.batch, 3) or len(held) < least:
            raise ValueError(f"{side.source}: {len(side)} {what} to train on and {len(held)} held out are too few; needed are "
                             f"{max(o.batch, 3)} (--batch, or 3) and {least}")
    return train, test


def mirrored(side: Dataset) -> Dataset:
    """Each picture, and each turned left to right."""
    return Dataset(np.concatenate([side.x, side.x[:, :, :, ::-1]]), name=side.name, source=side.source)


def with_smoothed(side: Dataset) -> Dataset:
    """Each cartoon and, in further channels, the same with smoothed edges: (N, 2 C, H, W), so that they come in one batch."""
    return Dataset(np.concatenate([side.x, smooth_edges(side.x)], 1), name=side.name, source=side.source)


def feature_net(o, photos, path=None):
    """The calibrated net of --features. photos: to train on; path: where `own` keeps it. Streams of its own, which follow from
    --seed: a run that is resumed before its first checkpoint has the same one."""
    streams = Streams(o.seed)
    if o.features == "own":
        bar = Progress(0, features.STEPS)
        net = features.own(photos, o.size, streams, path, after=lambda: bar.update(bar.step + 1))
        bar.close()
    elif o.features == "random":
        net = features.random(o.channels, o.size, streams)
    else:
        net = features.from_file(o.features)
    return features.calibrated(net, photos.normalised())


# ---- numbers and pictures


def measured(generator, net, test, answers) -> dict:
    """Numbers on all held-out photographs.

    content_distance   mean |f(G(p)) - f(p)|, features of root mean square 1
    clear_edges        share of the gradient's ridges that are high (`gan.translate.clear_share`)
    fooled             share of translations that a classifier takes for cartoons
    partner_ab         where partners are known, mean absolute difference of G(p) and its true cartoon; rank_ab: its median rank"""
    before = test.a.normalised()
    after = in_batches(generator, generator, before, 32)
    there, here = (in_batches(net, net, x, 32) for x in (after, before))
    found = {"content_distance": float(np.abs(there - here).mean()), "clear_edges": clear_share(to_uint8(after)),
             "fooled": float((answers(after) == 1).mean())}
    if isinstance(test, Paired):
        truth = oracle(after, test.b.normalised(), before)
        found |= {"partner_ab": truth.error, "rank_ab": truth.rank}
    return found


def real_numbers(test, answers) -> dict:
    """What the same numbers are for held-out photographs and cartoons as they are."""
    smoothed = smooth_edges(test.b.x)
    found = {"clear_edges, photographs": clear_share(test.a.x), "clear_edges, cartoons": clear_share(test.b.x),
             "clear_edges, smoothed cartoons": clear_share(smoothed),
             "fooled, photographs": float((answers(test.a.normalised()) == 1).mean()),
             "fooled, cartoons": float((answers(test.b.normalised()) == 1).mean())}
    if isinstance(test, Paired):
        found["partner_ab, photographs"] = float(np.abs(test.a.normalised() - test.b.normalised()).mean())
    return found


def in_words(found: dict, real: dict) -> dict:
    """{what: numbers with those of real pictures beside them}."""
    words = {"taken for cartoons": f"{percent(found['fooled'])} of the translations (of photographs "
             f"{percent(real['fooled, photographs'])}, of cartoons {percent(real['fooled, cartoons'])})",
             "clear edges": f"{percent(found['clear_edges'])} of all edges (photographs "
             f"{percent(real['clear_edges, photographs'])}, cartoons {percent(real['clear_edges, cartoons'])}, smoothed cartoons "
             f"{percent(real['clear_edges, smoothed cartoons'])})",
             "content": f"features off by {found['content_distance']:.3f}, of root mean square 1"}
    if "partner_ab" in found:
        error, untranslated = found["partner_ab"], real["partner_ab, photographs"]
        change = error / untranslated - 1
        words["the true cartoon"] = f"off by {error:.3f}, untranslated {untranslated:.3f} ({percent(abs(change))} " \
            f"{'more' if change > 0 else 'less'}); its rank {found['rank_ab']:g}"
    return words


def before_and_after(generator, test, count: int = SHOWN) -> np.ndarray:
    """(2 * count, C, H, W): each held-out photograph and its translation."""
    before = test.a.subset(slice(count)).normalised()
    return np.stack([before, in_batches(generator, generator, before)], 1).reshape(-1, *before.shape[1:])
