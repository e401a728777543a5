"""The input learns: the network is frozen and the perturbation is the parameter. `python -m attacks --help`."""

from attacks.goal import Targeted, Untargeted
from attacks.gradient import bim, fgsm, mi_fgsm, pgd
from attacks.optimise import SGD, Adam, SignSGD, Steepest, optimise
from attacks.parameterise import Additive, Parameterisation, Shared, TanhBox
from attacks.result import Result, Task
from attacks.threat import L0, L1, L2, Box, Linf, Threat
from attacks.victim import Labels, QueryBudgetError, Scores, Victim, WhiteBox
