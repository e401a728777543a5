"""What beginners do, and what they are told: a warning once for each place, or an error with the remedy. The rest is silent."""

import warnings

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import checkpoint, nn, optim
from minigrad.functional.provenance import told_by_values
from minigrad.notice import warn

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(6, 4)).astype(np.float32)
LABELS, SIDES = RNG.integers(0, 4, 6), RNG.integers(0, 2, (6, 4)).astype(np.float32)


def scores(grad=True):
    return mg.tensor(SCORES, requires_grad=grad)


def told(call) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all(w.filename == __file__ for w in caught), "a warning points to the caller's own line"
    return [str(w.message) for w in caught]


# ---- the input of a loss

VIEWS = {
    "as it is": lambda t: t, "reshaped": lambda t: t.reshape(3, 2, 4).reshape(6, 4), "transposed twice": lambda t: t.t().t(),
    "unsqueezed": lambda t: t.unsqueeze(0).squeeze(0),
}
CE = "the input is the output of"
MISTAKES = {  # what is done: (loss of the scores, word of the message)
    "softmax, cross_entropy": (lambda z, v: F.cross_entropy(v(z.softmax(1)), LABELS), f"cross_entropy: {CE} softmax"),
    "log_softmax, cross_entropy": (lambda z, v: F.cross_entropy(v(z.log_softmax(1)), LABELS), f"cross_entropy: {CE} log_softmax"),
    "nn.Softmax, nn.CrossEntropyLoss": (lambda z, v: nn.CrossEntropyLoss()(v(nn.Softmax(dim=1)(z)), mg.tensor(LABELS)),
                                        f"cross_entropy: {CE} softmax"),
    "softmax, nll_loss": (lambda z, v: F.nll_loss(v(z.softmax(1)), LABELS), "nll_loss: the input"),
    "logits, nll_loss": (lambda z, v: F.nll_loss(v(z * 1.0), LABELS), "nll_loss: the input holds no log-probabilities"),
    "nn.NLLLoss of a network": (lambda z, v: nn.NLLLoss()(v(nn.Linear(4, 4)(z) - 1.0), mg.tensor(LABELS)), "no log-probabilities"),
}
SIGMOID = {
    "sigmoid": lambda z, v: F.binary_cross_entropy_with_logits(v(z.sigmoid()), SIDES),
    "nn.Sigmoid": lambda z, v: nn.BCEWithLogitsLoss()(v(nn.Sequential(nn.Linear(4, 4), nn.Sigmoid())(z)), mg.tensor(SIDES)),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("grad", [True, False], ids=["recorded", "by values"])
@pytest.mark.parametrize("name", MISTAKES)
def test_probabilities_where_logits_are_meant_and_the_reverse(name, grad, view):
    loss, words = MISTAKES[name]
    messages = told(lambda: loss(scores(grad), VIEWS[view]))
    assert len(messages) == 1 and words in messages[0], messages


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", SIGMOID)
def test_a_sigmoid_before_a_loss_that_applies_it(name, view):
    messages = told(lambda: SIGMOID[name](scores(), VIEWS[view]))
    assert len(messages) == 1 and "the input is the output of sigmoid" in messages[0] and "binary_cross_entropy" in messages[0]


RIGHT = {
    "logits": lambda z: F.cross_entropy(z, LABELS),
    "logits of a network": lambda z: F.cross_entropy(nn.Linear(4, 4)(z), LABELS),
    "small logits": lambda z: F.cross_entropy(z * 1e-3, LABELS),
    "positive logits": lambda z: F.cross_entropy(z.abs(), LABELS),
    "zeros": lambda z: F.cross_entropy(z * 0, LABELS),
    "one hot": lambda z: F.cross_entropy(F.one_hot(mg.tensor(LABELS), 4).float(), LABELS),
    "one class": lambda z: F.cross_entropy(z[:, :1].abs() * 0 + 1, np.zeros(6, int)),
    "softmax of attention, further on": lambda z: F.cross_entropy(z.softmax(1) @ z.t()[:, :4], LABELS),
    "target probabilities": lambda z: F.cross_entropy(z, z.softmax(1).detach()),
    "log-probabilities": lambda z: F.nll_loss(z.log_softmax(1), LABELS),
    "logarithm of a softmax": lambda z: F.nll_loss(z.softmax(1).log(), LABELS),
    "log-probabilities that miss a part": lambda z: F.nll_loss(z.log_softmax(1) - 1.0, LABELS),
    "BCE of probabilities": lambda z: F.binary_cross_entropy(z.sigmoid(), SIDES),
    "BCE of logits": lambda z: F.binary_cross_entropy_with_logits(z, SIDES),
    "NaN": lambda z: F.cross_entropy(z * float("nan"), LABELS),
    "infinite logits": lambda z: F.cross_entropy(z * float("inf"), LABELS),
    "huge logits": lambda z: F.cross_entropy(z * 1e30, LABELS),
}


@pytest.mark.parametrize("grad", [True, False], ids=["recorded", "by values"])
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_silent(name, grad):
    with np.errstate(all="ignore"):
        assert told(lambda: RIGHT[name](scores(grad))) == []


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_values_tell_probabilities_from_logits(classes):
    z = mg.tensor(RNG.normal(size=(20, classes)).astype(np.float32) * 3)
    assert told_by_values(z.softmax(1).array, 1) == "softmax" and told_by_values(z.log_softmax(1).array, 1) == "log_softmax"
    assert told_by_values(z.array, 1) is None and told_by_values(z.sigmoid().array, 1) is None


# ---- gradients


def test_the_gradient_of_a_computed_tensor():
    x = scores()
    y = x * 2
    y.sum().backward()
    messages = told(lambda: y.grad)
    assert len(messages) == 1 and "retain_grad" in messages[0] and y.grad is None
    z, w = x * 3, x * 4
    z.retain_grad()
    assert told(lambda: z.grad) == []  # asked for in time, not there yet
    (z + w).sum().backward()
    assert told(lambda: z.grad) == [] and np.all(z.grad.array == 1)


def test_gradients_that_may_be_none_are_silent():
    def silent():
        for t in (scores(), scores(False), scores().detach(), nn.Linear(2, 2).weight, scores(False) * 2, mg.ones(2)):
            assert t.grad is None
        with mg.no_grad():
            assert (scores() * 2).grad is None
        y = scores() * 2
        y.detach_()
        assert y.grad is None

    assert told(silent) == []


def test_nobody_pays_for_the_gradients_of_results():
    """The engine leaves .grad unset, and none of its own steps asks for that of a computed value."""
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    adam = optim.Adam(net.parameters())

    def train():
        for _ in range(2):
            adam.zero_grad()
            F.cross_entropy(net(scores(False)), LABELS).backward()
            adam.step()

    assert told(train) == []
    y = scores() * 2
    with pytest.raises(AttributeError):
        mg.autograd.Variable.__dict__["grad"].__get__(y)


@pytest.mark.parametrize("call, who", [(lambda t: t.backward(), "backward"), (lambda t: mg.autograd.backward([t]), "backward"),
                                       (lambda t: mg.grad(t, [scores()]), "grad")])
def test_backward_without_any_requires_grad_says_what_to_do(call, who):
    net = nn.Linear(4, 4).requires_grad_(False)
    with mg.no_grad():
        unrecorded = scores().sum()
    for value in (scores(False).sum(), net(scores(False)).sum(), unrecorded, scores().sum().detach()):
        with pytest.raises(RuntimeError, match=f"^{who}: .* does not require a gradient: .*requires_grad=True.*requires_grad_"):
            call(value)


def test_backward_twice_names_retain_graph():
    loss = (scores() ** 2).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        loss.backward()


@pytest.mark.parametrize("rule", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_a_step_before_any_gradient(rule):
    net = nn.Linear(4, 4)
    optimizer = getattr(optim, rule)(net.parameters(), lr=0.1)
    messages = told(optimizer.step)
    assert len(messages) == 1 and f"{rule}.step: no parameter has a gradient" in messages[0] and "backward()" in messages[0]
    net(scores(False)).sum().backward()
    net.bias.grad = None  # some have none: as usual
    assert told(optimizer.step) == []
    net.requires_grad_(False)
    with pytest.raises(RuntimeError, match="requires_grad_"):
        net(scores(False)).sum().backward()


# ---- layers in plain lists


class Net(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.first, self.extra = nn.Linear(4, 4), value


def fresh():
    return nn.Linear(4, 4)


PLAIN = {
    "ModuleList": [lambda: [fresh(), fresh()], lambda: [[fresh()], fresh()], lambda: [nn.ReLU(), fresh()]],
    "ModuleDict": [lambda: {"a": fresh()}, lambda: {"a": [fresh()]}],
    "ParameterList": [lambda: [nn.Parameter(mg.ones(2))], lambda: [[nn.Parameter(mg.ones(2))]]],
    "ParameterDict": [lambda: {"a": nn.Parameter(mg.ones(2))}],
}


@pytest.mark.parametrize("kind", PLAIN)
def test_layers_and_parameters_in_plain_containers(kind):
    for make in PLAIN[kind]:
        for whole in (lambda net: net, nn.Sequential):
            for use in (lambda n: list(n.parameters()), lambda n: optim.SGD(n.parameters(), 0.1), lambda n: n.zero_grad()):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    net = whole(Net(make()))
                messages = told(lambda use=use, net=net: use(net))
                assert len(messages) == 1 and f"Net.extra is a plain {kind[-4:].lower()}" in messages[0], messages
                assert f"self.extra = nn.{kind}(" in messages[0]


def test_containers_that_do_no_harm_are_silent():
    class Names(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([fresh()])
            self.order = [self.layers[0]]  # registered already
            self.sizes, self.words, self.nothing = [1, 2], {"a": 1}, []
            self.teacher = (fresh(),)  # the way to hold a network that is not trained

    assert told(lambda: list(Names().parameters())) == [] and len(list(Names().parameters())) == 2


# ---- arguments exchanged


def test_arguments_of_saving_and_loading_exchanged(tmp_path):
    state, path = {"a": np.ones(2, np.float32)}, str(tmp_path / "w.npz")
    for call, order in ((lambda: checkpoint.save_weights(state, path), r"save_weights\(path, weights\)"),
                        (lambda: checkpoint.save_weights(path, fresh()), r"save_weights\(path, weights\)"),
                        (lambda: checkpoint.save_weights(fresh(), path), r"save_weights\(path, weights\)"),
                        (lambda: checkpoint.save(state, path), r"save\(path, tree\)"),
                        (lambda: mg.save(path, state), r"save\(obj, path\)"),
                        (lambda: checkpoint.load_weights(state), "load_weights: .*path"),
                        (lambda: mg.load(state), "load: .*path"),
                        (lambda: mg.load(fresh(), path), "load: .*path"),
                        (lambda: fresh().load_state_dict(path), r"load_state_dict: .*minigrad.load\(path\)")):
        with pytest.raises(TypeError, match=order):
            call()
    assert list(tmp_path.iterdir()) == []


# ---- once for each place


def test_a_warning_is_told_once_for_each_line(recwarn):
    warnings.simplefilter("default")
    for _ in range(3):
        F.cross_entropy(scores().softmax(1), LABELS)
    F.cross_entropy(scores().softmax(1), LABELS)
    assert len(recwarn) == 2 and len({w.lineno for w in recwarn}) == 2


def test_a_caller_is_found_from_anywhere():
    with pytest.warns(UserWarning, match="x") as caught:
        warn("x")
    assert caught[0].filename == __file__
