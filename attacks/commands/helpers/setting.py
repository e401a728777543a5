"""The setting of an attack, which every command needs: the network, samples of its data, the norm and the radius, a run.

The network comes from a run of `python -m nets classifier`; samples are pictures in [0, 1], and the network's own range of
[-1, 1] is the victim's normalisation, so that epsilon counts as the literature does: 1 is the way from black to white.
"""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from attacks.core.threat import L0, L1, L2, Linf
from attacks.core.victim import Victim
from minigrad import command, inputs
from minigrad.random import Stream
from minigrad.run import Run, RunError
from nets.classifiers import trained

HINT = "train one with: python -m nets classifier"
EPSILON = {  # by channels and norm: what is usual for digits, and for colour pictures of 32 pixels
    1: {"linf": 0.3, "l2": 2.0, "l1": 10.0, "l0": 20},
    3: {"linf": 8 / 255, "l2": 0.5, "l1": 12.0, "l0": 20},
}
L1_SHARE = 0.05  # of the pixels, in one step of steepest ascent; 1 pixel alone hits the box at once


class Samples(NamedTuple):
    """x (N, C, H, W) float32 in [0, 1], y (N,) int64, the names of the classes, and the source's name."""

    x: np.ndarray
    y: np.ndarray
    classes: tuple
    name: str


# ---- options


def run_options(parser, cuda: bool = True) -> None:
    """--device --out --dry-run, for commands too short to be resumed. cuda: False for work that the CPU alone does."""
    command.add_device(parser, cuda)
    parser.add_argument("--out", type=command.path, default="runs", metavar="FOLDER", help="where the run's own folder is made")
    parser.add_argument("--dry-run", action="store_true", help="go all the way with the least work, keep nothing")


def model_options(parser, count: int, what: str, norms=("linf", "l2", "l1"), several=False) -> None:
    """--model --data --download --epsilon --norm --count and those of `run_options`; no norms: without --epsilon and --norm.

    several: --model takes more than one."""
    parser.add_argument("--model", type=command.path, metavar="RUN", nargs="+" if several else None,
                        help="a run of `python -m nets classifier`"
                        + (", or several" if several else ""))
    parser.add_argument("--data", metavar="NAME", help="attack its test set (default: the data that the model was trained on)")
    parser.add_argument("--download", action="store_true", help="fetch the data if it is not there")
    parser.add_argument("--skip-broken", action="store_true", help=command.SKIP_BROKEN)
    if norms:
        radius_option(parser, "size of the perturbation", default=None, usual="usual for the data and the norm")
        parser.add_argument("--norm", choices=norms, default=norms[0], help="how the size is measured")
    parser.add_argument("--count", type=command.COUNT, default=count, metavar="N", help=what)
    run_options(parser)


def radius_option(parser, what: str, default: float | None, name: str = "epsilon", usual: str = "") -> None:
    """--epsilon, or another radius or length of a step, in one meaning everywhere: see `radius`."""
    parser.add_argument(f"--{name}", type=command.POSITIVE, default=default, metavar="E",
                        help=f"{what}. In Linf 0.03 is a part of the way from black to white, 8/255 as well, and from 1 on a "
                        "number means grey levels: 8 is 8/255. In L2, L1, L0 a number is what it is, also above 1"
                        + (f" (default: {usual})" if usual else ""))
    parser.meanings[name] = lambda value, o: radius(name, value, getattr(o, "norm", "linf"))
    if name == "epsilon":
        parser.echoes["epsilon"] = lambda value, o: in_words(value) if getattr(o, "norm", "linf") == "linf" else None


def radius(name: str, value: float, norm: str = "linf") -> float:
    """A length that a person typed as a part of the range: in Linf 8 is 8/255. ArgumentTypeError for 255 grey levels and more,
    which is all there is; every picture lies within. Other norms: the number itself, in L0 of pixels."""
    if norm == "l0" and value != int(value):
        raise argparse.ArgumentTypeError(f"in L0 a radius is a number of pixels, such as 20, got {value:g}")
    if norm != "linf" or value < 1:
        return value
    if value >= 255:
        raise argparse.ArgumentTypeError(f"{value:g} grey levels are the whole range of 255, so every picture lies within; give "
                                         "fewer, such as 8, 8/255 or 0.03")
    return value / 255


