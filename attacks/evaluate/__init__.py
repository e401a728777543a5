"""May a robust accuracy be believed? Checks, an ensemble of strong attacks, curves, and a report that says why not.

    e = evaluate(victim, x, y, Linf(0.3));  e.numbers();  report.write("report.html", e, title="...")
"""

from attacks.evaluate.ablation import Ablation, ablate
from attacks.evaluate.auto import Ensemble, auto, standard
from attacks.evaluate.case import Case, Check
from attacks.evaluate.checks import CHECKS, NOT_MECHANICAL, ask, verdict
from attacks.evaluate.curve import Curves, curves, worst_case
from attacks.evaluate.evaluation import Evaluation, Number, evaluate, interval
from attacks.evaluate.published import NUMBERS, Published, beside
