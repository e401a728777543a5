"""Remedies: unrolling against two steps written out by hand, against the optimisers themselves; stddev, packing, noise."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from gan import losses
from gan.regularise import MinibatchStddev, add_noise, falling, minibatch_stddev, one_sided, pack, substituted, unrolled
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.gradcheck import check_grads
from minigrad.random import Stream

LOSS = losses.non_saturating


def game(seed=0):
    """(generator weight (2, 2), critic, latent, real), float64."""
    rng = Stream(seed, "unroll")
    critic = nn.Sequential(nn.Linear(2, 5, rng=rng), nn.Tanh(), nn.Linear(5, 1, rng=rng)).double()
    weight = mg.tensor(rng.normal((2, 2), np.float64), requires_grad=True)
    return weight, critic, mg.tensor(rng.normal((7, 2), np.float64)), mg.tensor(rng.normal((7, 2), np.float64))


def unrolled_gradient(adam_or_sgd, seed=0, steps=2, warm=0, **options):
    weight, critic, latent, real = game(seed)
    optimizer = adam_or_sgd(critic.parameters(), **options)
    for _ in range(warm):
        optimizer.zero_grad()
        LOSS.discriminator(critic(real), critic(latent @ weight.detach())).backward()
        optimizer.step()
    before = copy.deepcopy((critic.state_dict(), optimizer.state_dict()))
    fake = latent @ weight
    with unrolled(critic, optimizer, lambda: LOSS.discriminator(critic(real), critic(fake)), steps):
        loss = LOSS.generator(critic(fake))
        ahead = [p.array.copy() for p in (critic[0].weight, critic[2].bias)]
    (g,) = mg.grad(loss, [weight])
    for name, array in before[0].items():
        np.testing.assert_array_equal(critic.state_dict()[name], array)
    assert str(optimizer.state_dict()) == str(before[1])
    return g.array, float(loss.item()), ahead, (weight, critic, latent, real, optimizer)


def by_hand(weight, latent, real, values, rule):
    """Two steps of `rule` with nothing of gan.regularise: a critic written out, its gradients by `mg.grad`."""

    def critic(x, w1, b1, w2, b2):
        return F.linear(F.linear(x, w1, b1).tanh(), w2, b2)

    fake = latent @ weight
    for step in (1, 2):
        loss = LOSS.discriminator(critic(real, *values), critic(fake, *values))
        values = rule(values, mg.grad(loss, values, create_graph=True), step)
    (g,) = mg.grad(LOSS.generator(critic(fake, *values)), [weight])
    return g.array


def test_two_unrolled_steps_of_sgd_equal_two_written_by_hand():
    found = unrolled_gradient(optim.SGD, lr=0.3)[0]
    weight, critic, latent, real = game()
    values = [p.detach().requires_grad_() for p in critic.parameters()]
    expected = by_hand(weight, latent, real, values, lambda p, g, step: [a - b * 0.3 for a, b in zip(p, g, strict=True)])
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_two_unrolled_steps_of_adam_equal_two_written_by_hand():
    found = unrolled_gradient(optim.Adam, lr=0.05, betas=(0.5, 0.9))[0]
    weight, critic, latent, real = game()
    moments = {}

    def rule(values, gradients, step):
        after = []
        for i, (p, g) in enumerate(zip(values, gradients, strict=True)):
            m, v = moments.get(i, (0.0, 0.0))
            m, v = g * 0.5 + m * 0.5, g * g * 0.1 + v * 0.9
            moments[i] = m, v
            after.append(p - (m / (1 - 0.5**step)) * 0.05 / ((v / (1 - 0.9**step)).sqrt() + 1e-8))
        return after

    values = [p.detach().requires_grad_() for p in critic.parameters()]
    np.testing.assert_allclose(found, by_hand(weight, latent, real, values, rule), rtol=1e-6)


@pytest.mark.parametrize("warm", [0, 3])
@pytest.mark.parametrize("kind, options", [
    (optim.SGD, dict(lr=0.2)), (optim.SGD, dict(lr=0.2, momentum=0.9, dampening=0.3, weight_decay=0.01)),
    (optim.SGD, dict(lr=0.2, momentum=0.9, nesterov=True)), (optim.Adam, dict(lr=0.05, weight_decay=0.1)),
    (optim.AdamW, dict(lr=0.05, weight_decay=0.1)), (optim.Adam, dict(lr=0.05, maximize=True)),
])
def test_looking_ahead_arrives_where_the_optimiser_itself_would(kind, options, warm):
    _, _, ahead, (weight, critic, latent, real, optimizer) = unrolled_gradient(kind, steps=3, warm=warm, **options)
    for _ in range(3):
        optimizer.zero_grad()
        LOSS.discriminator(critic(real), critic(latent @ weight.detach())).backward()
        optimizer.step()
    for found, parameter in zip(ahead, (critic[0].weight, critic[2].bias), strict=True):
        np.testing.assert_allclose(found, parameter.array, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_the_gradient_through_the_steps_equals_finite_differences(kind):
    found, _, _, (weight, critic, latent, real, _) = unrolled_gradient(kind, lr=0.1)

    def value(w):
        mine, optimizer = copy.deepcopy(critic), None
        optimizer = kind(mine.parameters(), lr=0.1)
        fake = latent @ mg.tensor(w)
        for _ in range(2):
            optimizer.zero_grad()
            LOSS.discriminator(mine(real), mine(fake)).backward()
            optimizer.step()
        return LOSS.generator(mine(fake)).item()

    expected, eps = np.zeros((2, 2)), 1e-6
    for i in np.ndindex(2, 2):
        up, down = weight.array.copy(), weight.array.copy()
        up[i] += eps
        down[i] -= eps
        expected[i] = (value(up) - value(down)) / (2 * eps)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


def test_the_first_order_surrogate_is_another_gradient_at_the_same_place():
    """andrewliao11/unrolled-gans#1 "is this truly unrolled?": the two differ, and only one is the paper's."""
    true, value, _, (weight, critic, latent, real, _) = unrolled_gradient(optim.SGD, lr=0.3)
    optimizer, fake = optim.SGD(critic.parameters(), lr=0.3), latent @ weight
    with unrolled(critic, optimizer, lambda: LOSS.discriminator(critic(real), critic(fake)), 2, first_order=True):
        loss = LOSS.generator(critic(fake))
    (g,) = mg.grad(loss, [weight])
    assert loss.item() == pytest.approx(value, rel=1e-12) and np.abs(g.array - true).max() > 1e-4


