"""Every number that goes into an attack, a threat, a defence or an evaluation has a domain; outside is an error that names it.

The table below is built from the signatures: a new option with a number as its default is tried without being written down here.
"""

import inspect
import math

import numpy as np
import pytest

import attacks
from attacks import L0, L1, L2, Additive, Linf, Untargeted, Victim, optimise, universal, universal_sgd
from attacks.commands.helpers.catalogue import ATTACKS
from attacks.copying import extract as copying
from attacks.copying.transfer import train_substitute
from attacks.core.arrays import real
from attacks.core.optimisers import Steepest
from attacks.core.result import batched
from attacks.defend import base, binomial, decay, dropout, masking, noise, pretrain, smooth, training
from attacks.evaluate import auto, curves, evaluate
from attacks.evaluate.case import Case
from attacks.evaluate.evaluation import interval
from attacks.white_box.gradient import perturb
from minigrad import nn
from minigrad.random import Stream
from tests.attacks.linear import images, small_network

STEP = dict(step=0.1)
MORE = {"pgd": STEP, "bim": STEP, "mi_fgsm": STEP, "nes": STEP, "fgsm": STEP, "perturb": STEP, "fab": dict(epsilon=0.1),
        "fab_targeted": dict(epsilon=0.1), "optimise": dict(confidence=0.0)}  # numbers that are None by default
SIGNED = ("theta", "lam")  # the sign is a direction
FROM_0 = [("optimise", "steps"), ("perturb", "steps"), ("train_substitute", "rounds"), ("spatial", "draws")]
OPEN = ("step", "epsilon", "confidence", "momentum", "overshoot", "beta", "angle", "reach", "convergence",
        "alpha_max")  # 0 is in their domain
CLOSED = dict(share=2, rate=2, rho=2, p=2, theta=-2, alpha_max=2, decrease=1.0, least=1.0, factor=3, eta=0.5, adaptation=1.0)


def runs():
    """name -> call(**option) for everything whose numbers are read from its signature."""
    victim, x = Victim(small_network()), images(n=2)
    y = victim.predict(x).argmax(1)
    for name, a in ATTACKS.items():
        ball = (L0(3) if a.norms == ("l0",) else Linf(0.1),) if "threat" in a.takes else ()
        yield name, a.function, lambda f=a.function, ball=ball, **o: f(victim, x, Untargeted(y), *ball, **o)
    for f in (universal, universal_sgd, perturb):
        yield f.__name__, f, lambda f=f, **o: f(victim, x, Untargeted(y), Linf(0.1), **o)
    yield "optimise", optimise, lambda **o: optimise(Additive(x), victim, Untargeted(y), Linf(0.1), **o)
    yield "evaluate", evaluate, lambda **o: evaluate(victim, x, y, Linf(0.1), **o)
    yield "Case", Case, lambda **o: Case(victim, x, y, Linf(0.1), **o)
    yield "auto", auto, lambda **o: auto(victim, x, y, Linf(0.1), **o)
    yield "batched", batched, lambda **o: batched(attacks.fgsm, victim, x, Untargeted(y), Linf(0.1), **o)
    yield "extract", copying.extract, lambda **o: copying.extract(victim, x, small_network(1), **o)
    yield "train_substitute", train_substitute, lambda **o: train_substitute(victim.labels(), x, small_network(1), **o)


def numbers(name, function):
    """(option, a good value) of each that is a number."""
    found = {k: p.default for k, p in inspect.signature(function).parameters.items()}
    found.update(MORE.get(name, {}))
    return [(k, v) for k, v in found.items() if isinstance(v, (int, float)) and not isinstance(v, bool) and k != "rng"]


def wrong(name, option, good):
    """Values outside of the domain of an option."""
    yield from (math.nan, math.inf, -math.inf, "3", [good, good, [good]])
    if option not in SIGNED:
        yield -1
    if option not in OPEN and (name, option) not in FROM_0:
        yield 0
    if isinstance(good, int) and option not in SIGNED:
        yield good + 0.5
    if CLOSED.get(option) is not None:
        yield CLOSED[option]


TABLE = [pytest.param(call, option, value, id=f"{name}-{option}-{value}")
         for name, function, call in runs() for option, good in numbers(name, function) for value in wrong(name, option, good)]


