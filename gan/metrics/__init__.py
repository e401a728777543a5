"""How good are the samples? Numbers for a generator, each named after what it was measured with.

    judge       features and answers of a classifier, and the name of its weights
    frechet     distance of the normal distributions fitted to two sets of features
    kernel      distance of two sets of features by a kernel, unbiased
    classes     share of each class, confidence, classifier score
    precision   precision, recall, density, coverage
    path_length how far a picture moves when its latent moves a little
    sliced      sliced Wasserstein distance, of points and of pictures' patches
    modes       modes of mixtures in the plane, high quality, reverse KL
    stacked     modes and KL of stacked digits
    rules       share of `shapes` that break their rule
    nearest     1-nearest-neighbour test, birthday test, nearest training image
    sharpness   strength of edges, generated over real
"""

from gan.metrics.classes import class_report, classifier_score
from gan.metrics.frechet import disjoint, frechet_distance
from gan.metrics.judge import distance_name, fingerprint, judge
from gan.metrics.kernel import kernel_distance, mmd2
from gan.metrics.modes import count_modes, stacked_modes
from gan.metrics.nearest import birthday, memorisation, nearest, two_sample
from gan.metrics.path_length import path_length
from gan.metrics.precision import prdc
from gan.metrics.rules import broken
from gan.metrics.sharpness import sharpness_ratio
from gan.metrics.sliced import pyramid_distance, sliced_wasserstein
from gan.metrics.stacked import stacked_report
