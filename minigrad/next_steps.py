"""What to type next: two or three commands after each one, with the paths of this run, ready to be copied.

    after("runs/dcgan-0001")        [("python -m gan sample runs/dcgan-0001", "a grid of samples, ..."), ...]
    following("gan losses")         the same for a command that makes no run

A command that needs another run takes one that is there: `gan evaluate` the newest classifier of the same data and size. Where none
is there, the command that makes one stands before it, and the path is the one that it will have. Lines are quoted for the shell.

Imports: kinds, records.
"""

from __future__ import annotations

import os
import re
import shlex

from minigrad import kinds
from minigrad.records import unsealed

__all__ = ["after", "following"]

LABELLED = ("glyphs", "mnist", "fashion-mnist", "cifar10", "shapes")
JUDGES = ("nets classifier", "attacks train")  # whose runs hold a classifier
DRAWERS = ("nets autoencoder", "nets vae")
EXHIBITS = {  # after a command that makes no run
    "gan losses": ("gan toogood", "the same, measured on a discriminator that is trained too well"),
    "gan toogood": ("gan curve", "does the loss say how good the samples are?"),
    "gan dirac": ("gan toy", "the next larger game: two networks in the plane"),
    "gan curve": ("gan toy --preset plain", "the GAN of 2014 in the plane, without a remedy"),
    "gan leak": ("gan dcgan", "a DCGAN, whose discriminator leaks"),
    "gan collapse": ("gan toy", "the plane, where modes can be counted"),
    "gan cartoon-ablation": ("gan cartoon", "the whole game, as a run with a report"),
    "gan batchnorm": ("gan dcgan --preset published", "a DCGAN with batch norm in both players"),
    "gan ablation": ("gan progan", "the game with all of it, at 32 pixels"),
    "gan colours": ("gan cyclegan", "the translation itself, with what holds colours in place"),
    "gan checkerboard": ("gan cyclegan --resize", "a translation that enlarges by repetition"),
    "gan structure": ("gan collapse", "the other way to fail: only one digit"),
    "nets blur": ("nets autoencoder", "a network whose drawings blur for this reason"),
    "nets classify": ("attacks panda", "the same network, fooled"),
    "attacks panda": ("nets classifier", "a network of your own to attack"),
    "attacks linear": ("nets classifier", "a network to attack"),
}


def after(folder) -> list[tuple[str, str]]:
    """[(command line, why)] for a run, finished or not; [] for a folder of which nothing is known."""
    kind, config = kinds.kind_of(folder), _config(folder)
    made = _steps(kind, os.fspath(folder), config) if kind else []
    return [(f"python -m {' '.join(map(shlex.quote, words))}", why) for words, why in made]


def following(command: str, folder=None) -> list[tuple[str, str]]:
    """The same for a command that has come to its end: what comes after the run that it looked at, but for itself, or the exhibit
    that follows it."""
    if command in EXHIBITS:
        line, why = EXHIBITS[command]
        return [(f"python -m {line}", why)]
    return [(line, why) for line, why in after(folder) if not line.startswith(f"python -m {command} ")] if folder else []