@pytest.mark.parametrize("call, option, value", TABLE)
def test_a_number_outside_its_domain_is_an_error_that_names_it(call, option, value):
    with pytest.raises((ValueError, TypeError)) as error:
        call(**{option: value})
    assert option in str(error.value) and repr(value) in str(error.value)


def test_the_table_holds_every_attack_and_many_options():
    assert len(TABLE) > 500 and {p.id.split("-")[0] for p in TABLE} > set(ATTACKS)


@pytest.mark.parametrize("value", [math.nan, -1, -math.inf, "3", [[1.0]], None, True])
@pytest.mark.parametrize("norm", [Linf, L2, L1, L0])
def test_a_radius_is_at_least_0(norm, value):
    with pytest.raises((ValueError, TypeError), match="epsilon"):
        norm(value)


@pytest.mark.parametrize("value", [1.5, [1.0, 2.5], 0.1])
def test_a_count_of_coordinates_is_whole(value):
    for make in (L0, L0(1).with_epsilon):
        with pytest.raises(ValueError, match="epsilon must be a whole number"):
            make(value)


@pytest.mark.parametrize("name", [name for name, a in ATTACKS.items() if "threat" in a.takes] + ["optimise", "perturb"])
def test_no_attack_takes_a_ball_without_end(name):
    call = {n: f for n, f, _ in runs()}[name]
    victim, x = Victim(small_network()), images(n=2)
    first = (Additive(x), victim) if name == "optimise" else (victim, x)
    for norm in (Linf, L2):
        for radius in (math.inf, [0.1, math.inf]):
            with pytest.raises(ValueError, match="epsilon must be at least 0 and finite.*inf"):
                call(*first, Untargeted(np.zeros(2, int)), norm(radius))


def linear():
    return nn.Linear(2, 2, rng=Stream(0, "linear"))


OTHERS = {  # what has no victim, picture and goal: call(value) -> values outside of the domain
    "budget": (lambda v: Victim(linear()).scores(budget=v), (0, -1, 2.5, math.nan, math.inf, "3", True)),
    "normalize": (lambda v: Victim(linear(), normalize=(0, v)), (0, -1, math.nan, math.inf, [1, math.nan])),
    "normalize ": (lambda v: Victim(linear(), normalize=(v, 1)), (math.nan, math.inf, [0, math.nan])),
    "bounds": (lambda v: Victim(linear(), bounds=(0, v)), (0, -1, math.nan, math.inf)),
    "bounds ": (lambda v: Victim(linear()).within((0, v)), (0, -1, math.nan, math.inf)),
    "classes": (lambda v: Victim(linear(), classes=v), (0, 1, 2.5, math.nan)),
    "lr": (lambda v: Steepest(v)([linear().weight], Linf(0.1)), (-1, math.nan, math.inf, [math.nan] * 3)),
    "momentum": (lambda v: Steepest(0.1, v)([linear().weight], Linf(0.1)), (-1, math.nan, math.inf)),
    "top": (lambda v: L1(1, top=v), (0, -1, 1.5, math.nan, math.inf)),
    "sigma": (lambda v: smooth.Smoothed(Victim(linear()), v), (0, -1, math.nan, math.inf, "3")),
    "sigma ": (lambda v: noise.Noisy(linear(), v), (0, -1, math.nan, math.inf)),
    "alpha": (lambda v: smooth.largest_radius(100, 1.0, v), (0, 1, -1, 2, math.nan, math.inf)),
    "p_a": (lambda v: smooth.radius_of(v, 1.0), (-0.1, 1.1, math.nan)),
    "radii": (lambda v: smooth.Certificate(*np.zeros((4, 2))).accuracy([0, 0], v), (-1, math.nan, [0, math.nan])),
    "size": (lambda v: noise.draw("uniform", v, (2,)), (-1, math.nan, math.inf)),
    "temperature": (lambda v: masking.Tempered(linear(), v), (0, -1, math.nan, math.inf)),
    "levels": (lambda v: masking.Quantised(linear(), v), (0, 1, 2.5, math.nan, math.inf)),
    "low": (lambda v: masking.Quantised(linear(), low=v), (math.nan, math.inf)),
    "std": (lambda v: base.Normalized(linear(), 0, v), (0, -1, math.nan, math.inf)),
    "mean": (lambda v: base.Normalized(linear(), v, 1), (math.nan, math.inf)),
    "l1": (lambda v: decay.penalty(linear(), l1=v), (-1, math.nan, math.inf)),
    "l2": (lambda v: decay.penalty(linear(), l2=v), (-1, math.nan, math.inf)),
    "epsilon": (lambda v: decay.linear_reach(np.eye(2), v), (-1, math.nan, math.inf)),
    "p": (lambda v: dropout.DropoutAtTest(nn.Dropout(0.5), v), (-0.1, 1, math.nan)),
    "share": (lambda v: training.warmup(1, 10, v), (-1, 2, math.nan)),
    "steps": (lambda v: training.warmup(1, v), (0, -1, math.nan, 2.5)),
    "share ": (lambda v: interval(v, 10), (-0.1, 1.1, math.nan)),
    "epsilons": (lambda v: curves(Victim(small_network()), images(n=2), [0, 0], Linf(1), v, {"a": attacks.fgsm}),
                 ([-1.0], [math.nan], [math.inf])),
    "rounds": (lambda v: pretrain.Purified(linear(), linear(), rounds=v), (0, -1, 2.5, math.nan)),
    "successes": (lambda v: binomial.lower_bound(v, 10, 0.05), (-1, 11, 2.5, math.nan)),
}
METHODS = {("fgsm", "alpha"): (-0.1, 1.1, math.nan), ("fast", "step"): (-1, math.nan, math.inf), ("pgd", "steps"): (-1, 2.5),
           ("pgd", "step"): (-1, math.nan, math.inf), ("trades", "beta"): (-1, math.nan, math.inf),
           ("trades", "start"): (-1, math.nan, math.inf), ("trades", "steps"): (-1, 2.5), ("trades", "step"): (-1, math.nan)}


