"""Numbers that others published, to stand beside ours: with the source, and whether the source was looked at.

status   'verified'  read in the source named;  'memory'  remembered, not looked up: no more than an order of magnitude
Every number is a share or a distance as `unit` says. A comparison is fair only where data, norm, epsilon and the way of counting
agree; what papers leave open (clipping, denominators, sign of 0) is in `note`.

Imports: the standard library.
"""

from __future__ import annotations

import dataclasses

GOODFELLOW = "Goodfellow, Shlens & Szegedy 2014, Explaining and Harnessing Adversarial Examples"
MADRY = "Madry et al. 2017 (ICLR 2018), Towards Deep Learning Models Resistant to Adversarial Attacks"
BOARD = "MNIST challenge leaderboard (github.com/MadryLab/mnist_challenge)"
AUTO = "Croce & Hein 2020, Reliable evaluation of adversarial robustness (AutoAttack), table of MNIST"
WONG = "Wong, Rice & Kolter 2020, Fast is better than free"
CARLINI = "Carlini & Wagner 2017, Towards Evaluating the Robustness of Neural Networks"
DEEPFOOL = "Moosavi-Dezfooli, Fawzi & Frossard 2016, DeepFool, table 1"
PAPERNOT = "Papernot et al. 2017, Practical Black-Box Attacks against Machine Learning"
TRADES = "TRADES leaderboard (github.com/yaodongyu/TRADES)"
NOCLIP = "not clipped to the range; error over all test points"


@dataclasses.dataclass(frozen=True)
class Published:
    """One number. data: as `minigrad.data` names it; norm 'linf', 'l2', 'l0' or None; epsilon or None; what: the network;
    attack; value; unit: 'robust accuracy', 'error', 'clean accuracy', 'distance', 'rho', 'transfer', 'confidence on errors',
    'confidence on clean points', 'clean error', 'training error'; source; status; note."""

    data: str
    norm: str | None
    epsilon: float | None
    what: str
    attack: str
    value: float
    unit: str
    source: str
    status: str = "verified"
    note: str = ""


def _table(rows, **same):
    return [Published(**same, **dict(zip(("what", "attack", "value"), row, strict=True))) for row in rows]