def test_unrolling_by_nothing_is_the_plain_step_and_errors_are_told():
    weight, critic, latent, _ = game()
    with unrolled(critic, optim.Adam(critic.parameters()), None, 0):
        found = mg.grad(LOSS.generator(critic(latent @ weight)), [weight])[0].array
    np.testing.assert_array_equal(found, mg.grad(LOSS.generator(critic(latent @ weight)), [weight])[0].array)
    with pytest.raises(TypeError, match="RMSprop"), unrolled(critic, optim.RMSprop(critic.parameters()),
                                                             lambda: critic(latent).sum(), 1):
        pass
    with pytest.raises(ValueError, match="does not have"), unrolled(critic[0], optim.SGD(critic.parameters()), None, 1):
        pass


def test_dead_units_do_not_make_the_unrolled_gradient_nan():
    critic = nn.Sequential(nn.Linear(2, 4, rng=Stream(0, "dead")), nn.ReLU(), nn.Linear(4, 1, rng=Stream(1, "dead")))
    critic[0].bias.assign_(np.full(4, -100.0, np.float32))
    fake = mg.tensor(np.ones((3, 2), np.float32), requires_grad=True)
    adam = optim.Adam(critic.parameters())
    with unrolled(critic, adam, lambda: LOSS.discriminator(critic(fake.detach()), critic(fake)), 2):
        (g,) = mg.grad(LOSS.generator(critic(fake)), [fake])
    assert np.isfinite(g.array).all()


def test_parameters_return_even_after_an_error():
    critic = nn.Linear(2, 1)
    own = critic.weight
    with pytest.raises(ZeroDivisionError), substituted(critic, {"weight": own * 2}):
        assert critic.weight is not own
        raise ZeroDivisionError
    assert critic.weight is own


