"""The network under attack, and how much of it the attacker may see.

    victim = Victim(net, bounds=(0, 1), normalize=(mean, std))
    victim.white_box()         logits, gradients, Jacobians
    victim.scores(budget=N)    logits or probabilities of the inputs that the attacker sends, nothing else
    victim.labels(budget=N)    the predicted class, nothing else

The three views are different types: a gradient attack that is handed `scores` or `labels` raises TypeError. Each view counts
the queries of each sample. Beyond the budget it raises QueryBudgetError, before the network is asked.

Bounds and normalisation live here, so that epsilon is always in the units of the input. Inside `with victim:` the network is
in evaluation mode and its parameters are frozen. Afterwards both are as they were, also after an exception.

Imports: numpy, minigrad, arrays.
"""

from __future__ import annotations

import contextlib
import math

import numpy as np

import minigrad as mg
from attacks.core.arrays import host, raw, said, whole
from minigrad.nn import Module
from minigrad.tensor import Tensor

TOLERANCE = 1e-6  # how far out of bounds an input may be, as a share of the range


class QueryBudgetError(RuntimeError):
    """A query beyond the budget of a view; nothing was computed."""


class Victim:
    """A classifier and its conventions.

    net        Module or callable: Tensor (N, ...) -> logits (N, classes). A sequence of networks is not one: see defend.
    bounds     (lo, hi) of valid inputs, in the units in which epsilon is given
    normalize  None or (mean, std), numbers or one for each channel (C,): net sees (x - mean) / std
    classes    number of classes; found at the first call if None
    watch      None, or who looks on while it is attacked (core.watch)
    Calling it gives the logits of an array (as an array) or a Tensor (as a Tensor, differentiable in the input).
    """

    watch = None

    def __init__(self, net, bounds=(0.0, 1.0), normalize=None, classes=None):
        if not callable(net):
            raise TypeError(f"Victim: net must be a Module or a callable Tensor -> logits, got {type(net).__name__}")
        self.net, self.bounds = net, _bounds(bounds)
        self.classes = None if classes is None else whole("Victim", least=2, classes=classes)
        self.normalize = None if normalize is None else tuple(np.asarray(v, np.float64) for v in normalize)
        if self.normalize is not None:
            if (len(self.normalize) != 2 or any(v.ndim > 1 or not np.isfinite(v).all() for v in self.normalize)
                    or not np.all(self.normalize[1] > 0)):
                raise ValueError("Victim: normalize must be (mean, std), finite numbers or (C,) each, with std > 0, "
                                 f"got {normalize!r}")
        self._depth, self._kept = 0, None

    def __repr__(self):
        return f"Victim({type(self.net).__name__}, bounds={self.bounds}, classes={self.classes})"

    def within(self, bounds) -> Victim:
        """The same network with other bounds."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.bounds, new._depth, new._kept = _bounds(bounds), 0, None
        return new

    # ---- evaluation mode and frozen parameters -----------------------------------------------------------------------

    def __enter__(self) -> Victim:
        if self._depth == 0 and isinstance(self.net, Module):
            modes = [(m, m.training) for m in self.net.modules()]
            needs = [(p, p.requires_grad) for p in self.net.parameters()]
            self._kept = modes, needs
            self.net.eval()
            for p, _ in needs:
                p.requires_grad = False
        self._depth += 1
        return self

    def __exit__(self, *exception):
        self._depth -= 1
        if self._depth == 0 and self._kept is not None:
            modes, needs = self._kept
            self._kept = None
            for m, mode in modes:
                m.training = mode
            for p, need in needs:
                p.requires_grad = need

    # ---- arrays in ---------------------------------------------------------------------------------------------------

    @property
    def _parameter(self):
        return next(iter(self.net.parameters()), None) if isinstance(self.net, Module) else None

    @property
    def device(self) -> str:
        """Where the network computes."""
        p = self._parameter
        return "cpu" if p is None else p.device

    def take(self, x, name: str = "attack"):
        """x (N, ...) as an array of the network's dtype and device, clipped to the bounds. Raises what `check` raises.

        This is the door, and everything that comes from outside passes it once. What is `Taken` passes unseen.
        """
        if isinstance(x, Taken):
            if x.victim is self:
                return x.array
            x = x.given
        self.check(x, name)
        return np.clip(self.cast(raw(x)), *self.bounds)

    def taken(self, x, name: str = "attack") -> Taken:
        """The same, with what was given."""
        return x if isinstance(x, Taken) and x.victim is self else Taken(self, self.take(x, name), x)

    def cast(self, a):
        """An array in the network's dtype, on its device."""
        p = self._parameter
        return Tensor.wrap(a).to(a.dtype if p is None else p.dtype, device=self.device).array

    def check(self, x, name: str = "attack") -> None:
        """Raise TypeError unless x holds floating-point numbers, and ValueError unless it is a batch within the bounds.

        An excess of 1e-6 of the range is allowed, because rounding makes one; NaN is not.
        """
        a = raw(x)
        if not hasattr(a, "dtype"):
            raise TypeError(f"{name}: x must be a NumPy array or a Tensor (N, ...), got {type(x).__name__}")
        lo, hi = self.bounds
        if a.dtype.kind != "f":
            raise TypeError(f"{name}: x must hold floating-point numbers in [{lo:g}, {hi:g}], got {a.dtype}; for 8-bit "
                            "images give x.astype(np.float32) / 255")
        if a.ndim < 2:
            raise ValueError(f"{name}: x must be a batch (N, ...), got shape {a.shape}; use x[None] for one sample")
        slack = TOLERANCE * (hi - lo)
        if a.size and not (bool((a >= lo - slack).all()) and bool((a <= hi + slack).all())):
            raise ValueError(f"{name}: x lies in [{float(a.min()):g}, {float(a.max()):g}], outside the victim's bounds "
                             f"[{lo:g}, {hi:g}]. Give images before normalisation: it belongs in Victim(normalize=...), "
                             "and the range in Victim(bounds=...)")

    # ---- logits ------------------------------------------------------------------------------------------------------

    def normalized(self, x: Tensor) -> Tensor:
        """(x - mean) / std: what the network sees. x (N, ...) in the bounds."""
        if self.normalize is None:
            return x
        mean, std = (np.asarray(v, like=x.array).astype(x.dtype) for v in self.normalize)
        if mean.ndim or std.ndim:
            shape = (-1,) + (1,) * (x.ndim - 2)
            mean, std = mean.reshape(shape) if mean.ndim else mean, std.reshape(shape) if std.ndim else std
        return (x - mean) / std

    def __call__(self, x):
        if not isinstance(x, Tensor):
            with mg.no_grad():
                return self(Tensor.wrap(x)).array
        with self:
            logits = self.net(self.normalized(x))
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[0] != x.shape[0]:
            got = logits.shape if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"Victim: the network must map {x.shape} to logits ({x.shape[0]}, classes), got {got}; for one "
                             "logit z give (0, z)")
        if self.classes is None:
            if logits.shape[1] < 2:
                raise ValueError("Victim: the network gives one logit; a classifier has 2 classes or more: give (0, z)")
            self.classes = int(logits.shape[1])
        elif logits.shape[1] != self.classes:
            raise ValueError(f"Victim: the network gives {logits.shape[1]} logits, the victim has {self.classes} classes")
        return logits

    def predict(self, x, batch: int = 500):
        """Logits (N, classes) as a NumPy array, computed in batches, not counted as queries: the evaluator's look."""
        return self.logits(self.take(x, "predict"), batch)

    def logits(self, x, batch: int = 500):
        """The same for an array that needs no check, because it has passed the door already: of the network's dtype, in bounds."""
        with self, mg.no_grad():
            parts = [self(Tensor.wrap(x[i : i + batch])).cpu().array for i in range(0, max(len(x), 1), batch)]
        return np.concatenate(parts)

    def accuracy(self, x, y) -> float:
        """Share of samples that are classified as y. Where there is no answer (arrays.said) that is wrong, whatever y."""
        return float((self.answers(x) == host(raw(y))).mean())

    def answers(self, x, batch: int = 500):
        """(N,) int64 class numbers, NO_ANSWER = -1 where the largest logit is not finite; `predict` otherwise."""
        return said(self.predict(x, batch))

    # ---- what the attacker gets --------------------------------------------------------------------------------------

    def white_box(self) -> WhiteBox:
        """Everything: logits with their graph, gradients, Jacobians."""
        return WhiteBox(self, None)

    def scores(self, budget: int | None = None, output: str = "logits") -> Scores:
        """Answers in numbers. output: 'logits', 'probabilities' or 'log_probabilities'. budget: see View."""
        return Scores(self, budget, output)

    def labels(self, budget: int | None = None) -> Labels:
        """Answers in class numbers. budget: see View."""
        return Labels(self, budget)