def in_words(epsilon: float) -> str:
    """A radius in Linf: "8/255 = 0.0314 of the range", "0.3 of the range = 76.5/255"."""
    levels = 255 * epsilon
    whole = abs(levels - round(levels)) < 1e-6
    return f"{round(levels)}/255 = {epsilon:.4f} of the range" if whole else f"{epsilon:g} of the range = {levels:.4g}/255"


def start(name: str, o) -> Run:
    """The run of a command that cannot be resumed; a dry run takes 2 steps where there are steps."""
    o.resume = None
    return command.start(name, o)


@contextmanager
def working(run: Run, total: float, kept):
    """A bar over `total` units, as `run.units`. Ctrl-C ends the block. Where `kept`, a list or dict, has something by then,
    `bar.stopped` is True, and the command is to go on with that and to return 130; else SystemExit leaves at once and says so."""
    bar = run.units(total, kept=kept)
    try:
        with bar:
            yield bar
    except SystemExit:
        if not kept:
            raise
        bar.stopped = True


# ---- the network and its data


def victim_of(o, parser) -> tuple[Victim, dict]:
    """(the network of --model with bounds [0, 1], the run's configuration)."""
    if o.model is None:
        parser.error(f"which network? Give --model RUN, a run of a classifier; {HINT}")
    try:
        run = Run.open(o.model, quiet=True)
    except RunError as error:
        raise RunError(error.path, f"{error.reason}; {HINT}") from None
    c = run.config
    return Victim(trained(run).to(o.device), bounds=(0, 1), normalize=(0.5, 0.5), classes=c["classes"]), c


def test_set(o, config) -> Samples:
    """The whole test set of --data, in the size that the network takes."""
    name = o.data or config["data"]
    o.skip_broken = o.skip_broken or config.get("skip_broken", False)
    found = inputs.labelled(o, name, train=False, size=config["size"])
    if found.x.shape[1] != config["channels"] or len(found.classes) > config["classes"]:
        raise ValueError(f"--data {name} has {found.x.shape[1]} channels and {len(found.classes)} classes, the model takes "
                         f"{config['channels']} and {config['classes']}; it was trained on {config['data']}")
    o.data = name
    return Samples(found.normalised((0.0, 1.0)), found.y, found.classes, name)


def pick(samples: Samples, count: int, seed: int) -> Samples:
    """`count` samples, drawn by the seed without repetition."""
    rows = Stream(seed, "samples").permutation(len(samples.y))[:count]
    return samples._replace(x=samples.x[rows], y=samples.y[rows])


def threat_of(o, config, share: float = 1.0):
    """The ball of --norm and --epsilon, by default `share` of the usual radius; o.epsilon becomes the number that is used."""
    if o.epsilon is None:
        o.epsilon = share * EPSILON[config["channels"]][o.norm]
    return ball(o.norm, o.epsilon)


def ball(norm: str, epsilon: float):
    """Linf, L2, or L1 whose steps move a twentieth of the pixels."""
    return {"linf": Linf, "l2": L2, "l1": lambda e: L1(e, top=L1_SHARE), "l0": L0}[norm](epsilon)


def other_class(y, classes: int, seed: int) -> np.ndarray:
    """(N,) a wrong class for each sample, uniformly drawn by the seed."""
    return (y + Stream(seed, "targets").integers(1, classes, len(y))) % classes


# ---- answers


def probabilities(victim, x) -> np.ndarray:
    """(N, classes) softmax of the victim's logits."""
    z = victim.predict(x).astype(np.float64)
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def label(classes, i) -> str:
    """The name of class i."""
    return str(classes[i]) if i < len(classes) else f"class {i}"
