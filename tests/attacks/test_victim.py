"""The victim: its conventions, what its three views give away, and what they count."""

import numpy as np
import pytest
from linear import images, linear, small_network

import minigrad as mg
from attacks import Linf, QueryBudgetError, Untargeted, Victim, fgsm, pgd, solve_softmax, universal_sgd
from attacks.core.victim import as_labels, as_scores, as_white_box
from attacks.defend import training
from minigrad import kernels
from minigrad.random import Stream


def test_normalisation_is_inside_and_by_channel():
    mean, std = np.array([0.1, 0.5, 0.3]), np.array([0.2, 0.5, 1.0])
    weight = Stream(0, "w").normal((4, 12))
    net = linear(weight, np.zeros(4))
    flat = Victim(lambda x: net(x.flatten(1)), normalize=(mean, std))
    x = Stream(1, "x").uniform(0, 1, (5, 3, 2, 2))
    seen = (x - mean[:, None, None]) / std[:, None, None]
    assert np.allclose(flat.predict(x), seen.reshape(5, -1) @ weight.T, atol=1e-5)
    assert flat(x).dtype == np.float32
    scalar = Victim(lambda x: net(x.flatten(1)), bounds=(0, 255), normalize=(127.5, 127.5))
    assert np.allclose(scalar.predict(x * 255), (2 * x - 1).reshape(5, -1) @ weight.T, atol=1e-4)


def test_inside_the_network_is_frozen_in_evaluation_mode_and_afterwards_as_it_was():
    net = small_network()
    net[4].eval()
    net[0].weight.requires_grad_(False)
    victim = Victim(net)
    for error in (None, RuntimeError):
        try:
            with victim, victim, victim.white_box(), victim.labels():
                assert not any(m.training for m in net.modules())
                assert not any(p.requires_grad for p in net.parameters())
                if error:
                    raise error
        except RuntimeError:
            pass
        assert net.training and net[1].training and not net[4].training
        assert [p.requires_grad for p in net.parameters()] == [False] + [True] * 5


def test_predictions_do_not_depend_on_the_batch_or_on_the_mode():
    net, x = small_network(), images(n=9)
    victim = Victim(net)
    together = victim.predict(x)
    assert victim.classes == 4 and net.training
    assert np.allclose(victim.predict(x, batch=2), together, atol=1e-6)
    assert np.allclose(np.concatenate([victim(x[i : i + 1]) for i in range(9)]), together, atol=1e-6)
    assert victim.accuracy(x, together.argmax(1)) == 1.0
    assert victim.predict(x[:0]).shape == (0, 4)


def test_gradient_and_jacobian_are_those_of_a_linear_network():
    weight = Stream(0, "w").normal((4, 6))
    white = Victim(linear(weight, np.zeros(4))).white_box()
    x = Stream(1, "x").uniform(0, 1, (3, 6))
    values, g, logits = white.gradient(x, lambda z: z[:, 2])
    assert np.allclose(g, np.broadcast_to(weight[2], g.shape)) and np.allclose(values, logits[:, 2])
    z, jacobian = white.jacobian(x)
    assert np.allclose(z, logits) and np.allclose(jacobian, np.broadcast_to(weight, (3, 4, 6)))
    chosen = np.array([[0, 3], [1, 2], [3, 3]])
    assert np.allclose(white.jacobian(x, classes=chosen)[1], weight[chosen])
    assert white.total == 9


def test_a_gradient_of_a_small_network_launches_no_weight_gradient():
    white = Victim(small_network()).white_box()
    with kernels.counting() as calls:
        white.gradient(images(), lambda z: z[:, 0])
    assert calls["conv2d_dx"] == 1 and calls["conv2d_dw"] == 0


# ---- black boxes -----------------------------------------------------------------------------------------------------


def test_scores_and_labels_give_what_they_say():
    victim, x = Victim(small_network()), images()
    z = victim.predict(x)
    assert np.allclose(victim.scores()(x), z) and (victim.labels()(x) == z.argmax(1)).all()
    p = victim.scores(output="probabilities")(mg.tensor(x))
    assert isinstance(p, np.ndarray) and np.allclose(p.sum(1), 1, atol=1e-6)
    assert np.allclose(np.exp(victim.scores(output="log_probabilities")(x)), p, atol=1e-6)
    with pytest.raises(ValueError, match="output"):
        victim.scores(output="softmax")


def test_black_boxes_give_no_gradients():
    victim, x = Victim(small_network()), images()
    for view in (victim.scores(), victim.labels()):
        with pytest.raises(TypeError, match="no gradients"):
            view(mg.tensor(x, requires_grad=True))
        with pytest.raises(TypeError, match="no gradients"):
            view.gradient(x, lambda z: z[:, 0])
        with pytest.raises(TypeError, match="no gradients"):
            view.jacobian(x)
        with pytest.raises(TypeError, match="needs gradients"):
            as_white_box(view, "fgsm")
        assert view.total == 0
    with pytest.raises(TypeError, match="needs scores"):
        as_scores(victim.labels(), "square")
    with pytest.raises(TypeError, match="Victim\\(net"):
        as_labels(victim.net, "boundary")
    assert as_labels(victim.scores(budget=7), "boundary").budget == 7
    assert as_scores(victim, "square").budget is None