def _bounds(bounds) -> tuple[float, float]:
    lo, hi = (float(b) for b in bounds)
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise ValueError(f"Victim: bounds must be finite numbers lo < hi, got {bounds!r}")
    return lo, hi


class Taken:
    """Samples that a victim has checked. `array` (N, ...): as the victim takes them;  `given`: as they came (default: the array).

    An attack that runs others inside hands them these instead of arrays, so that a picture is checked once on its way.
    """

    def __init__(self, victim: Victim, array, given=None):
        self.victim, self.array, self.given = victim, array, array if given is None else given

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows) -> Taken:
        return Taken(self.victim, self.array[rows], self.given[rows])


class View:
    """What all three have in common: a context manager like the victim, `bounds`, `classes`, and a meter that counts queries.

    begin(n)   an attack on n samples starts: `queries` (n,) counts from 0. From then on each call says which samples its
               rows belong to (default: all in order), and `budget` is for each sample.
    Before begin (when a substitute is trained, say) rows belong to no sample, and `budget` is for all of them together.
    `total` counts every row ever asked. `paused()` lets the evaluator look without counting.
    """

    grade = ""

    def __init__(self, victim: Victim, budget: int | None):
        self.victim, self.budget = victim, None if budget is None else whole(self.grade, budget=budget)
        self.queries, self.total, self._counting = None, 0, True

    def __repr__(self):
        return f"{type(self).__name__}({self.victim!r}, budget={self.budget}, total={self.total})"

    bounds = property(lambda self: self.victim.bounds)
    classes = property(lambda self: self.victim.classes)

    def __enter__(self):
        self.victim.__enter__()
        return self

    def __exit__(self, *exception):
        self.victim.__exit__(*exception)

    @property
    def stopped(self) -> bool:
        """Whether whoever looks on has asked for an end: a loop leaves after its step, with the best so far."""
        return self.victim.watch is not None and self.victim.watch.stopped

    def begin(self, n: int) -> None:
        """Start to count queries for n samples."""
        self.queries = np.zeros(n, np.int64)
        if self.victim.watch is not None:
            self.victim.watch.begun()

    def left(self, rows=None):
        """(len(rows),) queries that the samples have left; infinite without a budget, none once `stopped`."""
        if self.queries is None:
            raise RuntimeError(f"{self.grade}: left() needs begin(n) first")
        used = self.queries if rows is None else self.queries[rows]
        if self.stopped:
            return np.zeros(used.shape)
        return np.full(used.shape, math.inf) if self.budget is None else (self.budget - used).astype(np.float64)

    @contextlib.contextmanager
    def paused(self):
        """Nothing is counted inside."""
        before, self._counting = self._counting, False
        try:
            yield self
        finally:
            self._counting = before

    def _count(self, n: int, rows) -> None:
        if not self._counting:
            return
        if self.queries is None:
            if rows is not None:
                raise ValueError(f"{self.grade}: rows were given, but no attack has begun; call begin(n) first")
            if self.budget is not None and self.total + n > self.budget:
                raise QueryBudgetError(f"{self.grade}: {n} more queries would exceed the budget of {self.budget} "
                                       f"({self.total} used); ask fewer, or give a larger budget")
        else:
            rows = np.arange(len(self.queries)) if rows is None else np.asarray(rows)
            if len(rows) != n:
                raise ValueError(f"{self.grade}: {n} inputs for {len(rows)} samples; rows says which sample each belongs to")
            more = np.bincount(rows, minlength=len(self.queries))
            if self.budget is not None:
                over = np.flatnonzero((self.queries + more > self.budget) & (more > 0))
                if len(over):
                    raise QueryBudgetError(f"{self.grade}: sample {over[0]} would exceed its budget of {self.budget} queries "
                                           f"({self.queries[over[0]]} used); stop where left(rows) is 0")
            self.queries += more
            if self.victim.watch is not None and n:
                self.victim.watch.seen(int(self.queries.max()))
        self.total += n

    def _array(self, x, rows, name):
        if isinstance(x, Tensor):
            if x.requires_grad:
                raise TypeError(f"{name}: a black box gives no gradients, and x requires one; pass x.detach() or an array, "
                                "or attack victim.white_box()")
            x = x.array
        self._count(len(x), rows)
        with mg.no_grad():
            return self.victim(Tensor.wrap(x))

    def gradient(self, *args, **kw):
        """Only a white box has gradients."""
        raise TypeError(f"{type(self).__name__} gives no gradients: this is the {self.grade} view of the victim. Use a score or "
                        "decision attack (square, boundary, ...), a substitute, or victim.white_box()")

    jacobian = gradient


