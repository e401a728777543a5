"""Stealing a model through its answers (model extraction), and how like the original the copy is.

    solve_softmax   a linear softmax model, exactly, from d + 1 answers in probabilities: an equation for each unknown
    extract         any model: a student of the attacker's own architecture learns the answers
    agreement       share of inputs on which two models say the same: the fidelity of the copy. Accuracy is another matter
                    (`Victim.accuracy`): a faithful copy repeats the original's mistakes
    fit, ask        training and questions, also for the substitutes of attacks.copying.transfer

The view counts the questions. If all of them together would go beyond its budget, they are refused before anything is asked. The
original is never trained, and shares no parameter with a copy.

Imports: numpy, attacks.black_box.oracle, attacks.core, minigrad.functional, minigrad.nn, minigrad.optim, minigrad.random,
minigrad.tensor.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from attacks.black_box.oracle import BATCH
from attacks.core.arrays import NO_ANSWER, host, real, said, whole
from attacks.core.streams import seed_of
from attacks.core.victim import QueryBudgetError, Victim, View, as_labels, as_scores
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.optim.lr_scheduler import LambdaLR
from minigrad.random import Stream
from minigrad.tensor import Tensor

# ---- questions -------------------------------------------------------------------------------------------------------


def left_in_all(view: View, name: str) -> float:
    """Queries that the view still answers to an attacker without samples; infinite without a budget.

    ValueError for a view on which an attack has begun: its budget is for each sample.
    """
    if view.queries is not None:
        raise ValueError(f"{name}: an attack has begun on this {view.grade} view, and counts for each of its "
                         f"{len(view.queries)} samples; give a fresh view, victim.{view.grade}(budget=...)")
    return math.inf if view.budget is None else view.budget - view.total


def ask(view: View, x, name: str = "ask") -> np.ndarray:
    """The view's answers to x (N, ...), in batches: labels (N,), or scores (N, classes). NumPy.

    QueryBudgetError, before anything is asked, where the budget is too small for all of x; ValueError where the oracle gives no
    answer (arrays.said).
    """
    x, left = view.victim.take(x, name), left_in_all(view, name)
    if len(x) > left:
        raise QueryBudgetError(f"{name}: {len(x)} queries, but {left:.0f} of the budget of {view.budget} are left; ask fewer, or "
                               "give a larger budget")
    with view:
        parts = [host(view(x[i : i + BATCH])) for i in range(0, max(len(x), 1), BATCH)]
    answers = np.concatenate(parts)
    silent = int(((answers if answers.ndim == 1 else said(answers)) == NO_ANSWER).sum())
    if silent:
        raise ValueError(f"{name}: to {silent} of {len(x)} questions the oracle gives no answer (NaN or infinite), and nothing can "
                         "be learnt from that; leave them out")
    return answers


def log_probabilities(scores, output: str) -> np.ndarray:
    """(N, classes) float64 log-probabilities from the answers of a view of scores with this `output`."""
    z = scores.astype(np.float64)
    if output == "log_probabilities":
        return z
    if output == "probabilities":
        with np.errstate(divide="ignore"):
            return np.log(z)  # -inf where the answer is 0
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


# ---- equation solving ------------------------------------------------------------------------------------------------


class Solved(NamedTuple):
    """softmax(weight x + bias), found. weight (K, d) and bias (K,) are float64 and sum to 0 over k; d is the size of a sample.

    queries: answers used. residual: largest |equation - answer|; with more than d + 1 queries it tells that the model was not
    linear, by being far above rounding. condition: of the equations; an answer's rounding error may grow by it.
    """

    weight: np.ndarray
    bias: np.ndarray
    queries: int
    residual: float
    condition: float

    def network(self) -> nn.Module:
        """The copy as a network for samples (N, ...) in the units of the questions, float64."""
        k, d = self.weight.shape
        linear = nn.Linear(d, k, dtype=np.float64, rng=Stream(0, "solved"))
        linear.weight.assign_(self.weight)
        linear.bias.assign_(self.bias)
        return nn.Sequential(nn.Flatten(), linear)


def centred(weight, bias):
    """(weight, bias) without the mean over classes, which no answer tells because softmax does not change with it."""
    weight, bias = np.asarray(weight, np.float64), np.asarray(bias, np.float64)
    return weight - weight.mean(axis=0), bias - bias.mean()


def design(shape, bounds) -> np.ndarray:
    """(d + 1, *shape) float64: the lower corner of the box, and from it the whole way along each coordinate."""
    lo, hi = bounds
    d = math.prod(shape)
    x = np.full((d + 1, d), lo)
    x[np.arange(1, d + 1), np.arange(d)] = hi
    return x.reshape(d + 1, *shape)


def solve_softmax(scores, shape=None, *, x=None) -> Solved:
    """The weights of p(x) = softmax(W x + b) from the answers to d + 1 questions (Tramer et al. 2016, equation solving).

        log p_k(x) - log p_0(x) = (w_k - w_0) x + (b_k - b_0)          linear in the unknowns, d + 1 of them for each class

    scores: a view of scores with any output (labels raise TypeError). shape: of one sample; then the questions are
    `design`'s. x: own questions (m, *shape), m >= d + 1, instead; by least squares, where there are more.
    W and b come in the units of the questions (a normalisation of the victim is part of them) and `centred`, because softmax
    tells no more. Errors are those of the answers: about 1e-7 of the logits for a float32 victim. ValueError where the questions
    do not determine W, or a probability has rounded to 0 (ask for log-probabilities or logits).
    """
    view = as_scores(scores, "solve_softmax")
    if (x is None) == (shape is None):
        raise ValueError("solve_softmax: give the shape of one sample, or the questions x (m, *shape), one of the two")
    x = design(tuple(shape), view.bounds).astype(np.float64) if x is None else x
    x = view.victim.taken(x, "solve_softmax")
    a = np.concatenate([host(x.array).reshape(len(x), -1).astype(np.float64), np.ones((len(x), 1))], axis=1)  # (m, d + 1): x, 1
    singular = np.linalg.svd(a, compute_uv=False)
    if len(a) < a.shape[1] or singular[-1] <= 1e-12 * singular[0]:
        raise ValueError(f"solve_softmax: {len(a)} questions do not determine the {a.shape[1]} unknowns of each class; give "
                         f"at least {a.shape[1]} that lie in no plane, or shape= for a good choice")
    log_p = log_probabilities(ask(view, x, "solve_softmax"), view.output)  # (m, K)
    if not np.isfinite(log_p).all():
        raise ValueError("solve_softmax: some probabilities have rounded to 0, and their logarithm is lost; ask for "
                         "scores(output='log_probabilities'), or choose questions x nearer to the boundary")
    right = log_p - log_p[:, :1]
    found = np.linalg.solve(a, right) if len(a) == a.shape[1] else np.linalg.lstsq(a, right, rcond=None)[0]  # (d + 1, K)
    weight, bias = centred(found[:-1].T, found[-1])
    residual = float(np.abs(a @ found - right).max())
    return Solved(weight, bias, len(a), residual, float(singular[0] / singular[-1]))


# ---- learning --------------------------------------------------------------------------------------------------------


class Student(NamedTuple):
    """victim: the copy. x (N, ...), answers (N,) labels or (N, K) probabilities: what was asked. loss: of the last epoch."""

    victim: Victim
    x: np.ndarray
    answers: np.ndarray
    loss: float


def extract(oracle, x, net, answers="labels", *, epochs=20, batch=64, lr=1e-3, normalize=None, rng=0, bar=None,
            cost=1.0) -> Student:
    """Train `net` (a fresh Module, of any architecture with the oracle's classes) on the oracle's answers to x (N, ...).

    answers    'labels': cross-entropy with the class said (any view serves);  'probabilities': with the whole answer
    normalize  of the copy, as in Victim; its bounds are the oracle's
    epochs, batch, lr  of Adam, whose rate falls along a line to 0;  bar, cost: as in `fitting`
    Whether x is like the training data of the oracle is up to the attacker: images of the kind (copycat), any other images
    (Knockoff Nets, Orekondy et al. 2019), noise. Raises QueryBudgetError before anything is asked.
    """
    if answers not in ("labels", "probabilities"):
        raise ValueError(f"extract: answers must be 'labels' or 'probabilities', got {answers!r}")
    lr, cost = real("extract", "(0, inf)", lr=lr, cost=cost)
    view = as_labels(oracle, "extract") if answers == "labels" else as_scores(oracle, "extract")
    copy = own(view, net, normalize, "extract")
    said = ask(view, x, "extract")
    if answers == "probabilities":
        said = np.exp(log_probabilities(said, view.output)).astype(np.float32)
    loss = fit(copy, x, said, epochs=epochs, batch=batch, lr=lr, decay=True, rng=rng, bar=bar, cost=cost)
    return Student(copy, x, said, loss)


def own(view: View, net, normalize, name: str) -> Victim:
    """The attacker's network with the oracle's bounds; ValueError if it is, or shares a parameter with, the oracle's."""
    theirs = view.victim.net
    shared = net is theirs
    if isinstance(net, nn.Module) and isinstance(theirs, nn.Module):
        shared |= bool({id(p) for p in net.parameters()} & {id(p) for p in theirs.parameters()})
    if shared:
        raise ValueError(f"{name}: the network to train is the oracle's own, or shares parameters with it; training would change "
                         "the oracle. Give a network of its own")
    if not isinstance(net, nn.Module):
        raise TypeError(f"{name}: net must be a Module that can be trained, got {type(net).__name__}")
    return Victim(net, bounds=view.bounds, normalize=normalize)


def fit(victim: Victim, x, y, **options) -> float:
    """All epochs of `fitting`, with its options; returns the mean loss of the last one."""
    return list(fitting(victim, x, y, **options))[-1]


def fitting(victim: Victim, x, y, *, epochs=10, batch=128, lr=1e-3, decay=False, rng=0, bar=None,
            cost=1.0):
    """Train the network of `victim` on x (N, ...) in its bounds to say y: labels (N,) or probabilities (N, K). In place.

    A generator: yields the mean loss of each epoch. A new Adam; each epoch in a new order; the last batch may be smaller.
    decay: the rate falls along a line to 0. The network is in training mode during an epoch, else in the mode it was in.
    bar: None, or a progress bar (minigrad.progress.Units) that is told `cost` units after each step.
    """
    whole("fit", epochs=epochs, batch=batch)
    real("fit", "(0, inf)", lr=lr, cost=cost)
    x, y, n = victim.take(x, "fit"), np.asarray(y), len(x)
    if len(y) != n or n == 0:
        raise ValueError(f"fit: {n} samples and {len(y)} answers; one each, and at least one")
    net, order = victim.net, Stream(seed_of(rng), "fit")
    adam, steps = optim.Adam(net.parameters(), lr), epochs * -(-n // batch)
    schedule = LambdaLR(adam, lambda done: 1 - done / steps if decay else 1)
    for _ in range(epochs):
        rows, total = order.permutation(n), 0.0
        modes = [(m, m.training) for m in net.modules()]
        net.train()
        try:
            for first in range(0, n, batch):
                here = rows[first : first + batch]
                loss = F.cross_entropy(net(victim.normalized(Tensor.wrap(x[here]))), y[here])
                adam.zero_grad()
                loss.backward()
                adam.step()
                schedule.step()
                total += loss.item() * len(here)
                if bar is not None:
                    bar.spend(cost)
        finally:
            for m, mode in modes:
                m.training = mode
            adam.zero_grad()
        yield total / n


# ---- how good is the copy --------------------------------------------------------------------------------------------


def agreement(one, other, x) -> float:
    """Share of x (N, ...) to which two victims (or views of them) give the same class: the evaluator's look, not counted.

    Not to answer is no class: two that both do not answer do not agree.
    """
    a, b = (_judged(v).answers(x) for v in (one, other))
    return float(((a == b) & (a != NO_ANSWER)).mean())


def _judged(v) -> Victim:
    return v.victim if isinstance(v, View) else v
