"""python -m gan evaluate RUN --judge CLASSIFIER: how good are the samples? Every number beside what real pictures score.

The judge is a classifier trained here on the same data (`python -m nets classifier`); without --judge it is the newest one nearby.
Data without labels takes one that was trained to see how far a picture is turned (`--turns`); numbers of classes are left out then.
Each column of the table is a set of pictures: the samples, real ones (the floor: no image is on both sides, so N is at most half
of the training set), and real ones spoilt in known ways (the ladder, gan/metrics/ladder.py). docs/metrics.md has the equations.

The Frechet distance is named after all that it depends on, the network of the judge, its data, the fingerprint of its weights, and
how many real images and samples were compared: FD-lenet-mnist-1a2b3c-real10000@10000. Another name is another metric, and none is
an FID. With --inception, a file of the weights that FID is defined by, the true FID and KID are computed, too.

Writes RUN/evaluation.json, and RUN/evaluation.html with the pictures that belong to the numbers.
"""

from __future__ import annotations

import os

import numpy as np

import minigrad as mg
from gan.commands.helpers.evaluation import page_of, terminal
from gan.drawing import asked_for, drawer
from gan.metrics import (
    class_report,
    disjoint,
    distance_name,
    fingerprint,
    frechet_distance,
    kernel_distance,
    ladder,
    path_length,
    rules,
)
from gan.metrics.nearest import birthday, nearest
from gan.metrics.path_length import EPSILON, of_real
from gan.metrics.stacked import SAMPLES, read_stack, stacked_report
from minigrad import command, data, next_steps, report
from minigrad.kinds import RunError, kind_of, neighbours
from minigrad.progress import Progress
from minigrad.random import Stream
from minigrad.run import Run
from minigrad.words import write_json
from nets.classifiers import KINDS, trained
from nets.commands.helpers.images import test_set
from nets.imagenet import inception

FEW = 1000  # samples, below which the distance is mostly its floor
PATHS, SHOWN = 500, 10  # pairs of latents for the path length; near pairs and nearest training pictures on the page


def options(argv=None):
    parser = command.Parser("gan evaluate", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            takes="1 minute",
                            examples=["runs/dcgan-0001", "runs/vae-0001 --judge runs/classifier-0001 --count 2000"])
    parser.add_argument("run", type=command.path, metavar="RUN", help="a run of gan dcgan, gan mlp, gan progan, nets vae or "
                        "nets autoencoder")
    parser.add_argument("--judge", type=command.path, metavar="RUN", help="a run of nets classifier on the same data (default: the "
                        "newest one nearby)")
    parser.add_argument("--count", type=command.TWO, default=10_000, help="samples to draw, and to compare with as many "
                        "training images; with few the distance is mostly its floor")
    parser.add_argument("--inception", type=command.path, metavar="FILE", help="weights of the Inception network of FID "
                        "(pt_inception-2015-12-05 as .pth, .safetensors or .npz)")
    return parser.parse(argv)