class WhiteBox(View):
    """Everything. A call is one query of each row, a backward pass counts no more."""

    grade = "white_box"

    def __call__(self, x, rows=None):
        """Logits of x: a Tensor for a Tensor (joined to its graph), an array for an array."""
        self._count(len(x), rows)
        return self.victim(x)

    def gradient(self, x, objective, rows=None):
        """(values (n,), d values_i / d x_i like x, logits (n, classes)), arrays.

        objective(logits) -> (n,) Tensor. The values are summed, never averaged: no sample feels another.
        """
        x = Tensor.wrap(x).requires_grad_()
        with self:
            logits = self(x, rows)
            values = objective(logits)
            (g,) = mg.grad(values.sum(), [x])
        return values.array, g.array, logits.array

    def jacobian(self, x, rows=None, classes=None):
        """(logits (n, classes), d z_k / d x (n, K, ...)), arrays, for all classes or for those named: integers (n, K).

        K backward passes through one forward pass.
        """
        x = Tensor.wrap(x).requires_grad_()
        with self:
            logits = self(x, rows)
            n, total = logits.shape
            classes = np.broadcast_to(np.arange(total), (n, total)) if classes is None else np.asarray(classes)
            out = np.zeros_like(x.array, shape=(n, classes.shape[1], *x.shape[1:]))
            for k in range(classes.shape[1]):
                v = np.zeros_like(logits.array)
                v[np.arange(n), classes[:, k]] = 1
                out[:, k] = mg.grad([logits], [x], [Tensor.wrap(v)], retain_graph=True)[0].array
        return logits.array, out