@pytest.mark.parametrize("option, value", [(k, v) for k, (_, values) in OTHERS.items() for v in values])
def test_so_is_one_of_a_defence_a_view_or_an_evaluation(option, value):
    with pytest.raises((ValueError, TypeError), match=option.strip()):
        OTHERS[option][0](value)


@pytest.mark.parametrize("method, option, value", [(*k, v) for k, values in METHODS.items() for v in values])
def test_and_one_of_a_way_to_train(method, option, value):
    with pytest.raises(ValueError, match=f"{option} must"):
        training.METHODS[method](Victim(small_network()), images(n=2), np.array([0, 1]), Linf(0.1), rng=Stream(0, "x"),
                                 **{option: value})


@pytest.mark.parametrize("epsilon", [-1, math.nan])
def test_the_radius_at_which_a_result_is_read_is_one(epsilon):
    victim, x = Victim(small_network()), images(n=2)
    found = attacks.deepfool(victim, x, Untargeted(victim.predict(x).argmax(1)))
    assert found.at(math.inf).success.all()
    for call in (found.at, lambda e: found.curve([0, e])):
        with pytest.raises(ValueError, match="epsilon"):
            call(epsilon)


def test_the_door_says_the_domain():
    assert real("f", "(0, 1]", a=1, b=np.float32(0.5)) == (1.0, 0.5) and real("f", "[0, inf]", a=math.inf) == math.inf
    assert real("f", "[0, inf)", each=True, a=[1, 2]).tolist() == [1.0, 2.0]
    for domain, value, words in (("(0, 1]", 0, r"f: a must lie in \(0, 1\], got 0"), ("[0, inf)", -1, "at least 0 and finite"),
                                 ("(0, inf)", math.inf, "a number above 0, got inf"), ("[0, inf]", math.nan, "at least 0, got nan"),
                                 ("(-inf, inf)", "x", "a finite number, got 'x'"), ("[0, inf)", True, "got True")):
        with pytest.raises(ValueError, match=words):
            real("f", domain, a=value)


def test_jsma_starts_on_few_features():
    victim = Victim(nn.Sequential(nn.Flatten(), nn.Linear(12, 3, rng=Stream(1, "few"))))
    x = Stream(2, "x").uniform(0.3, 0.7, (6, 12)).astype(np.float32)
    found = attacks.jsma(victim, x, Untargeted(victim.predict(x).argmax(1)))
    assert (found.steps == 1).all() and (L0(0).size(found.candidate - x) == 2).all()