def _steps(kind: str, folder: str, c: dict) -> list[tuple[list[str], str]]:
    """Words of command lines, by the kind of the run."""
    if kind == "gan dcgan":
        return [(["gan", "sample", folder], "more samples, and a walk through latent space as a GIF"), *_judged(folder, c)]
    if kind == "gan mlp":
        return [(["gan", "dcgan", *_data(c)], "the same game with convolutions"),
                (["gan", "mlp", *_data(c), "--loss", "minimax"], "the game as it stands, whose gradient vanishes")]
    if kind == "gan progan":
        return [*_judged(folder, c), (["gan", "ablation", *_data(c)], "the same game with each ingredient left out in turn")]
    if kind == "gan cyclegan":
        return [(["gan", "cyclegan", *_data(c), "--identity", "0"], "the same without the identity loss"),
                (["gan", "cyclegan", *_data(c), "--seed", str(c.get("seed", 0) + 1)], "does another seed find the same way?")]
    if kind == "gan cartoon":
        sides = [word for name in ("photos", "cartoons") if c.get(name) for word in (f"--{name}", c[name])]
        return [(["gan", "cartoon", *(sides or _data(c)), "--without", "edges"], "the same without the smoothed cartoons"),
                (["gan", "cartoon-ablation", *(sides or _data(c))], "what each part of the method does, in one figure")]
    if kind == "gan toy":
        data = c.get("data") or "ring"
        other = "grid" if str(data).startswith("ring") else "ring"
        return [(["gan", "toy", "--data", data, "--preset", "plain"], "the same without a remedy"),
                (["gan", "toy", "--data", other], "other data")]
    if kind == "nets charrnn":
        return [(["nets", "generate", folder, "--prompt", "The ", "--temperature", "0.5"], "it writes, carefully"),
                (["nets", "generate", folder, "--prompt", "The ", "--temperature", "1"], "it writes, boldly")]
    if kind in DRAWERS:
        return [(["nets", "generate", folder], "pictures of codes drawn at random"),
                (["nets", "blur", *_data(c)], "why such pictures are blurred")]
    if kind == "nets blur":
        gans = _others(folder, ("gan dcgan",), c)
        return [(["nets", "blur", *_data(c), "--gan", gans[-1]], "the same beside a GAN")] if gans and not c.get("gan") else [
            (["gan", "dcgan", *_data(c)], "a network that does not blur")]
    if kind in JUDGES:
        gans = _others(folder, ("gan dcgan",), c)
        fooled = [] if c.get("turns") else [
            (["attacks", "pgd", "--model", folder], "how little it takes to fool it"),
            (["attacks", "evaluate", "--model", folder], "may its robust accuracy be believed?")]
        return [*fooled, *([(["gan", "evaluate", gans[-1], "--judge", folder], "let it judge a generator")] if gans else [])]
    model = c.get("model")
    if kind.startswith("attacks ") and isinstance(model, str):
        lines = [(["attacks", "evaluate", "--model", model], "may a robust accuracy be believed? an ensemble of attacks"),
                 (["attacks", "curve", "--model", model], "accuracy against the size of the perturbation"),
                 (["attacks", "train", "--method", "pgd", *_data(_config(model))], "a network that holds")]
        return [(words, why) for words, why in lines if words[:2] != kind.split()]
    if kind.startswith("attacks "):
        return [(["attacks", "train", "--method", "fast", *_data(c)], "a network that holds"),
                (["nets", "classifier", *_data(c)], "a network to attack")]
    return []


def _judged(folder: str, c: dict) -> list[tuple[list[str], str]]:
    """Evaluation of a generator: by a classifier that is there, or by one that is trained first."""
    judges, why = _others(folder, JUDGES, c), "numbers: classes, confidence, distance to the data"
    if judges:
        return [(["gan", "evaluate", folder, "--judge", judges[-1]], why)]
    root, size = os.path.dirname(folder), ["--size", str(c["size"])] if c.get("size") not in (None, 28) else []
    labelled = str(c.get("data")) in LABELLED or c.get("classes")
    size += [] if labelled else ["--turns"]  # where there are no classes, a judge of how far a picture is turned
    where = [] if root == "runs" else ["--out", root or "."]
    return [(["nets", "classifier", *_data(c), *size, *where], "a judge for the line below"),
            (["gan", "evaluate", folder, "--judge", _next(root, "classifier")], why)]


def _data(c: dict) -> list[str]:
    """--data as it is asked for; nothing for what is the default everywhere."""
    name = c.get("data")
    return ["--data", name] if isinstance(name, str) else []


def _others(folder: str, wanted: tuple, c: dict) -> list[str]:
    """Runs of these kinds on the same data and of the same size, with a checkpoint, oldest first."""
    found = []
    for run in kinds.neighbours(folder):
        other = _config(run)
        if kinds.kind_of(run) in wanted and all(other.get(key) == c.get(key) for key in ("data", "size", "channels")) \
                and os.path.isfile(os.path.join(run, "checkpoints", "latest.json")):
            found.append(run)
    return sorted(found, key=lambda run: os.path.getmtime(os.path.join(run, "checkpoints", "latest.json")))


def _next(root: str, name: str) -> str:
    """The folder that the next run of this name will have."""
    taken = [int(found[1]) for entry in os.listdir(root or ".") if (found := re.fullmatch(name + r"-(\d{4,})", entry))]
    return os.path.join(root, f"{name}-{max(taken, default=0) + 1:04d}")


def _config(folder) -> dict:
    try:
        return unsealed(os.path.join(folder, "config.json"))[0]
    except (OSError, ValueError):
        return {}