class Scores(View):
    """Numbers for every class, no gradients."""

    grade = "scores"

    def __init__(self, victim, budget, output="logits"):
        super().__init__(victim, budget)
        if output not in ("logits", "probabilities", "log_probabilities"):
            raise ValueError(f"scores: output must be 'logits', 'probabilities' or 'log_probabilities', got {output!r}")
        self.output = output

    def __call__(self, x, rows=None):
        """(n, classes) array."""
        z = self._array(x, rows, "scores")
        if self.output == "logits":
            return z.array
        return z.softmax(1).array if self.output == "probabilities" else z.log_softmax(1).array


class Labels(View):
    """The predicted class, nothing else."""

    grade = "labels"

    def __call__(self, x, rows=None):
        """(n,) int64 array; NO_ANSWER = -1 where the largest logit is not finite."""
        return said(self._array(x, rows, "labels").array)


def as_white_box(victim, name: str) -> WhiteBox:
    """A fresh meter on a Victim, or the white box itself; TypeError for a black box."""
    if isinstance(victim, (Scores, Labels)):
        raise TypeError(f"{name} needs gradients, and {type(victim).__name__.lower()}() gives none; give victim.white_box(), or "
                        "use a score or decision attack, or a substitute")
    return _as(victim, (WhiteBox,), lambda v: v.white_box(), name)


def as_scores(victim, name: str):
    """A view that answers in scores; TypeError for labels. A Victim or a white box is used as a score oracle."""
    if isinstance(victim, Labels):
        raise TypeError(f"{name} needs scores, and labels() gives only the predicted class; use boundary or hop_skip_jump")
    return _as(victim, (Scores,), lambda v: v.scores(), name)


def as_labels(victim, name: str) -> Labels:
    """A view that answers in labels; anything that knows more is used as a label oracle, with its budget."""
    return _as(victim, (Labels,), lambda v: v.labels(), name)


def _as(victim, kinds, make, name):
    if isinstance(victim, kinds):
        return victim
    if isinstance(victim, View):
        view = make(victim.victim)
        view.budget = victim.budget
        return view
    if isinstance(victim, Victim):
        return make(victim)
    raise TypeError(f"{name}: victim must be a Victim or one of its views, got {type(victim).__name__}; wrap the network: "
                    "Victim(net, bounds=(0, 1))")
