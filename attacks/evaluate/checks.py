"""All checks in order, asked one after the other, and what they come to.

    for check in ask(case): print(check.status, check.name, check.evidence)
    verdict(checks)         'do not believe', 'with care' or 'believable', and why

The questions themselves: of_victim (the network), of_attack (the attack). No check proves robustness; each can only show that a
number is wrong. `NOT_MECHANICAL` is what remains for people to answer.

Imports: attacks.core.watch, case, of_attack, of_victim.
"""

from __future__ import annotations

from attacks.core.watch import watching
from attacks.evaluate import of_attack, of_victim
from attacks.evaluate.case import FAIL, NA, WARN, Case, Check

CHECKS = of_victim.CHECKS + of_attack.CHECKS

NOT_MECHANICAL = {  # Carlini et al. 2019: what a report must say and no program can check
    "defense": "what the defense is, and which parts an attacker must get past",
    "adaptive": "how the attack was changed because of the defense",
    "compare": "published numbers for the same data and threat, and how these compare",
}


def ask(case: Case, checks=CHECKS, seen=None, bar=None) -> list[Check]:
    """Every check, in order. seen: called with each answer as it comes. bar: moves by `units(case, checks)`.

    A check that cannot be carried out (the network has no gradient at all, say) counts as failed, with the error as evidence.
    """
    answers = []
    for check in checks:
        queries, cost = check.asks(case)
        try:
            with watching(bar, queries, case.victim, *([] if case.twin is None else [case.twin]), cost=cost):
                answer = check(case)
        except (ValueError, TypeError, RuntimeError, FloatingPointError) as error:
            answer = Check(check.name, FAIL, None, None, f"could not be carried out: {type(error).__name__}: {error}",
                           "mend what the error names, then ask again", check.reference, check.about)
        answers.append(answer)
        if seen is not None:
            seen(answer)
    return answers


def units(case: Case, checks=CHECKS) -> float:
    """What `ask` takes of a bar."""
    return sum(queries * cost for queries, cost in (check.asks(case) for check in checks))


def verdict(answers) -> tuple[str, list[str]]:
    """('do not believe' | 'with care' | 'believable', the reasons: name and evidence of what failed, else of what warns)."""
    for status, word in ((FAIL, "do not believe"), (WARN, "with care")):
        found = [f"{a.name}: {a.evidence}" for a in answers if a.status == status]
        if found:
            return word, found
    asked = sum(a.status != NA for a in answers)
    return "believable", [f"all {asked} checks that apply are passed; that proves nothing, it only leaves no known "
                          "sign of a mistake"]