def test_every_row_is_counted_for_its_sample():
    view, x = Victim(small_network()).scores(), images(n=4)
    view(x)
    assert view.total == 4 and view.queries is None
    view.begin(4)
    view(x)
    view(x[[1, 1, 3]], rows=[1, 1, 3])
    with view.paused():
        view(x)
    assert view.queries.tolist() == [1, 3, 1, 2] and view.total == 11
    assert np.isinf(view.left()).all()
    with pytest.raises(ValueError, match="3 inputs for 4 samples"):
        view(x[:3])


def test_a_budget_cannot_be_exceeded():
    calls = []

    def net(x):
        calls.append(len(x))
        return mg.tensor(np.zeros((len(x), 3)))

    view, x = Victim(net).labels(budget=3), images(n=4)
    view.begin(4)
    view(x)
    view(x[[0, 0]], rows=[0, 0])
    assert view.left().tolist() == [0, 2, 2, 2] and view.left([1]).tolist() == [2]
    with pytest.raises(QueryBudgetError, match="sample 0 would exceed its budget of 3"):
        view(x)
    assert calls == [4, 2]  # the network was not asked
    view(x[1:], rows=[1, 2, 3])
    total = Victim(net).labels(budget=5)
    total(x)
    with pytest.raises(QueryBudgetError, match="budget of 5"):
        total(x)
    with pytest.raises(RuntimeError, match="begin"):
        total.left()
    with pytest.raises(ValueError, match="begin"):
        total(x[:1], rows=[0])


# ---- wrong calls -----------------------------------------------------------------------------------------------------


def test_wrong_victims_say_what_is_wrong():
    net, x = small_network(), images()
    with pytest.raises(TypeError, match="callable"):
        Victim("net")
    for bounds in ((1, 0), (0, 0), (0, np.inf)):
        with pytest.raises(ValueError, match="bounds"):
            Victim(net, bounds)
    for normalize in ((0.5, 0.0), (np.zeros((3, 1)), 1.0)):
        with pytest.raises(ValueError, match="normalize"):
            Victim(net, normalize=normalize)
    with pytest.raises(ValueError, match="4 logits"):
        Victim(net, classes=10).predict(x)
    with pytest.raises(ValueError, match=r"give \(0, z\)"):
        Victim(lambda x: x.flatten(1)[:, 0]).predict(x)
    with pytest.raises(ValueError, match=r"give \(0, z\)"):
        Victim(lambda x: x.flatten(1)[:, :1]).predict(x)
    for budget in (0, 2.5, True):
        with pytest.raises(ValueError, match="budget"):
            Victim(net).scores(budget)


def test_inputs_are_checked_against_the_bounds_with_a_little_slack():
    victim, x = Victim(small_network()), images()
    slightly = x.copy()
    slightly[0, 0, 0, 0] = -2.98e-8
    assert victim.take(slightly).min() == 0
    with pytest.raises(ValueError, match="outside"):
        victim.take(x - 0.01)
    with pytest.raises(ValueError, match=r"x\[None\]"):
        victim.take(x[0, 0, 0])
    with pytest.raises(TypeError, match="list"):
        victim.take([[0.1]])


def test_within_is_the_same_network_with_other_bounds():
    victim = Victim(small_network())
    wide = victim.within((-1, 2))
    assert wide.bounds == (-1, 2) and victim.bounds == (0, 1) and wide.net is victim.net
    with victim, wide:
        assert not victim.net.training
    assert victim.net.training


def test_what_is_taken_passes_again_unseen_by_the_same_victim_only():
    victim, x = Victim(small_network()), mg.tensor(images(n=5).astype(np.float64))
    taken = victim.taken(x, "here")
    assert taken.given is x and taken.array.dtype == np.float32 and len(taken) == 5
    assert victim.take(taken) is taken.array and victim.taken(taken) is taken
    part = taken[[3, 1]]
    assert (part.array == taken.array[[3, 1]]).all() and isinstance(part.given, mg.Tensor) and part.given.shape[0] == 2
    other = Victim(small_network(), bounds=(0, 0.5))
    with pytest.raises(ValueError, match="outside the victim's bounds"):
        other.take(taken)
    assert (victim.logits(taken.array) == victim.predict(x)).all()


def test_training_and_composed_attacks_check_a_picture_once():
    class Counting(Victim):
        checked = 0

        def check(self, x, name="attack"):
            self.checked += len(x)
            super().check(x, name)

    x = images(n=6)
    y = Victim(small_network()).predict(x).argmax(1)
    calls = {name: lambda v, train=train: train(v, x, y, Linf(0.1), rng=Stream(0, "t")) for name, train in training.METHODS.items()}
    calls |= {"fgsm beyond the box": lambda v: fgsm(v, x, Untargeted(y), Linf(0.1), clip=False),
              "many restarts": lambda v: pgd(v, x, Untargeted(y), Linf(0.001), 2, restarts=4),
              "one delta for all": lambda v: universal_sgd(v, x, Untargeted(y), Linf(0.1), 2),
              "a linear copy": lambda v: solve_softmax(v.scores(output="logits"), (1, 6, 6))}
    for name, call in calls.items():
        victim = Counting(small_network())
        call(victim)
        assert victim.checked == (37 if name == "a linear copy" else 6), name
