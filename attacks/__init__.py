"""The input learns: the network is frozen and the perturbation is the parameter. `python -m attacks --help`."""

from attacks.apgd import apgd, apgd_targeted
from attacks.carlini import carlini_l2, carlini_linf, ead
from attacks.decision import boundary
from attacks.extract import agreement, extract, solve_softmax
from attacks.fab import fab, fab_targeted
from attacks.goal import Goal, Targeted, Toward, Untargeted
from attacks.gradient import bim, fgsm, mi_fgsm, perturb, pgd
from attacks.hop_skip_jump import hop_skip_jump
from attacks.jsma import jsma
from attacks.minimal import deepfool
from attacks.optimise import SGD, Adam, SignSGD, Steepest, optimise
from attacks.parameterise import Additive, Direct, Parameterisation, Shared, TanhBox
from attacks.result import Result, Task, batched
from attacks.score import nes, one_pixel, random_noise, spsa, zoo
from attacks.spatial import spatial
from attacks.square import square
from attacks.streams import SampleStreams
from attacks.threat import L0, L1, L2, Box, Linf, Threat
from attacks.transfer import Matrix, ensemble, substitute_rounds, train_substitute, transfer
from attacks.universal import Universal, universal, universal_sgd
from attacks.victim import Labels, QueryBudgetError, Scores, Victim, WhiteBox
