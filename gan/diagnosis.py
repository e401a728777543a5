"""What is wrong with a game, in words, while it is played: each finding with its evidence and the options that mend it.

The losses of two players do not tell how a game goes. These numbers do; each is compared with what real pictures give, or with
the run's own past, so that they mean the same for every data set. `LIMITS` holds the thresholds; `docs/diagnosis.md` tells how
they were calibrated, and how often the findings are right.

    too good        sure        share of real and of generated pictures that the discriminator tells rightly, the smaller of the two
    vanishing       push        gradient that reaches the generator's parameters, as a share of its largest so far (medians)
    exploding       jump        the same, the largest since the last look over the median before
    collapse        diversity   mean distance between two samples, over the same for real pictures
                    repeats     median distance from a sample to the nearest other one, over the same for real pictures
    memorising      memory      (E D(train) - E D(held out)) / (E D(train) - E D(fake)): 0 where held-out pictures look as real as
                                training ones, 1 where they look generated (r_v of Karras et al. 2020)
    oscillation     wander      how far the mean picture of a batch moves to and fro (its trend taken out), over what chance gives
    checkerboard    grid        power at the highest frequency of a row or a column over that just below it, samples over real
    not finite                  a NaN or infinity in a loss, parameter or gradient, told by the run itself

`pulse` is called every few steps with what the step has at hand, `look` where samples are drawn. Nothing draws from a stream of the
training, so a run with a diagnosis equals one without to the bit.

Imports: numpy, gan.metrics.nearest, minigrad.domains.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gan.metrics.nearest import distances
from minigrad.domains import COUNT

NAMES = ("too good", "vanishing", "exploding", "collapse", "memorising", "oscillation", "checkerboard", "not finite")
LIMITS = {"sure": 0.97, "push": 1e-2, "jump": 100.0, "diversity": 0.5, "repeats": 0.4, "memory": 0.35, "wander": 10.0, "grid": 3.0}
WARM = 750  # steps in which a game finds its way: measured, and not judged
SEEN = 128  # pictures that a look compares: pairs among them are cheap
REMEDIES = {
    "too good": "a loss that does not saturate, a gradient penalty or a lower rate for the discriminator, noise on what it sees",
    "vanishing": "the non-saturating loss, or a Wasserstein critic with a gradient penalty",
    "exploding": "a lower rate, or a gradient penalty",
    "collapse": "minibatch stddev, packing, unrolling, a relativistic loss with R1 and R2",
    "memorising": "augmentation of what the discriminator sees, more data, a smaller discriminator",
    "oscillation": "a gradient penalty, an averaged generator, lower rates that fall to 0",
    "checkerboard": "kernels that the stride divides, or upsampling followed by a convolution",
    "not finite": "a lower rate",
}


class Finding(NamedTuple):
    """One thing that is wrong at `step`: `name` of `NAMES`, `evidence` and `remedy` in words."""

    step: int
    name: str
    evidence: str
    remedy: str

    def __str__(self):
        return f"step {self.step}: {self.name}: {self.evidence}. What helps: {self.remedy}"


class Watch:
    """The diagnosis of one game. A part of a run's checkpoint.

    real: (N, C, H, W) pictures of the data, in [-1, 1]; the first `SEEN` are compared with.
    remedies: {name: text}, the options of the command at hand, in place of `REMEDIES`.
    boundary: a logit above it says "real": 0, or 0.5 for least squares; None for a Wasserstein critic, which says nothing.
    warm: nothing is judged before this step.
    paired: real and fake logits are compared pair by pair (relativistic losses).
    .found: every `Finding` so far, the first of each name in a row of looks that found it.
    .evidence: the numbers of the last look."""

    def __init__(self, real, remedies=None, *, boundary: float | None = 0.0, paired: bool = False, warm: int = WARM):
        self.remedies, self.boundary, self.paired, self.warm = {**REMEDIES, **(remedies or {})}, boundary, paired, warm
        self.against(real)
        self.found, self.evidence, self.present = [], {}, ()
        self.answers, self.pushes, self.means, self.noise = [], [], [], []
        self.usual, self.largest = [], 0.0
        self.shares = (0.0, 0.0)  # of real and of generated pictures that were told rightly since the last look

    def against(self, real) -> None:
        """Compare samples with these real pictures (N, C, H, W) from now on: where a network grows, with smaller ones first."""
        real = np.asarray(real, np.float32)[:SEEN]
        if real.ndim != 4 or len(real) < 3:
            raise ValueError(f"Watch: real must be at least 3 pictures (N, C, H, W), got {real.shape}")
        self.real_spread, self.real_grid = spread(real), grid(real)

    # ---- what the steps tell

    def pulse(self, real_logits, fake_logits, fake, gradient: float) -> None:
        """Every few steps. fake: the batch (N, C, H, W). gradient: norm of the loss's gradient by the generator's parameters."""
        real, generated = (np.asarray(x.detach().cpu().numpy(), np.float64).ravel() for x in (real_logits, fake_logits))
        if self.paired:
            real, generated = real - generated, generated - real
        edge = self.boundary or 0.0
        self.answers.append((float((real > edge).mean()), float((generated < edge).mean())))
        self.pushes.append(float(gradient))
        pixels = coarse(fake.detach().cpu().numpy())
        self.means.append(pixels.mean(0))
        self.noise.append(pixels.var(0, ddof=1).sum() / len(pixels))

    def look(self, step: int, samples, logits=None, *, judged: bool = True) -> list[Finding]:
        """Findings that were not there at the look before. samples: (N, C, H, W) of fixed latents, at least 3.

        logits: (of training pictures, of held-out ones, of samples), arrays, all by the discriminator as it is now; None to leave
        "memorising" out. judged: False only measures, as where a network is just being enlarged."""
        COUNT.check("Watch.look: step", step)
        samples = np.asarray(samples, np.float32)[:SEEN]
        self.evidence = {**self._of_answers(), **self._of_samples(samples), **self._of_logits(logits)}
        present = {finding.name: finding for finding in self._judged(step)} if judged and step >= self.warm else {}
        new = [finding for name, finding in present.items() if name not in self.present]
        self.present, self.found = tuple(present), self.found + new
        self.usual += self.pushes
        self.answers, self.pushes, self.means, self.noise = [], [], [], []
        return new

    def _of_answers(self) -> dict:
        out = {}
        if len(self.answers) > 1:
            if self.boundary is not None:
                right = np.mean(self.answers, 0)
                out["sure"], self.shares = float(right.min()), right
            middle = float(np.median(self.pushes))
            self.largest = max(self.largest, middle)
            if self.largest > 0:
                out["push"] = middle / self.largest
            before = float(np.median(self.usual)) if self.usual else 0.0
            if before > 0:
                out["jump"] = max(self.pushes) / before
        if len(self.means) > 4:
            out["wander"] = wander(np.stack(self.means), float(np.mean(self.noise)))
        return out

    def _of_samples(self, samples) -> dict:
        mean, near = spread(samples)
        out = {"diversity": mean / self.real_spread[0] if self.real_spread[0] else 1.0,
               "repeats": near / self.real_spread[1] if self.real_spread[1] else 1.0}
        here = grid(samples)
        if here is not None and self.real_grid:
            out["grid"] = here / self.real_grid
        return out

    @staticmethod
    def _of_logits(logits) -> dict:
        if logits is None:
            return {}
        train, held_out, fake = (float(np.mean(a)) for a in logits)
        gap = train - fake
        return {"memory": (train - held_out) / gap} if gap > 1e-3 else {}

    def _judged(self, step):
        e, limit = self.evidence, LIMITS

        def finding(name, text):
            return Finding(step, name, text, self.remedies[name])

        if e.get("sure", 0) > limit["sure"]:
            real, fake = self.shares
            yield finding("too good", f"the discriminator is right on {100 * real:.1f} % of real and {100 * fake:.1f} % of "
                          "generated pictures, so the generator learns little from it")
        if e.get("push", 1) < limit["push"]:
            yield finding("vanishing", f"the gradient that reaches the generator is {e['push']:.1g} of what it was")
        if e.get("jump", 0) > limit["jump"]:
            yield finding("exploding", f"the generator's gradient jumped to {e['jump']:.0f} times its usual size")
        if e["diversity"] < limit["diversity"] or e["repeats"] < limit["repeats"]:
            yield finding("collapse", f"two samples differ by {100 * e['diversity']:.0f} % of what two real pictures do, and the "
                          f"nearest two by {100 * e['repeats']:.0f} %")
        if e.get("memory", 0) > limit["memory"]:
            yield finding("memorising", f"the discriminator takes pictures it was not trained on for generated ones: they lie "
                          f"{100 * e['memory']:.0f} % of the way from training pictures to samples")
        if e.get("wander", 0) > limit["wander"]:
            yield finding("oscillation", f"the mean of a batch of samples moves to and fro by {e['wander']:.1f} times what chance "
                          "gives")
        if e.get("grid", 0) > limit["grid"]:
            yield finding("checkerboard", f"the finest stripes are {e['grid']:.1f} times as strong, beside the next finest, as "
                          "in real pictures")

    def broken(self, step: int, what: str) -> Finding:
        """The finding for a NonFiniteError: the run stops with it."""
        self.found.append(Finding(step, "not finite", what, self.remedies["not finite"]))
        return self.found[-1]

    # ---- for checkpoints and reports

    def records(self) -> list[dict]:
        """`found` as plain dicts: step, name, evidence, remedy."""
        return [finding._asdict() for finding in self.found]

    def state_dict(self) -> dict:
        """All that a look depends on."""
        return {"found": self.records(), "present": list(self.present), "answers": [list(a) for a in self.answers],
                "pushes": list(self.pushes), "usual": list(self.usual), "largest": self.largest, "noise": list(self.noise),
                "means": np.stack(self.means) if self.means else np.zeros((0, 1))}

    def load_state_dict(self, state: dict) -> None:
        """What `state_dict` gave."""
        self.found, self.present = [Finding(**record) for record in state["found"]], tuple(state["present"])
        self.answers, self.pushes = [tuple(a) for a in state["answers"]], list(state["pushes"])
        self.usual, self.largest, self.noise = list(state["usual"]), float(state["largest"]), list(state["noise"])
        self.means = list(np.asarray(state["means"]))


# ---- the measures


def spread(pictures) -> tuple[float, float]:
    """(mean distance of two pictures, median distance to the nearest other one), by pixels."""
    flat = np.asarray(pictures, np.float64).reshape(len(pictures), -1)
    if len(flat) < 3:
        raise ValueError(f"spread: needs 3 pictures, got {len(flat)}")
    away = distances(flat, flat)
    mean = away.sum() / (len(flat) * (len(flat) - 1))
    np.fill_diagonal(away, math.inf)
    return float(mean), float(np.median(away.min(1)))


def grid(pictures) -> float | None:
    """Power at the highest frequency (a stripe of one pixel) over the mean of the two below it, along rows and columns.

    Near 1 or below for pictures whose spectrum falls smoothly. None below 8 pixels, and for odd sizes: they have no such
    frequency."""
    height, width = np.shape(pictures)[2:]
    if min(height, width) < 8 or height % 2 or width % 2:
        return None
    power = (np.abs(np.fft.fft2(np.asarray(pictures, np.float64))) ** 2).mean((0, 1))
    rows, columns = power.sum(1), power.sum(0)
    top = rows[height // 2] + columns[width // 2]
    below = sum(line[n // 2 - k] for line, n in ((rows, height), (columns, width)) for k in (1, 2)) / 2
    return float(top / below) if below > 0 else None


def coarse(pictures, cells: int = 4) -> np.ndarray:
    """(N, C, H, W) -> (N, C * cells * cells): means over a grid of cells, float64; what a batch's mean picture is compared by."""
    n, c, height, width = pictures.shape
    tall, wide = min(cells, height), min(cells, width)
    rows = np.add.reduceat(np.asarray(pictures, np.float64), np.arange(tall) * height // tall, axis=2)
    return (np.add.reduceat(rows, np.arange(wide) * width // wide, axis=3) / (height * width / (tall * wide))).reshape(n, -1)


def wander(means, noise: float) -> float:
    """means (T, K) of T batches in their order -> variance about their linear trend, over that of a batch's mean, `noise`.

    1 for a generator that stands still or moves steadily; more for one that goes to and fro."""
    t = np.arange(len(means)) - (len(means) - 1) / 2
    centred = means - means.mean(0)
    rest = centred - t[:, None] * (t @ centred / (t @ t))
    return float((rest**2).sum() / (len(means) - 2) / noise) if noise > 0 else 1.0
