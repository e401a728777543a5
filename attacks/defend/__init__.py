"""Defenses, built in good faith: seven that fail, two that mask, and what holds (training against PGD, smoothing).

Each module's head names the naive attack that fails on it and the attack that breaks it. Networks are wrapped, then given
to a Victim: Victim(Noisy(Normalized(net), 0.3)).
"""

from attacks.defend import training
from attacks.defend.base import Bpda, Normalized, straight_through
from attacks.defend.binomial import clopper_pearson, lower_bound, upper_bound
from attacks.defend.decay import linear_reach, penalty
from attacks.defend.dropout import DropoutAtTest
from attacks.defend.ensemble import Ensemble
from attacks.defend.masking import Hidden, Quantised, Tempered, distillation, quantise, textbook_cross_entropy
from attacks.defend.noise import Noisy
from attacks.defend.pretrain import Autoencoder, Pretrained, Purified, denoising_loss
from attacks.defend.smooth import ABSTAIN, Certificate, Smoothed, radius_of