NUMBERS: list[Published] = [
    # Goodfellow et al. 2014: error on adversarial examples
    *_table([
        ("softmax regression", "FGSM", 0.999), ("logistic regression, 3 against 7", "FGSM", 0.99),
        ("maxout 240 x 2, trained with dropout", "FGSM", 0.894), ("noise +-epsilon at training", "FGSM", 0.862),
        ("noise U(-epsilon, epsilon) at training", "FGSM", 0.904), ("ensemble of 12 maxout", "FGSM on the ensemble", 0.911),
        ("ensemble of 12 maxout", "FGSM on one member", 0.879), ("MP-DBM, generative training", "FGSM", 0.975),
        ("shallow RBF network", "FGSM", 0.554), ("maxout, FGSM training", "FGSM", 0.179),
        ("maxout, FGSM training", "FGSM from the undefended network", 0.196),
        ("maxout 240 x 2, trained with dropout", "FGSM from the FGSM-trained network", 0.409),
    ], data="mnist", norm="linf", epsilon=0.25, unit="error", source=GOODFELLOW, note=NOCLIP),
    *_table([
        ("softmax regression", "FGSM", 0.793), ("maxout 240 x 2, trained with dropout", "FGSM", 0.976),
        ("noise +-epsilon at training", "FGSM", 0.973), ("noise U(-epsilon, epsilon) at training", "FGSM", 0.978),
        ("maxout, FGSM training", "FGSM", 0.814), ("shallow RBF network", "FGSM", 0.012),
    ], data="mnist", norm="linf", epsilon=0.25, unit="confidence on errors", source=GOODFELLOW, note="not clipped to the range; "
            "mean over errors"),
    *_table([("logistic regression, 3 against 7", "none", 0.016)], data="mnist", norm="linf", epsilon=0.25, unit="clean error",
            source=GOODFELLOW),
    *_table([("shallow RBF network", "none", 0.606)], data="mnist", norm="linf", epsilon=0.25, unit="confidence on clean points",
            source=GOODFELLOW),
    *_table([("L1 weight decay 0.0025 on the first layer", "none", 0.05)], data="mnist", norm="linf", epsilon=0.25,
            unit="training error", source=GOODFELLOW, note="more than this"),
    *_table([("convolutional maxout", "FGSM", 0.8715)], data="cifar10", norm="linf", epsilon=0.1, unit="error", source=GOODFELLOW,
            note=NOCLIP),
    # PGD training and its evaluation
    *_table([
        ("natural training", "FGSM", 0.064), ("PGD training", "FGSM", 0.956), ("PGD training", "PGD-40", 0.932),
        ("PGD training", "PGD-100", 0.918), ("PGD training", "PGD-40, 20 restarts", 0.904),
        ("PGD training", "PGD-100, 20 restarts", 0.893), ("PGD training", "C&W loss, PGD", 0.94),
        ("PGD training", "transfer of PGD-100, 20 restarts, same architecture", 0.957),
    ], data="mnist", norm="linf", epsilon=0.3, unit="robust accuracy", source=MADRY),
    *_table([("PGD training", "PGD-100, 50 restarts", 0.8962), ("PGD training", "Square, 50 restarts of 20,000", 0.8825),
             ("PGD training", "best of the leaderboard", 0.88)],
            data="mnist", norm="linf", epsilon=0.3, unit="robust accuracy", source=BOARD),
    *_table([
        ("PGD training (Madry et al.)", "AutoAttack", 0.885), ("TRADES", "AutoAttack", 0.9281),
        ("fast training (Wong et al.)", "AutoAttack", 0.8293), ("Ding et al.", "AutoAttack", 0.914),
        ("Gowal et al.", "AutoAttack", 0.9634), ("Taghanaki et al., claimed 0.6425", "AutoAttack", 0.0),
    ], data="mnist", norm="linf", epsilon=0.3, unit="robust accuracy", source=AUTO),
    *_table([("fast training", "PGD-50, 10 restarts", 0.8877)], data="mnist", norm="linf", epsilon=0.3, unit="robust "
        "accuracy",
            source=WONG),
    *_table([("TRADES", "PGD-1000", 0.956), ("TRADES", "FAB", 0.9333), ("TRADES", "Square", 0.9252)],
            data="mnist", norm="linf", epsilon=0.3, unit="robust accuracy", source=TRADES),
    # the smallest perturbation
    *_table([("undefended, best case of targets", "C&W L2", 1.36)], data="mnist", norm="l2", epsilon=None, unit="distance",
            source=CARLINI, note="inputs in [-0.5, 0.5]; 100 % success"),
    *_table([("undefended, average case of targets", "C&W L2", 1.76), ("undefended, worst case of targets", "C&W L2", 2.60)],
            data="mnist", norm="l2", epsilon=None, unit="distance", source=CARLINI, status="memory"),
    *_table([("undefended, best case of targets", "C&W Linf", 0.13)], data="mnist", norm="linf", epsilon=None, unit="distance",
            source=CARLINI, note="100 % success"),
    *_table([("undefended, best case of targets", "C&W L0", 8.5)], data="mnist", norm="l0", epsilon=None, unit="distance",
            source=CARLINI, note="pixels; 100 % success"),
    *_table([("LeNet", "DeepFool", 0.20), ("LeNet", "FGSM", 1.0), ("fully connected 500-150-10", "DeepFool", 0.11),
             ("fully connected 500-150-10", "FGSM", 0.39)], data="mnist", norm="l2", epsilon=None, unit="rho", source=DEEPFOOL),
    # black box
    *_table([("MetaMind oracle, 6,400 queries", "FGSM on a substitute", 0.8424)], data="mnist", norm="linf", epsilon=None,
            unit="transfer", source=PAPERNOT),
]


def beside(data: str, norm: str | None = None, epsilon: float | None = None) -> list[Published]:
    """What is known for this data, norm and epsilon (within 1 %); None matches all. Distances have no epsilon and match any."""
    def fits(p):
        near = epsilon is None or p.epsilon is None or abs(p.epsilon - epsilon) <= 0.01 * epsilon
        return p.data == data and norm in (None, p.norm) and near

    return [p for p in NUMBERS if fits(p)]
