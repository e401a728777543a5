from attacks.evaluate.checks import CHECKS
