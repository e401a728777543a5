"""How good are the samples? Numbers for a generator, each named after what it was measured with."""

from gan.metrics.classes import class_report
from gan.metrics.frechet import disjoint, frechet_distance
from gan.metrics.judge import fingerprint, judge
