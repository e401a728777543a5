"""How far drawn pictures are from real ones, at a run's end: two distances, each beside its floor, what other real pictures score.

    sliced Wasserstein x 1000      of patches, at each level of a Laplacian pyramid: no network (gan/metrics/sliced.py)
    FD-lenet16-...                 Frechet, on the features of a small network that is trained here, always from the same seed

The network learns the labels, or where there are none by how many quarters a picture is turned. Of equal data, size and count it is
the same to the bit, so runs of several seeds and options have one judge. `gan evaluate` has more numbers, and a better judge.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan.metrics import disjoint, distance_name, frechet_distance
from gan.metrics.judge import in_batches
from gan.metrics.sliced import pyramid_distance
from minigrad import data
from minigrad import functional as F
from minigrad.progress import Progress
from minigrad.random import Stream, Streams
from nets.classifiers import LeNet
from nets.commands.helpers.images import in_all_turns
from nets.training import fit

WIDTH, STEPS, BATCH = 16, 400, 64  # of the small network
PATCHED, SMALLEST = 1000, 16       # pictures for the sliced distance; a LeNet reads no smaller ones


class Distances:
    """The small network, and what it sees of `count` real images: a reference, and as many others for the floor.

    images: a Dataset of at least 4; count: at most half of them is taken. Pictures below 16 pixels get no Frechet distance, below 7
    no sliced one. In a `with` block the bar is closed at the end.
    .count, .metric (the name of the Frechet distance, or None)"""

    def __init__(self, images, count: int):
        halves = disjoint(Stream(0, "reference").permutation(len(images)), count)
        self.count, self.size = len(halves[0]), images.x.shape[2]
        reads = self.size >= SMALLEST
        self.bar, self.done = Progress(0, STEPS * reads + 2 * STEPS // 4), 0
        self.eye = small_network(images, lambda: self._tick(1)) if reads else None
        self.metric = None
        if reads:
            self.metric = distance_name(f"lenet{WIDTH}", images.name, self.eye, self.count, turns=images.y is None)
        self.reference, other = (images.subset(half).normalised() for half in halves)
        self.seen = self._features(self.reference)
        self.floor = self._measured(other)

    def of(self, pictures) -> dict:
        """pictures (N, C, H, W) in [-1, 1], N = .count -> {"compared", "metric", "frechet_distance", "frechet_floor", "sliced",
        "sliced_floor"}; the sliced ones are lists, a number for each level of the pyramid, the finest first."""
        frechet, sliced = self._measured(pictures)
        return {"compared": self.count, "metric": self.metric, "frechet_distance": frechet, "frechet_floor": self.floor[0],
                "sliced": sliced, "sliced_floor": self.floor[1]}

    def _measured(self, pictures):
        frechet = None if self.eye is None else frechet_distance(self._features(pictures), self.seen)
        few = min(PATCHED, self.count)
        sliced = pyramid_distance(self.reference[:few], pictures[:few]) if self.size >= 7 else None
        self._tick(STEPS // 4)
        return frechet, sliced

    def _features(self, pictures):
        return None if self.eye is None else in_batches(self.eye.features, np.asarray(pictures, np.float32))

    def _tick(self, parts: int) -> None:
        if self.done < self.bar.steps:  # else it is closed, and further sets are measured
            self.done += parts
            self.bar.update(min(self.done, self.bar.steps))

    def __enter__(self) -> Distances:
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    @staticmethod
    def words(found) -> dict:
        """{name: the distance and its floor}, for people."""
        said = {}
        if found["sliced"] is not None:
            levels = ", ".join(f"{x:.1f}" for x in found["sliced"])
            said["sliced Wasserstein x 1000"] = f"{np.mean(found['sliced']):.1f} (floor {np.mean(found['sliced_floor']):.1f}" + (
                f"; by level of the pyramid, finest first: {levels})" if len(found["sliced"]) > 1 else ")")
        if found["metric"] is not None:
            said[found["metric"]] = f"{found['frechet_distance']:.1f} (floor {found['frechet_floor']:.1f})"
        return said


def small_network(images, tick=None):
    """A LeNet that learned the labels of a Dataset, or its turns, in `STEPS` steps from seed 0. tick(): called after each step."""
    taught = images if images.y is not None else in_all_turns(images)
    streams = Streams(0)
    network = LeNet(taught.x.shape[1], len(taught.classes), taught.x.shape[2], WIDTH, rng=streams["judge"])
    batches = data.DataLoader(taught, min(BATCH, len(taught)), shuffle=True, drop_last=True, rng=streams["judge's data"]).forever()
    return fit(network, lambda x, y, step: F.cross_entropy(network(mg.tensor(x)), mg.tensor(y)), batches, STEPS, after=tick)
