"""The diagnosis of a game while it is trained: on the bar, in metrics.jsonl as health/..., in diagnosis.jsonl, in the report."""

from __future__ import annotations

import contextlib
import json

import numpy as np

import minigrad as mg
from gan.diagnosis import SEEN, WARM, Watch
from gan.generate import mode
from minigrad.checkpoint import atomic_write
from minigrad.divergence import NonFiniteError
from nets.commands.helpers.images import test_set

COMPARED = 256  # training and held-out pictures whose logits tell whether the discriminator knows its pictures by heart
REMEDIES = {  # the options of gan dcgan
    "too good": "--gamma 1 (R1; needs --no-norm), --loss non_saturating, --noise 0.1, --smooth 0.1, a lower --rate",
    "vanishing": "--loss non_saturating in place of minimax; --loss wasserstein --gradient-penalty 10 --critic-steps 5",
    "exploding": "a lower --rate; --gamma 1",
    "collapse": "--stddev 4, --pack 2, --unroll 5, --loss wasserstein --gradient-penalty 10 --critic-steps 5, a lower --rate",
    "memorising": "--augment blit, more pictures, a smaller --width",
    "oscillation": "--gamma 1, --average 10000, --fall 0.5, a lower --rate",
    "checkerboard": "--refine-generator 1 or 2",
    "not finite": "a lower --rate; --resume goes on from the last good checkpoint",
}
BOUNDARIES = {"least_squares": 0.5, "wasserstein": None}  # above which a logit says "real"; others: 0


class Diagnosed:
    """What the diagnosis of one game and that of two ways have in common: `run`, `_broken(step, names)` and `_records()`."""

    @contextlib.contextmanager
    def told(self):
        """A number that is not finite ends the run, and is a finding, too."""
        try:
            yield self
        except NonFiniteError as error:
            self._broken(error.step, ", ".join(error.names[:3]))
            self._write()
            raise

    def _write(self):
        with atomic_write(self.run.file("diagnosis.jsonl")) as file:
            file.write("".join(json.dumps(record) + "\n" for record in self._records()).encode())


class Health(Diagnosed):
    """`watch` is the part that a checkpoint keeps. images: a Dataset; what is held out comes from its own test set.

    held_out: another Dataset in its place. remedies: the options of another command than gan dcgan. game: the name of the loss;
    default: o.loss. together: pictures that the discriminator judges as one group; default: as many as o.pack and o.stddev say.
    warm: see `Watch`."""

    def __init__(self, run, o, images, loss, *, held_out=None, remedies=REMEDIES, game=None, together=None, warm=WARM):
        self.run, self.o, self.names = run, o, []
        self.together = together or getattr(o, "pack", 1) * max(getattr(o, "stddev", 1), 1)
        self.watch = Watch(images.subset(slice(SEEN)).normalised(), remedies, boundary=BOUNDARIES.get(game or o.loss, 0.0),
                           paired=loss.paired, warm=warm)
        self.train = images.subset(slice(COMPARED))
        self.held_out = held_out or test_set(o.data, o.size, getattr(o, "skip_broken", False))

    def pulse(self, real_logits, fake_logits, fake, norms: dict) -> None:
        """Every few steps. norms: those of the generator's layers, as of `gradient_norms`."""
        self.watch.pulse(real_logits, fake_logits, fake, float(np.sqrt(sum(n * n for n in norms.values()))))

    def look(self, step: int, samples, discriminator, judge=None, as_drawn=None, judged: bool = True,
             last: bool = False) -> None:
        """Where samples are drawn. Says what is new, and writes all that was found so far.

        judge: pictures -> logits by the discriminator, where that takes more than pictures. as_drawn: makes of real pictures, a
        Tensor, what could be drawn now, where that is less than they are: samples (N, C, h, w) of a network that still grows.
        judged: False measures only.
        last: this look comes only because the run ends here. It is not kept, so that a run which is made longer goes on as if it
        had been that long from the start."""
        before = self.watch.state_dict() if last else None
        if as_drawn is not None:
            self.watch.against(as_drawn(mg.tensor(self.train.subset(slice(SEEN)).normalised())).numpy())
        new = self.watch.look(step, samples, self._opinions(samples, discriminator, judge or discriminator, as_drawn),
                              judged=judged)
        self.run.log(step, **{f"health/{name}": value for name, value in self.watch.evidence.items()})
        for finding in new:
            self.run.say(str(finding))
        self._write()
        self.names = list(dict.fromkeys(finding.name for finding in self.watch.found))
        if last:
            self.watch.load_state_dict(before)

    def words(self) -> str:
        """What was found, for the report's summary."""
        return ", ".join(self.names) or "nothing found wrong"

    def _broken(self, step: int, names: str):
        self.watch.broken(step, names)

    def _records(self):
        return self.watch.records()

    def _opinions(self, samples, discriminator, judge, as_drawn):
        """Logits of training pictures, held-out ones and samples, by the discriminator in evaluation mode; None without a test set.

        Packing needs whole packs and stddev whole groups: the rows that are too many are left out. A discriminator with classes is
        told them: of a picture its own, of sample i the class i mod classes, as `gan.generate.generate` draws it."""
        if self.held_out is None:
            return None
        whole, device = self.together, next(iter(discriminator.parameters())).device
        classes = len(self.o.classes) if getattr(self.o, "conditional", False) else 0

        def logits(pictures, labels, as_drawn=None):
            n = len(pictures) // whole * whole
            rows = mg.tensor(pictures[:n], device=device)
            known = [mg.tensor(labels[:n], device=device)] if classes else []
            return judge(rows if as_drawn is None else as_drawn(rows), *known).cpu().numpy()

        held_out = self.held_out.subset(slice(COMPARED))
        if min(map(len, (self.train, held_out, samples))) < whole:
            return None
        with mode(discriminator, False), mg.no_grad():
            return [*(logits(some.normalised(), some.y, as_drawn) for some in (self.train, held_out)),
                    logits(np.asarray(samples, np.float32), np.arange(len(samples)) % max(classes, 1))]
