"""The input learns: the network is frozen and the perturbation is the parameter. `python -m attacks --help`."""

from attacks.black_box.decision import boundary
from attacks.black_box.hop_skip_jump import hop_skip_jump
from attacks.black_box.score import nes, one_pixel, random_noise, spsa, zoo
from attacks.black_box.spatial import spatial
from attacks.black_box.square import square
from attacks.copying.extract import agreement, extract, solve_softmax
from attacks.copying.transfer import Matrix, ensemble, substitute_rounds, train_substitute, transfer
from attacks.core.goal import Goal, Targeted, Toward, Untargeted
from attacks.core.optimise import optimise
from attacks.core.optimisers import SGD, Adam, SignSGD, Steepest
from attacks.core.parameterise import Additive, Direct, Parameterisation, Shared, TanhBox
from attacks.core.result import Result, Task, batched
from attacks.core.streams import SampleStreams
from attacks.core.threat import L0, L1, L2, Box, Linf, Threat
from attacks.core.victim import Labels, QueryBudgetError, Scores, Victim, WhiteBox
from attacks.white_box.apgd import apgd, apgd_targeted
from attacks.white_box.carlini import carlini_l2, carlini_linf, ead
from attacks.white_box.deepfool import deepfool
from attacks.white_box.fab import fab, fab_targeted
from attacks.white_box.gradient import bim, fgsm, mi_fgsm, perturb, pgd
from attacks.white_box.jsma import jsma
from attacks.white_box.universal import Universal, universal, universal_sgd