def main(argv=None):
    o = options(argv)
    run = Run.open(o.run)
    source, c = drawer(run), run.config
    skip = c.get("skip_broken", False)
    train, test = data.load_images(c["data"], size=c["size"], skip_broken=skip), test_set(c["data"], c["size"], skip)
    other = the_judge(run, o.judge, train.y is not None)
    classifier, single = trained(other, turns=True), by_channels(c, other.config)
    halves = disjoint(Stream(o.seed, "reference").permutation(len(train)), o.count)
    real = len(halves[0])
    turns = other.config.get("turns", False)  # the judge knows no classes, only how far a picture is turned
    name = distance_name(other.config.get("network", "lenet"), other.config["data"], classifier, real, turns)
    if real < o.count:
        print(f"--count {o.count}: the training set has {len(train)} images, so {real} samples are compared with {real} of them; "
              "the floor takes as many others")
    if real < FEW:
        print(f"{real} samples: below {FEW:,} the distance tells more of their number than of the generator; compare it with "
              "its floor only")
    bar = Bar((6 + (train.y is not None)) * ladder.PARTS + 12 + (real // 50 if o.inception else 0))

    samples = ladder.look(classifier, source.pictures(Stream(o.seed, "evaluate").normal((o.count, source.latent))), single)
    bar.tick(2)
    everything = ladder.look(classifier, train.normalised(), single)
    unseen = None if test is None else ladder.look(classifier, test.normalised(), single)
    bar.tick(6)
    reference, floor = (everything.rows(half) for half in halves)
    sets = {"samples": samples.rows(slice(real)), "real": floor}
    labels = read_stack(classifier, floor.images) if single else None if train.y is None else train.y[halves[1]]
    spoilt = ladder.rungs(floor.images, labels, reference.images, o.seed)
    scale = ladder.scale(floor, everything.features, None if unseen is None else unseen.features)
    # real pictures and what was made of them are not to meet themselves in the training set
    apart = {**scale, "training": everything.features[np.setdiff1d(np.arange(len(train)), halves[1])]}
    numbers = {}
    for key in [*sets, *spoilt]:
        seen = sets[key] if key in sets else ladder.look(classifier, spoilt[key], single)
        found = ladder.measure(seen, reference, scale if key in ("samples", "copies") else apart, o.seed, bar.tick)
        numbers[key] = {k: v for k, v in found.items() if not turns or k not in ladder.OF_CLASSES}
    names = data.load(other.config["data"], limit=1).classes if single else train.classes
    result = {
        "metric": name, "judge": other.name, "latents": source.prior, "samples": o.count, "compared": real, "real_images": real,
        "test_images": 0 if test is None else min(real, len(test)),
        "judge_test_accuracy": None if test is None or single or turns else share(unseen.probabilities.argmax(1) == test.y),
        "frechet_distance": numbers["samples"]["frechet_distance"],
        "floor_train_train": numbers["real"]["frechet_distance"],
        "floor_train_test": None if test is None or len(test) < 2 else frechet_distance(unseen.features[:real], reference.features),
        **({} if turns else answers(samples, unseen or everything, names) | obeyed(source, samples)), "numbers": numbers,
        **structure(source, classifier, samples, floor, single, o, c),
    }
    if o.inception:
        result["inception"] = true_fid(o.inception, sets, reference, bar.tick)
    result["path_length"] = walk(source, classifier, everything.features, single, o)  # last: it turns the networks to float64
    bar.close()

    write_json(run.file("evaluation.json"), result)
    print(terminal(run, other, result))
    twins = birthday(samples.features[: ladder.FEW], scale["limit"], SHOWN).nearest
    near = nearest(samples.features[:SHOWN], everything.features)[0]
    print("page:", page_of(run, other, result, {
        "samples": samples.images[:100], "twins": samples.images[twins.T],
        "ladder": {"real": floor.images[:SHOWN], **{key: rung[:SHOWN] for key, rung in spoilt.items()}},
        "near": (samples.images[: len(near)], everything.images[near])}))
    report.again(run.path, next_steps.after(run.path))  # its page shows these numbers, too


class Bar:
    """A bar over about `total` parts of the work; it is full when it is closed."""

    def __init__(self, total: int):
        self.total, self.done, self.shown = total, 0, Progress(0, total)

    def tick(self, parts: int = 1) -> None:
        """So many more are done."""
        self.done = min(self.done + parts, self.total - 1)
        self.shown.update(self.done)

    def close(self) -> None:
        """All is done."""
        self.shown.update(self.total)
        self.shown.close()


# ---- what is there


def the_judge(run, given, labels: bool) -> Run:
    """The classifier that judges: the one named, or of those nearby that read this data the newest that knows its classes, and
    where none does, its turns. RunError says how to make one."""
    if given is not None:
        return Run.open(given)
    c, found = run.config, []
    for path in neighbours(run.path):
        if kind_of(path) in KINDS:
            near = Run.open(path, quiet=True)
            if near.restored is not None and (near.config["data"], near.config["size"]) == (c["data"], c["size"]):
                found.append((not near.config.get("turns"), os.path.getmtime(near.file("config.json")), path, near))
    if not found:
        size = (f" --size {c['size']}" if c["size"] != 28 else "") + " --turns" * (not labels)
        raise RunError(run.path, f"no classifier of {c['data']} with {c['size']} pixels lies nearby to judge it; make one with: "
                       f"python -m nets classifier --data {c['data']}{size}   and name its run by --judge")
    chosen = max(found)[-1]
    print(f"judge: {chosen.path}, the newest classifier of {c['data']} nearby (--judge RUN takes another)")
    return chosen


def by_channels(c, judges) -> bool:
    """Whether the judge reads each channel for itself, as of stacked digits. ValueError for a judge of other pictures."""
    single = judges["channels"] == 1 < c["channels"]
    if not single and c["data"] != judges["data"]:
        raise ValueError(f"the judge was trained on {judges['data']}, the generator on {c['data']}")
    if c["size"] != judges["size"]:
        raise ValueError(f"the judge reads pictures of {judges['size']} pixels, the generator draws {c['size']}; train one with: "
                         f"python -m nets classifier --data {judges['data']} --size {c['size']}"
                         + " --turns" * judges.get("turns", False))
    return single


# ---- what the judge answers


def share(true) -> float:
    """Of an array of truths, the part that is true."""
    return float(np.mean(true))


def answers(samples, real, names) -> dict:
    """The share of each class and the confidence, beside that of real pictures."""
    found = class_report(samples.probabilities)
    return {"confidence": found["confidence"], "confidence_real": class_report(real.probabilities)["confidence"],
            "confident": share(samples.probabilities.max(1) > 0.9),
            "histogram": dict(zip(names, found["histogram"], strict=True)), "entropy": found["entropy"]}


# ---- numbers of some data or generators only


def obeyed(source, samples) -> dict:
    """Of a generator with classes: the share of samples that the judge takes for the class that was asked for."""
    asked = asked_for(source.network, len(samples.images))
    return {} if asked is None else {"as_asked": share(samples.probabilities.argmax(1) == asked)}


def structure(source, classifier, samples, floor, single, o, c) -> dict:
    """Stacked digits: modes and KL of 26,000 samples. Shapes: how many break the rule. Each beside the real pictures' own."""
    if single:
        drawn = source.pictures(Stream(o.seed, "stacks").normal((SAMPLES, source.latent)))
        again = floor.images[Stream(o.seed, "again").integers(len(floor.images), size=SAMPLES)]
        return {"stacked": stacked_report(classifier, drawn), "stacked_real": stacked_report(classifier, again)}
    if c["data"].partition(":")[0] == "shapes" and c["size"] >= rules.LEAST and c["channels"] == 1:
        kept = rules.options_of(c["data"])
        return {"rules": rules.check(samples.images, **kept).shares(), "rules_real": rules.check(floor.images, **kept).shares()}
    return {}


def walk(source, classifier, features, single, o) -> dict:
    """The path length in the judge's features, absolute and as a multiple of the real pictures' mean squared distance."""
    count = min(PATHS, o.count)
    stream = Stream(o.seed, "paths")
    ends = stream.normal((2, count, source.latent), np.float64)
    t = stream.uniform(0, 1 - EPSILON, count, np.float64)
    for network in (source.network, classifier):
        network.double()

    def eye(latents):
        return ladder.look(classifier, source.pictures(latents), single).features

    with mg.no_grad():
        found = path_length(eye, *ends, t)
    return {"length": found.mean, "error": found.error, "pairs": count, "epsilon": EPSILON,
            "of_real": of_real(found.mean, features)}


def true_fid(file, sets, reference, tick) -> dict:
    """FID and KID of samples and of real pictures, by the Inception features of at most as many pictures as were compared."""
    network = inception.load(file)
    known = inception.features(network, reference.images, tick)
    found = {}
    for key, seen in sets.items():
        features = inception.features(network, seen.images, tick)
        found[key] = {"fid": frechet_distance(features, known), "kid": kernel_distance(features, known)[0]}
    return {"file": os.path.basename(file), "weights": fingerprint(network), "pictures": len(known), **found}
