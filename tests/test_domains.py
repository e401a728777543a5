"""Counts, rates, weights and shares of data, nets and gan: outside of its domain each argument is an error with its name."""

import math

import numpy as np
import pytest

import minigrad as mg
from gan.generate import generate, interpolate, reestimate_batch_norm
from gan.metrics.frechet import disjoint
from gan.penalties import gradient_penalty
from minigrad import optim
from minigrad.data import Dataset, load, resize
from minigrad.random import Stream
from minigrad.run import Run
from nets import training
from nets.classifiers.lenet import LeNet
from nets.classifiers.maxout import MaxoutNet, bound_norms_
from nets.classifiers.perceptron import Perceptron
from nets.classifiers.plain import build
from nets.classifiers.rbf import RBF
from nets.classifiers.strided import Strided
from nets.generators.dcgan import Discriminator, Generator
from nets.imagenet.weights import photograph, top_k

WRONG = {  # for each kind, what is none
    "count": [-1, 0, 1.5, math.nan, math.inf, -math.inf, 2**31, True, None, "3"],
    "integer": [1.5, math.nan, math.inf, True, None, "3"],
    "natural": [-1, 1.5, math.nan, math.inf, True, "3"],
    "rate": [-1.0, 0, math.nan, math.inf, 1e39, True, None, "3"],
    "weight": [-1.0, math.nan, math.inf, 1e39, True, None, "3"],
    "share": [-0.1, 1, 1.5, math.nan, math.inf, True, None, "3"],
    "fraction": [-0.1, 1.1, math.nan, math.inf, True, None, "3"],
    "level": [0, 1, -0.1, math.nan, math.inf, True, None, "3"],
}
OPTIONAL = {"load: limit", "load: size", "shapes: count", "photograph: shorter", "Dataset.windows: stride"}  # None is a value


def adam():
    return optim.Adam(Perceptron(2, (2,)).parameters(), 0.1)


def text():
    return Dataset(np.arange(9), name="text")


