"""CartoonGAN's losses at networks whose answers are known, and what a step moves."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from gan import losses
from gan.translate import Game, adversarial_loss, content_loss, initialise, play
from minigrad import optim
from minigrad.gradcheck import check_grads
from minigrad.random import Stream, Streams
from nets import features
from nets.generators.cartoon import CartoonDiscriminator, CartoonGenerator


def pictures(seed=0, n=2, size=16):
    return mg.tensor(np.tanh(Stream(seed, "x").normal((n, 3, size, size))))


def softplus(t):
    return math.log1p(math.exp(-abs(t))) + max(t, 0)


def of_mean(factor):
    """A discriminator whose logits are the picture's mean, times a factor, at every one of 2 x 2 places."""
    return lambda x: (x.mean((1, 2, 3)) * factor).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)


@given(c=st.floats(-3, 3), e=st.floats(-3, 3), g=st.floats(-3, 3), n=st.integers(1, 3))
def test_three_terms_each_with_the_mean_of_its_own_pictures(c, e, g, n):
    x, y, z = (mg.full((k, 3, 4, 4), value) for k, value in ((n, c), (2, e), (1, g)))
    loss, real, fake = adversarial_loss(of_mean(1.0), x, y, z)
    assert loss.item() == pytest.approx(softplus(-c) + softplus(e) + softplus(g), rel=1e-4)
    assert real.shape == (n, 1, 2, 2) and fake.shape == (1, 1, 2, 2)
    np.testing.assert_allclose(real.numpy(), c, atol=1e-5)
    np.testing.assert_allclose(fake.numpy(), g, atol=1e-5)
    two, real, fake = adversarial_loss(of_mean(1.0), x, None, z)
    assert two.item() == pytest.approx(softplus(-c) + softplus(g), rel=1e-4)
    assert two.item() == pytest.approx(losses.non_saturating.discriminator(real, fake).item(), rel=1e-6)


def test_where_neither_player_can_gain():
    """P = 1/2: 3 log 2 = 2.079, without smoothed edges 2 log 2 = 1.386."""
    x = pictures()
    assert adversarial_loss(of_mean(0.0), x, x, x)[0].item() == pytest.approx(2.0794415)
    assert adversarial_loss(of_mean(0.0), x, None, x)[0].item() == pytest.approx(1.3862944)


@pytest.mark.parametrize("kind, expected", [("l1", 0.25), ("l2", 0.0625)])
def test_the_content_loss_is_a_mean_over_features(kind, expected):
    photos = pictures()
    assert content_loss(lambda x: x * 0.5, photos + 0.5, photos, kind).item() == pytest.approx(expected, rel=1e-5)
    assert content_loss(lambda x: x, photos, photos, kind).item() == 0


def test_no_gradient_reaches_the_photographs_or_the_features_or_what_the_discriminator_is_shown():
    photos, moved = pictures(0), pictures(1)
    photos.requires_grad = moved.requires_grad = True
    net = features.random(3, 16, Streams(0))
    found = mg.grad(content_loss(net, moved, photos), [photos, moved], allow_unused=True)
    assert found[0] is None and np.abs(found[1].numpy()).max() > 0
    d = CartoonDiscriminator(width=2, rng=Stream(0))
    loss, _, _ = adversarial_loss(d, pictures(2), pictures(3), moved)
    assert mg.grad(loss, [moved], allow_unused=True) == (None,)


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_gradients_of_second_order(kind):
    net = features.random(3, 8, Streams(0)).to(mg.float64)
    photos, moved = (mg.tensor(Stream(i, "x").normal((1, 3, 8, 8)).astype(np.float64), requires_grad=i == 1) for i in (0, 1))
    d = CartoonDiscriminator(width=1, rng=Stream(0)).to(mg.float64)
    check_grads(lambda x: (content_loss(net, x, photos, kind) + losses.softplus(-d(x)).mean()) ** 2, [moved], order=2)


# ---- steps


def game(omega=10.0):
    g, d = CartoonGenerator(width=2, blocks=1, rng=Stream(0)), CartoonDiscriminator(width=2, rng=Stream(1))
    adams = [optim.Adam(network.parameters(), 1e-3, betas=(0.5, 0.999)) for network in (g, d)]
    return Game(g, d, features.random(3, 16, Streams(0)), *adams, omega)


def state(network):
    return {name: value.copy() for name, value in network.state_dict().items()}


def moved(before, network):
    return any((before[name] != value).any() for name, value in network.state_dict().items())


def test_the_first_phase_moves_the_generator_alone_and_lowers_the_content_loss():
    players, photos = game(), pictures()
    g, d, f = (state(n) for n in (players.generator, players.discriminator, players.features))
    seen = [initialise(players, photos).content.item() for _ in range(30)]
    assert moved(g, players.generator) and not moved(d, players.discriminator) and not moved(f, players.features)
    assert seen[-1] < 0.8 * seen[0]
    assert initialise(players, photos).adversarial is None


def test_a_step_of_the_game_moves_both_players_and_leaves_the_discriminator_able_to_learn():
    players = game()
    g, d = state(players.generator), state(players.discriminator)
    played = play(players, pictures(0), pictures(1), pictures(2))
    assert moved(g, players.generator) and moved(d, players.discriminator)
    assert all(p.requires_grad for p in players.discriminator.parameters())
    assert played.real.shape == played.fake.shape == (2, 1, 4, 4) and played.translated.shape == (2, 3, 16, 16)
    # the losses are what the equations say of the players as they were
    fresh = game()
    translated = fresh.generator(pictures(0))
    np.testing.assert_array_equal(played.translated.detach().numpy(), translated.detach().numpy())
    assert played.discriminator.item() == adversarial_loss(fresh.discriminator, pictures(1), pictures(2), translated)[0].item()
    assert played.content.item() == pytest.approx(10 * content_loss(fresh.features, translated, pictures(0)).item(), rel=1e-6)
    # ... and the generator's is against the discriminator that has just learnt
    fresh.discriminator.load_state_dict(players.discriminator.state_dict())
    assert played.adversarial.item() == pytest.approx(softplus_mean(-fresh.discriminator(translated)), rel=1e-5)


def softplus_mean(x):
    return float(np.logaddexp(0, x.detach().numpy().astype(np.float64)).mean())


def test_omega_weighs_the_content_against_the_discriminator():
    """With omega 0 the generator's step is that of the adversarial loss alone."""
    players, fresh, photos = game(0.0), game(), pictures()
    play(players, photos, pictures(1), None)
    translated = fresh.generator(photos)
    loss, _, _ = adversarial_loss(fresh.discriminator, pictures(1), None, translated)
    loss.backward()
    fresh.adam_d.step()
    losses.non_saturating_generator(fresh.discriminator(translated)).backward()
    fresh.adam_g.step()
    for name, value in fresh.generator.state_dict().items():
        np.testing.assert_allclose(players.generator.state_dict()[name], value, atol=1e-6, err_msg=name)