def test_minibatch_stddev_by_hand():
    x = np.random.default_rng(0).normal(size=(6, 2, 3, 3))
    found = minibatch_stddev(mg.tensor(x), 3).array
    assert found.shape == (6, 3, 3, 3)
    np.testing.assert_array_equal(found[:, :2], x)
    for i in range(6):
        own = x[i % 2 :: 2]  # sample i belongs to the group i mod 2
        expected = np.sqrt(own.var(axis=0) + 1e-8).mean()
        np.testing.assert_allclose(found[i, 2], expected)
    np.testing.assert_allclose(minibatch_stddev(mg.tensor(np.ones((4, 5))), 0).array[:, 5], 1e-4)  # all alike: found out
    assert MinibatchStddev(2)(mg.tensor(x[:, :, 0, 0])).shape == (6, 3)
    with pytest.raises(ValueError, match="multiple"):
        minibatch_stddev(mg.tensor(x), 4)


def test_packing_joins_neighbours_along_the_features():
    x = np.arange(24.0).reshape(4, 2, 3, 1)
    found = pack(mg.tensor(x), 2).array
    np.testing.assert_array_equal(found, np.stack([np.concatenate([x[0], x[1]]), np.concatenate([x[2], x[3]])]))
    np.testing.assert_array_equal(pack(mg.tensor(x[:, :, 0, 0]), 4).array, x[:, :, 0, 0].reshape(1, 8))
    with pytest.raises(ValueError, match="multiple"):
        pack(mg.tensor(x), 3)


def test_instance_noise_has_its_std_and_falls():
    x = mg.tensor(np.zeros((2000, 2)), requires_grad=True)
    noisy = add_noise(x, 0.3, Stream(0, "noise"))
    assert noisy.array.std() == pytest.approx(0.3, rel=0.05)
    np.testing.assert_array_equal(mg.grad(noisy.sum(), [x])[0].array, 1.0)
    assert add_noise(x, 0.0, Stream(0, "noise")) is x
    assert [falling(1.0, step, 4) for step in (1, 3, 5, 9)] == [1.0, 0.5, 0.0, 0.0]


def test_one_sided_smoothing_is_the_cross_entropy_with_its_target():
    real, fake = (mg.tensor(np.random.default_rng(i).normal(size=9)) for i in (0, 1))
    expected = F.binary_cross_entropy_with_logits(real, mg.full((9,), 0.9, dtype=mg.float64)) \
        + F.binary_cross_entropy_with_logits(fake, mg.zeros(9, dtype=mg.float64))
    found = one_sided(losses.non_saturating, 0.1)
    assert found.discriminator(real, fake).item() == pytest.approx(expected.item(), rel=1e-9)
    assert found.generator is losses.non_saturating.generator
    squares = one_sided(losses.least_squares, 0.1).discriminator(real, fake).item()
    assert squares == pytest.approx((((real.array - 0.9) ** 2).mean() + (fake.array**2).mean()) / 2)
    # its optimum for equal data is P = 0.9 / 1.9, and alone with real ones 0.9
    logit = mg.tensor(np.array([np.log(9.0)]), requires_grad=True)
    (g,) = mg.grad(found.discriminator(logit, mg.tensor(np.array([-50.0]))), [logit])
    assert g.item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="targets"):
        one_sided(losses.hinge, 0.1)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_groups_of_neighbours_are_groups_of_the_published_order_sorted_otherwise_and_do_not_mix_batches(groups, others, size, seed):
    rng = np.random.default_rng(seed)
    x, y = (mg.tensor(rng.normal(size=(n * size, 2, 3, 3))) for n in (groups, others))
    found = minibatch_stddev(x, size, neighbours=True).array
    published = np.arange(groups * size).reshape(groups, size).T.ravel()  # member k of group m at k M + m
    expected = np.empty_like(found)
    expected[published] = minibatch_stddev(x[published], size).array
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    joined = minibatch_stddev(mg.cat([x, y]), size, neighbours=True).array
    np.testing.assert_array_equal(joined, np.concatenate([found, minibatch_stddev(y, size, neighbours=True).array]))
    check_grads(lambda a: minibatch_stddev(a, size, neighbours=True).square().sum(), [x], order=2)


@pytest.mark.parametrize("group, shape", [(4, (8, 3, 2, 2)), (2, (6, 5)), (0, (4, 2, 3, 3))])
def test_minibatch_stddev_has_derivatives_of_both_orders(group, shape):
    """In float64 beside finite differences: WGAN-GP differentiates a gradient through it."""
    x = mg.tensor(Stream(3, "x").normal(shape, np.float64), requires_grad=True)
    check_grads(lambda a: (minibatch_stddev(a, group) ** 3).sum(), [x], order=2)