CALLS = {  # what the message names: (kind, the call)
    **{f"LeNet: {k}": (kind, lambda v, k=k: LeNet(**{k: v})) for k, kind in
       {"channels": "count", "classes": "count", "width": "count", "size": "integer", "dropout": "share"}.items()},
    **{f"Strided: {k}": (kind, lambda v, k=k: Strided(**{k: v})) for k, kind in
       {"channels": "count", "classes": "count", "width": "count", "size": "integer", "dropout": "share"}.items()},
    **{f"MaxoutNet: {k}": ("count", lambda v, k=k: MaxoutNet(**{k: v})) for k in ("inputs", "classes", "units", "pieces")},
    "MaxoutNet: dropout: first": ("share", lambda v: MaxoutNet(dropout=(v, 0))),
    "MaxoutNet: dropout: later": ("share", lambda v: MaxoutNet(dropout=(0, v))),
    "bound_norms_: limit": ("rate", lambda v: bound_norms_(Perceptron(2, (2,)), v)),
    "Perceptron: each of inputs and sizes": ("count", lambda v: Perceptron(2, (v, 2))),
    "RBF: width": ("rate", lambda v: RBF(np.zeros((2, 3)), v)),
    **{f"build: {k}": ("count", lambda v, k=k: build("mlp", **{k: v})) for k in ("channels", "classes", "size")},
    **{f"Generator: {k}": (kind, lambda v, k=k: Generator(**{"size": 8, k: v})) for k, kind in
       {"channels": "count", "latent": "count", "width": "count", "refine": "natural"}.items()},
    **{f"Discriminator: {k}": (kind, lambda v, k=k: Discriminator(**{"size": 8, k: v})) for k, kind in
       {"channels": "count", "width": "count", "refine": "natural", "slope": "weight"}.items()},
    "DCGAN: size": ("integer", Generator),
    "scheduled: done": ("natural", lambda v: training.scheduled(adam(), lambda t: 1.0, v)),
    "rise_and_fall: steps": ("count", training.rise_and_fall),
    "rise_and_fall: rise": ("level", lambda v: training.rise_and_fall(10, v)),
    "constant_then_falling: steps": ("count", lambda v: training.constant_then_falling(v, 0.5)),
    "constant_then_falling: fall": ("fraction", lambda v: training.constant_then_falling(10, v)),
    "fit: steps": ("count", lambda v: training.fit(Perceptron(2, (2,)), None, None, v)),
    "fit: rate": ("rate", lambda v: training.fit(Perceptron(2, (2,)), None, None, 1, rate=v)),
    "generate: batch": ("count", lambda v: generate(Generator(8, 1, 2, 2), np.zeros((2, 2), np.float32), v)),
    "reestimate_batch_norm: batch": ("count", lambda v: reestimate_batch_norm(Generator(8, 1, 2, 2), np.zeros((2, 2)), v)),
    "interpolate: t": ("fraction", lambda v: interpolate(np.ones(2), np.zeros(2), v)),
    "gradient_penalty: target": ("weight", lambda v: gradient_penalty(None, mg.zeros(2, 1), mg.zeros(2, 1), Stream(0), v)),
    "disjoint: count": ("count", lambda v: disjoint(np.arange(9), v)),
    "photograph: size": ("count", lambda v: photograph("x.png", v)),
    "photograph: shorter": ("count", lambda v: photograph("x.png", 8, v)),
    "top_k: k": ("count", lambda v: top_k(np.zeros((1, 3)), v)),
    "load: limit": ("count", lambda v: load("ring", limit=v)),
    "load: size": ("count", lambda v: load("glyphs", size=v, limit=1)),
    "load: seed": ("integer", lambda v: load("ring", seed=v, limit=1)),
    "ring: modes": ("count", lambda v: load("ring", modes=v, limit=1)),
    "ring: radius": ("rate", lambda v: load("ring", radius=v, limit=1)),
    "ring: std": ("weight", lambda v: load("ring", std=v, limit=1)),
    "grid: modes": ("count", lambda v: load("grid", modes=v, limit=1)),
    "grid: spacing": ("rate", lambda v: load("grid", spacing=v, limit=1)),
    "grid: std": ("weight", lambda v: load("grid", std=v, limit=1)),
    "swissroll: noise": ("weight", lambda v: load("swissroll", noise=v, limit=1)),
    "shapes: most": ("count", lambda v: load("shapes", most=v, limit=1)),
    "shapes: count": ("count", lambda v: load("shapes", count=v, limit=1)),
    "text: held_out": ("share", lambda v: load("text:absent", held_out=v)),
    "Dataset.split: fraction": ("fraction", lambda v: text().split(v)),
    "Dataset.windows: length": ("count", lambda v: text().windows(v)),
    "Dataset.windows: stride": ("count", lambda v: text().windows(2, v)),
    "resize: size": ("count", lambda v: resize(np.zeros((1, 1, 2, 2), np.uint8), (2, v))),
    "Run.loop: every": ("count", lambda v: next(Run.temporary("a", {}, quiet=True).loop(0, 3, every=v))),
}


@pytest.mark.parametrize("name", CALLS)
def test_outside_of_its_domain_an_argument_is_an_error_that_names_it(name):
    kind, call = CALLS[name]
    for value in WRONG[kind]:
        if value is None and name in OPTIONAL:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        with pytest.raises(ValueError if number else TypeError) as caught:
            call(value)
        assert str(caught.value).startswith(f"{name} must be ") and repr(value) in str(caught.value), value


def test_options_of_data_are_checked_by_name():
    for text_, words in (("ring:std=-1", "ring: std"), ("ring:modes=1.5", "ring: modes"), ("shapes:count=1e3", "shapes: count"),
                         ("swissroll:noise=nan", "swissroll: noise")):
        with pytest.raises((ValueError, TypeError), match=f"{words} must be"):
            load(text_, limit=1)
